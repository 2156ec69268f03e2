//! What a stream of frames looks like: its kind, and for audio and video its format.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The six kinds of frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Sampled or encoded sound.
    Audio,
    /// Encoded pictures.
    Video,
    /// UTF-8 text.
    Text,
    /// Bytes without a meaning known to the gateway.
    Binary,
    /// A numeric array with dtype and shape.
    Tensor,
    /// A JSON value.
    Json,
}

impl Kind {
    /// All kinds, in the order of the wire's numbers.
    pub const ALL: [Self; 6] = [
        Self::Audio,
        Self::Video,
        Self::Text,
        Self::Binary,
        Self::Tensor,
        Self::Json,
    ];

    /// The name that manifests and messages use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Tensor => "tensor",
            Self::Json => "json",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Samples a second that audio may have, in Hz, wherever a format is named: from telephony's half to the fastest converters.
pub const SAMPLE_RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;

/// How audio samples are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// Signed 16-bit little-endian samples, channels interleaved.
    PcmS16,
    /// 32-bit IEEE float little-endian samples in −1..1, channels interleaved.
    PcmF32,
    /// Opus packets (RFC 6716); the sample rate is the clock of 48 kHz.
    Opus,
    /// G.711 μ-law, one byte a sample.
    Pcmu,
    /// G.711 A-law, one byte a sample.
    Pcma,
}

impl Codec {
    /// All codecs.
    pub const ALL: [Self; 5] = [
        Self::PcmS16,
        Self::PcmF32,
        Self::Opus,
        Self::Pcmu,
        Self::Pcma,
    ];

    /// The name that manifests and messages use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PcmS16 => "pcm_s16",
            Self::PcmF32 => "pcm_f32",
            Self::Opus => "opus",
            Self::Pcmu => "pcmu",
            Self::Pcma => "pcma",
        }
    }

    /// Bytes of one sample of one channel, or `None` where packets vary in size.
    #[must_use]
    pub const fn sample_bytes(self) -> Option<usize> {
        match self {
            Self::PcmS16 => Some(2),
            Self::PcmF32 => Some(4),
            Self::Pcmu | Self::Pcma => Some(1),
            Self::Opus => None,
        }
    }

    /// Whether samples can be worked on without a decoder.
    #[must_use]
    pub const fn is_pcm(self) -> bool {
        matches!(self, Self::PcmS16 | Self::PcmF32)
    }
}

/// The codec's name is not one of those known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown audio codec '{0}': use pcm_s16, pcm_f32, opus, pcmu or pcma")]
pub struct UnknownCodec(String);

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(name: &str) -> Result<Self, UnknownCodec> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.as_str() == name)
            .ok_or_else(|| UnknownCodec(name.chars().take(32).collect()))
    }
}

/// Format of an audio stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AudioFormat {
    /// How samples are written down.
    pub codec: Codec,
    /// Samples a second of each channel, in Hz.
    pub sample_rate: u32,
    /// Interleaved channels.
    pub channels: u8,
}

impl AudioFormat {
    /// What WebRTC carries: Opus on a 48 kHz clock with two channels (RFC 7587 §4.1 fixes both in SDP).
    pub const WEBRTC_OPUS: Self = Self {
        codec: Codec::Opus,
        sample_rate: 48_000,
        channels: 2,
    };

    /// Float PCM, the form that nodes compute on.
    #[must_use]
    pub const fn pcm_f32(sample_rate: u32, channels: u8) -> Self {
        Self {
            codec: Codec::PcmF32,
            sample_rate,
            channels,
        }
    }

    /// Signed 16-bit PCM.
    #[must_use]
    pub const fn pcm_s16(sample_rate: u32, channels: u8) -> Self {
        Self {
            codec: Codec::PcmS16,
            sample_rate,
            channels,
        }
    }

    /// Playing time of `samples` samples of each channel.
    #[must_use]
    pub fn duration_of(&self, samples: u32) -> Duration {
        Duration::from_nanos(
            u64::from(samples) * 1_000_000_000 / u64::from(self.sample_rate.max(1)),
        )
    }

    /// Samples of each channel that play for `duration`, rounded down; saturates.
    #[must_use]
    pub fn samples_in(&self, duration: Duration) -> u32 {
        let samples = duration.as_nanos() * u128::from(self.sample_rate) / 1_000_000_000;
        u32::try_from(samples).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for AudioFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}/{}",
            self.codec.as_str(),
            self.sample_rate,
            self.channels
        )
    }
}

/// How pictures are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VideoCodec {
    /// VP8 frames (RFC 6386).
    Vp8,
    /// H.264 access units in Annex B byte-stream form.
    H264,
}

impl VideoCodec {
    /// The name that manifests and messages use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vp8 => "vp8",
            Self::H264 => "h264",
        }
    }
}

/// Format of a video stream. Pictures pass through encoded; their size is the codec's own affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VideoFormat {
    /// How pictures are encoded.
    pub codec: VideoCodec,
}
