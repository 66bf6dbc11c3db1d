//! A surface to draw on in RGB, and its I420 copy for the encoder, brought up to date only where something changed.
//! Shapes are given in the units of a 1280 × 720 design and drawn smooth at the surface's own size.

use super::font::{self, Mask, Style};

/// The design's size; every place and length that is drawn is in its units.
pub const DESIGN: [f32; 2] = [1280.0, 720.0];

pub type Rgb = [u8; 3];

/// A rectangle in design units: left, top, right, bottom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area(pub f32, pub f32, pub f32, pub f32);

impl Area {
    pub fn around(x: f32, y: f32, radius: f32) -> Self {
        Self(x - radius, y - radius, x + radius, y + radius)
    }

    /// Distance of a point from the edge of this area with rounded corners; negative inside.
    pub fn distance(self, x: f32, y: f32, corner: f32) -> f32 {
        let dx = (x - (self.0 + self.2) / 2.0).abs() - (self.2 - self.0) / 2.0 + corner;
        let dy = (y - (self.1 + self.3) / 2.0).abs() - (self.3 - self.1) / 2.0 + corner;
        dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - corner
    }
}

/// A rectangle of whole pixels: columns and rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    pub x: std::ops::Range<usize>,
    pub y: std::ops::Range<usize>,
}

#[derive(Clone, Debug)]
pub struct Canvas {
    width: usize,
    height: usize,
    scale: f32,
    origin: [f32; 2],
    rgb: Vec<Rgb>,
}

impl Canvas {
    pub fn new(width: usize, height: usize) -> Self {
        let scale = (width as f32 / DESIGN[0]).min(height as f32 / DESIGN[1]);
        let origin = [(width as f32 - DESIGN[0] * scale) / 2.0, (height as f32 - DESIGN[1] * scale) / 2.0];
        Self { width, height, scale, origin, rgb: vec![[0; 3]; width * height] }
    }

    /// Pixels for one design unit.
    pub const fn scale(&self) -> f32 {
        self.scale
    }

    /// The whole surface in design units; larger than the design where the shape of the picture differs.
    pub fn everything(&self) -> Area {
        let [x, y] = [self.origin[0] / self.scale, self.origin[1] / self.scale];
        Area(-x, -y, DESIGN[0] + x, DESIGN[1] + y)
    }

    /// The pixels that `area` touches.
    pub fn pixels(&self, area: Area) -> Pixels {
        let place = |value: f32, axis: usize| value * self.scale + self.origin[axis];
        let cut = |value: f32, limit: usize| (value.max(0.0) as usize).min(limit);
        Pixels {
            x: cut(place(area.0, 0).floor(), self.width)..cut(place(area.2, 0).ceil(), self.width),
            y: cut(place(area.1, 1).floor(), self.height)..cut(place(area.3, 1).ceil(), self.height),
        }
    }

    /// The middle of a pixel in design units.
    pub fn middle(&self, x: usize, y: usize) -> [f32; 2] {
        [(x as f32 + 0.5 - self.origin[0]) / self.scale, (y as f32 + 0.5 - self.origin[1]) / self.scale]
    }

    /// Mixes a colour into each pixel of `area`: `shade` says which and how much of it, 0 to 1, for a point.
    pub fn paint(&mut self, area: Area, shade: impl Fn(f32, f32) -> (Rgb, f32)) {
        let pixels = self.pixels(area);
        for y in pixels.y {
            for x in pixels.x.clone() {
                let [px, py] = self.middle(x, y);
                let (color, amount) = shade(px, py);
                self.blend(x, y, color, amount);
            }
        }
    }

    /// Fills the shape whose edge is `distance` away, negative inside, with smooth edges.
    pub fn fill(&mut self, area: Area, color: Rgb, alpha: f32, distance: impl Fn(f32, f32) -> f32) {
        let scale = self.scale;
        self.paint(area, |x, y| (color, alpha * (0.5 - distance(x, y) * scale).clamp(0.0, 1.0)));
    }

    pub fn disc(&mut self, x: f32, y: f32, radius: f32, color: Rgb, alpha: f32) {
        self.fill(Area::around(x, y, radius + 1.0), color, alpha, |px, py| (px - x).hypot(py - y) - radius);
    }

    /// A circle's line, `stroke` wide.
    pub fn ring(&mut self, x: f32, y: f32, radius: f32, stroke: f32, color: Rgb, alpha: f32) {
        let area = Area::around(x, y, radius + stroke);
        self.fill(area, color, alpha, |px, py| ((px - x).hypot(py - y) - radius).abs() - stroke / 2.0);
    }

    pub fn line(&mut self, from: [f32; 2], to: [f32; 2], stroke: f32, color: Rgb, alpha: f32) {
        let area = Area(
            from[0].min(to[0]) - stroke,
            from[1].min(to[1]) - stroke,
            from[0].max(to[0]) + stroke,
            from[1].max(to[1]) + stroke,
        );
        self.fill(area, color, alpha, |x, y| font::distance([x, y], from, to) - stroke / 2.0);
    }

    pub fn rounded(&mut self, area: Area, corner: f32, color: Rgb, alpha: f32) {
        self.fill(area, color, alpha, |x, y| area.distance(x, y, corner));
    }

    /// Lettering in pixels for a style in design units.
    pub fn style(&self, style: Style) -> Style {
        Style { cap: style.cap * self.scale, stroke: style.stroke * self.scale, tracking: style.tracking * self.scale }
    }

    /// Writes `text` with its middle at `x` and the top of its capitals at `top`.
    pub fn text(&mut self, text: &str, style: Style, x: f32, top: f32, color: Rgb) {
        let style = self.style(style);
        let left = x * self.scale + self.origin[0] - font::width(text, style) / 2.0 - font::pad(style);
        let top = top * self.scale + self.origin[1] - font::pad(style);
        let mask = font::draw(text, style, [left.rem_euclid(1.0), top.rem_euclid(1.0)]);
        self.stamp(&mask, left.floor() as isize, top.floor() as isize, color);
    }

    /// Lays `color` through a mask whose left upper corner is at pixel `left`, `top`. What lies outside is cut off.
    pub fn stamp(&mut self, mask: &Mask, left: isize, top: isize, color: Rgb) {
        for (row, line) in mask.coverage.chunks_exact(mask.width.max(1)).enumerate() {
            let Some(y) = top.checked_add_unsigned(row).and_then(|y| usize::try_from(y).ok()) else { continue };
            for (column, &covered) in line.iter().enumerate().filter(|&(_, &covered)| covered > 0) {
                let Some(x) = left.checked_add_unsigned(column).and_then(|x| usize::try_from(x).ok()) else { continue };
                self.blend(x, y, color, f32::from(covered) / 255.0);
            }
        }
    }

    /// Mixes `color` into a pixel; `amount` is 0 to 1. Outside the surface it does nothing.
    pub fn blend(&mut self, x: usize, y: usize, color: Rgb, amount: f32) {
        if amount <= 0.0 || x >= self.width {
            return;
        }
        let Some(pixel) = self.rgb.get_mut(y * self.width + x) else { return };
        let share = (amount.min(1.0) * 256.0) as i32;
        for (channel, &value) in pixel.iter_mut().zip(&color) {
            let before = i32::from(*channel);
            *channel = (before + (((i32::from(value) - before) * share) >> 8)) as u8;
        }
    }

    pub fn get(&self, x: usize, y: usize) -> Rgb {
        if x < self.width { self.rgb.get(y * self.width + x).copied().unwrap_or_default() } else { [0; 3] }
    }

    /// Takes the pixels from `other`, which has the same size.
    pub fn restore(&mut self, other: &Self, pixels: &Pixels) {
        for y in pixels.y.clone() {
            let row = y * self.width + pixels.x.start..y * self.width + pixels.x.end;
            if let (Some(to), Some(from)) = (self.rgb.get_mut(row.clone()), other.rgb.get(row)) {
                to.copy_from_slice(from);
            }
        }
    }

    pub fn restore_pixel(&mut self, other: &Self, x: usize, y: usize) {
        let at = y * self.width + x;
        if let (Some(to), Some(from)) = (self.rgb.get_mut(at), other.rgb.get(at)) {
            *to = *from;
        }
    }

    /// Brings `picture` up to date in these pixels.
    pub fn convert(&self, pixels: &Pixels, picture: &mut Picture) {
        for y in (pixels.y.start & !1..pixels.y.end).step_by(2) {
            for x in (pixels.x.start & !1..pixels.x.end).step_by(2) {
                self.convert_block(x, y, picture);
            }
        }
    }

    /// Brings the two by two pixels at `x`, `y`, both even, up to date. ITU-R BT.709 in limited range, 8 bits.
    pub fn convert_block(&self, x: usize, y: usize, picture: &mut Picture) {
        let mut sum = [0_i32; 3];
        for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let [r, g, b] = self.get(x + dx, y + dy).map(i32::from);
            sum = [sum[0] + r, sum[1] + g, sum[2] + b];
            let luma = 16 + ((11_966 * r + 40_254 * g + 4_064 * b + 32_768) >> 16);
            if let Some(pixel) = picture.data.get_mut((y + dy) * picture.width + x + dx) {
                *pixel = luma as u8;
            }
        }
        let [r, g, b] = sum;
        let at = (y / 2) * (picture.width / 2) + x / 2;
        let (luma, chroma) = (picture.width * picture.height, picture.width * picture.height / 4);
        let blue = 128 + ((-6_596 * r - 22_189 * g + 28_784 * b + 131_072) >> 18);
        let red = 128 + ((28_784 * r - 26_145 * g - 2_639 * b + 131_072) >> 18);
        for (plane, value) in [(luma, blue), (luma + chroma, red)] {
            if let Some(pixel) = picture.data.get_mut(plane + at) {
                *pixel = value.clamp(0, 255) as u8;
            }
        }
    }
}

/// A picture in I420: the luma plane, then both chroma planes at half the width and height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl Picture {
    /// A picture of a size whose width and height are even.
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, data: vec![0; width * height * 3 / 2] }
    }

    pub const fn width(&self) -> usize {
        self.width
    }

    pub const fn height(&self) -> usize {
        self.height
    }

    /// The three planes, one after the other.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The planes: luma, blue difference, red difference.
    pub fn planes(&self) -> (&[u8], &[u8], &[u8]) {
        let (luma, chroma) = self.data.split_at(self.width * self.height);
        let (blue, red) = chroma.split_at(chroma.len() / 2);
        (luma, blue, red)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(color: Rgb) -> [u8; 3] {
        let mut canvas = Canvas::new(64, 36);
        canvas.paint(canvas.everything(), |_, _| (color, 1.0));
        let mut picture = Picture::new(64, 36);
        canvas.convert(&canvas.pixels(canvas.everything()), &mut picture);
        let (luma, blue, red) = picture.planes();
        for plane in [luma, blue, red] {
            assert!(plane.iter().all(|&value| value == plane[0]));
        }
        [luma[0], blue[0], red[0]]
    }

    /// The 100 % colours of ITU-R BT.709 as 8-bit limited range values.
    #[test]
    fn colours_are_those_of_bt_709() {
        assert_eq!(converted([0, 0, 0]), [16, 128, 128]);
        assert_eq!(converted([255, 255, 255]), [235, 128, 128]);
        assert_eq!(converted([255, 0, 0]), [63, 102, 240]);
        assert_eq!(converted([0, 255, 0]), [173, 42, 26]);
        assert_eq!(converted([0, 0, 255]), [32, 240, 118]);
    }

    #[test]
    fn other_shapes_keep_the_design_in_the_middle() {
        let canvas = Canvas::new(720, 720);
        assert_eq!(canvas.everything(), Area(0.0, -280.0, 1280.0, 1000.0));
        assert_eq!(canvas.pixels(Area(0.0, 0.0, 1280.0, 720.0)), Pixels { x: 0..720, y: 157..563 });
    }

    #[test]
    fn drawing_outside_is_cut_off() {
        let mut canvas = Canvas::new(64, 36);
        let before = canvas.rgb.clone();
        canvas.disc(-500.0, 9_000.0, 40.0, [255; 3], 1.0);
        canvas.blend(64, 0, [255; 3], 1.0);
        canvas.blend(0, 36, [255; 3], 1.0);
        assert_eq!(canvas.rgb, before);
        canvas.text("EDGE", Style { cap: 300.0, stroke: 30.0, tracking: 0.0 }, 0.0, 0.0, [255; 3]);
        assert_ne!(canvas.rgb, before);
    }
}
