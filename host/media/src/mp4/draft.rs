//! A track while its boxes are read: what each box says, until the track is whole.

use std::sync::Arc;

use bytes::Bytes;

use super::Mp4Error;
use super::boxes::{Fields, FourCc, Header, invalid};
use super::edit::{self, Edit, MAX_EDITS};
use super::entry::{self, Entry};
use super::movie::{LeftOut, MovieTrack, Sizes, Tables};
use super::open::MAX_BOX;
use super::table::{Marks, Table};
use crate::track::TrackId;

#[derive(Debug, Default)]
pub(super) struct Draft {
    number: u32,
    enabled: bool,
    timescale: u32,
    /// In ticks.
    duration: u64,
    language: [u8; 3],
    handler: FourCc,
    /// An edit list can only be understood when the time scale of the track is known.
    edits: Option<(String, u64, Bytes)>,
    entries: Vec<Entry>,
    shift: Option<i64>,
    times: Option<Table>,
    compositions: Option<Table>,
    chunks: Option<Table>,
    offsets: Option<Table>,
    sizes: Option<(u64, Sizes)>,
    sync: Option<Table>,
}

impl Draft {
    /// How many bytes of a box of `kind` must be read at most, if it is one that matters.
    pub fn needs(parent: FourCc, kind: FourCc) -> Option<u64> {
        Some(match (&parent.0, &kind.0) {
            (b"trak", b"tkhd") => 24,
            (b"edts", b"elst") => 8 + 20 * u64::from(MAX_EDITS),
            (b"mdia", b"mdhd") => 36,
            (b"mdia", b"hdlr") => 12,
            (b"stbl", b"stsd") => MAX_BOX,
            (b"stbl", b"stts" | b"ctts" | b"stsc" | b"stco" | b"co64" | b"stss" | b"cslg") => 8,
            (b"stbl", b"stsz" | b"stz2") => 12,
            _ => return None,
        })
    }

    /// Reads the beginning of a box: `content` is what [`Draft::needs`] asked for.
    pub fn read(&mut self, path: &str, found: Header, content: &Bytes) -> Result<(), Mp4Error> {
        let mut fields = Fields::new(path, found.content, content);
        match &found.kind.0 {
            b"elst" => {
                self.edits = Some((path.to_owned(), found.content, Bytes::copy_from_slice(content)));
                return Ok(());
            }
            b"stsd" => {
                if found.length() > MAX_BOX {
                    let problem = format!("it has {} bytes, at most {MAX_BOX} are taken", found.length());
                    return Err(invalid(path, found.start, problem));
                }
                self.entries = entry::read(path, found.content, content)?;
                return Ok(());
            }
            _ => {}
        }
        let (version, flags) = fields.version()?;
        match &found.kind.0 {
            b"tkhd" => {
                self.enabled = flags & 1 != 0;
                fields.take(if version == 0 { 8 } else { 16 })?;
                self.number = fields.u32()?;
            }
            b"mdhd" => {
                fields.take(if version == 0 { 8 } else { 16 })?;
                self.timescale = fields.u32()?;
                if self.timescale == 0 {
                    return Err(invalid(path, found.start, "its timescale is 0, so that no time in the track means anything"));
                }
                self.duration = fields.wide(version)?;
                // All ones where it is not known.
                let unknown = if version == 0 { u64::from(u32::MAX) } else { u64::MAX };
                if self.duration == unknown {
                    self.duration = 0;
                }
                let language = fields.u16()?;
                // Three letters of five bits; smaller numbers are QuickTime's own codes.
                self.language = [10, 5, 0].map(|shift| (language >> shift & 0x1f) as u8 + 0x60);
            }
            b"hdlr" => {
                fields.u32()?;
                self.handler = FourCc(fields.array()?);
            }
            b"stts" => self.times = Some(table(path, found, &mut fields, 8)?),
            b"ctts" => self.compositions = Some(table(path, found, &mut fields, 8)?).filter(|table| table.count > 0),
            b"stsc" => self.chunks = Some(table(path, found, &mut fields, 12)?),
            b"stco" => self.offsets = Some(table(path, found, &mut fields, 4)?),
            b"co64" => self.offsets = Some(table(path, found, &mut fields, 8)?),
            b"stss" => self.sync = Some(table(path, found, &mut fields, 4)?),
            b"cslg" if version == 0 => self.shift = Some(i64::from(fields.i32()?).max(0)),
            b"stsz" => {
                let size = fields.u32()?;
                self.sizes = Some(match size {
                    0 => {
                        let table = table(path, found, &mut fields, 4)?;
                        (table.count, Sizes::Each(table))
                    }
                    size => (fields.u32()?.into(), Sizes::Constant(size)),
                });
            }
            b"stz2" => {
                let bits = fields.u32()? & 0xff;
                self.sizes = Some(match bits {
                    4 => {
                        let count = u64::from(fields.u32()?);
                        let pairs = Table { path: path.into(), start: fields.offset(), count: count.div_ceil(2), width: 1 };
                        check(found, &pairs)?;
                        (count, Sizes::Nibbles(pairs))
                    }
                    8 | 16 => {
                        let table = table(path, found, &mut fields, u64::from(bits / 8))?;
                        (table.count, Sizes::Each(table))
                    }
                    bits => return Err(invalid(path, found.start, format!("its field_size is {bits}, allowed is 4, 8 or 16"))),
                });
            }
            _ => {}
        }
        Ok(())
    }

    /// The track, or why it can't be played. `path` and `end` are those of its box, `movie` is the time scale of the movie.
    pub fn finish(self, path: &str, end: u64, movie: u32) -> Result<Result<MovieTrack, LeftOut>, Mp4Error> {
        let number = self.number;
        let left_out = |codec: String, reason: &str| Ok(Err(LeftOut { number, codec, reason: reason.to_owned() }));
        if &self.handler.0 != b"vide" && &self.handler.0 != b"soun" {
            return left_out(self.handler.to_string(), "it is neither picture nor sound");
        }
        let Some(main) = self.entries.iter().find(|entry| entry.description.is_ok()).or(self.entries.first()) else {
            return left_out(self.handler.to_string(), "it has no sample entry");
        };
        let description = match &main.description {
            Ok(description) => description,
            Err(reason) => return left_out(main.name.clone(), reason),
        };
        // The id is given out when all tracks are known.
        let track = match description.track(TrackId::VIDEO) {
            Ok(track) => track,
            Err(error) => return left_out(main.name.clone(), &error.to_string()),
        };
        let missing =
            |name: &str| invalid(path, end, format!("the {} track {number} has no {name} box", description.kind_name()));
        let timescale = Some(self.timescale).filter(|&timescale| timescale > 0).ok_or_else(|| missing("mdhd"))?;
        let (samples, sizes) = self.sizes.ok_or_else(|| missing("stsz"))?;
        let times = self.times.ok_or_else(|| missing("stts"))?;
        let chunks = self.chunks.ok_or_else(|| missing("stsc"))?;
        let offsets = self.offsets.ok_or_else(|| missing("stco"))?;
        if samples > 0 && times.count == 0 {
            return Err(times.invalid(0, format!("it has no entries, and there are {samples} samples")));
        }
        let edit = match &self.edits {
            Some((path, offset, content)) => edit::read(path, *offset, content, movie, timescale)?,
            None => Edit::default(),
        };
        let marks = |table: &Table| Marks::new(table.count);
        let tables = Tables {
            samples,
            time_marks: marks(&times),
            composition_marks: Marks::new(self.compositions.as_ref().map_or(0, |table| table.count)),
            chunk_marks: marks(&chunks),
            entries: self.entries.iter().map(|entry| entry.description.as_ref() == Ok(description)).collect(),
            times,
            compositions: self.compositions,
            chunks,
            offsets,
            sizes,
            sync: self.sync,
        };
        let mut track = MovieTrack {
            track,
            number,
            language: language(self.language),
            enabled: self.enabled,
            duration: None,
            timescale,
            edit,
            shift: self.shift,
            tables,
            defaults: None,
        };
        if self.duration > 0 {
            // Where pictures are reordered, the first is shown at media_time, and the last as much later than it is decoded.
            let delay = if track.tables.compositions.is_some() { edit.media_time } else { 0 };
            let end = i64::try_from(self.duration).unwrap_or(i64::MAX).saturating_add(delay);
            track.duration = Some(track.micros(edit.end.map_or(end, |cut| cut.min(end))).max(0));
        }
        Ok(Ok(track))
    }
}

/// A table whose entry count is the next field.
fn table(path: &str, found: Header, fields: &mut Fields<'_>, width: u64) -> Result<Table, Mp4Error> {
    let count = u64::from(fields.u32()?);
    let table = Table { path: Arc::from(path), start: fields.offset(), count, width };
    check(found, &table)?;
    Ok(table)
}

/// An entry count is believed only as far as the box goes.
fn check(found: Header, table: &Table) -> Result<(), Mp4Error> {
    let room = found.end.saturating_sub(table.start);
    if table.count.saturating_mul(table.width) > room {
        let problem = format!("it claims {} entries of {} bytes, and has {room} bytes for them", table.count, table.width);
        return Err(invalid(&*table.path, found.start, problem));
    }
    Ok(())
}

fn language(letters: [u8; 3]) -> String {
    if letters.iter().all(u8::is_ascii_lowercase) {
        letters.iter().map(|&letter| char::from(letter)).collect()
    } else {
        "und".to_owned()
    }
}
