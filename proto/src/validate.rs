//! Checks that both encodings share: what a format, a payload, a list or a text may be.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};
use tidegate_media::{Audio, AudioFormat, Codec, Dtype, Json, Payload, Tensor, Text};

use crate::error::{WireMessageError, at_most};
use crate::limits::{
    CHANNELS, MESSAGE_BYTES, PARAMETERS_DEPTH, PARAMETERS_VALUES, SAMPLE_RATES, STRING_BYTES,
};
use crate::message::Source;
use crate::name::PortName;

type Result<T> = std::result::Result<T, WireMessageError>;

/// An audio format whose numbers can be; `at` is the path of the format.
pub(crate) fn audio_format(
    at: &str,
    codec: Codec,
    sample_rate: u32,
    channels: u32,
) -> Result<AudioFormat> {
    if !SAMPLE_RATES.contains(&sample_rate) {
        let (low, high) = (SAMPLE_RATES.start(), SAMPLE_RATES.end());
        return Err(WireMessageError::invalid(
            format!("{at}.sample_rate"),
            format!("is {sample_rate}"),
            format!("name samples a second, {low} to {high}"),
        ));
    }
    let known = u8::try_from(channels)
        .ok()
        .filter(|_| CHANNELS.contains(&channels));
    let Some(channels) = known else {
        let (low, high) = (CHANNELS.start(), CHANNELS.end());
        return Err(WireMessageError::invalid(
            format!("{at}.channels"),
            format!("is {channels}"),
            format!("name a count of interleaved channels, {low} to {high}"),
        ));
    };
    if codec == Codec::Opus && (sample_rate != 48_000 || channels > 2) {
        return Err(WireMessageError::invalid(
            at,
            format!("is opus/{sample_rate}/{channels}"),
            "opus is named with a sample rate of 48000 and one or two channels, whatever it was made of",
        ));
    }
    Ok(AudioFormat {
        codec,
        sample_rate,
        channels,
    })
}

/// Audio whose data is whole samples of its format.
pub(crate) fn audio(format: AudioFormat, data: Bytes) -> Result<Payload> {
    if let Some(bytes) = format.codec.sample_bytes() {
        let step = bytes * usize::from(format.channels);
        if !data.len().is_multiple_of(step) {
            return Err(WireMessageError::invalid(
                "frame.audio.data",
                format!("has {} bytes", data.len()),
                format!("{format} needs a multiple of {step}"),
            ));
        }
    }
    Ok(Payload::Audio(Audio::encoded(format, data)))
}

#[cold]
pub(crate) fn no_payload() -> WireMessageError {
    WireMessageError::missing(
        "frame.payload",
        "send one of audio, video, text, binary, tensor, json",
    )
}

#[cold]
pub(crate) fn no_video_format() -> WireMessageError {
    WireMessageError::missing(
        "frame.video.format",
        "name the codec here or for the port in open",
    )
}

/// A tensor whose data fits its shape.
pub(crate) fn tensor(dtype: Dtype, shape: &[u64], data: Bytes) -> Result<Payload> {
    let tensor = Tensor::new(dtype, shape, data).map_err(|error| {
        WireMessageError::invalid(
            "frame.tensor",
            format!("is no tensor ({error})"),
            "data is row-major and little-endian, its length the product of shape times the element's size",
        )
    })?;
    Ok(Payload::Tensor(tensor))
}

/// A JSON value given as its text.
pub(crate) fn json(text: Bytes) -> Result<Payload> {
    let json = Json::parse(text).map_err(|error| {
        WireMessageError::invalid(
            "frame.json.value",
            format!("is not JSON ({error})"),
            "send the text of one JSON value",
        )
    })?;
    Ok(Payload::Json(json))
}

/// Text, taken without a copy.
pub(crate) fn text(text: String) -> Payload {
    Payload::Text(Text::from(text))
}

/// A pipeline by name; `field` is the path of the name.
pub(crate) fn pipeline(field: &str, name: String) -> Result<Source> {
    let name = optional(field, name)?;
    name.map(Source::Pipeline)
        .ok_or_else(|| WireMessageError::missing(field, "name a pipeline that the server lists"))
}

#[cold]
pub(crate) fn no_source(at: &str) -> WireMessageError {
    WireMessageError::missing(
        format!("{at}.pipeline"),
        "name a pipeline, or send a manifest's text as manifest",
    )
}

/// A frame names another port than the list that it stands in.
#[cold]
pub(crate) fn other_port(list: &str, place: usize, named: &PortName) -> WireMessageError {
    WireMessageError::invalid(
        format!("{list}[{place}].port"),
        format!("is {named}"),
        "leave it out, or name the list's own port",
    )
}

/// A string that is an id or a name.
pub(crate) fn short(field: &str, text: String) -> Result<String> {
    at_most(field, text.len(), STRING_BYTES, "bytes")?;
    Ok(text)
}

/// As [`short`]; an empty string means that there is none.
pub(crate) fn optional(field: &str, text: String) -> Result<Option<String>> {
    Ok(Some(short(field, text)?).filter(|text| !text.is_empty()))
}

/// A text for people, cut where it is longer than anyone reads.
pub(crate) fn for_people(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES {
        let end = text.floor_char_boundary(MESSAGE_BYTES);
        text.truncate(end);
    }
    text
}

/// Parameters that are neither too deep nor too many.
pub(crate) fn parameters(field: &str, map: &Map<String, Value>) -> Result<()> {
    let mut values = 0;
    for value in map.values() {
        count(field, value, 1, &mut values)?;
    }
    Ok(())
}

fn count(field: &str, value: &Value, depth: usize, values: &mut usize) -> Result<()> {
    *values += 1;
    at_most(field, depth, PARAMETERS_DEPTH, "levels")?;
    at_most(field, *values, PARAMETERS_VALUES, "values")?;
    match value {
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| count(field, item, depth + 1, values)),
        Value::Object(map) => map
            .values()
            .try_for_each(|item| count(field, item, depth + 1, values)),
        _ => Ok(()),
    }
}

/// Microseconds that mean "none" when they are 0.
pub(crate) fn optional_micros(micros: u64) -> Option<Duration> {
    (micros > 0).then(|| Duration::from_micros(micros))
}

/// A duration in whole microseconds; saturates.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// As [`micros`], where 0 means "none": what is there, however short, is at least 1.
pub(crate) fn some_micros(duration: Option<Duration>) -> u64 {
    duration.map_or(0, |duration| micros(duration).max(1))
}
