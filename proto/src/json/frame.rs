//! Frames as JSON: read through borrowed structures, written by hand.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_media::{Dtype, Frame, MediaTime, Meta, Payload, Timestamp, Video, VideoFormat};

use super::base64::{self, Base64};
use super::shared::{RawAudioFormat, Result};
use crate::error::WireMessageError;
use crate::message::PortFormats;
use crate::name::PortName;
use crate::validate;

#[derive(Deserialize)]
pub(super) struct WireFrame<'a> {
    #[serde(borrow, default)]
    pub(super) port: Cow<'a, str>,
    #[serde(default)]
    pub(super) seq: u64,
    #[serde(default)]
    media_time: i64,
    #[serde(default)]
    utterance: u64,
    #[serde(default)]
    revision: u32,
    #[serde(default, rename = "final")]
    is_final: bool,
    #[serde(default)]
    caused_by: u64,
    #[serde(default)]
    deadline: u64,
    #[serde(default)]
    service: u64,
    #[serde(default)]
    replayed: bool,
    /// Only frames of a server have one.
    #[serde(borrow, default)]
    pub(super) caused_port: Cow<'a, str>,
    audio: Option<WireAudio>,
    video: Option<WireVideo>,
    text: Option<WireText>,
    binary: Option<WireBinary>,
    tensor: Option<WireTensor>,
    #[serde(borrow)]
    json: Option<WireJson<'a>>,
}

#[derive(Deserialize)]
struct WireAudio {
    format: Option<RawAudioFormat>,
    data: Base64,
}

#[derive(Deserialize)]
struct WireVideo {
    format: Option<VideoFormat>,
    #[serde(default)]
    key: bool,
    data: Base64,
}

#[derive(Deserialize)]
struct WireText {
    text: String,
}

#[derive(Deserialize)]
struct WireBinary {
    data: Base64,
}

#[derive(Deserialize)]
struct WireTensor {
    dtype: Dtype,
    shape: Vec<u64>,
    data: Base64,
}

#[derive(Deserialize)]
struct WireJson<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
}

impl WireFrame<'_> {
    pub(super) fn decode(self, now: Timestamp, formats: &PortFormats) -> Result<(PortName, Frame)> {
        let port = PortName::at("frame.port", self.port.into_owned())?;
        let meta = Meta {
            seq: self.seq,
            media_time: MediaTime::from_micros(self.media_time),
            ingress: now,
            utterance: self.utterance,
            revision: self.revision,
            is_final: self.is_final,
            caused_by: self.caused_by,
            caused_port: 0,
            since: 0,
            deadline: validate::optional_micros(self.deadline).map(|left| now + left),
            service: validate::optional_micros(self.service),
            replayed: self.replayed,
        };
        let given = [
            self.audio.is_some(),
            self.video.is_some(),
            self.text.is_some(),
            self.binary.is_some(),
            self.tensor.is_some(),
            self.json.is_some(),
        ];
        if given.into_iter().filter(|given| *given).count() > 1 {
            return Err(WireMessageError::invalid(
                "frame.payload",
                "is there more than once",
                "send one of audio, video, text, binary, tensor, json",
            ));
        }
        let payload = if let Some(audio) = self.audio {
            let format = match audio.format {
                Some(format) => format.check("frame.audio.format")?,
                None => formats.audio(port.as_str()),
            };
            validate::audio(format, audio.data.0)?
        } else if let Some(text) = self.text {
            validate::text(text.text)
        } else if let Some(json) = self.json {
            validate::json(Bytes::copy_from_slice(json.value.get().as_bytes()))?
        } else if let Some(tensor) = self.tensor {
            validate::tensor(tensor.dtype, &tensor.shape, tensor.data.0)?
        } else if let Some(binary) = self.binary {
            Payload::Binary(binary.data.0)
        } else if let Some(video) = self.video {
            video.decode(port.as_str(), formats)?
        } else {
            return Err(validate::no_payload());
        };
        Ok((port, Frame { meta, payload }))
    }
}

impl WireVideo {
    fn decode(self, port: &str, formats: &PortFormats) -> Result<Payload> {
        let format = self.format.or_else(|| formats.video(port));
        Ok(Payload::Video(Video {
            format: format.ok_or_else(validate::no_video_format)?,
            key: self.key,
            data: self.data.0,
        }))
    }
}

/// A whole `frame` message.
pub(super) fn message(
    port: &PortName,
    caused_port: Option<&PortName>,
    frame: &Frame,
    now: Timestamp,
) -> String {
    // Base64 makes four bytes of three; the rest of a frame has at most some 400.
    let mut out = String::with_capacity(400 + frame.payload.size() / 3 * 4);
    out.push_str("{\"frame\":{");
    // Names of ports need no escapes.
    for (key, port) in [
        ("\"port\":\"", Some(port)),
        ("\"caused_port\":\"", caused_port),
    ] {
        if let Some(port) = port {
            out.push_str(key);
            out.push_str(port.as_str());
            out.push_str("\",");
        }
    }
    members(&mut out, frame, now);
    out.push('}');
    out
}

/// Appends a frame's object without its port.
pub(super) fn append(out: &mut String, frame: &Frame, now: Timestamp) {
    out.push('{');
    members(out, frame, now);
}

/// Appends what follows the names of ports, and closes the object.
fn members(out: &mut String, frame: &Frame, now: Timestamp) {
    let meta = &frame.meta;
    number(out, "\"seq\":", meta.seq);
    out.push_str(",\"media_time\":");
    let _ = write!(out, "{}", meta.media_time.as_micros());
    let left = validate::some_micros(meta.deadline.map(|at| at - now));
    let numbers = [
        (",\"utterance\":", meta.utterance),
        (",\"revision\":", u64::from(meta.revision)),
        (",\"caused_by\":", meta.caused_by),
        (",\"deadline\":", left),
        (",\"service\":", validate::some_micros(meta.service)),
    ];
    for (key, value) in numbers {
        if value != 0 {
            number(out, key, value);
        }
    }
    if meta.is_final {
        out.push_str(",\"final\":true");
    }
    if meta.replayed {
        out.push_str(",\"replayed\":true");
    }
    append_payload(out, &frame.payload);
    out.push('}');
}

fn append_payload(out: &mut String, payload: &Payload) {
    match payload {
        Payload::Audio(audio) => {
            out.push_str(",\"audio\":{\"format\":{\"codec\":\"");
            out.push_str(audio.format.codec.as_str());
            number(
                out,
                "\",\"sample_rate\":",
                u64::from(audio.format.sample_rate),
            );
            number(out, ",\"channels\":", u64::from(audio.format.channels));
            out.push('}');
            data(out, &audio.data);
        }
        Payload::Video(video) => {
            out.push_str(",\"video\":{\"format\":{\"codec\":\"");
            out.push_str(video.format.codec.as_str());
            out.push_str("\"},\"key\":");
            out.push_str(if video.key { "true" } else { "false" });
            data(out, &video.data);
        }
        Payload::Text(text) => {
            out.push_str(",\"text\":{\"text\":");
            out.push_str(&super::write(&text.as_str()));
            out.push('}');
        }
        Payload::Binary(bytes) => {
            out.push_str(",\"binary\":{\"data\":\"");
            base64::append(out, bytes);
            out.push_str("\"}");
        }
        Payload::Tensor(tensor) => {
            out.push_str(",\"tensor\":{\"dtype\":\"");
            out.push_str(tensor.dtype().as_str());
            out.push_str("\",\"shape\":[");
            for (index, &axis) in tensor.shape().iter().enumerate() {
                number(out, if index == 0 { "" } else { "," }, axis);
            }
            out.push(']');
            data(out, tensor.data());
        }
        Payload::Json(json) => {
            out.push_str(",\"json\":{\"value\":");
            let text = std::str::from_utf8(json.as_bytes()).unwrap_or("null");
            if text.contains(['\n', '\r']) {
                // A line break in JSON stands between tokens only: inside strings it is escaped.
                out.push_str(&text.replace(['\n', '\r'], " "));
            } else {
                out.push_str(text);
            }
            out.push('}');
        }
    }
}

/// Ends a payload's object with its data.
fn data(out: &mut String, bytes: &[u8]) {
    out.push_str(",\"data\":\"");
    base64::append(out, bytes);
    out.push_str("\"}");
}

fn number(out: &mut String, key: &str, value: u64) {
    out.push_str(key);
    // Writing into a string cannot fail.
    let _ = write!(out, "{value}");
}
