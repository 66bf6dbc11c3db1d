//! See `flyloft_media::fuzz::rtmp_address`. Run: `cargo +nightly fuzz run rtmp_address` in `host/media`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| flyloft_media::fuzz::rtmp_address(input));
