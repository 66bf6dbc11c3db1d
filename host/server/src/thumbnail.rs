//! A small JPEG of a key frame.

use bytes::Bytes;
use flyloft_media::{Codec, Track};
use jpeg_encoder::{ColorType, Encoder};
use rusty_h264_decoder::Decoder;

/// Width of a thumbnail in pixels; smaller pictures stay as they are.
const WIDTH: usize = 480;
const QUALITY: u8 = 80;
/// Pixels of the largest picture that is decoded: 4096 × 2304.
const MAX_PIXELS: u64 = 4096 * 2304;
/// Bytes of the largest key frame that is decoded.
const MAX_FRAME: usize = 8 << 20;
/// Taller pictures of this width are cut off: nothing that is watched is so narrow.
const MAX_HEIGHT: usize = 4 * WIDTH;
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThumbnailError {
    #[error("there are thumbnails of H.264 only, and this is {0}")]
    Codec(Codec),
    #[error("the picture is too large for a thumbnail: {0} × {1} pixels")]
    TooLarge(u32, u32),
    #[error("the picture can't be decoded: {0}")]
    Decode(String),
}

/// Decodes `key_frame`, an access unit of `track`, and makes a JPEG of it. Takes some milliseconds of a processor.
pub fn jpeg(track: &Track, key_frame: &[u8]) -> Result<Bytes, ThumbnailError> {
    let Some(info) = track.video().filter(|_| track.codec == Codec::H264) else {
        return Err(ThumbnailError::Codec(track.codec));
    };
    if u64::from(info.width) * u64::from(info.height) > MAX_PIXELS || key_frame.len() > MAX_FRAME {
        return Err(ThumbnailError::TooLarge(info.width, info.height));
    }
    let broken = |what: &str| ThumbnailError::Decode(what.to_owned());
    let mut stream = parameter_sets(&track.config).ok_or_else(|| broken("its decoder configuration is damaged"))?;
    append_slices(&mut stream, key_frame, usize::from(info.nal_length_size)).ok_or_else(|| broken("a NAL unit is cut off"))?;
    let frame = Decoder::new().decode(&stream).map_err(|error| ThumbnailError::Decode(format!("{error:?}")))?;
    let frame = frame.ok_or_else(|| broken("it holds no picture"))?;
    let picture = Picture { width: frame.width, height: frame.height, y: &frame.y, u: &frame.u, v: &frame.v };
    let (width, height, pixels) = picture.scaled().ok_or_else(|| broken("it is empty"))?;
    let mut out = Vec::with_capacity(32 << 10);
    Encoder::new(&mut out, QUALITY)
        .encode(&pixels, width, height, ColorType::Rgb)
        .map_err(|error| ThumbnailError::Decode(error.to_string()))?;
    Ok(out.into())
}

/// The parameter sets of an avcC (ISO/IEC 14496-15, section 5.3.3.1) behind start codes.
fn parameter_sets(config: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(config.len() + 64);
    let mut rest = config.get(5..)?;
    for mask in [0x1f, 0xff] {
        let (count, sets) = rest.split_first()?;
        rest = sets;
        for _ in 0..count & mask {
            let (length, sets) = rest.split_first_chunk::<2>()?;
            let (set, sets) = sets.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            out.extend_from_slice(&START_CODE);
            out.extend_from_slice(set);
            rest = sets;
        }
    }
    Some(out)
}

/// Appends the slices of an access unit. Parameter sets in it are left out: the size that was checked is that of the configuration.
fn append_slices(out: &mut Vec<u8>, mut unit: &[u8], length_size: usize) -> Option<()> {
    while !unit.is_empty() {
        let (length, rest) = unit.split_at_checked(length_size).filter(|_| length_size > 0)?;
        let length = length.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
        let (nal, rest) = rest.split_at_checked(length)?;
        if nal.first().is_some_and(|header| matches!(header & 0x1f, 1 | 5)) {
            out.extend_from_slice(&START_CODE);
            out.extend_from_slice(nal);
        }
        unit = rest;
    }
    Some(())
}

/// A decoded picture in 4:2:0.
struct Picture<'a> {
    width: usize,
    height: usize,
    y: &'a [u8],
    u: &'a [u8],
    v: &'a [u8],
}

impl Picture<'_> {
    /// The picture in RGB, small, each pixel the average of those that it stands for.
    fn scaled(&self) -> Option<(u16, u16, Vec<u8>)> {
        let width = self.width.min(WIDTH);
        let height = (self.height * width).checked_div(self.width)?.clamp(1, MAX_HEIGHT);
        let mut out = Vec::with_capacity(width * height * 3);
        let chroma = (self.width.div_ceil(2), self.height.div_ceil(2));
        for row in 0..height {
            for column in 0..width {
                let at = |plane, (w, h): (usize, usize)| {
                    let across = (column * w / width, ((column + 1) * w).div_ceil(width).min(w));
                    let down = (row * h / height, ((row + 1) * h).div_ceil(height).min(h));
                    average(plane, w, across, down)
                };
                let y = at(self.y, (self.width, self.height));
                let (u, v) = (at(self.u, chroma), at(self.v, chroma));
                out.extend(rgb(y, u, v, self.height >= 720));
            }
        }
        Some((u16::try_from(width).ok()?, u16::try_from(height).ok()?, out))
    }
}

fn average(plane: &[u8], stride: usize, across: (usize, usize), down: (usize, usize)) -> f32 {
    let (mut sum, mut count) = (0_u32, 0_u32);
    for row in down.0..down.1 {
        let line = plane.get(row * stride + across.0..row * stride + across.1).unwrap_or_default();
        sum += line.iter().map(|&value| u32::from(value)).sum::<u32>();
        count += line.len() as u32;
    }
    if count > 0 { sum as f32 / count as f32 } else { 128.0 }
}

/// Limited range to RGB: by BT.709 for high definition, else by BT.601.
fn rgb(y: f32, u: f32, v: f32, high: bool) -> [u8; 3] {
    let (kr, kb) = if high { (0.2126, 0.0722) } else { (0.299, 0.114) };
    let (y, u, v) = ((y - 16.0) / 219.0, (u - 128.0) / 224.0, (v - 128.0) / 224.0);
    let (red, blue) = (y + 2.0 * (1.0 - kr) * v, y + 2.0 * (1.0 - kb) * u);
    let green = (y - kr * red - kb * blue) / (1.0 - kr - kb);
    [red, green, blue].map(|value| (value * 255.0).round().clamp(0.0, 255.0) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_media::{TrackId, codec};

    #[test]
    fn colours_are_those_of_the_standards() {
        assert_eq!(rgb(16.0, 128.0, 128.0, true), [0, 0, 0]);
        assert_eq!(rgb(235.0, 128.0, 128.0, false), [255, 255, 255]);
        // Red of BT.601 and of BT.709.
        assert_eq!(rgb(81.0, 90.0, 240.0, false), [254, 0, 0]);
        assert_eq!(rgb(63.0, 102.0, 240.0, true), [255, 1, 0]);
    }

    #[test]
    fn a_picture_becomes_small_and_keeps_its_shape() {
        let (width, height) = (1920, 1080);
        let y: Vec<u8> = (0..width * height).map(|at| if at % width < width / 2 { 16 } else { 235 }).collect();
        let chroma = vec![128; width / 2 * height / 2];
        let picture = Picture { width, height, y: &y, u: &chroma, v: &chroma };
        let (width, height, pixels) = picture.scaled().unwrap();
        assert_eq!((width, height, pixels.len()), (480, 270, 480 * 270 * 3));
        assert_eq!((pixels[0], pixels[479 * 3]), (0, 255));
        let empty = Picture { width: 0, height: 0, y: &[], u: &[], v: &[] };
        assert_eq!(empty.scaled(), None);
    }

    #[test]
    fn what_can_not_be_shown_says_why() {
        let config = [
            1, 0x64, 0, 0x0d, 0xff, 0xe1, 0, 0x19, 0x67, 0x64, 0, 0x0d, 0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0, 0, 3,
            0, 0x10, 0, 0, 3, 3, 0xc0, 0xf1, 0x42, 0x99, 0x60, 1, 0, 6, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0,
        ];
        let track = codec::track(TrackId::VIDEO, Codec::H264, Bytes::copy_from_slice(&config)).unwrap();
        assert!(matches!(jpeg(&track, &[0, 0, 0, 9, 0x65]), Err(ThumbnailError::Decode(_))));
        assert!(matches!(jpeg(&track, &[]), Err(ThumbnailError::Decode(_))));
        assert!(matches!(jpeg(&track, &[0, 0, 0, 2, 0x65, 0xff]), Err(ThumbnailError::Decode(_))));
        let sound = codec::track(TrackId::AUDIO, Codec::Aac, Bytes::from_static(&[0x11, 0x90])).unwrap();
        assert_eq!(jpeg(&sound, &[]), Err(ThumbnailError::Codec(Codec::Aac)));
    }
}
