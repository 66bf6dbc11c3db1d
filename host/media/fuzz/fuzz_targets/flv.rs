//! See `flyloft_media::fuzz::flv`. Run: `cargo +nightly fuzz run flv` in `host/media`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| flyloft_media::fuzz::flv(input));
