//! See `flyloft_media::fuzz::rtmp_server`. Run: `cargo +nightly fuzz run rtmp_server` in `host/media`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| flyloft_media::fuzz::rtmp_server(input));
