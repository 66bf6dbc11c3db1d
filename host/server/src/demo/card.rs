//! The part of the test picture that stands still: a small stage with a round test card hung from the grid, a sync lamp, a
//! focus star, black, white and line patches. Everything is drawn once.

use super::canvas::{Area, Canvas, Rgb};
use super::font::{self, Style};

const DUSK: Rgb = [17, 18, 30];
pub const NIGHT: Rgb = [13, 14, 20];
pub const SURFACE: Rgb = [21, 23, 33];
pub const EDGE: Rgb = [58, 62, 80];
pub const PAPER: Rgb = [244, 239, 230];
pub const MUTED: Rgb = [156, 156, 171];
pub const AMBER: Rgb = [255, 180, 84];
pub const CORAL: Rgb = [255, 90, 79];

/// The round card.
pub const CENTER: [f32; 2] = [640.0, 338.0];
pub const RADIUS: f32 = 262.0;
/// The track around it on which the hand of seconds runs.
pub const TRACK: f32 = RADIUS + 15.0;
/// The board with the clock, in front of the card.
pub const CLOCK: Area = Area(292.0, 274.0, 988.0, 402.0);
pub const CLOCK_CORNER: f32 = 26.0;
/// The lamp that flashes with the beep.
pub const LAMP: [f32; 2] = [178.0, 234.0];
pub const LAMP_RADIUS: f32 = 58.0;
const STAR: [f32; 2] = [1102.0, 234.0];
const LEFT: Area = Area(68.0, 118.0, 288.0, 558.0);
const RIGHT: Area = Area(992.0, 118.0, 1212.0, 558.0);
/// The top edge of the stage floor, on which the ball lands at each second, at these places.
pub const FLOOR: f32 = 678.0;
pub const LANDINGS: [f32; 5] = [100.0, 370.0, 640.0, 910.0, 1180.0];
pub const DATE_TOP: f32 = 540.0;
pub const FRAME_TOP: f32 = 565.0;
pub const SMALL: Style = Style { cap: 11.0, stroke: 1.9, tracking: 2.2 };

const GRID_TOP: f32 = 30.0;
const TITLE: Style = Style { cap: 17.0, stroke: 2.7, tracking: 2.4 };
const NAME: Style = Style { cap: 34.0, stroke: 6.2, tracking: 7.0 };
const TINY: Style = Style { cap: 8.6, stroke: 1.5, tracking: 2.0 };

/// Colour bars at 75 % (EBU and SMPTE order: falling luma).
const BARS: [Rgb; 7] = [[191, 191, 191], [191, 191, 0], [0, 191, 191], [0, 191, 0], [191, 0, 191], [191, 0, 0], [0, 0, 191]];
/// Steps of grey from black to white.
const GREYS: u8 = 11;

/// Draws the card. `title` names the room, `facts` says what the stream is made of.
pub fn draw(canvas: &mut Canvas, title: &str, facts: &str) {
    backdrop(canvas);
    ropes(canvas);
    for panel in [LEFT, RIGHT] {
        canvas.rounded(panel, 18.0, EDGE, 1.0);
        canvas.rounded(Area(panel.0 + 1.5, panel.1 + 1.5, panel.2 - 1.5, panel.3 - 1.5), 16.5, SURFACE, 1.0);
    }
    sync_panel(canvas);
    focus_panel(canvas);
    round_card(canvas);
    lettering(canvas, title);
    canvas.rounded(CLOCK, CLOCK_CORNER, AMBER, 1.0);
    canvas.rounded(inner(CLOCK, 2.5), CLOCK_CORNER - 2.5, NIGHT, 1.0);
    floor(canvas);
    canvas.text(facts, TINY, CENTER[0], 698.0, MUTED);
}

fn inner(area: Area, by: f32) -> Area {
    Area(area.0 + by, area.1 + by, area.2 - by, area.3 - by)
}

/// Two lamps from above, a glow on the floor, and a fine net that shows the geometry.
fn backdrop(canvas: &mut Canvas) {
    let everything = canvas.everything();
    let lamp = |x: f32, y: f32, at: [f32; 2], reach: [f32; 2]| {
        let away = ((x - at[0]) / reach[0]).hypot((y - at[1]) / reach[1]);
        let left = (1.0 - away).max(0.0);
        left * left * (3.0 - 2.0 * left)
    };
    canvas.paint(everything, |_, y| {
        let down = (y / 720.0).clamp(0.0, 1.0);
        (std::array::from_fn(|i| (f32::from(DUSK[i]) * (1.0 - down) + f32::from(NIGHT[i]) * down) as u8), 1.0)
    });
    canvas.paint(everything, |x, y| (AMBER, 0.62 * lamp(x, y, [250.0, -90.0], [640.0, 660.0])));
    canvas.paint(everything, |x, y| (CORAL, 0.52 * lamp(x, y, [1030.0, -90.0], [640.0, 660.0])));
    canvas.paint(everything, |x, y| (AMBER, 0.26 * lamp(x, y, [640.0, 760.0], [860.0, 260.0])));
    let scale = canvas.scale();
    canvas.paint(everything, |x, y| {
        let near = |value: f32| (value - (value / 40.0).round() * 40.0).abs();
        (PAPER, 0.055 * (0.5 - near(x).min(near(y)) * scale + 0.5).clamp(0.0, 1.0))
    });
    for (x, dx) in [(14.0, 1.0), (1266.0, -1.0)] {
        for (y, dy) in [(14.0, 1.0), (706.0, -1.0)] {
            canvas.line([x, y], [x + dx * 26.0, y], 2.0, PAPER, 0.55);
            canvas.line([x, y], [x, y + dy * 26.0], 2.0, PAPER, 0.55);
        }
    }
}

fn ropes(canvas: &mut Canvas) {
    let circle_top = CENTER[1] - (RADIUS * RADIUS - 88.0 * 88.0).sqrt();
    for (x, bottom) in
        [(112.0, LEFT.1), (244.0, LEFT.1), (552.0, circle_top), (728.0, circle_top), (1036.0, RIGHT.1), (1168.0, RIGHT.1)]
    {
        canvas.line([x, GRID_TOP], [x, bottom], 2.0, PAPER, 0.42);
        canvas.disc(x, GRID_TOP, 5.5, PAPER, 1.0);
    }
    canvas.line([60.0, GRID_TOP], [1220.0, GRID_TOP], 5.0, PAPER, 1.0);
}

fn sync_panel(canvas: &mut Canvas) {
    let [x, y] = LAMP;
    canvas.disc(x, y, LAMP_RADIUS, NIGHT, 1.0);
    canvas.disc(x, y, LAMP_RADIUS - 9.0, AMBER, 0.13);
    canvas.ring(x, y, LAMP_RADIUS, 3.0, AMBER, 0.9);
    canvas.text("SYNC", Style { cap: 15.0, stroke: 2.6, tracking: 4.0 }, x, 340.0, PAPER);
    canvas.text("FLASH AND BEEP", TINY, x, 368.0, MUTED);
    for (top, name, levels) in [(410.0, "BLACK", [0_u8, 5, 10, 20, 31]), (484.0, "WHITE", [224, 235, 245, 250, 255])] {
        canvas.text(name, TINY, x, top, MUTED);
        for (i, level) in levels.into_iter().enumerate() {
            let left = 96.0 + i as f32 * 32.8;
            canvas.rounded(Area(left, top + 18.0, left + 32.8, top + 50.0), 0.0, [level; 3], 1.0);
        }
    }
}

fn focus_panel(canvas: &mut Canvas) {
    let [x, y] = STAR;
    let radius = LAMP_RADIUS;
    canvas.fill(Area::around(x, y, radius + 1.0), PAPER, 1.0, |px, py| (px - x).hypot(py - y) - radius);
    // A star of 24 rays, each edge smooth over one pixel.
    let scale = canvas.scale();
    canvas.paint(Area::around(x, y, radius + 1.0), |px, py| {
        let (dx, dy) = (px - x, py - y);
        let away = dx.hypot(dy);
        let ray = (dy.atan2(dx) * 24.0).sin();
        let dark = 0.5 + ray * away * scale / 24.0;
        let inside = (0.5 - (away - radius + 3.0) * scale).clamp(0.0, 1.0);
        (NIGHT, if away < 5.0 { 0.5 * inside } else { dark.clamp(0.0, 1.0) * inside })
    });
    canvas.ring(x, y, radius, 3.0, PAPER, 1.0);
    canvas.text("FOCUS", Style { cap: 15.0, stroke: 2.6, tracking: 4.0 }, x, 340.0, PAPER);
    canvas.text("LINES OF 6 4 3 2 1 PIXELS", TINY, x, 368.0, MUTED);
    let scale = canvas.scale();
    for (row, top) in [410.0, 476.0].into_iter().enumerate() {
        for (i, pixels) in [6.0_f32, 4.0, 3.0, 2.0, 1.0].into_iter().enumerate() {
            let left = 1020.0 + i as f32 * 32.8;
            canvas.paint(Area(left, top, left + 32.8, top + 58.0), |px, py| {
                let along = if row == 0 { px - left } else { py - top } * scale;
                (if (along / pixels).floor().rem_euclid(2.0) < 1.0 { PAPER } else { NIGHT }, 1.0)
            });
        }
    }
}

fn round_card(canvas: &mut Canvas) {
    let ([cx, cy], scale) = (CENTER, canvas.scale());
    canvas.ring(cx, cy, TRACK, 8.0, PAPER, 0.16);
    canvas.disc(cx, cy, RADIUS, PAPER, 1.0);
    let inside = RADIUS - 5.0;
    canvas.paint(Area::around(cx, cy, RADIUS), |x, y| {
        let across = ((x - cx + inside) / (2.0 * inside)).clamp(0.0, 0.9999);
        let color = match y {
            y if y < 184.0 => SURFACE,
            y if y < 338.0 => BARS.get((across * BARS.len() as f32) as usize).copied().unwrap_or(NIGHT),
            y if y < 458.0 => [((across * f32::from(GREYS)).floor() * 255.0 / f32::from(GREYS - 1)) as u8; 3],
            y if y < 486.0 => [(across * 255.0) as u8; 3],
            _ => SURFACE,
        };
        (color, (0.5 - ((x - cx).hypot(y - cy) - inside) * scale).clamp(0.0, 1.0))
    });
}

/// The mark (a scene that plays, under the grid, above the stage), the name and the room.
fn lettering(canvas: &mut Canvas, title: &str) {
    let width = font::width("FLYLOFT", NAME);
    let gap = 54.0;
    let left = CENTER[0] - (width + gap) / 2.0;
    let corners = [[left + 4.0, 125.0], [left + 34.0, 142.0], [left + 4.0, 159.0]];
    let edge = |x: f32, y: f32| {
        let side = |a: [f32; 2], b: [f32; 2]| {
            let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
            ((y - a[1]) * dx - (x - a[0]) * dy) / dx.hypot(dy)
        };
        let within = side(corners[0], corners[1]).min(side(corners[1], corners[2])).min(side(corners[2], corners[0]));
        let outline = [(0, 1), (1, 2), (2, 0)].map(|(a, b)| font::distance([x, y], corners[a], corners[b]));
        let near = outline.into_iter().fold(f32::INFINITY, f32::min);
        (if within > 0.0 { -near } else { near }) - 3.0
    };
    canvas.fill(Area(left - 4.0, 116.0, left + 42.0, 168.0), AMBER, 1.0, edge);
    canvas.text("FLYLOFT", NAME, left + gap + width / 2.0, 125.0, PAPER);
    canvas.text(&font::fit(title, TITLE, 356.0), TITLE, CENTER[0], 505.0, PAPER);
}

fn floor(canvas: &mut Canvas) {
    canvas.line([60.0, FLOOR + 2.5], [1220.0, FLOOR + 2.5], 5.0, CORAL, 1.0);
    for x in LANDINGS {
        canvas.disc(x, FLOOR + 2.5, 6.0, CORAL, 1.0);
        canvas.disc(x, FLOOR + 2.5, 2.4, NIGHT, 1.0);
    }
}
