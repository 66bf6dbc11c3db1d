//! Reads big-endian fields from bytes that nobody has checked: every read says whether it was there.

/// A place in a slice. Each method gives `None`, and stays where it is, when fewer bytes are left than it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub const fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// Bytes read so far.
    pub const fn position(&self) -> usize {
        self.at
    }

    pub const fn left(&self) -> usize {
        self.data.len() - self.at
    }

    /// The next bytes, at most `count`, without moving on.
    pub fn peek(&self, count: usize) -> &'a [u8] {
        let end = self.at.saturating_add(count).min(self.data.len());
        self.data.get(self.at..end).unwrap_or_default()
    }

    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let bytes = self.data.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u24(&mut self) -> Option<u32> {
        self.array::<3>().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// A signed 24-bit number.
    pub fn i24(&mut self) -> Option<i32> {
        self.u24().map(|value| ((value << 8) as i32) >> 8)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn f64(&mut self) -> Option<f64> {
        self.array().map(f64::from_be_bytes)
    }

    pub fn four_cc(&mut self) -> Option<[u8; 4]> {
        self.array()
    }
}
