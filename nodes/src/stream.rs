//! What flows on an edge, and what a port accepts.
//!
//! A [`StreamFormat`] is exact; an [`Accepts`] is a pattern. The compiler walks the graph from its inputs, asks each node what it
//! makes of exact input formats, and inserts conversions where a format does not fit the next pattern.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidegate_media::{AudioFormat, Codec, Kind, VideoFormat};

/// The exact format of the frames on an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamFormat {
    /// Audio in a format. `packets` means that frames come straight from RTP: late, reordered or missing, and not playable
    /// before a jitter buffer.
    Audio {
        /// Codec, rate and channels.
        format: AudioFormat,
        /// Not yet through a jitter buffer.
        packets: bool,
    },
    /// Encoded video.
    Video(VideoFormat),
    /// Text.
    Text,
    /// Binary.
    Binary,
    /// Tensors; dtype and shape are each frame's own.
    Tensor,
    /// JSON values.
    Json,
}

impl StreamFormat {
    /// Audio that has a steady time line.
    #[must_use]
    pub const fn audio(format: AudioFormat) -> Self {
        Self::Audio {
            format,
            packets: false,
        }
    }

    /// Which of the six kinds it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Audio { .. } => Kind::Audio,
            Self::Video(_) => Kind::Video,
            Self::Text => Kind::Text,
            Self::Binary => Kind::Binary,
            Self::Tensor => Kind::Tensor,
            Self::Json => Kind::Json,
        }
    }

    /// The audio format, if it is audio.
    #[must_use]
    pub const fn audio_format(&self) -> Option<AudioFormat> {
        match self {
            Self::Audio { format, .. } => Some(*format),
            _ => None,
        }
    }
}

impl fmt::Display for StreamFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Audio {
                format,
                packets: true,
            } => write!(f, "{format} packets"),
            Self::Audio {
                format,
                packets: false,
            } => write!(f, "{format}"),
            Self::Video(video) => f.write_str(video.codec.as_str()),
            other => f.write_str(other.kind().as_str()),
        }
    }
}

/// What an input port, or a client that listens to an output, accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accepts {
    /// Any frame of any kind, RTP packets included: it is passed on unopened.
    Anything,
    /// One kind in any format; audio comes with a steady time line (jitter buffer passed) but in any codec.
    Kind(Kind),
    /// Audio by a pattern.
    Audio(AudioPattern),
}

/// A pattern of audio formats; an empty list means any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioPattern {
    /// Accepted codecs, best first.
    pub codecs: Vec<Codec>,
    /// Accepted rates in Hz, best first.
    pub sample_rates: Vec<u32>,
    /// Accepted channel counts, best first.
    pub channels: Vec<u8>,
    /// Whether RTP packets are taken as they come.
    pub packets: bool,
}

impl Accepts {
    /// Float PCM at any rate with any channels: what most signal nodes take.
    #[must_use]
    pub fn pcm_f32() -> Self {
        Self::Audio(AudioPattern {
            codecs: vec![Codec::PcmF32],
            ..AudioPattern::default()
        })
    }

    /// Exactly this audio format.
    #[must_use]
    pub fn exactly(format: AudioFormat) -> Self {
        Self::Audio(AudioPattern {
            codecs: vec![format.codec],
            sample_rates: vec![format.sample_rate],
            channels: vec![format.channels],
            packets: false,
        })
    }

    /// Exactly this stream; RTP packets where it is of packets. Of video only the kind is kept: pictures are not converted.
    #[must_use]
    pub fn just(stream: &StreamFormat) -> Self {
        match stream {
            StreamFormat::Audio { format, packets } => Self::Audio(AudioPattern {
                codecs: vec![format.codec],
                sample_rates: vec![format.sample_rate],
                channels: vec![format.channels],
                packets: *packets,
            }),
            other => Self::Kind(other.kind()),
        }
    }

    /// The kind, or `None` for any.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        match self {
            Self::Anything => None,
            Self::Kind(kind) => Some(*kind),
            Self::Audio(_) => Some(Kind::Audio),
        }
    }

    /// Whether frames of exactly this format may enter as they are.
    #[must_use]
    pub fn admits(&self, stream: &StreamFormat) -> bool {
        match (self, stream) {
            (Self::Anything, _) => true,
            (Self::Kind(kind), StreamFormat::Audio { packets, .. }) => {
                *kind == Kind::Audio && !packets
            }
            (Self::Kind(kind), other) => *kind == other.kind(),
            (Self::Audio(pattern), StreamFormat::Audio { format, packets }) => {
                pattern.admits(*format) && (pattern.packets || !packets)
            }
            (Self::Audio(_), _) => false,
        }
    }
}

impl AudioPattern {
    /// Whether an exact format fits. The channels of Opus are not compared: its packets say how many they carry, and every
    /// decoder gives one or two as it is asked (RFC 6716 §3.1).
    #[must_use]
    pub fn admits(&self, format: AudioFormat) -> bool {
        fn any<T: PartialEq>(list: &[T], value: &T) -> bool {
            list.is_empty() || list.contains(value)
        }
        any(&self.codecs, &format.codec)
            && any(&self.sample_rates, &format.sample_rate)
            && (format.codec == Codec::Opus || any(&self.channels, &format.channels))
    }
}

impl fmt::Display for Accepts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
            if items.is_empty() {
                return f.write_str("*");
            }
            for (index, item) in items.iter().enumerate() {
                write!(f, "{}{item}", if index == 0 { "" } else { "|" })?;
            }
            Ok(())
        }
        match self {
            Self::Anything => f.write_str("any"),
            Self::Kind(kind) => write!(f, "{kind}"),
            Self::Audio(pattern) => {
                let codecs: Vec<_> = pattern.codecs.iter().map(|c| c.as_str()).collect();
                list(f, &codecs)?;
                f.write_str("/")?;
                list(f, &pattern.sample_rates)?;
                f.write_str("/")?;
                list(f, &pattern.channels)
            }
        }
    }
}
