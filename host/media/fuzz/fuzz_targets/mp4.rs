//! See `flyloft_media::fuzz::mp4`. Run: `cargo +nightly fuzz run mp4` in `host/media`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| flyloft_media::fuzz::mp4(input));
