//! See `flyloft_media::fuzz::codec_configuration`. Run: `cargo +nightly fuzz run codec_configuration` in `host/media`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| flyloft_media::fuzz::codec_configuration(input));
