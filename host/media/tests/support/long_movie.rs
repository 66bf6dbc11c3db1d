//! A movie of any length, as an encoder with B-frames and a muxer with chunks of half a second would write it, without its media.

/// H.264 High, 320 x 180.
pub const AVCC: &[u8] = &[
    1, 0x64, 0, 0x0d, 0xff, 0xe1, 0, 0x19, 0x67, 0x64, 0, 0x0d, 0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0, 0, 3, 0, 0x10,
    0, 0, 3, 3, 0xc0, 0xf1, 0x42, 0x99, 0x60, 1, 0, 6, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0,
];
/// Pictures between key frames, and ticks of a picture (of 12,800 in a second).
pub const GOP: u64 = 48;
pub const TICKS: u32 = 512;

/// `ftyp`, the header of `mdat`, then media, then `moov`.
pub struct LongMovie {
    pub front: Vec<u8>,
    pub moov: Vec<u8>,
    /// Bytes of the file up to `moov`.
    pub media_end: u64,
    /// Place and size of each picture.
    pub pictures: Vec<(u64, u32)>,
    pub sounds: u64,
}

pub fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32 + 8).to_be_bytes()[..], kind, content].concat()
}

pub fn words(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_be_bytes).collect()
}

fn table(kind: &[u8; 4], count: usize, entries: &[u8]) -> Vec<u8> {
    boxed(kind, &[&words([0, count as u32])[..], entries].concat())
}

struct Lane {
    sizes: Vec<u32>,
    /// Samples in the chunks, alternating.
    per_chunk: [u32; 2],
    chunks: Vec<(u64, u32)>,
    next: usize,
}

impl Lane {
    fn chunk(&mut self, at: &mut u64, places: Option<&mut Vec<(u64, u32)>>) {
        let count = self.per_chunk[self.chunks.len() % 2].min((self.sizes.len() - self.next) as u32);
        let sizes = &self.sizes[self.next..self.next + count as usize];
        if count == 0 {
            return;
        }
        self.chunks.push((*at, count));
        let mut places = places;
        for &size in sizes {
            if let Some(places) = &mut places {
                places.push((*at, size));
            }
            *at += u64::from(size);
        }
        self.next += count as usize;
    }

    fn tables(&self) -> Vec<u8> {
        let runs = self.chunks.iter().enumerate().flat_map(|(index, (_, count))| words([index as u32 + 1, *count, 1]));
        let offsets: Vec<u8> = self.chunks.iter().flat_map(|(at, _)| at.to_be_bytes()).collect();
        [
            table(b"stsc", self.chunks.len(), &runs.collect::<Vec<_>>()),
            boxed(b"stsz", &[words([0, 0, self.sizes.len() as u32]), words(self.sizes.iter().copied())].concat()),
            table(b"co64", self.chunks.len(), &offsets),
        ]
        .concat()
    }
}

fn trak(number: u32, handler: &[u8; 4], timescale: u32, ticks: u64, edit: u32, tables: Vec<u8>) -> Vec<u8> {
    let tkhd = boxed(b"tkhd", &[words([3, 0, 0, number]), vec![0; 68]].concat());
    let edts = boxed(b"edts", &table(b"elst", 1, &words([0, edit, 0x1_0000])));
    let duration = ticks.to_be_bytes();
    let mdhd = boxed(b"mdhd", &[&words([0x100_0000, 0, 0, 0, 0, timescale])[..], &duration, &words([0x55c4_0000])].concat());
    let hdlr = boxed(b"hdlr", &[&words([0, 0])[..], handler, &[0; 13]].concat());
    let minf = boxed(b"minf", &boxed(b"stbl", &tables));
    boxed(b"trak", &[tkhd, edts, boxed(b"mdia", &[mdhd, hdlr, minf].concat())].concat())
}

/// Pictures at 25 a second, each a tick off its due time, and AAC at 48 kHz.
pub fn long_movie(seconds: u64, picture: u32) -> LongMovie {
    let front = [boxed(b"ftyp", b"isom\0\0\0\0isomiso2"), words([1]), b"mdat".to_vec()].concat();
    let (count, sounds) = (seconds * 25, seconds * 48_000 / 1024);
    let mut pictures = Vec::with_capacity(count as usize);
    let mut video = Lane {
        sizes: (0..count).map(|n| picture + (n % 11 * 16) as u32).collect(),
        per_chunk: [12, 13],
        chunks: Vec::new(),
        next: 0,
    };
    let sizes = (0..sounds).map(|n| 300 + (n % 7) as u32).collect();
    let mut audio = Lane { sizes, per_chunk: [23, 24], chunks: Vec::new(), next: 0 };
    let mut at = front.len() as u64 + 8;
    while video.next < video.sizes.len() || audio.next < audio.sizes.len() {
        video.chunk(&mut at, Some(&mut pictures));
        audio.chunk(&mut at, None);
    }
    let avc1 = boxed(b"avc1", &[&[0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 70], &boxed(b"avcC", AVCC)].concat());
    let durations = (0..count).flat_map(|n| words([1, if n % 2 == 0 { TICKS - 1 } else { TICKS + 1 }]));
    // I and P are shown three pictures after they are decoded, B at once.
    let offsets = (0..count).flat_map(|n| words([1, if n % 3 == 0 { 3 * TICKS } else { 0 }]));
    let keys: Vec<_> = (0..count).step_by(GOP as usize).map(|n| n as u32 + 1).collect();
    let tables = [
        table(b"stsd", 1, &avc1),
        table(b"stts", count as usize, &durations.collect::<Vec<_>>()),
        table(b"ctts", count as usize, &offsets.collect::<Vec<_>>()),
        table(b"stss", keys.len(), &words(keys)),
        video.tables(),
    ];
    let video = trak(1, b"vide", 12_800, count * u64::from(TICKS), TICKS, tables.concat());
    let stream = [3, 22, 0, 2, 0, 4, 17, 0x40, 0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 2, 0x11, 0x90];
    let esds = boxed(b"esds", &[&[0; 4][..], &stream].concat());
    let mp4a = boxed(
        b"mp4a",
        &[&[0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 8], &[0, 2, 0, 16, 0, 0, 0, 0], &words([48_000 << 16]), &esds].concat(),
    );
    let tables = [table(b"stsd", 1, &mp4a), table(b"stts", 1, &words([sounds as u32, 1024])), audio.tables()];
    let audio = trak(2, b"soun", 48_000, sounds * 1024, 0, tables.concat());
    let mvhd = boxed(b"mvhd", &[words([0, 0, 0, 1000, 0]), vec![0; 80]].concat());
    let moov = boxed(b"moov", &[mvhd, video, audio].concat());
    let mdat = at - front.len() as u64 + 8;
    LongMovie { front: [front, mdat.to_be_bytes().to_vec()].concat(), moov, media_end: at, pictures, sounds }
}
