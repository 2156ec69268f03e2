//! What tensors are as frames, kind by kind.
//!
//! | kind | tensor |
//! | --- | --- |
//! | tensor | itself, one frame |
//! | text, json, binary | `BYTES`: each element one frame |
//! | audio | `FP32` or `INT16`, `[samples]` or `[samples, channels]`: one stretch of PCM |
//!
//! A leading axis of 1, a batch of one, may stand before sound. Video has no tensor.

use bytes::Bytes;
use tidegate_media::{Audio, Codec, Dtype, Frame, Json, Kind, Payload, Tensor, Text};

use super::{Data, Datatype, Result, numbers};
use crate::WireMessageError;
use crate::validate;

/// Datatype and shape by which a port of a kind is listed; −1 is variable. A port of tensors says neither what its elements are nor
/// how many axes they have: it is listed as `FP32` along one axis. `None`: the protocol has nothing like it.
#[must_use]
pub fn listed(kind: Kind) -> Option<(Datatype, &'static [i64])> {
    match kind {
        Kind::Tensor | Kind::Audio => Some((Datatype::Number(Dtype::F32), &[-1])),
        Kind::Text | Kind::Json | Kind::Binary => Some((Datatype::Bytes, &[-1])),
        Kind::Video => None,
    }
}

/// The payloads that a tensor is for a port of a kind. `sample_rate` is that of sound, in Hz.
///
/// # Errors
/// The tensor is none that such a port takes; the text names `field`.
pub fn payloads(field: &str, kind: Kind, data: Data, sample_rate: u32) -> Result<Vec<Payload>> {
    match (kind, data) {
        (Kind::Tensor, Data::Numbers(tensor)) => Ok(vec![Payload::Tensor(tensor)]),
        (Kind::Audio, Data::Numbers(tensor)) => Ok(vec![sound(field, &tensor, sample_rate)?]),
        (Kind::Text | Kind::Json | Kind::Binary, Data::Strings { elements, .. }) => elements
            .into_iter()
            .map(|bytes| string(field, kind, bytes))
            .collect(),
        (Kind::Video, _) => Err(WireMessageError::invalid(
            field,
            "is for a port of video, which no tensor can be",
            "send video by another transport",
        )),
        (_, data) => {
            let takes = match kind {
                Kind::Tensor => "any datatype but BYTES",
                Kind::Audio => "FP32 or INT16",
                _ => "BYTES",
            };
            let given = data.datatype().as_str();
            Err(WireMessageError::invalid(
                format!("{field}.datatype"),
                format!("is {given} for a port of {kind}"),
                format!("send {takes}"),
            ))
        }
    }
}

fn string(field: &str, kind: Kind, bytes: Bytes) -> Result<Payload> {
    let wrong = |error: String, mend| WireMessageError::invalid(field, error, mend);
    match kind {
        Kind::Text => Text::from_utf8(bytes)
            .map(Payload::Text)
            .map_err(|error| wrong(format!("is not text ({error})"), "send UTF-8")),
        Kind::Json => Json::parse(bytes)
            .map(Payload::Json)
            .map_err(|error| wrong(format!("is not JSON ({error})"), "send one JSON value")),
        _ => Ok(Payload::Binary(bytes)),
    }
}

fn sound(field: &str, tensor: &Tensor, sample_rate: u32) -> Result<Payload> {
    let codec = match tensor.dtype() {
        Dtype::F32 => Codec::PcmF32,
        Dtype::I16 => Codec::PcmS16,
        other => {
            return Err(WireMessageError::invalid(
                format!("{field}.datatype"),
                format!(
                    "is {} for a port of audio",
                    Datatype::Number(other).as_str()
                ),
                "send FP32 or INT16",
            ));
        }
    };
    let channels = match tensor.shape() {
        [_] | [1, _] => 1,
        [_, channels] | [1, _, channels] => u32::try_from(*channels).unwrap_or(u32::MAX),
        shape => {
            return Err(WireMessageError::invalid(
                format!("{field}.shape"),
                format!("is {shape:?} for a port of audio"),
                "send [samples] or [samples, channels]",
            ));
        }
    };
    let format = validate::audio_format(field, codec, sample_rate, channels)?;
    validate::audio(format, tensor.data().clone())
}

/// The one tensor that all frames of an output are: strings of their texts, sound one after the other, the only tensor. `None` where
/// there is no frame of a kind whose tensors do not say without one what they are.
///
/// # Errors
/// Several tensors, or sound that changes its format on the way, which no one tensor can be.
pub fn gathered(kind: Kind, frames: Vec<Frame>) -> Result<Option<Data>> {
    if matches!(kind, Kind::Text | Kind::Json | Kind::Binary) {
        let elements = frames
            .into_iter()
            .filter_map(|frame| text_of(frame.payload));
        return Ok(Some(Data::strings(elements.collect())));
    }
    if kind == Kind::Audio {
        return Ok(joined(frames)?.map(|audio| sound_data(&audio)));
    }
    if frames.len() > 1 {
        return Err(WireMessageError::invalid(
            "the answer",
            format!("has {} tensors of one output", frames.len()),
            "ask by ModelStreamInfer, which gives each a response of its own",
        ));
    }
    Ok(frames.into_iter().find_map(|frame| data(frame.payload)))
}

/// What one frame's payload is as a tensor; `None` for video and for sound that is not PCM.
#[must_use]
pub fn data(payload: Payload) -> Option<Data> {
    match payload {
        Payload::Tensor(tensor) => Some(Data::Numbers(tensor)),
        Payload::Audio(audio) if audio.format.codec.is_pcm() => Some(sound_data(&audio)),
        Payload::Audio(_) | Payload::Video(_) => None,
        other => text_of(other).map(|bytes| Data::strings(vec![bytes])),
    }
}

fn text_of(payload: Payload) -> Option<Bytes> {
    match payload {
        Payload::Text(text) => Some(text.as_bytes().clone()),
        Payload::Json(json) => Some(json.as_bytes().clone()),
        Payload::Binary(bytes) => Some(bytes),
        _ => None,
    }
}

/// PCM as one stretch.
fn joined(frames: Vec<Frame>) -> Result<Option<Audio>> {
    let mut all = frames.into_iter().filter_map(|frame| match frame.payload {
        Payload::Audio(audio) => Some(audio),
        _ => None,
    });
    let Some(first) = all.next() else {
        return Ok(None);
    };
    let rest: Vec<_> = all.collect();
    if rest.is_empty() {
        return Ok(Some(first));
    }
    let mut data = Vec::from(first.data);
    for audio in rest {
        if audio.format != first.format {
            return Err(WireMessageError::invalid(
                "the answer",
                format!("has sound as {} and as {}", first.format, audio.format),
                "ask by ModelStreamInfer, which gives each a response of its own",
            ));
        }
        data.extend_from_slice(&audio.data);
    }
    Ok(Some(Audio::encoded(first.format, data.into())))
}

fn sound_data(audio: &Audio) -> Data {
    let dtype = match audio.format.codec {
        Codec::PcmS16 => Dtype::I16,
        _ => Dtype::F32,
    };
    let samples = u64::from(audio.samples);
    let shape = match audio.format.channels {
        1 => vec![samples],
        channels => vec![samples, u64::from(channels)],
    };
    // A stretch that ends within a sample is cut there; nothing that makes PCM makes such.
    let length = usize::try_from(shape.iter().product::<u64>()).unwrap_or(usize::MAX);
    let length = length.saturating_mul(dtype.size()).min(audio.data.len());
    let whole = audio.data.slice(..length);
    numbers("sound", dtype, &shape, whole).unwrap_or_else(|_| Data::strings(Vec::new()))
}
