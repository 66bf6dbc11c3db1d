//! What is known of an opened file: its tracks, and where their sample tables lie. Nothing here grows with the file.

use super::edit::Edit;
use super::fragment::Defaults;
use super::source::Window;
use super::table::{Marks, Table};
use crate::track::{MediaKind, Track, TrackId};

/// An opened file. It holds no samples and no sample tables, only where they lie: some KiB, however long the file is.
#[derive(Debug)]
pub struct Movie {
    pub(super) size: u64,
    /// Bytes that are read ahead at most.
    pub(super) most: u64,
    pub(super) tracks: Vec<MovieTrack>,
    pub(super) left_out: Vec<LeftOut>,
    /// The movie box of a small file, so that its tables need not be read again.
    pub(super) kept: Window,
    pub(super) fragments: Option<Fragments>,
}

/// A track that can be played.
#[derive(Debug)]
pub struct MovieTrack {
    /// Codec and decoder configuration. The ids are given out here: the tracks that play by default have [`TrackId::VIDEO`] and
    /// [`TrackId::AUDIO`].
    pub track: Track,
    /// The track_ID in the file.
    pub number: u32,
    /// ISO 639-2/T, `und` where the file does not say.
    pub language: String,
    /// Whether the author meant it to play unless another is chosen.
    pub enabled: bool,
    /// How long the presentation of the track lasts from the start of the movie, in microseconds, by its header. A fragmented file
    /// often does not say.
    pub duration: Option<i64>,
    pub(super) timescale: u32,
    pub(super) edit: Edit,
    /// compositionToDTSShift, in ticks (section 8.6.1.4).
    pub(super) shift: Option<i64>,
    pub(super) tables: Tables,
    pub(super) defaults: Option<Defaults>,
}

/// A track that can't be played, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The track_ID in the file.
    pub number: u32,
    /// The codec or, for tracks that are neither picture nor sound, the handler, as the file names it.
    pub codec: String,
    pub reason: String,
}

/// Where the fragments of a file begin, and the index that stands before them.
#[derive(Clone, Debug)]
pub(super) struct Fragments {
    pub at: u64,
    pub sidx: Option<u64>,
}

/// The sample tables of a track (sections 8.6 and 8.7).
#[derive(Debug)]
pub(super) struct Tables {
    /// Samples in the tables; a fragmented file has none there.
    pub samples: u64,
    pub times: Table,
    pub compositions: Option<Table>,
    pub chunks: Table,
    pub offsets: Table,
    pub sizes: Sizes,
    pub sync: Option<Table>,
    /// For each sample entry: whether it is the one that the track plays with.
    pub entries: Vec<bool>,
    pub time_marks: Marks,
    pub composition_marks: Marks,
    pub chunk_marks: Marks,
}

#[derive(Debug)]
pub(super) enum Sizes {
    /// Every sample has this many bytes.
    Constant(u32),
    Each(Table),
    /// Four bits for each sample (stz2).
    Nibbles(Table),
}

impl Movie {
    /// The tracks that can be played, in the order of the file.
    pub fn tracks(&self) -> &[MovieTrack] {
        &self.tracks
    }

    pub fn track(&self, id: TrackId) -> Option<&MovieTrack> {
        self.tracks.iter().find(|track| track.track.id == id)
    }

    /// The tracks that can't be played, with the reasons.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// The first enabled video track and the first enabled audio track; where none is enabled, the first.
    pub fn default_tracks(&self) -> Vec<TrackId> {
        [TrackId::VIDEO, TrackId::AUDIO].into_iter().filter(|&id| self.track(id).is_some()).collect()
    }

    /// How long the longest track lasts in microseconds, where the file says so.
    pub fn duration(&self) -> Option<i64> {
        self.tracks.iter().filter_map(|track| track.duration).max()
    }

    pub const fn is_fragmented(&self) -> bool {
        self.fragments.is_some()
    }

    /// Bytes in the file.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// About how many bytes of memory this takes.
    pub fn held(&self) -> usize {
        let marks = |tables: &Tables| tables.time_marks.held() + tables.composition_marks.held() + tables.chunk_marks.held();
        let tracks: usize = self.tracks.iter().map(|track| marks(&track.tables) + track.track.config.len()).sum();
        self.kept.held() + tracks + self.tracks.len() * size_of::<MovieTrack>() + self.left_out.len() * size_of::<LeftOut>()
    }

    pub(super) fn index(&self, id: TrackId) -> Option<usize> {
        self.tracks.iter().position(|track| track.track.id == id)
    }
}

impl MovieTrack {
    pub(super) const fn kind(&self) -> MediaKind {
        self.track.kind()
    }
}

/// Gives out ids: the default track of each kind comes first, the others follow in the order of the file.
pub(super) fn number(mut tracks: Vec<MovieTrack>, left_out: &mut Vec<LeftOut>) -> Vec<MovieTrack> {
    for (kind, base) in [(MediaKind::Video, TrackId::VIDEO), (MediaKind::Audio, TrackId::AUDIO)] {
        let of_kind = |track: &MovieTrack| track.kind() == kind;
        let default = tracks.iter().position(|track| of_kind(track) && track.enabled);
        let default = default.or_else(|| tracks.iter().position(of_kind));
        let mut next = base.0.checked_add(2);
        let mut at = 0;
        tracks.retain_mut(|track| {
            at += 1;
            if !of_kind(track) {
                return true;
            }
            if Some(at - 1) == default {
                track.track.id = base;
            } else if let Some(id) = next {
                track.track.id = TrackId(id);
                next = id.checked_add(2);
            } else {
                let reason = "there are more than 128 tracks of its kind".to_owned();
                left_out.push(LeftOut { number: track.number, codec: track.track.codec.to_string(), reason });
                return false;
            }
            true
        });
    }
    tracks
}
