//! Writes ISO base media boxes (ISO/IEC 14496-12, section 4.2) with their sizes filled in.

/// Appends a box of `kind` whose content `write` appends.
pub fn boxed(out: &mut Vec<u8>, kind: &[u8; 4], write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(kind);
    write(out);
    let size = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start..start + 4) {
        field.copy_from_slice(&size.to_be_bytes());
    }
}

/// The same with the version and flags of a full box.
pub fn full(out: &mut Vec<u8>, kind: &[u8; 4], version: u8, flags: u32, write: impl FnOnce(&mut Vec<u8>)) {
    boxed(out, kind, |out| {
        u32(out, u32::from(version) << 24 | flags & 0x00ff_ffff);
        write(out);
    });
}

pub fn u8(out: &mut Vec<u8>, value: u8) {
    out.push(value);
}

pub fn u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub fn u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub fn u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub fn zeros(out: &mut Vec<u8>, count: usize) {
    out.resize(out.len() + count, 0);
}
