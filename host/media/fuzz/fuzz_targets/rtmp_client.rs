//! See `flyloft_media::fuzz::rtmp_client`. Run: `cargo +nightly fuzz run rtmp_client` in `host/media`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| flyloft_media::fuzz::rtmp_client(input));
