//! Configurations as encoders write them, broken ones, and any bytes at all.

use super::*;
use crate::MediaInfo;
use proptest::prelude::*;

const AVCC: &[u8] = crate::cmaf::tests::AVCC;

fn of(codec: Codec, config: &[u8]) -> Result<Track, CodecError> {
    let id = if codec.kind() == crate::MediaKind::Video { TrackId::VIDEO } else { TrackId::AUDIO };
    track(id, codec, Bytes::copy_from_slice(config))
}

fn audio(config: &[u8]) -> (u32, u16, Option<u32>, String) {
    let track = of(Codec::Aac, config).unwrap();
    let info = track.audio().unwrap().clone();
    (info.sample_rate, info.channels, info.samples_per_frame, track.codecs)
}

#[test]
fn h264_size_is_cropped_and_the_rate_read() {
    let track = of(Codec::H264, AVCC).unwrap();
    assert_eq!(track.codecs, "avc1.64000d");
    let MediaInfo::Video(info) = track.info else { panic!() };
    assert_eq!((info.width, info.height, info.frame_rate, info.nal_length_size), (320, 180, Some((30, 1)), 4));
}

#[test]
fn aac_object_types_and_rates() {
    assert_eq!(audio(&[0x11, 0x90]), (48_000, 2, Some(1024), "mp4a.40.2".into()));
    assert_eq!(audio(&[0x12, 0x08]), (44_100, 1, Some(1024), "mp4a.40.2".into()));
    // SBR, signalled in front: 24 kHz core, 48 kHz out.
    assert_eq!(audio(&[0x2b, 0x11, 0x88, 0x00]), (48_000, 2, Some(2048), "mp4a.40.5".into()));
    // PS, signalled in front, 22.05 kHz mono core.
    assert_eq!(audio(&[0xeb, 0x8a, 0x08, 0x00]), (44_100, 2, Some(2048), "mp4a.40.29".into()));
    // SBR behind an AAC-LC configuration (ISO/IEC 14496-3, section 1.6.6.1).
    assert_eq!(audio(&[0x13, 0x10, 0x56, 0xe5, 0x98]), (48_000, 2, Some(2048), "mp4a.40.5".into()));
    // Index 15: the rate follows in 24 bits.
    assert_eq!(audio(&[0x17, 0x80, 0x17, 0x70, 0x10]), (12_000, 2, Some(1024), "mp4a.40.2".into()));
}

#[test]
fn opus_comes_as_head_or_box() {
    let head = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";
    let track = of(Codec::Opus, head).unwrap();
    assert_eq!(&track.config[..], b"\x00\x02\x01\x38\x00\x00\xbb\x80\x00\x00\x00");
    assert_eq!(of(Codec::Opus, &track.config).unwrap(), track);
    assert_eq!(track.audio().map(|info| (info.sample_rate, info.channels)), Some((48_000, 2)));
    assert_eq!(opus_packet_samples(&[0xfc]), Some(960));
    assert_eq!(opus_packet_samples(&[0xff, 6]), Some(5760));
    assert_eq!(opus_packet_samples(&[0xff, 63]), None);
    assert_eq!(opus_packet_samples(&[]), None);
}

#[test]
fn mp3_is_known_by_its_frames() {
    let header = mp3_info(&[0xff, 0xfb, 0x90, 0x00]).unwrap();
    assert_eq!(header, Mp3Header { sample_rate: 44_100, channels: 2, samples: 1152, length: 417 });
    assert_eq!(of(Codec::Mp3, &[0xff, 0xf3, 0x84, 0xc0]).unwrap().audio().unwrap().samples_per_frame, Some(576));
    assert!(mp3_info(&[0xff, 0xfb, 0xf0, 0x00]).is_err());
    assert_eq!(of(Codec::Mp3, &[]).unwrap().config, Bytes::new());
}

#[test]
fn errors_name_the_field() {
    let message = |codec, config: &[u8]| of(codec, config).unwrap_err().to_string();
    assert_eq!(
        message(Codec::H264, &AVCC[..20]),
        "the AVC configuration record ends inside sequenceParameterSetNALUnit: 104 more bits are needed, the encoder sent it cut short"
    );
    assert_eq!(message(Codec::H264, &[2, 0, 0, 0]), "the AVC configuration record has configurationVersion = 2, allowed is 1");
    assert_eq!(
        message(Codec::Aac, &[0x16, 0x90]),
        "the AudioSpecificConfig has samplingFrequency = 13, allowed is a rate of 4000 to 192000 Hz or its index"
    );
    assert!(matches!(of(Codec::Av1, &[0x81, 0, 0, 0]), Err(CodecError::Missing { field: "sequence header OBU", .. })));
    assert!(matches!(of(Codec::Hevc, &[1; 23]), Err(CodecError::Invalid { .. } | CodecError::Truncated { .. })));
    assert_eq!(of(Codec::H264, &vec![0; 70_000]), Err(CodecError::TooLong(70_000)));
}

proptest! {
    #[test]
    fn any_bytes_give_a_track_or_an_error(config in prop::collection::vec(any::<u8>(), 0..200)) {
        for codec in [Codec::H264, Codec::Hevc, Codec::Av1, Codec::Aac, Codec::Opus, Codec::Mp3] {
            if let Ok(track) = of(codec, &config) {
                if let Some(info) = track.video() {
                    prop_assert!(info.width > 0 && info.height > 0);
                }
                if let Some(info) = track.audio() {
                    prop_assert!(info.sample_rate >= 4_000);
                }
                prop_assert!(track.codecs.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'));
            }
        }
        let _ = aac_silence(&config);
        let _ = Mp3Header::silence(&config);
    }

    #[test]
    fn a_damaged_record_gives_a_track_or_an_error(at in 0..AVCC.len(), byte: u8, end in 0..=AVCC.len()) {
        let mut record = AVCC.to_vec();
        record[at] = byte;
        let _ = of(Codec::H264, &record);
        let _ = of(Codec::H264, &record[..end]);
    }
}
