//! A frame: one unit that moves through a pipeline.
//!
//! Cloning a frame is cheap: payloads are reference counted. A frame never holds a lock or a handle to a queue.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use crate::codec::packet::opus_samples;
use crate::format::{AudioFormat, Codec, Kind, VideoFormat};
use crate::tensor::Tensor;
use crate::time::{MediaTime, Timestamp};

/// One unit that moves: its [`Meta`] and its [`Payload`].
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Numbers and times that travel with the payload.
    pub meta: Meta,
    /// What it carries.
    pub payload: Payload,
}

/// What a frame says of itself besides its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Counts per port and direction from 1 by 1; 0 until the graph or the wire has numbered it.
    pub seq: u64,
    /// Where on the stream's time line it starts.
    pub media_time: MediaTime,
    /// When the newest client input that led to this frame arrived at this gateway.
    pub ingress: Timestamp,
    /// Utterance that it belongs to, numbered per port from 1; 0 means none.
    pub utterance: u64,
    /// Higher revisions of an utterance supersede lower ones.
    pub revision: u32,
    /// Closes its utterance.
    pub is_final: bool,
    /// `seq` of the newest input of the pipeline (remote: of the hop) that caused it; 0 means none.
    pub caused_by: u64,
    /// The input port of the pipeline (remote: of the hop) that `caused_by` counts on, from 1; 0 where that was not said.
    pub caused_port: u16,
    /// The oldest input of the pipeline without which this frame cannot be made again: its place among all that arrived, from 1.
    /// The graph's own, which keeps it only for a client that acknowledgements are sent to; it never travels.
    pub since: u64,
    /// After this instant nobody wants it.
    pub deadline: Option<Timestamp>,
    /// A worker's own time for it, its queue included; only on frames that come from a remote hop.
    pub service: Option<Duration>,
    /// Sent a second time after a failover.
    pub replayed: bool,
}

/// The six payloads.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// Sound.
    Audio(Audio),
    /// Pictures.
    Video(Video),
    /// Text.
    Text(Text),
    /// Bytes.
    Binary(Bytes),
    /// An array.
    Tensor(Tensor),
    /// A JSON value.
    Json(Json),
}

/// Sound in the format it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audio {
    /// Codec, rate and channels.
    pub format: AudioFormat,
    /// Samples of each channel that the data holds, at `format.sample_rate`; 0 for a malformed packet.
    pub samples: u32,
    /// PCM: interleaved little-endian samples. Opus: one packet.
    pub data: Bytes,
    /// RTP numbers of a packet that has not passed a jitter buffer yet.
    pub rtp: Option<Rtp>,
}

/// The numbers of an RTP packet (RFC 3550 §5.1) that a jitter buffer and a pass-through egress need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtp {
    /// Sequence number, wraps at 2^16.
    pub sequence: u16,
    /// Timestamp in units of the payload's clock rate, wraps at 2^32.
    pub timestamp: u32,
    /// Marker bit: for audio the first packet after silence (RFC 3551 §4.1).
    pub marker: bool,
}

/// One encoded picture (access unit).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Video {
    /// Codec.
    pub format: VideoFormat,
    /// Decodable without any earlier picture.
    pub key: bool,
    /// The access unit's bytes.
    pub data: Bytes,
}

/// UTF-8 text, shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(Bytes);

impl Text {
    /// Takes bytes that must be UTF-8.
    ///
    /// # Errors
    /// The bytes are not UTF-8.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, std::str::Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Self(bytes))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The text's bytes, shared.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

/// A JSON value as its text, shared; parsed only by whoever looks inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(Bytes);

impl Json {
    /// Takes bytes that must be one JSON value.
    ///
    /// # Errors
    /// The bytes are not JSON.
    pub fn parse(bytes: Bytes) -> Result<Self, serde_json::Error> {
        serde_json::from_slice::<serde::de::IgnoredAny>(&bytes)?;
        Ok(Self(bytes))
    }

    /// The value, parsed.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::from_slice(&self.0).unwrap_or(serde_json::Value::Null)
    }

    /// The value's text, shared.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl From<&serde_json::Value> for Json {
    fn from(value: &serde_json::Value) -> Self {
        Self(Bytes::from(value.to_string()))
    }
}

impl Payload {
    /// Which of the six it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Audio(_) => Kind::Audio,
            Self::Video(_) => Kind::Video,
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
            Self::Tensor(_) => Kind::Tensor,
            Self::Json(_) => Kind::Json,
        }
    }

    /// Bytes of the payload itself, without metadata; what queues and byte counters count.
    #[must_use]
    pub const fn size(&self) -> usize {
        match self {
            Self::Audio(audio) => audio.data.len(),
            Self::Video(video) => video.data.len(),
            Self::Text(text) => text.0.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Tensor(tensor) => tensor.data().len(),
            Self::Json(json) => json.0.len(),
        }
    }
}

impl Frame {
    /// A frame with a payload at a media time, everything else unset.
    #[must_use]
    pub fn new(media_time: MediaTime, payload: Payload) -> Self {
        Self {
            meta: Meta {
                media_time,
                ..Meta::default()
            },
            payload,
        }
    }

    /// The same payload's place in the stream, with another payload: for nodes that map one frame to one.
    #[must_use]
    pub fn with_payload(&self, payload: Payload) -> Self {
        Self {
            meta: self.meta,
            payload,
        }
    }

    /// Which of the six kinds it carries.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.payload.kind()
    }

    /// How long ago its newest cause arrived here.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        now.saturating_since(self.meta.ingress)
    }

    /// Playing time of an audio frame; zero for the others and for packets whose length the codec alone knows.
    #[must_use]
    pub fn duration(&self) -> Duration {
        match &self.payload {
            Payload::Audio(audio) => audio.duration(),
            _ => Duration::ZERO,
        }
    }
}

impl Audio {
    /// Float PCM made of interleaved samples; takes the vector without copying it.
    #[must_use]
    pub fn from_f32(sample_rate: u32, channels: u8, samples: Vec<f32>) -> Self {
        let count = samples.len() / usize::from(channels.max(1));
        Self {
            format: AudioFormat::pcm_f32(sample_rate, channels),
            samples: u32::try_from(count).unwrap_or(u32::MAX),
            data: Bytes::from_owner(PcmBuffer(samples)),
            rtp: None,
        }
    }

    /// Signed 16-bit PCM made of interleaved samples; takes the vector without copying it.
    #[must_use]
    pub fn from_s16(sample_rate: u32, channels: u8, samples: Vec<i16>) -> Self {
        let count = samples.len() / usize::from(channels.max(1));
        Self {
            format: AudioFormat::pcm_s16(sample_rate, channels),
            samples: u32::try_from(count).unwrap_or(u32::MAX),
            data: Bytes::from_owner(PcmBuffer(samples)),
            rtp: None,
        }
    }

    /// Audio in any format; counts the samples by size, and those of Opus by the packet's own word.
    #[must_use]
    pub fn encoded(format: AudioFormat, data: Bytes) -> Self {
        let samples = match format.codec.sample_bytes() {
            Some(bytes) => data.len() / (bytes * usize::from(format.channels.max(1))),
            None => opus_samples(&data).unwrap_or(0) as usize,
        };
        Self {
            format,
            samples: u32::try_from(samples).unwrap_or(u32::MAX),
            data,
            rtp: None,
        }
    }

    /// Playing time.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.format.duration_of(self.samples)
    }

    /// Interleaved float samples: borrowed when the data is aligned float PCM, else converted; empty for coded audio.
    #[must_use]
    pub fn to_f32(&self) -> Cow<'_, [f32]> {
        match self.format.codec {
            Codec::PcmF32 => bytemuck::try_cast_slice(&self.data).map_or_else(
                |_| {
                    Cow::Owned(bytemuck::allocation::pod_collect_to_vec(whole(
                        &self.data, 4,
                    )))
                },
                Cow::Borrowed,
            ),
            Codec::PcmS16 => {
                let scaled = self
                    .to_s16()
                    .iter()
                    .map(|&s| f32::from(s) / 32_768.0)
                    .collect();
                Cow::Owned(scaled)
            }
            Codec::Opus | Codec::Pcmu | Codec::Pcma => Cow::Borrowed(&[]),
        }
    }

    /// Interleaved 16-bit samples: borrowed when the data is aligned 16-bit PCM, else converted with saturation; empty for
    /// coded audio.
    #[must_use]
    pub fn to_s16(&self) -> Cow<'_, [i16]> {
        match self.format.codec {
            Codec::PcmS16 => bytemuck::try_cast_slice(&self.data).map_or_else(
                |_| {
                    Cow::Owned(bytemuck::allocation::pod_collect_to_vec(whole(
                        &self.data, 2,
                    )))
                },
                Cow::Borrowed,
            ),
            Codec::PcmF32 => Cow::Owned(self.to_f32().iter().map(|&s| quantise(s)).collect()),
            Codec::Opus | Codec::Pcmu | Codec::Pcma => Cow::Borrowed(&[]),
        }
    }
}

/// The longest prefix that holds whole samples.
fn whole(data: &[u8], sample_bytes: usize) -> &[u8] {
    &data[..data.len() - data.len() % sample_bytes]
}

/// A float sample in −1..1 as a 16-bit one; louder ones saturate, NaN becomes silence.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "float-to-int casts saturate, which is the clipping wanted"
)]
pub fn quantise(sample: f32) -> i16 {
    (sample * 32_768.0).round() as i16
}

/// Samples that `Bytes` can own without a copy.
struct PcmBuffer<T>(Vec<T>);

impl<T: bytemuck::NoUninit> AsRef<[u8]> for PcmBuffer<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn float_pcm_is_viewed_without_a_copy() {
        let audio = Audio::from_f32(16_000, 1, vec![0.5, -0.25]);
        assert!(matches!(audio.to_f32(), Cow::Borrowed(s) if s == [0.5, -0.25]));
        assert_eq!(audio.samples, 2);
    }

    #[test]
    fn misaligned_or_odd_data_is_copied_and_cut_to_whole_samples() {
        let bytes = Bytes::from(vec![0, 1, 0, 2, 0, 3]).slice(1..);
        let audio = Audio::encoded(AudioFormat::pcm_s16(8_000, 1), bytes);
        assert_eq!(audio.to_s16().len(), 2);
    }

    #[test]
    fn quantising_saturates() {
        assert_eq!(quantise(2.0), i16::MAX);
        assert_eq!(quantise(-2.0), i16::MIN);
        assert_eq!(quantise(f32::NAN), 0);
    }
}
