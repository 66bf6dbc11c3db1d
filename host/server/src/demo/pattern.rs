//! The live test picture: the still card with a running clock, a hand of seconds, a lamp that flashes at each full second and a
//! ball that lands at the same moment. Only what moved is drawn again.

use anyhow::{Result, ensure};
use flyloft_media::WallClock;

use super::canvas::{Area, Canvas, Picture, Pixels, Rgb};
use super::card;
use super::font::{self, Mask, Style};

const DAY: i64 = 86_400_000_000;
const SECOND: i64 = 1_000_000;
/// How long the lamp stays fully lit, as a part of the second: three pictures of thirty.
const FLASH: f32 = 0.1;
/// The hand of seconds drags a tail over this part of the circle.
const TAIL: f32 = 0.3;
const BALL: f32 = 13.0;
const HOP: f32 = 46.0;
const CLOCK_STYLE: Style = Style { cap: 70.0, stroke: 8.4, tracking: 8.0 };

/// Size and speed of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Pixels, even, 320 to 1920.
    pub width: usize,
    /// Pixels, even, 180 to 1920.
    pub height: usize,
    /// Pictures per second, 1 to 60.
    pub fps: u32,
}

impl Default for Format {
    fn default() -> Self {
        Self { width: 1280, height: 720, fps: 30 }
    }
}

impl Format {
    pub fn check(self) -> Result<()> {
        let Self { width, height, fps } = self;
        ensure!(
            (320..=1920).contains(&width) && (180..=1920).contains(&height) && width % 2 == 0 && height % 2 == 0,
            "the test picture can't be {width}x{height}: use even numbers from 320x180 to 1920x1920"
        );
        ensure!((1..=60).contains(&fps), "the test picture can't have {fps} pictures per second: use 1 to 60");
        Ok(())
    }
}

#[derive(Debug)]
pub struct TestPattern {
    still: Canvas,
    canvas: Canvas,
    picture: Picture,
    clock: Digits,
    counter: Digits,
    hand: Hand,
    lamp: u8,
    ball: Pixels,
    day: Option<i64>,
}

impl TestPattern {
    /// Draws the card of the room called `title`.
    pub fn new(format: Format, title: &str) -> Result<Self> {
        format.check()?;
        let Format { width, height, fps } = format;
        let mut still = Canvas::new(width, height);
        let facts = format!("{width} × {height}  ·  {fps} FPS  ·  H.264  ·  AAC 48 KHZ STEREO");
        card::draw(&mut still, title, &facts);
        let clock = clock(&mut still);
        let counter = counter(&mut still);
        let mut picture = Picture::new(width, height);
        still.convert(&still.pixels(still.everything()), &mut picture);
        let hand = Hand::new(&still);
        Ok(Self {
            canvas: still.clone(),
            still,
            picture,
            clock,
            counter,
            hand,
            lamp: 0,
            ball: Pixels { x: 0..0, y: 0..0 },
            day: None,
        })
    }

    /// The picture of the moment `wall`, as number `frame` of the stream.
    pub fn draw(&mut self, wall: WallClock, frame: u64) -> &Picture {
        let micros = wall.unix_micros();
        let phase = micros.rem_euclid(SECOND) as f32 / SECOND as f32;
        self.show_date(wall);
        let of_day = micros.rem_euclid(DAY);
        let digits =
            |value: i64, places: u32| (0..places).rev().map(move |place| (value / 10_i64.pow(place)).rem_euclid(10) as usize);
        let (seconds, millis) = (of_day / SECOND, of_day % SECOND / 1000);
        let time =
            digits(seconds / 3600, 2).chain(digits(seconds / 60 % 60, 2)).chain(digits(seconds % 60, 2)).chain(digits(millis, 3));
        self.clock.show(time, &self.still, &mut self.canvas, &mut self.picture);
        let number = i64::try_from(frame % 10_000_000).unwrap_or(0);
        self.counter.show(digits(number, 7), &self.still, &mut self.canvas, &mut self.picture);
        self.hand.show(phase, &self.still, &mut self.canvas, &mut self.picture);
        self.show_lamp(phase);
        self.show_ball(micros.div_euclid(SECOND), phase);
        &self.picture
    }

    pub const fn picture(&self) -> &Picture {
        &self.picture
    }

    fn show_date(&mut self, wall: WallClock) {
        let day = wall.unix_micros().div_euclid(DAY);
        if self.day.replace(day) == Some(day) {
            return;
        }
        let date = jiff::Timestamp::from_microsecond(wall.unix_micros()).unwrap_or_default();
        let text = format!("UTC {}", date.strftime("%Y-%m-%d"));
        let area = Area(480.0, card::DATE_TOP - 4.0, 800.0, card::DATE_TOP + 18.0);
        let pixels = self.still.pixels(area);
        self.canvas.restore(&self.still, &pixels);
        self.canvas.text(&text, card::SMALL, card::CENTER[0], card::DATE_TOP, card::AMBER);
        self.canvas.convert(&pixels, &mut self.picture);
    }

    fn show_lamp(&mut self, phase: f32) {
        let level = if phase < FLASH { 1.0 } else { (-(phase - FLASH) * 9.0).exp() };
        let level = if level < 0.02 { 0 } else { (level * 255.0) as u8 };
        if std::mem::replace(&mut self.lamp, level) == level {
            return;
        }
        let ([x, y], light) = (card::LAMP, f32::from(level) / 255.0);
        let area = Area::around(x, y, card::LAMP_RADIUS + 42.0);
        let pixels = self.still.pixels(area);
        self.canvas.restore(&self.still, &pixels);
        if level > 0 {
            self.canvas.paint(area, |px, py| {
                let beyond = (px - x).hypot(py - y) - card::LAMP_RADIUS;
                let glow = (1.0 - beyond / 42.0).clamp(0.0, 1.0);
                if beyond < 0.0 { ([255, 250, 240], light) } else { (card::AMBER, 0.6 * light * glow * glow) }
            });
        }
        self.canvas.convert(&pixels, &mut self.picture);
    }

    /// The ball goes from landing to landing, there and back, one hop each second.
    fn show_ball(&mut self, second: i64, phase: f32) {
        let hops = card::LANDINGS.len() - 1;
        let step = second.rem_euclid(2 * hops as i64) as usize;
        let (from, to) = if step < hops { (step, step + 1) } else { (2 * hops - step, 2 * hops - step - 1) };
        let [from, to] = [from, to].map(|at| card::LANDINGS.get(at).copied().unwrap_or(card::CENTER[0]));
        let x = from + (to - from) * phase;
        let y = card::FLOOR - BALL - 4.0 * HOP * phase * (1.0 - phase);
        let before = std::mem::replace(&mut self.ball, self.still.pixels(Area::around(x, y, BALL + 2.0)));
        self.canvas.restore(&self.still, &before);
        self.canvas.disc(x, y, BALL, card::PAPER, 1.0);
        self.canvas.disc(x + 3.0, y + 3.0, BALL - 4.0, card::AMBER, 0.5);
        self.canvas.convert(&before, &mut self.picture);
        self.canvas.convert(&self.ball, &mut self.picture);
    }
}

/// A row of digits at fixed places.
#[derive(Debug)]
struct Digits {
    shapes: Vec<Mask>,
    cells: Vec<Cell>,
}

#[derive(Debug)]
struct Cell {
    left: isize,
    top: isize,
    color: Rgb,
    shown: Option<usize>,
}

impl Digits {
    fn new(style: Style) -> Self {
        let shapes = (0..10).map(|digit| font::draw(&digit.to_string(), style, [0.0; 2])).collect();
        Self { shapes, cells: Vec::new() }
    }

    /// A place for a digit whose box has its left upper corner at `x`, `top` in design units.
    fn add(&mut self, canvas: &Canvas, style: Style, x: f32, top: f32, color: Rgb) {
        let corner = canvas.pixels(Area(x, top, x + 1.0, top + 1.0));
        let pad = font::pad(style) as isize;
        let [left, top] = [corner.x.start, corner.y.start].map(|at| at as isize - pad);
        self.cells.push(Cell { left, top, color, shown: None });
    }

    /// Draws the whole row again when a digit changes: the margins of neighbours lie over each other.
    fn show(&mut self, digits: impl Iterator<Item = usize>, still: &Canvas, canvas: &mut Canvas, picture: &mut Picture) {
        let mut changed = false;
        for (cell, digit) in self.cells.iter_mut().zip(digits) {
            changed |= cell.shown.replace(digit) != Some(digit);
        }
        if !changed {
            return;
        }
        let shown: Vec<_> = self.cells.iter().filter_map(|cell| Some((cell, self.shapes.get(cell.shown?)?))).collect();
        let pixels = |cell: &Cell, shape: &Mask| {
            let (left, top) = (cell.left.max(0) as usize, cell.top.max(0) as usize);
            Pixels { x: left..left + shape.width, y: top..top + shape.height }
        };
        for (cell, shape) in &shown {
            canvas.restore(still, &pixels(cell, shape));
        }
        for (cell, shape) in &shown {
            canvas.stamp(shape, cell.left, cell.top, cell.color);
        }
        for (cell, shape) in &shown {
            canvas.convert(&pixels(cell, shape), picture);
        }
    }
}

/// Hours, minutes, seconds and milliseconds on the board; the marks between them belong to the still card.
fn clock(still: &mut Canvas) -> Digits {
    const DIGIT: f32 = 63.0;
    const MARK: f32 = 31.0;
    let style = still.style(CLOCK_STYLE);
    let mut digits = Digits::new(style);
    let top = (card::CLOCK.1 + card::CLOCK.3 - CLOCK_STYLE.cap) / 2.0;
    let mut x = card::CENTER[0] - (9.0 * DIGIT + 3.0 * MARK) / 2.0;
    for place in "00:00:00.000".chars().enumerate() {
        let color = if place.0 < 8 { card::PAPER } else { card::AMBER };
        match place.1 {
            '0' => {
                digits.add(still, style, x + (DIGIT - CLOCK_STYLE.cap * 4.0 / 6.0) / 2.0, top, color);
                x += DIGIT;
            }
            mark => {
                still.text(&mark.to_string(), CLOCK_STYLE, x + MARK / 2.0, top, color);
                x += MARK;
            }
        }
    }
    digits
}

fn counter(still: &mut Canvas) -> Digits {
    let style = still.style(card::SMALL);
    let word = font::width("FRAME", card::SMALL);
    let digit = card::SMALL.cap * 4.0 / 6.0 + card::SMALL.stroke + card::SMALL.tracking;
    let left = card::CENTER[0] - (word + 10.0 + 7.0 * digit) / 2.0;
    still.text("FRAME", card::SMALL, left + word / 2.0, card::FRAME_TOP, card::MUTED);
    let mut digits = Digits::new(style);
    for place in 0..7 {
        digits.add(still, style, left + word + 10.0 + place as f32 * digit, card::FRAME_TOP, card::PAPER);
    }
    digits
}

/// A light that runs round the card once each second and is at the top when the lamp flashes.
#[derive(Debug)]
struct Hand {
    /// Column, row, how far round (0 to 1, clockwise from the top), coverage.
    track: Vec<(usize, usize, f32, f32)>,
    /// The two by two pixels that the track touches.
    blocks: Vec<(usize, usize)>,
}

impl Hand {
    fn new(canvas: &Canvas) -> Self {
        let [cx, cy] = card::CENTER;
        let pixels = canvas.pixels(Area::around(cx, cy, card::TRACK + 8.0));
        let mut track = Vec::new();
        for y in pixels.y {
            for x in pixels.x.clone() {
                let [px, py] = canvas.middle(x, y);
                let coverage = 0.5 - (((px - cx).hypot(py - cy) - card::TRACK).abs() - 4.0) * canvas.scale();
                if coverage > 0.0 && card::CLOCK.distance(px, py, card::CLOCK_CORNER) > 1.0 {
                    let turn = (px - cx).atan2(cy - py) / std::f32::consts::TAU;
                    track.push((x, y, turn.rem_euclid(1.0), coverage.min(1.0)));
                }
            }
        }
        let mut blocks: Vec<_> = track.iter().map(|&(x, y, ..)| (y & !1, x & !1)).collect();
        blocks.sort_unstable();
        blocks.dedup();
        Self { track, blocks }
    }

    fn show(&self, phase: f32, still: &Canvas, canvas: &mut Canvas, picture: &mut Picture) {
        for &(x, y, turn, coverage) in &self.track {
            canvas.restore_pixel(still, x, y);
            let behind = (phase - turn).rem_euclid(1.0);
            if behind < TAIL {
                let light = 1.0 - behind / TAIL;
                canvas.blend(x, y, card::AMBER, coverage * light * light);
            }
        }
        for &(y, x) in &self.blocks {
            canvas.convert_block(x, y, picture);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_800_000_000 * SECOND + 12 * 3600 * SECOND;

    fn at(micros: i64) -> WallClock {
        WallClock::from_unix_micros(micros)
    }

    /// Mean luma around a place of the design.
    fn luma(pattern: &TestPattern, x: f32, y: f32, radius: f32) -> u64 {
        let pixels = pattern.still.pixels(Area::around(x, y, radius));
        let (plane, _, _) = pattern.picture().planes();
        let values: Vec<_> = pixels
            .y
            .flat_map(|y| pixels.x.clone().map(move |x| y * pattern.picture().width() + x))
            .map(|at| u64::from(plane[at]))
            .collect();
        values.iter().sum::<u64>() / values.len() as u64
    }

    /// What is drawn step by step must be what would be drawn from nothing.
    #[test]
    fn nothing_is_left_behind() {
        let format = Format::default();
        let mut stepped = TestPattern::new(format, "Demo room").unwrap();
        for frame in 0..75_u64 {
            stepped.draw(at(NOON + i64::try_from(frame).unwrap() * SECOND / 30), frame);
        }
        let last = at(NOON + 75 * SECOND / 30);
        let stepped = stepped.draw(last, 75);
        let mut fresh = TestPattern::new(format, "Demo room").unwrap();
        assert!(stepped == fresh.draw(last, 75), "pixels of earlier pictures are still there");
    }

    #[test]
    fn the_lamp_flashes_at_the_full_second_only() {
        let mut pattern = TestPattern::new(Format::default(), "Demo room").unwrap();
        let [x, y] = card::LAMP;
        let mut brightness = |micros| {
            pattern.draw(at(NOON + micros), 0);
            luma(&pattern, x, y, 20.0)
        };
        let before = brightness(-33_333);
        let (first, third, later) = (brightness(0), brightness(66_667), brightness(600_000));
        assert!(first > 200 && third > 200, "{first}, {third}");
        assert!(before < 60 && later < 60, "{before}, {later}");
    }

    #[test]
    fn the_ball_is_on_the_floor_at_the_full_second_only() {
        let mut pattern = TestPattern::new(Format::default(), "Demo room").unwrap();
        let mut lowest = |micros| {
            pattern.draw(at(NOON + micros), 0);
            pattern.ball.y.end
        };
        let (floor, up) = (lowest(0), lowest(500_000));
        assert!(floor.abs_diff(card::FLOOR as usize) <= 3, "{floor}");
        assert!(up + 40 < floor, "{up}");
    }

    #[test]
    fn the_same_moment_gives_the_same_picture_at_any_size() {
        for (width, height, fps) in [(320, 180, 25), (640, 640, 15), (720, 1280, 30), (1920, 1080, 60)] {
            let mut pattern = TestPattern::new(Format { width, height, fps }, "").unwrap();
            let first = pattern.draw(at(NOON), 1).clone();
            assert_ne!(&first, pattern.draw(at(NOON + 40_000), 2));
            assert!(&first == pattern.draw(at(NOON), 1));
            assert_eq!(first.data().len(), width * height * 3 / 2);
        }
    }

    #[test]
    fn impossible_formats_are_refused_with_a_reason() {
        for (width, height, fps) in [(0, 0, 30), (1281, 720, 30), (1280, 720, 0), (1280, 720, 61), (usize::MAX - 1, 720, 30)] {
            assert!(TestPattern::new(Format { width, height, fps }, "").unwrap_err().to_string().contains("use"));
        }
    }

    #[test]
    fn a_strange_clock_does_no_harm() {
        let mut pattern = TestPattern::new(Format::default(), "Demo room").unwrap();
        for micros in [i64::MIN, -1, 0, i64::MAX] {
            pattern.draw(at(micros), u64::MAX);
        }
    }
}
