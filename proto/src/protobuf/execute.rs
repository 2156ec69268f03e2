//! The unary call: a whole pipeline run over given frames.

use tidegate_media::{Frame, Timestamp};

use super::format::{specs_from, specs_to};
use super::frame::{decode_frame, encode_frame};
use super::parameters;
use crate::error::{WireMessageError, at_most};
use crate::limits::PORTS;
use crate::message::{Execute, PortFormats, Source};
use crate::name::PortName;
use crate::v1::execute_request::Source as Wire;
use crate::{v1, validate};

type Result<T> = std::result::Result<T, WireMessageError>;

/// What a caller asks for. Inputs are ordered by name; frames that carry no number are numbered by their place.
///
/// # Errors
/// A field is missing or cannot be, or a frame names another port than the list that it is in.
pub fn decode_execute(request: v1::ExecuteRequest, now: Timestamp) -> Result<Execute> {
    Ok(Execute {
        source: match request.source {
            Some(Wire::Pipeline(name)) => validate::pipeline("execute.pipeline", name)?,
            Some(Wire::Manifest(text)) => Source::Manifest(text),
            None => return Err(validate::no_source("execute")),
        },
        parameters: parameters::decode("execute.parameters", request.parameters)?,
        inputs: decode_ports("execute.inputs", request.inputs, now)?,
        outputs: specs_from("execute.outputs", request.outputs)?,
        hop_count: request.hop_count,
        deadline: validate::optional_micros(request.deadline),
    })
}

/// A request for the wire.
#[must_use]
pub fn encode_execute(execute: Execute, now: Timestamp) -> v1::ExecuteRequest {
    v1::ExecuteRequest {
        source: Some(match execute.source {
            Source::Pipeline(name) => Wire::Pipeline(name),
            Source::Manifest(text) => Wire::Manifest(text),
        }),
        parameters: parameters::encode(execute.parameters),
        inputs: encode_ports(execute.inputs, now),
        outputs: specs_to(execute.outputs),
        hop_count: execute.hop_count,
        deadline: validate::some_micros(execute.deadline),
    }
}

/// All frames of each output, ordered by the output's name.
///
/// # Errors
/// As for [`decode_execute`].
pub fn decode_outputs(
    response: v1::ExecuteResponse,
    now: Timestamp,
) -> Result<Vec<(PortName, Vec<Frame>)>> {
    decode_ports("execute.outputs", response.outputs, now)
}

/// A response for the wire.
#[must_use]
pub fn encode_outputs(outputs: Vec<(PortName, Vec<Frame>)>, now: Timestamp) -> v1::ExecuteResponse {
    v1::ExecuteResponse {
        outputs: encode_ports(outputs, now),
    }
}

type Map = std::collections::HashMap<String, v1::Frames>;

fn decode_ports(field: &str, ports: Map, now: Timestamp) -> Result<Vec<(PortName, Vec<Frame>)>> {
    at_most(field, ports.len(), PORTS, "ports")?;
    let formats = PortFormats::default();
    let one = |(name, frames): (String, v1::Frames)| {
        let port = PortName::at(field, name)?;
        let mut decoded = Vec::with_capacity(frames.frames.len());
        let list = format!("{field}.{port}");
        for (place, mut frame) in frames.frames.into_iter().enumerate() {
            if frame.port.is_empty() {
                port.as_str().clone_into(&mut frame.port);
            }
            let (named, mut frame) =
                decode_frame(frame, now, &formats).map_err(|error| error.of_item(&list, place))?;
            if named != port {
                return Err(validate::other_port(&list, place, &named));
            }
            if frame.meta.seq == 0 {
                frame.meta.seq = place as u64 + 1;
            }
            decoded.push(frame);
        }
        Ok((port, decoded))
    };
    let mut ports: Vec<_> = ports.into_iter().map(one).collect::<Result<_>>()?;
    ports.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(ports)
}

fn encode_ports(ports: Vec<(PortName, Vec<Frame>)>, now: Timestamp) -> Map {
    let one = |(port, frames): (PortName, Vec<Frame>)| {
        let name = port.into_string();
        let frames = frames
            .into_iter()
            .map(|frame| encode_frame(String::new(), frame, now))
            .collect();
        (name, v1::Frames { frames })
    };
    ports.into_iter().map(one).collect()
}
