//! Edit lists (ISO/IEC 14496-12, section 8.6.6): where a track's media lies on the timeline of the presentation.

use super::Mp4Error;
use super::boxes::{Fields, invalid};

/// Edits beyond these are taken for cuts without being read.
pub(super) const MAX_EDITS: u32 = 256;

/// The part of an edit list that a live timeline can show: a delay, where the media begins, and where it ends. Cuts between several
/// stretches of media are not made, because frames that must be decoded and not shown can't be sent to viewers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edit {
    /// Empty edits before the media, in microseconds.
    pub delay: i64,
    /// Media time in ticks that is shown at the end of the delay.
    pub media_time: i64,
    /// Media time in ticks at which the presentation ends.
    pub end: Option<i64>,
}

/// Reads an elst box. `movie` and `media` are the time scales of the movie and of the track.
pub(super) fn read(path: &str, offset: u64, content: &[u8], movie: u32, media: u32) -> Result<Edit, Mp4Error> {
    let mut fields = Fields::new(path, offset, content);
    let (version, _) = fields.version()?;
    let count = fields.u32()?;
    let (mut delay, mut first, mut end, mut cut) = (0_u64, None, None, count > MAX_EDITS);
    for _ in 0..count.min(MAX_EDITS) {
        let at = fields.offset();
        let duration = fields.wide(version)?;
        let media_time = if version == 0 { i64::from(fields.i32()?) } else { fields.u64()? as i64 };
        fields.u32()?;
        match (media_time, first) {
            (-1, None) => delay = delay.saturating_add(duration),
            // A gap behind the media.
            (-1, Some(_)) => cut = true,
            (0.., None) => {
                first = Some(media_time);
                end = (duration > 0).then(|| media_time.saturating_add(rescale(duration, movie, media)));
            }
            // The time scale of the movie is often coarse, so stretches that follow each other seem to leave a gap of a tick.
            (0.., Some(_)) => match end {
                Some(before) if media_time.abs_diff(before) <= rescale(2, movie, media).unsigned_abs() => {
                    end = (duration > 0).then(|| media_time.saturating_add(rescale(duration, movie, media)));
                }
                _ => cut = true,
            },
            _ => return Err(invalid(path, at, format!("its media_time is {media_time}, allowed is -1 or a time"))),
        }
    }
    if delay > 0 && movie == 0 {
        return Err(invalid(path, offset, "it has an empty edit, and the timescale of moov/mvhd is 0"));
    }
    let end = end.filter(|_| !cut && movie > 0);
    Ok(Edit { delay: rescale(delay, movie, 1_000_000), media_time: first.unwrap_or(0), end })
}

/// `value` in units of `1/from` seconds in units of `1/to` seconds, rounded up; a `from` of 0 counts as 1.
fn rescale(value: u64, from: u32, to: u32) -> i64 {
    let scaled = (u128::from(value) * u128::from(to)).div_ceil(u128::from(from.max(1)));
    i64::try_from(scaled).unwrap_or(i64::MAX)
}
