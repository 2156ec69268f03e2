//! Frames between generated types and those of `media`. This is the path that every frame takes; nothing here is logged or counted.

use tidegate_media::{Frame, MediaTime, Meta, Payload, Timestamp, Video};

use super::format::{audio_from, audio_to, dtype_from, dtype_to, video_from, video_to};
use crate::error::WireMessageError;
use crate::message::PortFormats;
use crate::name::PortName;
use crate::v1::frame::Payload as Wire;
use crate::{v1, validate};

/// A frame and its port. Audio or video that names no format takes the port's. The ingress is `now`. `caused_port` is the message's
/// to read.
///
/// # Errors
/// The port's name, the payload or its format is missing or cannot be.
pub fn decode_frame(
    frame: v1::Frame,
    now: Timestamp,
    formats: &PortFormats,
) -> Result<(PortName, Frame), WireMessageError> {
    let port = PortName::at("frame.port", frame.port)?;
    let payload = frame.payload.ok_or_else(validate::no_payload)?;
    let meta = Meta {
        seq: frame.seq,
        media_time: MediaTime::from_micros(frame.media_time),
        ingress: now,
        utterance: frame.utterance,
        revision: frame.revision,
        is_final: frame.r#final,
        caused_by: frame.caused_by,
        caused_port: 0,
        since: 0,
        deadline: validate::optional_micros(frame.deadline).map(|left| now + left),
        service: validate::optional_micros(frame.service),
        replayed: frame.replayed,
    };
    let payload = decode_payload(payload, port.as_str(), formats)?;
    Ok((port, Frame { meta, payload }))
}

fn decode_payload(
    payload: Wire,
    port: &str,
    formats: &PortFormats,
) -> Result<Payload, WireMessageError> {
    match payload {
        Wire::Audio(audio) => {
            let format = match audio.format {
                Some(format) => audio_from("frame.audio.format", format)?,
                None => formats.audio(port),
            };
            validate::audio(format, audio.data)
        }
        Wire::Video(video) => {
            let format = match video.format {
                Some(format) => video_from("frame.video.format", format)?,
                None => formats.video(port).ok_or_else(validate::no_video_format)?,
            };
            Ok(Payload::Video(Video {
                format,
                key: video.key,
                data: video.data,
            }))
        }
        Wire::Text(text) => Ok(validate::text(text.text)),
        Wire::Binary(binary) => Ok(Payload::Binary(binary.data)),
        Wire::Tensor(tensor) => {
            validate::tensor(dtype_from(tensor.dtype)?, &tensor.shape, tensor.data)
        }
        Wire::Json(json) => validate::json(json.value.into()),
    }
}

/// A frame for a port. A deadline that has passed is sent as one microsecond: 0 would mean that there is none.
#[must_use]
pub fn encode_frame(port: String, frame: Frame, now: Timestamp) -> v1::Frame {
    let meta = frame.meta;
    v1::Frame {
        port,
        seq: meta.seq,
        media_time: meta.media_time.as_micros(),
        utterance: meta.utterance,
        revision: meta.revision,
        r#final: meta.is_final,
        caused_by: meta.caused_by,
        deadline: validate::some_micros(meta.deadline.map(|at| at - now)),
        service: validate::some_micros(meta.service),
        replayed: meta.replayed,
        caused_port: String::new(),
        payload: Some(encode_payload(frame.payload)),
    }
}

fn encode_payload(payload: Payload) -> Wire {
    match payload {
        Payload::Audio(audio) => Wire::Audio(v1::Audio {
            format: Some(audio_to(audio.format)),
            data: audio.data,
        }),
        Payload::Video(video) => Wire::Video(v1::Video {
            format: Some(video_to(video.format)),
            key: video.key,
            data: video.data,
        }),
        Payload::Text(text) => Wire::Text(v1::Text {
            text: text.as_str().to_owned(),
        }),
        Payload::Binary(data) => Wire::Binary(v1::Binary { data }),
        Payload::Tensor(tensor) => Wire::Tensor(v1::Tensor {
            dtype: dtype_to(tensor.dtype()).into(),
            shape: tensor.shape().to_vec(),
            data: tensor.data().clone(),
        }),
        Payload::Json(json) => Wire::Json(v1::Json {
            // The bytes were parsed as JSON when the value was made, so they are UTF-8.
            value: String::from_utf8_lossy(json.as_bytes()).into_owned(),
        }),
    }
}
