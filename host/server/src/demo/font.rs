//! The lettering of the test picture: capitals, digits and punctuation as strokes, drawn with round ends at any size.
//! Shapes are kept as short paths, so that they stay sharp where a bitmap font would show its pixels.

/// Height of a capital in the units of [`GLYPHS`].
const CAP: f32 = 6.0;
/// How finely a curve is cut into straight pieces.
const CURVE_STEPS: u8 = 8;
/// Distance of a control point from the end of a quarter ellipse, as a share of the way to its corner.
const QUARTER: f32 = 0.552_284_8;

/// Character, width, path. `M x y` lifts the pen, `L x y` draws a line, `C cx cy x y` draws a quarter ellipse that turns at the
/// corner `cx cy`. The top of a capital is at 0, the base line at 6.
#[rustfmt::skip]
const GLYPHS: &[(char, f32, &str)] = &[
    ('0', 4.0, "M2 0 C4 0 4 2 L4 4 C4 6 2 6 C0 6 0 4 L0 2 C0 0 2 0"),
    ('1', 4.0, "M0.9 1.2 L2.4 0 L2.4 6"),
    ('2', 4.0, "M0.1 1.9 C0.1 0 2 0 C3.9 0 3.9 1.8 C3.9 2.8 3 3.5 L0 6 L4 6"),
    ('3', 4.0, "M0.2 1.3 C0.6 0 2 0 C3.8 0 3.8 1.45 C3.8 2.9 2 2.9 L1.5 2.9 M2 2.9 C4 2.9 4 4.45 C4 6 2 6 C0.5 6 0 4.7"),
    ('4', 4.0, "M3.1 6 L3.1 0 L0 4.4 L4.1 4.4"),
    ('5', 4.0, "M3.6 0 L0.6 0 L0.3 2.9 C1 2.3 2 2.3 C4 2.3 4 4.15 C4 6 2 6 C0.5 6 0 4.8"),
    ('6', 4.0, "M3.6 0.9 C3.1 0 2.1 0 C0 0 0 2.6 L0 4.1 C0 6 2 6 C4 6 4 4.15 C4 2.3 2 2.3 C0 2.3 0 4.15"),
    ('7', 4.0, "M0 0 L4 0 L1.4 6"),
    ('8', 4.0, "M2 2.8 C0.2 2.8 0.2 1.4 C0.2 0 2 0 C3.8 0 3.8 1.4 C3.8 2.8 2 2.8 C4 2.8 4 4.4 C4 6 2 6 C0 6 0 4.4 C0 2.8 2 2.8"),
    ('9', 4.0, "M0.4 5.1 C0.9 6 1.9 6 C4 6 4 3.4 L4 1.9 C4 0 2 0 C0 0 0 1.85 C0 3.7 2 3.7 C4 3.7 4 1.85"),
    ('A', 4.2, "M0 6 L2.1 0 L4.2 6 M0.75 4 L3.45 4"),
    ('B', 3.9, "M0 2.8 L2 2.8 C3.6 2.8 3.6 1.4 C3.6 0 2 0 L0 0 L0 6 L2.2 6 C3.9 6 3.9 4.4 C3.9 2.8 2.2 2.8"),
    ('C', 4.0, "M4 1.5 C3.6 0 2.1 0 C0 0 0 2.2 L0 3.8 C0 6 2.1 6 C3.6 6 4 4.5"),
    ('D', 4.0, "M0 0 L1.6 0 C4 0 4 2.4 L4 3.6 C4 6 1.6 6 L0 6 L0 0"),
    ('E', 3.3, "M3.3 0 L0 0 L0 6 L3.3 6 M0 2.9 L2.8 2.9"),
    ('F', 3.3, "M3.3 0 L0 0 L0 6 M0 2.9 L2.7 2.9"),
    ('G', 4.0, "M3.9 1.4 C3.4 0 2.1 0 C0 0 0 2.2 L0 3.8 C0 6 2.1 6 C4 6 4 4.1 L4 3.2 L2.3 3.2"),
    ('H', 4.0, "M0 0 L0 6 M4 0 L4 6 M0 2.9 L4 2.9"),
    ('I', 0.0, "M0 0 L0 6"),
    ('J', 3.0, "M3 0 L3 4.2 C3 6 1.5 6 C0 6 0 4.4"),
    ('K', 3.7, "M0 0 L0 6 M3.6 0 L0 3.7 M1.3 2.4 L3.7 6"),
    ('L', 3.2, "M0 0 L0 6 L3.2 6"),
    ('M', 4.8, "M0 6 L0 0 L2.4 3.8 L4.8 0 L4.8 6"),
    ('N', 4.0, "M0 6 L0 0 L4 6 L4 0"),
    ('O', 4.2, "M2.1 0 C4.2 0 4.2 2.2 L4.2 3.8 C4.2 6 2.1 6 C0 6 0 3.8 L0 2.2 C0 0 2.1 0"),
    ('P', 3.8, "M0 6 L0 0 L2.1 0 C3.8 0 3.8 1.7 C3.8 3.4 2.1 3.4 L0 3.4"),
    ('Q', 4.2, "M2.1 0 C4.2 0 4.2 2.2 L4.2 3.8 C4.2 6 2.1 6 C0 6 0 3.8 L0 2.2 C0 0 2.1 0 M2.6 4.4 L4.2 6.3"),
    ('R', 3.8, "M0 6 L0 0 L2.1 0 C3.8 0 3.8 1.7 C3.8 3.4 2.1 3.4 L0 3.4 M2 3.4 L3.8 6"),
    ('S', 3.9, "M3.7 1.2 C3.2 0 2 0 C0.2 0 0.2 1.45 C0.2 2.9 2 2.9 C3.9 2.9 3.9 4.45 C3.9 6 2 6 C0.5 6 0 4.8"),
    ('T', 4.0, "M0 0 L4 0 M2 0 L2 6"),
    ('U', 4.0, "M0 0 L0 4 C0 6 2 6 C4 6 4 4 L4 0"),
    ('V', 4.2, "M0 0 L2.1 6 L4.2 0"),
    ('W', 5.8, "M0 0 L1.4 6 L2.9 1 L4.4 6 L5.8 0"),
    ('X', 4.0, "M0 0 L4 6 M4 0 L0 6"),
    ('Y', 4.0, "M0 0 L2 3.1 L4 0 M2 3.1 L2 6"),
    ('Z', 3.9, "M0 0 L3.9 0 L0 6 L3.9 6"),
    (' ', 1.8, ""),
    ('.', 0.0, "M0 6 L0 6"),
    (',', 0.4, "M0.4 5.9 L0 7"),
    (':', 0.0, "M0 1.7 L0 1.7 M0 4.6 L0 4.6"),
    (';', 0.4, "M0.4 1.7 L0.4 1.7 M0.4 4.8 L0 6.2"),
    ('-', 2.2, "M0 3 L2.2 3"),
    ('–', 3.0, "M0 3 L3 3"),
    ('—', 4.2, "M0 3 L4.2 3"),
    ('_', 3.4, "M0 6.4 L3.4 6.4"),
    ('·', 0.0, "M0 3 L0 3"),
    ('…', 3.0, "M0 6 L0 6 M1.5 6 L1.5 6 M3 6 L3 6"),
    ('/', 2.4, "M0 6.6 L2.4 -0.6"),
    ('\\', 2.4, "M0 -0.6 L2.4 6.6"),
    ('|', 0.0, "M0 -0.6 L0 6.8"),
    ('(', 1.4, "M1.4 -0.6 C0 0.8 0 3 C0 5.2 1.4 6.6"),
    (')', 1.4, "M0 -0.6 C1.4 0.8 1.4 3 C1.4 5.2 0 6.6"),
    ('[', 1.2, "M1.2 -0.5 L0 -0.5 L0 6.5 L1.2 6.5"),
    (']', 1.2, "M0 -0.5 L1.2 -0.5 L1.2 6.5 L0 6.5"),
    ('+', 3.0, "M1.5 1.5 L1.5 4.5 M0 3 L3 3"),
    ('=', 3.0, "M0 2.1 L3 2.1 M0 3.9 L3 3.9"),
    ('<', 2.4, "M2.4 1.2 L0 3 L2.4 4.8"),
    ('>', 2.4, "M0 1.2 L2.4 3 L0 4.8"),
    ('×', 2.4, "M0 1.8 L2.4 4.2 M2.4 1.8 L0 4.2"),
    ('*', 2.4, "M1.2 0.2 L1.2 2.8 M0 0.9 L2.4 2.1 M2.4 0.9 L0 2.1"),
    ('\'', 0.0, "M0 0 L0 1.3"),
    ('’', 0.3, "M0.3 0 L0 1.3"),
    ('"', 1.3, "M0 0 L0 1.3 M1.3 0 L1.3 1.3"),
    ('!', 0.0, "M0 0 L0 4.1 M0 6 L0 6"),
    ('?', 3.4, "M0 1.5 C0.2 0 1.7 0 C3.4 0 3.4 1.6 C3.4 2.6 2.5 3 C1.7 3.4 1.7 4.2 M1.7 6 L1.7 6"),
    ('#', 4.0, "M1.4 0.3 L0.8 5.7 M3.2 0.3 L2.6 5.7 M0.2 2.1 L4 2.1 M0 3.9 L3.8 3.9"),
    ('%', 4.6, "M4 0 L0.6 6 M1 0 C2 0 2 1.1 C2 2.2 1 2.2 C0 2.2 0 1.1 C0 0 1 0 M3.6 3.8 C4.6 3.8 4.6 4.9 C4.6 6 3.6 6 C2.6 6 2.6 4.9 C2.6 3.8 3.6 3.8"),
    ('&', 4.3, "M4.3 6 L1 2.3 C0.6 1.8 0.6 1.3 C0.6 0 1.8 0 C3 0 3 1.2 C3 2.2 1.6 2.8 C0 3.4 0 4.5 C0 6 1.7 6 C3.6 6 4 3.4"),
    ('@', 5.0, "M3.4 3 C3.4 1.8 2.5 1.8 C1.5 1.8 1.5 3 C1.5 4.3 2.5 4.3 C3.4 4.3 3.4 3 L3.4 3.6 C3.4 4.4 4.2 4.4 C5 4.4 5 3 C5 0.3 2.5 0.3 C0 0.3 0 3.1 C0 6 2.6 6 L3.6 5.8"),
];

/// Stands in for characters that have no shape here.
const UNKNOWN: (char, f32, &str) = ('\u{fffd}', 3.0, "M0 0.6 L3 0.6 L3 5.4 L0 5.4 L0 0.6");

/// A straight piece of a stroke: from, to.
type Segment = ([f32; 2], [f32; 2]);

/// How text looks, in pixels.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Height of a capital, between the middles of its strokes.
    pub cap: f32,
    pub stroke: f32,
    /// Room between two characters, added to the stroke's own width.
    pub tracking: f32,
}

/// How much of each pixel is covered, 0 to 255, in rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    pub width: usize,
    pub height: usize,
    pub coverage: Vec<u8>,
}

/// The shapes in `style` above each other: `pad` pixels of margin are around the capital's box in every mask.
pub const fn pad(style: Style) -> f32 {
    style.stroke / 2.0 + style.cap * 0.2 + 1.0
}

/// Width of `text` between the middles of its outer strokes, in pixels.
pub fn width(text: &str, style: Style) -> f32 {
    let unit = style.cap / CAP;
    let advance = |char| glyph(char).1 * unit + style.stroke + style.tracking;
    let sum: f32 = text.chars().map(advance).sum();
    (sum - style.stroke - style.tracking).max(0.0)
}

/// The start of `text` that is at most `limit` pixels wide, with an ellipsis where something was left out.
pub fn fit(text: &str, style: Style, limit: f32) -> String {
    if width(text, style) <= limit {
        return text.to_owned();
    }
    let mut kept = String::new();
    for char in text.chars() {
        kept.push(char);
        if width(&format!("{}…", kept.trim_end()), style) > limit {
            kept.pop();
            break;
        }
    }
    format!("{}…", kept.trim_end())
}

/// Draws `text`. The first character's box starts at `pad(style) + shift` from the left, with `shift` the part of a pixel by
/// which the caller's place lies beyond a whole one.
pub fn draw(text: &str, style: Style, shift: [f32; 2]) -> Mask {
    let unit = style.cap / CAP;
    let pad = pad(style);
    let mut segments = Vec::new();
    let mut x = pad + shift[0];
    for char in text.chars() {
        let (_, width, path) = glyph(char);
        let place = |[px, py]: [f32; 2]| [px * unit + x, py * unit + pad + shift[1]];
        segments.extend(segments_of(path).into_iter().map(|(from, to)| (place(from), place(to))));
        x += width * unit + style.stroke + style.tracking;
    }
    let width = (width(text, style) + 2.0 * pad + shift[0]).ceil() as usize;
    let height = (style.cap + 2.0 * pad + shift[1]).ceil() as usize;
    let mut coverage = vec![0; width * height];
    let reach = style.stroke / 2.0 + 0.5;
    for (from, to) in segments {
        let columns = span(from[0].min(to[0]) - reach, from[0].max(to[0]) + reach, width);
        for y in span(from[1].min(to[1]) - reach, from[1].max(to[1]) + reach, height) {
            for x in columns.clone() {
                let distance = distance([x as f32 + 0.5, y as f32 + 0.5], from, to);
                let covered = ((reach - distance).clamp(0.0, 1.0) * 255.0) as u8;
                let pixel = &mut coverage[y * width + x];
                *pixel = (*pixel).max(covered);
            }
        }
    }
    Mask { width, height, coverage }
}

fn span(from: f32, to: f32, limit: usize) -> std::ops::Range<usize> {
    from.floor().max(0.0) as usize..(to.ceil().max(0.0) as usize).min(limit)
}

/// Distance of `point` from the line between `from` and `to`.
pub fn distance(point: [f32; 2], from: [f32; 2], to: [f32; 2]) -> f32 {
    let (line, way) = ([to[0] - from[0], to[1] - from[1]], [point[0] - from[0], point[1] - from[1]]);
    let length = line[0] * line[0] + line[1] * line[1];
    let along = if length > 0.0 { ((way[0] * line[0] + way[1] * line[1]) / length).clamp(0.0, 1.0) } else { 0.0 };
    (way[0] - along * line[0]).hypot(way[1] - along * line[1])
}

fn glyph(char: char) -> (char, f32, &'static str) {
    let upper = char.to_uppercase().next().unwrap_or(char);
    GLYPHS.iter().copied().find(|glyph| glyph.0 == upper).unwrap_or(UNKNOWN)
}

fn segments_of(path: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut pen = [0.0, 0.0];
    let mut rest = path;
    while let Some(command) = rest.chars().next() {
        let body = &rest[command.len_utf8()..];
        let end = body.find(|c: char| c.is_ascii_uppercase()).unwrap_or(body.len());
        let numbers: Vec<f32> = body[..end].split_whitespace().filter_map(|number| number.parse().ok()).collect();
        rest = &body[end..];
        match (command, numbers.as_slice()) {
            ('M', &[x, y]) => pen = [x, y],
            ('L', &[x, y]) => {
                segments.push((pen, [x, y]));
                pen = [x, y];
            }
            ('C', &[cx, cy, x, y]) => {
                let start = pen;
                for step in 1..=CURVE_STEPS {
                    let at = quarter(start, [cx, cy], [x, y], f32::from(step) / f32::from(CURVE_STEPS));
                    segments.push((pen, at));
                    pen = at;
                }
            }
            _ => debug_assert!(false, "a path of the font is wrong at {command}{body}"),
        }
    }
    segments
}

/// The point at `t` of the quarter ellipse from `start` to `end` that turns at `corner`, as a cubic curve.
fn quarter(start: [f32; 2], corner: [f32; 2], end: [f32; 2], t: f32) -> [f32; 2] {
    let u = 1.0 - t;
    std::array::from_fn(|axis| {
        let first = start[axis] + QUARTER * (corner[axis] - start[axis]);
        let second = end[axis] + QUARTER * (corner[axis] - end[axis]);
        u * u * u * start[axis] + 3.0 * u * u * t * first + 3.0 * u * t * t * second + t * t * t * end[axis]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style { cap: 24.0, stroke: 3.0, tracking: 2.0 };

    #[test]
    fn every_path_is_understood_to_its_end() {
        for &(char, width, path) in GLYPHS {
            let commands = path.chars().filter(char::is_ascii_uppercase).filter(|&command| command != 'M').count();
            let curves = path.matches('C').count();
            assert_eq!(segments_of(path).len(), commands + curves * usize::from(CURVE_STEPS - 1), "{char}");
            for (_, [x, _]) in segments_of(path) {
                assert!((-0.01..=width + 0.11).contains(&x), "{char} leaves its box at {x}");
            }
        }
    }

    #[test]
    fn characters_differ_from_each_other() {
        let drawn: Vec<_> = GLYPHS.iter().map(|glyph| (glyph.0, draw(&glyph.0.to_string(), STYLE, [0.0; 2]))).collect();
        for (i, (char, mask)) in drawn.iter().enumerate() {
            assert_eq!(mask.coverage.iter().any(|&covered| covered > 200), *char != ' ', "{char}");
            for (other, other_mask) in &drawn[i + 1..] {
                assert_ne!(mask, other_mask, "{char} and {other}");
            }
        }
    }

    #[test]
    fn a_long_text_is_cut_with_an_ellipsis() {
        let whole = "A room with a very long name";
        let cut = fit(whole, STYLE, 200.0);
        assert!(cut.ends_with('…') && cut.len() < whole.len(), "{cut}");
        assert!(width(&cut, STYLE) <= 200.0);
        assert_eq!(fit("Short", STYLE, 200.0), "Short");
    }

    #[test]
    fn unknown_characters_and_no_characters_are_drawn() {
        assert_eq!(draw("雪", STYLE, [0.0; 2]), draw("\u{1F600}", STYLE, [0.0; 2]));
        assert!(draw("", STYLE, [0.5; 2]).coverage.iter().all(|&covered| covered == 0));
    }
}
