//! The codecs that can be negotiated, and what their names mean on the wire.

use std::fmt;

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Moving pictures.
    Video,
}

/// An audio codec of RTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// `opus/48000/2` (RFC 7587), in-band error correction asked for.
    Opus,
    /// `PCMU/8000` (RFC 3551 §4.5.14).
    Pcmu,
    /// `PCMA/8000` (RFC 3551 §4.5.14).
    Pcma,
}

/// A video codec of RTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// `VP8/90000` (RFC 7741).
    Vp8,
    /// `H264/90000` (RFC 6184), packetization mode 1 preferred.
    H264,
}

/// Any codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// An audio codec.
    Audio(AudioCodec),
    /// A video codec.
    Video(VideoCodec),
}

impl Codec {
    /// Audio or video.
    #[must_use]
    pub const fn kind(self) -> MediaKind {
        match self {
            Self::Audio(_) => MediaKind::Audio,
            Self::Video(_) => MediaKind::Video,
        }
    }

    /// Units of the RTP timestamp in a second.
    #[must_use]
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Audio(AudioCodec::Opus) => 48_000,
            Self::Audio(AudioCodec::Pcmu | AudioCodec::Pcma) => 8_000,
            Self::Video(_) => 90_000,
        }
    }

    /// The encoding name of `a=rtpmap`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audio(AudioCodec::Opus) => "opus",
            Self::Audio(AudioCodec::Pcmu) => "PCMU",
            Self::Audio(AudioCodec::Pcma) => "PCMA",
            Self::Video(VideoCodec::Vp8) => "VP8",
            Self::Video(VideoCodec::H264) => "H264",
        }
    }

    /// The value of `a=rtpmap` after the payload type.
    pub(crate) fn rtpmap(self) -> String {
        let channels = if self == Self::Audio(AudioCodec::Opus) {
            "/2"
        } else {
            ""
        };
        format!("{}/{}{channels}", self.name(), self.clock_rate())
    }

    /// The codec that `a=rtpmap` names, if it is one of ours.
    pub(crate) fn from_rtpmap(value: &str) -> Option<Self> {
        const ALL: [Codec; 5] = [
            Codec::Audio(AudioCodec::Opus),
            Codec::Audio(AudioCodec::Pcmu),
            Codec::Audio(AudioCodec::Pcma),
            Codec::Video(VideoCodec::Vp8),
            Codec::Video(VideoCodec::H264),
        ];
        let value = value.trim();
        // One channel may be left out or written (RFC 8866 §6.6).
        let value = value.strip_suffix("/1").unwrap_or(value);
        ALL.into_iter()
            .find(|codec| codec.rtpmap().eq_ignore_ascii_case(value))
    }

    /// The codec of a payload type that needs no `a=rtpmap` (RFC 3551 §6).
    pub(crate) const fn from_static_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Audio(AudioCodec::Pcmu)),
            8 => Some(Self::Audio(AudioCodec::Pcma)),
            _ => None,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_whatever_their_case_and_channels() {
        for (text, codec) in [
            ("opus/48000/2", Codec::Audio(AudioCodec::Opus)),
            ("OPUS/48000/2", Codec::Audio(AudioCodec::Opus)),
            ("PCMU/8000", Codec::Audio(AudioCodec::Pcmu)),
            ("pcma/8000/1", Codec::Audio(AudioCodec::Pcma)),
            ("h264/90000", Codec::Video(VideoCodec::H264)),
        ] {
            assert_eq!(Codec::from_rtpmap(text), Some(codec), "{text}");
        }
        assert_eq!(Codec::from_rtpmap("opus/24000/2"), None);
    }
}
