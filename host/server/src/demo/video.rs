//! Encodes pictures as H.264 in the shape the hub wants: an avcC record once, then access units with length-prefixed NAL units.

use anyhow::{Context as _, Result, bail};
use bytes::{BufMut as _, Bytes, BytesMut};
use flyloft_media::{Codec, MediaInfo, Track, TrackId, VideoInfo};
use openh264::OpenH264API;
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Profile, QpRange, RateControlMode,
    SpsPpsStrategy, UsageType, VuiConfig,
};
use openh264::formats::YUVSlices;

use super::canvas::Picture;
use super::pattern::Format;

/// Bits per second at 1280 × 720, 30 pictures per second; other formats get their share.
const BIT_RATE: u64 = 2_000_000;
const NAL_SPS: u8 = 7;
const NAL_PPS: u8 = 8;
const NAL_SEI: u8 = 6;

/// One coded picture.
#[derive(Clone, Debug)]
pub struct Coded {
    pub keyframe: bool,
    /// NAL units, each behind its length in four bytes.
    pub payload: Bytes,
}

/// An H.264 encoder without delay: each picture comes out as it goes in, and only the pictures asked for are key frames.
pub struct VideoEncoder {
    encoder: Encoder,
    format: Format,
    track: Option<Track>,
}

impl VideoEncoder {
    pub fn new(format: Format) -> Result<Self> {
        let bits = BIT_RATE * (format.width * format.height) as u64 * u64::from(format.fps) / (1280 * 720 * 30);
        let config = EncoderConfig::new()
            .profile(Profile::Baseline)
            .usage_type(UsageType::CameraVideoRealTime)
            .complexity(Complexity::Low)
            .rate_control_mode(RateControlMode::Bitrate)
            .bitrate(BitRate::from_bps(u32::try_from(bits.max(100_000)).unwrap_or(u32::MAX)))
            .qp(QpRange::new(16, 36))
            .max_frame_rate(FrameRate::from_hz(format.fps as f32))
            .intra_frame_period(IntraFramePeriod::auto())
            .sps_pps_strategy(SpsPpsStrategy::ConstantId)
            .scene_change_detect(false)
            .adaptive_quantization(false)
            .background_detection(false)
            .skip_frames(false)
            .num_threads(1)
            .vui(VuiConfig::bt709());
        let encoder = Encoder::with_api_config(OpenH264API::from_source(), config).context("cannot start the H.264 encoder")?;
        Ok(Self { encoder, format, track: None })
    }

    /// Encodes `picture`, which must have the format's size. The first one is a key frame in any case.
    pub fn encode(&mut self, picture: &Picture, keyframe: bool) -> Result<Coded> {
        let (width, height) = (self.format.width, self.format.height);
        if (picture.width(), picture.height()) != (width, height) {
            bail!("the encoder was made for {width}x{height} and got a picture of {}x{}", picture.width(), picture.height());
        }
        if keyframe && self.track.is_some() {
            self.encoder.force_intra_frame();
        }
        let source = YUVSlices::new(picture.planes(), (width, height), (width, width / 2, width / 2));
        let coded = self.encoder.encode(&source).context("the H.264 encoder failed")?;
        let mut payload = BytesMut::new();
        let (mut sps, mut pps) = (None, None);
        for layer in (0..coded.num_layers()).filter_map(|at| coded.layer(at)) {
            for nal in (0..layer.nal_count()).filter_map(|at| layer.nal_unit(at)).map(without_start_code) {
                match nal.first().map(|header| header & 0x1f) {
                    Some(NAL_SPS) => sps = Some(Bytes::copy_from_slice(nal)),
                    Some(NAL_PPS) => pps = Some(Bytes::copy_from_slice(nal)),
                    Some(NAL_SEI) | None => {}
                    Some(_) => {
                        payload.put_u32(u32::try_from(nal.len()).context("a NAL unit is too long for its length field")?);
                        payload.put_slice(nal);
                    }
                }
            }
        }
        let keyframe = matches!(coded.frame_type(), FrameType::IDR);
        if let (Some(sps), Some(pps)) = (sps, pps) {
            self.track = Some(track(&sps, &pps, self.format)?);
        }
        if payload.is_empty() || self.track.is_none() {
            bail!("the H.264 encoder gave no picture ({:?})", coded.frame_type());
        }
        Ok(Coded { keyframe, payload: payload.freeze() })
    }

    /// The track, known once a picture has been encoded.
    pub const fn track(&self) -> Option<&Track> {
        self.track.as_ref()
    }
}

/// A NAL unit without the start code of ITU-T H.264 Annex B.
fn without_start_code(nal: &[u8]) -> &[u8] {
    let zeros = nal.iter().take_while(|&&byte| byte == 0).count();
    match nal.get(zeros) {
        Some(1) if zeros >= 2 => nal.get(zeros + 1..).unwrap_or_default(),
        _ => nal,
    }
}

/// The track with its AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1).
fn track(sps: &[u8], pps: &[u8], format: Format) -> Result<Track> {
    let &[_, profile, compatibility, level, ..] = sps else {
        bail!("the H.264 encoder gave a parameter set of {} bytes", sps.len())
    };
    let mut config = BytesMut::new();
    // Version 1, then four bytes for each NAL unit's length and one set of each kind, with the reserved bits set.
    config.put_slice(&[1, profile, compatibility, level, 0xfc | 3, 0xe0 | 1]);
    config.put_u16(u16::try_from(sps.len()).context("the sequence parameter set is too long")?);
    config.put_slice(sps);
    config.put_u8(1);
    config.put_u16(u16::try_from(pps.len()).context("the picture parameter set is too long")?);
    config.put_slice(pps);
    Ok(Track {
        id: TrackId::VIDEO,
        codec: Codec::H264,
        config: config.freeze(),
        info: MediaInfo::Video(VideoInfo {
            width: u32::try_from(format.width)?,
            height: u32::try_from(format.height)?,
            frame_rate: Some((format.fps, 1)),
            nal_length_size: 4,
        }),
        codecs: format!("avc1.{profile:02x}{compatibility:02x}{level:02x}"),
    })
}
