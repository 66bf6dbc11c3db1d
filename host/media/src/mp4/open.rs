//! Opens a file: walks over its boxes, reads the small ones of the movie box and notes where the tables lie.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::Mp4Error;
use super::boxes::{Fields, FourCc, Header, content, header, invalid, join};
use super::draft::Draft;
use super::fragment::Defaults;
use super::movie::{Fragments, LeftOut, Movie, MovieTrack, number};
use super::source::{Flow, MAX_READ, Source, Stop, Window};

/// The first read, and the size up to which a movie box is kept in memory.
const FIRST: u64 = 64 << 10;
/// Reads between the tables of a large movie box.
const BETWEEN: u64 = 16 << 10;
/// Boxes of the file before its movie box. Files have a handful.
const MAX_BOXES: u32 = 10_000;
const MAX_TRACKS: usize = 256;
/// Bytes of a box that is read as a whole. Decoder configurations have a few hundred.
pub(super) const MAX_BOX: u64 = 256 << 10;

/// What [`Opening::step`] gives.
#[derive(Debug)]
pub enum Step {
    /// This range of the file is needed: read it, [`Opening::supply`] it, and step again.
    Want(Range<u64>),
    Ready(Arc<Movie>),
}

/// Opens an MP4, MOV or fragmented MP4 file. It wants little: the first 64 KiB, the movie box wherever it stands without its tables,
/// and never the media.
#[derive(Debug)]
pub struct Opening {
    source: Source,
    /// Where the next box begins.
    at: u64,
    /// Boxes that hold it, the outermost first, and their path.
    levels: Vec<Level>,
    path: String,
    boxes: u32,
    saw_fragment: bool,
    kept: Window,
    movie_timescale: u32,
    movie_duration: Option<u64>,
    traks: usize,
    draft: Option<Draft>,
    tracks: Vec<MovieTrack>,
    left_out: Vec<LeftOut>,
    defaults: Vec<(u32, Defaults)>,
    fragmented: bool,
    /// Behind the movie box: where it ends, and the index that follows it.
    end: Option<u64>,
    sidx: Option<u64>,
    movie: Option<Arc<Movie>>,
}

#[derive(Debug)]
struct Level {
    kind: FourCc,
    end: u64,
    /// Length of the path outside it.
    outside: usize,
}

impl Opening {
    /// `size` is the number of bytes in the file.
    pub fn new(size: u64) -> Self {
        Self::with_read_ahead(size, MAX_READ)
    }

    /// Reads at most so many bytes ahead, also later: small numbers make small files behave like large ones.
    pub(crate) fn with_read_ahead(size: u64, most: u64) -> Self {
        Self {
            source: Source::new(size, Window::default(), most),
            at: 0,
            levels: Vec::new(),
            path: String::new(),
            boxes: 0,
            saw_fragment: false,
            kept: Window::default(),
            movie_timescale: 0,
            movie_duration: None,
            traks: 0,
            draft: None,
            tracks: Vec::new(),
            left_out: Vec::new(),
            defaults: Vec::new(),
            fragmented: false,
            end: None,
            sidx: None,
            movie: None,
        }
    }

    /// The movie, or what must be read first.
    pub fn step(&mut self) -> Result<Step, Mp4Error> {
        match self.advance() {
            Ok(movie) => Ok(Step::Ready(movie)),
            Err(Stop::Want(range)) => Ok(Step::Want(range)),
            Err(Stop::Broken(error)) => Err(error),
        }
    }

    /// Takes the bytes of the range that was wanted; fewer mean that the file ends there.
    pub fn supply(&mut self, offset: u64, bytes: impl AsRef<[u8]>) -> Result<(), Mp4Error> {
        self.source.supply(offset, bytes.as_ref())
    }

    /// At most so many bytes of memory are held.
    pub fn held(&self) -> usize {
        let tracks = self.tracks.iter().map(|track| track.track.config.len() + size_of::<MovieTrack>());
        self.source.held() + tracks.sum::<usize>() + self.defaults.len() * size_of::<(u32, Defaults)>()
    }

    fn advance(&mut self) -> Flow<Arc<Movie>> {
        while self.end.is_none() {
            match self.levels.last() {
                None => self.file_box()?,
                Some(level) => {
                    let (kind, end) = (level.kind, level.end);
                    match header(&mut self.source, self.at, end, BETWEEN, &self.path)? {
                        Some(found) => self.movie_box(kind, found)?,
                        None => self.leave()?,
                    }
                }
            }
        }
        if let Some(movie) = &self.movie {
            return Ok(Arc::clone(movie));
        }
        self.behind_movie()?;
        let movie = self.finish()?;
        self.movie = Some(Arc::clone(&movie));
        Ok(movie)
    }

    /// One box of the file before the movie box.
    fn file_box(&mut self) -> Flow<()> {
        let size = self.source.size();
        let found = match header(&mut self.source, self.at, size, FIRST, "") {
            Ok(Some(found)) => found,
            Ok(None) if self.at == 0 => return Err(Mp4Error::NotMp4.into()),
            Ok(None) => return Err(Mp4Error::NoMovie { size, fragments: self.saw_fragment }.into()),
            Err(Stop::Broken(Mp4Error::Invalid { .. })) if self.at == 0 => return Err(Mp4Error::NotMp4.into()),
            Err(stop) => return Err(stop),
        };
        const FIRST_KINDS: [&[u8; 4]; 12] =
            [b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"moof", b"sidx", b"uuid", b"prft"];
        if self.at == 0 && !FIRST_KINDS.contains(&&found.kind.0) {
            return Err(Mp4Error::NotMp4.into());
        }
        if found.end > size {
            return Err(Mp4Error::Truncated { size, needed: found.end }.into());
        }
        self.boxes += 1;
        if self.boxes > MAX_BOXES {
            return Err(invalid("moov", found.start, format!("it does not come within the first {MAX_BOXES} boxes")).into());
        }
        self.saw_fragment |= &found.kind.0 == b"moof";
        if &found.kind.0 == b"moov" {
            if found.end - found.start <= FIRST.min(self.source.most()) {
                self.source.window(found.start, found.end - found.start, 0)?;
                self.kept = self.source.keep(found.start, found.end).unwrap_or_default();
            }
            self.enter(found, "moov");
        } else {
            self.at = found.end;
        }
        Ok(())
    }

    fn enter(&mut self, found: Header, name: &str) {
        self.levels.push(Level { kind: found.kind, end: found.end, outside: self.path.len() });
        if !self.path.is_empty() {
            self.path.push('/');
        }
        self.path.push_str(name);
        self.at = found.content;
    }

    fn leave(&mut self) -> Result<(), Mp4Error> {
        let Some(level) = self.levels.pop() else { return Ok(()) };
        if let Some(draft) = self.draft.take_if(|_| &level.kind.0 == b"trak") {
            match draft.finish(&self.path, level.end, self.movie_timescale)? {
                Ok(track) => self.tracks.push(track),
                Err(left_out) => self.left_out.push(left_out),
            }
        }
        self.path.truncate(level.outside);
        self.at = level.end;
        self.end = self.levels.is_empty().then_some(level.end);
        Ok(())
    }

    /// One box in the movie box or in a box of it.
    fn movie_box(&mut self, parent: FourCc, found: Header) -> Flow<()> {
        match (&parent.0, &found.kind.0) {
            (b"moov", b"trak") => {
                if self.traks >= MAX_TRACKS {
                    return Err(invalid(&self.path, found.start, format!("it has more than {MAX_TRACKS} tracks")).into());
                }
                let name = format!("trak[{}]", self.traks);
                self.traks += 1;
                self.draft = Some(Draft::default());
                self.enter(found, &name);
                return Ok(());
            }
            (b"moov", b"mvex") => self.fragmented = true,
            (b"trak", b"edts" | b"mdia") | (b"mdia", b"minf") | (b"minf", b"stbl") => {}
            (b"moov", b"mvhd") => {
                let content = self.content(found, 32)?;
                let path = join(&self.path, found.kind);
                let mut fields = Fields::new(&path, found.content, &content);
                let (version, _) = fields.version()?;
                fields.take(if version == 0 { 8 } else { 16 })?;
                self.movie_timescale = fields.u32()?;
                self.at = found.end;
                return Ok(());
            }
            (b"moov", b"cmov") => {
                let problem =
                    "the movie box is compressed; remux the file: ffmpeg -i bad.mov -c copy -movflags +faststart good.mp4";
                return Err(invalid(join(&self.path, found.kind), found.start, problem).into());
            }
            (b"mvex", b"mehd") => {
                let content = self.content(found, 12)?;
                let path = join(&self.path, found.kind);
                let mut fields = Fields::new(&path, found.content, &content);
                let (version, _) = fields.version()?;
                self.movie_duration = Some(fields.wide(version)?);
                self.at = found.end;
                return Ok(());
            }
            (b"mvex", b"trex") => {
                let content = self.content(found, 24)?;
                let path = join(&self.path, found.kind);
                if self.defaults.len() < MAX_TRACKS {
                    self.defaults.push(Defaults::read(&path, found.content, &content)?);
                }
                self.at = found.end;
                return Ok(());
            }
            _ => {
                if let Some(most) = Draft::needs(parent, found.kind) {
                    let content = self.content(found, most)?;
                    let path = join(&self.path, found.kind);
                    if let Some(draft) = &mut self.draft {
                        draft.read(&path, found, &content)?;
                    }
                }
                self.at = found.end;
                return Ok(());
            }
        }
        self.enter(found, &found.kind.to_string());
        Ok(())
    }

    /// The first `most` bytes of a box's content, or all if it has fewer.
    fn content(&mut self, found: Header, most: u64) -> Flow<Bytes> {
        content(&mut self.source, &found, most, BETWEEN)
    }

    /// Looks for an index between the movie box and the first fragment.
    fn behind_movie(&mut self) -> Flow<()> {
        let size = self.source.size();
        while self.fragmented && self.at < size {
            let Some(found) = header(&mut self.source, self.at, size, 4096, "")? else { break };
            match &found.kind.0 {
                b"sidx" => self.sidx = self.sidx.or(Some(found.start)),
                b"free" | b"skip" | b"styp" | b"prft" | b"emsg" | b"uuid" => {}
                _ => break,
            }
            self.at = found.end;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Arc<Movie>, Mp4Error> {
        let mut tracks = std::mem::take(&mut self.tracks);
        for track in &mut tracks {
            track.defaults = self.defaults.iter().find(|(number, _)| *number == track.number).map(|&(_, defaults)| defaults);
            if track.duration.is_none()
                && let (Some(duration), scale @ 1..) =
                    (self.movie_duration.filter(|&duration| duration > 0), self.movie_timescale)
            {
                let micros = u128::from(duration) * 1_000_000 / u128::from(scale);
                track.duration = i64::try_from(micros).ok();
            }
        }
        let mut left_out = std::mem::take(&mut self.left_out);
        if !self.fragmented {
            let (playable, empty): (Vec<_>, Vec<_>) = tracks.into_iter().partition(|track| track.tables.samples > 0);
            tracks = playable;
            left_out.extend(empty.into_iter().map(|track| {
                let reason = "it has no samples".to_owned();
                LeftOut { number: track.number, codec: track.track.codec.to_string(), reason }
            }));
        }
        let tracks = number(tracks, &mut left_out);
        if tracks.is_empty() {
            return Err(Mp4Error::nothing_playable(&left_out));
        }
        let fragments = self.fragmented.then_some(Fragments { at: self.end.unwrap_or(0), sidx: self.sidx });
        let (size, most) = (self.source.size(), self.source.most());
        Ok(Arc::new(Movie { size, most, tracks, left_out, kept: std::mem::take(&mut self.kept), fragments }))
    }
}
