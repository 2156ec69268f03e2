//! Parts that both sides' messages have, in the form in which JSON reads and writes them.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_media::{AudioFormat, Codec, VideoFormat};

use crate::error::{WireMessageError, at_most};
use crate::limits::{FEATURES, PORTS};
use crate::message::{self, StreamSpec};
use crate::name::PortName;
use crate::validate;

pub(super) type Result<T> = std::result::Result<T, WireMessageError>;

/// A message without fields.
#[derive(Serialize, Deserialize)]
pub(super) struct Empty {}

/// `{port}`; an empty name where the port may be left out.
#[derive(Serialize, Deserialize)]
pub(super) struct PortOnly<'a> {
    #[serde(borrow, default, skip_serializing_if = "is_default")]
    pub(super) port: Cow<'a, str>,
}

/// `credit`. No bytes beside frames means that only frames count.
#[derive(Serialize, Deserialize)]
pub(super) struct Credit<'a> {
    #[serde(borrow, default)]
    port: Cow<'a, str>,
    #[serde(default)]
    frames: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    bytes: u64,
}

/// `ack` and `replay_from`.
#[derive(Serialize, Deserialize)]
pub(super) struct Place<'a> {
    #[serde(borrow, default)]
    port: Cow<'a, str>,
    #[serde(default)]
    seq: u64,
}

/// An audio format whose numbers are not checked yet.
#[derive(Serialize, Deserialize)]
pub(super) struct RawAudioFormat {
    codec: Codec,
    sample_rate: u32,
    channels: u32,
}

/// Format of a port: `audio` or `video`.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Spec {
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<RawAudioFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    video: Option<VideoFormat>,
}

/// An entry of `inputs` and `outputs`.
#[derive(Serialize, Deserialize)]
pub(super) struct PortSpec<'a> {
    #[serde(borrow, default)]
    port: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<RawAudioFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    video: Option<VideoFormat>,
}

impl Credit<'_> {
    pub(super) fn decode(self) -> Result<message::Credit> {
        Ok(message::Credit {
            port: PortName::at("credit.port", self.port.into_owned())?,
            frames: u32::try_from(self.frames).unwrap_or(u32::MAX),
            bytes: match (self.frames, self.bytes) {
                (1.., 0) => message::Credit::UNCOUNTED,
                (_, bytes) => bytes,
            },
        })
    }
}

impl<'a> From<&'a message::Credit> for Credit<'a> {
    fn from(credit: &'a message::Credit) -> Self {
        Self {
            port: credit.port.as_str().into(),
            frames: u64::from(credit.frames),
            bytes: match credit.bytes {
                message::Credit::UNCOUNTED => 0,
                bytes => bytes,
            },
        }
    }
}

impl Place<'_> {
    pub(super) fn decode(self, field: &str) -> Result<message::Ack> {
        Ok(message::Ack {
            port: PortName::at(field, self.port.into_owned())?,
            seq: self.seq,
        })
    }
}

impl<'a> From<&'a message::Ack> for Place<'a> {
    fn from(ack: &'a message::Ack) -> Self {
        Self {
            port: ack.port.as_str().into(),
            seq: ack.seq,
        }
    }
}

impl RawAudioFormat {
    pub(super) fn check(self, at: &str) -> Result<AudioFormat> {
        validate::audio_format(at, self.codec, self.sample_rate, self.channels)
    }
}

impl From<AudioFormat> for RawAudioFormat {
    fn from(format: AudioFormat) -> Self {
        Self {
            codec: format.codec,
            sample_rate: format.sample_rate,
            channels: u32::from(format.channels),
        }
    }
}

impl Spec {
    pub(super) fn decode(self, field: &str) -> Result<Option<StreamSpec>> {
        Ok(match (self.audio, self.video) {
            (Some(audio), _) => Some(StreamSpec::Audio(audio.check(&format!("{field}.audio"))?)),
            (None, Some(video)) => Some(StreamSpec::Video(video)),
            (None, None) => None,
        })
    }
}

impl From<Option<StreamSpec>> for Spec {
    fn from(spec: Option<StreamSpec>) -> Self {
        match spec {
            Some(StreamSpec::Audio(format)) => Self {
                audio: Some(format.into()),
                video: None,
            },
            Some(StreamSpec::Video(format)) => Self {
                audio: None,
                video: Some(format),
            },
            None => Self::default(),
        }
    }
}

pub(super) fn specs(field: &str, list: Vec<PortSpec<'_>>) -> Result<Vec<(PortName, StreamSpec)>> {
    at_most(field, list.len(), PORTS, "ports")?;
    let one = |item: PortSpec<'_>| {
        let spec = Spec {
            audio: item.audio,
            video: item.video,
        };
        let spec = spec.decode(field)?.ok_or_else(|| {
            WireMessageError::missing(format!("{field}.audio"), "name audio or video")
        })?;
        let port = PortName::at(&format!("{field}.port"), item.port.into_owned())?;
        Ok((port, spec))
    };
    list.into_iter().map(one).collect()
}

pub(super) fn specs_of(list: &[(PortName, StreamSpec)]) -> Vec<PortSpec<'_>> {
    let mut entries = Vec::with_capacity(list.len());
    for (port, spec) in list {
        let Spec { audio, video } = Some(*spec).into();
        entries.push(PortSpec {
            port: port.as_str().into(),
            audio,
            video,
        });
    }
    entries
}

pub(super) fn features(field: &str, features: Vec<String>) -> Result<Vec<String>> {
    at_most(field, features.len(), FEATURES, "features")?;
    features
        .into_iter()
        .map(|feature| validate::short(field, feature))
        .collect()
}

pub(super) fn optional_port(field: &str, port: Cow<'_, str>) -> Result<Option<PortName>> {
    (!port.is_empty())
        .then(|| PortName::at(field, port.into_owned()))
        .transpose()
}

/// A port's name, or nothing.
pub(super) fn name(port: Option<&PortName>) -> Cow<'_, str> {
    port.map_or(Cow::Borrowed(""), |port| port.as_str().into())
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

pub(super) const fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}
