//! Reads bit fields, Exp-Golomb codes and LEB128 from untrusted bytes, and takes emulation prevention out of NAL units.

use super::CodecError;

/// A reader that names the field it could not read.
pub struct Bits<'a> {
    record: &'static str,
    data: &'a [u8],
    /// In bits.
    position: usize,
}

impl<'a> Bits<'a> {
    pub const fn new(record: &'static str, data: &'a [u8]) -> Self {
        Self { record, data, position: 0 }
    }

    pub const fn left(&self) -> usize {
        self.data.len() * 8 - self.position
    }

    /// Up to 32 bits, the highest first.
    pub fn read(&mut self, field: &'static str, count: usize) -> Result<u32, CodecError> {
        debug_assert!(count <= 32);
        if count > self.left() {
            return Err(CodecError::Truncated { record: self.record, field, need: count - self.left() });
        }
        let mut value = 0_u64;
        for _ in 0..count {
            let byte = self.data.get(self.position / 8).copied().unwrap_or(0);
            value = value << 1 | u64::from(byte >> (7 - self.position % 8) & 1);
            self.position += 1;
        }
        Ok(value as u32)
    }

    pub fn flag(&mut self, field: &'static str) -> Result<bool, CodecError> {
        Ok(self.read(field, 1)? == 1)
    }

    pub fn skip(&mut self, field: &'static str, count: usize) -> Result<(), CodecError> {
        if count > self.left() {
            return Err(CodecError::Truncated { record: self.record, field, need: count - self.left() });
        }
        self.position += count;
        Ok(())
    }

    /// `count` whole bytes from a byte boundary.
    pub fn bytes(&mut self, field: &'static str, count: usize) -> Result<&'a [u8], CodecError> {
        let start = self.position / 8;
        self.skip(field, count.saturating_mul(8))?;
        Ok(self.data.get(start..start + count).unwrap_or_default())
    }

    /// ue(v), ITU-T H.264 section 9.1.
    pub fn ue(&mut self, field: &'static str) -> Result<u32, CodecError> {
        let mut zeros = 0;
        while !self.flag(field)? {
            zeros += 1;
            if zeros > 31 {
                return Err(self.invalid(field, u64::MAX, "an Exp-Golomb code of at most 63 bits"));
            }
        }
        let rest = self.read(field, zeros)?;
        Ok(((1_u64 << zeros) - 1 + u64::from(rest)) as u32)
    }

    /// se(v), ITU-T H.264 section 9.1.1.
    pub fn se(&mut self, field: &'static str) -> Result<i32, CodecError> {
        let code = i64::from(self.ue(field)?);
        Ok(if code % 2 == 1 { (code + 1) / 2 } else { -(code / 2) } as i32)
    }

    /// leb128(), AV1 section 4.10.5.
    pub fn leb128(&mut self, field: &'static str) -> Result<u64, CodecError> {
        let mut value = 0;
        for i in 0..8 {
            let byte = self.read(field, 8)?;
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.invalid(field, value, "a LEB128 number of at most 8 bytes"))
    }

    pub const fn invalid(&self, field: &'static str, value: u64, allowed: &'static str) -> CodecError {
        CodecError::Invalid { record: self.record, field, value, allowed }
    }
}

/// The RBSP of a NAL unit: without the 3 in each 0, 0, 3 (ITU-T H.264 section 7.4.1.1).
pub fn unescape(nal: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

/// A frame rate as the shortest fraction, if it is one that a picture can have: from one in ten seconds to 1000 a second.
pub fn plausible_rate(numerator: u64, denominator: u64) -> Option<(u32, u32)> {
    if denominator == 0 || numerator.saturating_mul(10) < denominator || numerator > denominator.saturating_mul(1000) {
        return None;
    }
    let (mut a, mut b) = (numerator, denominator);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    Some((u32::try_from(numerator / a).ok()?, u32::try_from(denominator / a).ok()?))
}
