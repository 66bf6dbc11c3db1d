//! The sample tables of one track (ISO/IEC 14496-12, section 8.6 and 8.7), made while the samples go by. What is complete is taken
//! out in between, so that no table is ever held whole.

use super::cutter::Placed;
use crate::cmaf::boxes;
use crate::track::MediaKind;

/// The columns, in the order in which they lie in the `stbl`.
pub const COLUMNS: usize = 6;
const DURATIONS: usize = 0;
const SYNC: usize = 1;
const OFFSETS: usize = 2;
const CHUNKS: usize = 3;
const SIZES: usize = 4;
const PLACES: usize = 5;

/// Bytes of a table that are complete.
#[derive(Debug, Default)]
pub struct Column {
    pub bytes: Vec<u8>,
    /// Bytes that were taken out already.
    pub taken: u64,
}

impl Column {
    pub fn len(&self) -> u64 {
        self.taken + self.bytes.len() as u64
    }
}

/// Equal values in a row, which a table holds as their number and the value.
#[derive(Debug, Default)]
struct Repeated {
    count: u32,
    value: u32,
}

impl Repeated {
    fn push(&mut self, value: u32, column: &mut Column) {
        if self.count > 0 && self.value != value {
            self.close(column);
        }
        self.value = value;
        self.count += 1;
    }

    fn close(&mut self, column: &mut Column) {
        if self.count > 0 {
            boxes::u32(&mut column.bytes, self.count);
            boxes::u32(&mut column.bytes, self.value);
        }
        self.count = 0;
    }
}

#[derive(Debug)]
pub struct Tables {
    kind: MediaKind,
    pub columns: [Column; COLUMNS],
    durations: Repeated,
    offsets: Repeated,
    last: Option<Placed>,
    /// Of the chunk before: samples and description.
    chunk: Option<(u32, usize)>,
    pub samples: u32,
    chunks: u32,
    /// The first sample's decode time and composition offset, in ticks.
    pub first: Option<(i64, i32)>,
    /// Ticks from the first sample's decode time to the last one's end.
    pub duration: u64,
    reordered: bool,
}

impl Tables {
    pub fn new(kind: MediaKind) -> Self {
        Self {
            kind,
            columns: Default::default(),
            durations: Repeated::default(),
            offsets: Repeated::default(),
            last: None,
            chunk: None,
            samples: 0,
            chunks: 0,
            first: None,
            duration: 0,
            reordered: false,
        }
    }

    /// Samples that lie one after the other at `place` in the file, all with one description.
    pub fn chunk(&mut self, place: u64, samples: &[Placed]) {
        let Some(head) = samples.first() else { return };
        let [_, sync, offsets, chunks, sizes, places] = &mut self.columns;
        self.chunks += 1;
        boxes::u64(&mut places.bytes, place);
        let shape = (u32::try_from(samples.len()).unwrap_or(u32::MAX), head.description);
        if self.chunk.replace(shape) != Some(shape) {
            boxes::u32(&mut chunks.bytes, self.chunks);
            boxes::u32(&mut chunks.bytes, shape.0);
            boxes::u32(&mut chunks.bytes, u32::try_from(shape.1).unwrap_or(0) + 1);
        }
        for sample in samples {
            self.samples += 1;
            boxes::u32(&mut sizes.bytes, sample.size);
            if self.kind == MediaKind::Video {
                self.offsets.push(sample.composition_offset.max(0) as u32, offsets);
                self.reordered |= sample.composition_offset > 0;
                if sample.keyframe {
                    boxes::u32(&mut sync.bytes, self.samples);
                }
            }
        }
        for sample in samples {
            let (first, _) = *self.first.get_or_insert((sample.dts, sample.composition_offset));
            // The distance to the next one, whatever lies between them.
            if let Some(last) = self.last.replace(*sample) {
                let distance = u32::try_from(sample.dts - last.dts).unwrap_or(u32::MAX);
                let [durations, ..] = &mut self.columns;
                self.durations.push(distance, durations);
            }
            self.duration = u64::try_from(sample.dts - first).unwrap_or(0) + u64::from(sample.duration);
        }
    }

    /// Nothing more comes.
    pub fn finish(&mut self) {
        let [durations, _, offsets, ..] = &mut self.columns;
        if let Some(last) = self.last.take() {
            self.durations.push(last.duration, durations);
        }
        self.durations.close(durations);
        self.offsets.close(offsets);
    }

    /// Writes the boxes without the columns' bytes, and tells at which places in `out` those belong.
    pub fn boxes(&self, out: &mut Vec<u8>) -> Vec<(usize, usize)> {
        let mut holes = Vec::new();
        let mut table = |out: &mut Vec<u8>, kind, column: usize, head: &[u32]| {
            boxes::full(out, kind, 0, 0, |out| {
                head.iter().for_each(|&value| boxes::u32(out, value));
                holes.push((out.len(), column));
            });
        };
        let rows = |column: usize, bytes: u64| {
            u32::try_from(self.columns.get(column).map_or(0, Column::len) / bytes).unwrap_or(u32::MAX)
        };
        table(out, b"stts", DURATIONS, &[rows(DURATIONS, 8)]);
        if self.kind == MediaKind::Video {
            table(out, b"stss", SYNC, &[rows(SYNC, 4)]);
            if self.reordered {
                table(out, b"ctts", OFFSETS, &[rows(OFFSETS, 8)]);
            }
        }
        table(out, b"stsc", CHUNKS, &[rows(CHUNKS, 12)]);
        table(out, b"stsz", SIZES, &[0, rows(SIZES, 4)]);
        table(out, b"co64", PLACES, &[rows(PLACES, 8)]);
        holes
    }
}
