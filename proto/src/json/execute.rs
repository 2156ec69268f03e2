//! The body and the answer of `POST …/execute`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tidegate_media::{Frame, Timestamp};

use super::client;
use super::frame::{self, WireFrame};
use super::shared::{PortSpec, Result, is_default, specs, specs_of};
use crate::error::{WireMessageError, at_most};
use crate::limits::PORTS;
use crate::message::{Execute, PortFormats, Source};
use crate::name::PortName;
use crate::validate;

// Refuses names that it does not know: a whole run with a misspelt `inputs` would succeed with nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body<'a> {
    #[serde(borrow, default)]
    inputs: Ports<'a>,
    #[serde(default)]
    pipeline: String,
    #[serde(default)]
    manifest: Option<Box<RawValue>>,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(borrow, default)]
    outputs: Vec<PortSpec<'a>>,
    #[serde(default)]
    hop_count: u32,
    #[serde(default)]
    deadline: u64,
}

#[derive(Deserialize)]
pub(super) struct Answer<'a> {
    #[serde(borrow)]
    outputs: Ports<'a>,
}

/// Frames of ports by name.
type Ports<'a> = BTreeMap<Cow<'a, str>, Vec<WireFrame<'a>>>;

/// The body without its frames.
#[derive(Serialize)]
struct Head<'a> {
    #[serde(skip_serializing_if = "is_default")]
    pipeline: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    parameters: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outputs: Vec<PortSpec<'a>>,
    #[serde(skip_serializing_if = "is_default")]
    hop_count: u32,
    #[serde(skip_serializing_if = "is_default")]
    deadline: u64,
}

pub(super) fn decode(body: Body<'_>, path: Option<&str>, now: Timestamp) -> Result<Execute> {
    validate::parameters("execute.parameters", &body.parameters)?;
    let source = client::source("execute", body.pipeline, body.manifest)?;
    Ok(Execute {
        source: settle(source, path)?,
        parameters: body.parameters,
        inputs: decode_ports("execute.inputs", body.inputs, now)?,
        outputs: specs("execute.outputs", body.outputs)?,
        hop_count: body.hop_count,
        deadline: validate::optional_micros(body.deadline),
    })
}

/// What runs, by the body and the path that it was sent to.
fn settle(source: Source, path: Option<&str>) -> Result<Source> {
    match (source, path) {
        (Source::Pipeline(named), Some(path)) if named.is_empty() || named == path => {
            Ok(Source::Pipeline(path.to_owned()))
        }
        (Source::Pipeline(named), None) if named.is_empty() => Err(validate::no_source("execute")),
        (source, None) => Ok(source),
        (_, Some(path)) => Err(WireMessageError::invalid(
            "execute.pipeline",
            format!("contradicts the path of '{path}'"),
            "leave it and manifest out, or send to /v1/execute",
        )),
    }
}

pub(super) fn encode(execute: &Execute, now: Timestamp) -> String {
    let (pipeline, manifest) = match &execute.source {
        Source::Pipeline(name) => (name.as_str(), None),
        Source::Manifest(text) => ("", Some(text.as_str())),
    };
    let mut out = super::write(&Head {
        pipeline,
        manifest,
        parameters: &execute.parameters,
        outputs: specs_of(&execute.outputs),
        hop_count: execute.hop_count,
        deadline: validate::some_micros(execute.deadline),
    });
    // The frames have a writer of their own: they are put before the brace that closes the object.
    out.pop();
    out.push_str(if out.len() > 1 {
        ",\"inputs\":"
    } else {
        "\"inputs\":"
    });
    encode_ports(&mut out, &execute.inputs, now);
    out.push('}');
    out
}

pub(super) fn decode_outputs(
    answer: Answer<'_>,
    now: Timestamp,
) -> Result<Vec<(PortName, Vec<Frame>)>> {
    decode_ports("execute.outputs", answer.outputs, now)
}

fn decode_ports(
    field: &str,
    ports: Ports<'_>,
    now: Timestamp,
) -> Result<Vec<(PortName, Vec<Frame>)>> {
    at_most(field, ports.len(), PORTS, "ports")?;
    let formats = PortFormats::default();
    let port = |(name, frames): (Cow<'_, str>, Vec<WireFrame<'_>>)| {
        let port = PortName::at(field, name.into_owned())?;
        let mut decoded = Vec::with_capacity(frames.len());
        let list = format!("{field}.{port}");
        for (place, mut frame) in frames.into_iter().enumerate() {
            if frame.port.is_empty() {
                frame.port = Cow::Owned(port.as_str().to_owned());
            }
            if frame.seq == 0 {
                frame.seq = place as u64 + 1;
            }
            let (named, frame) = frame
                .decode(now, &formats)
                .map_err(|error| error.of_item(&list, place))?;
            if named != port {
                return Err(validate::other_port(&list, place, &named));
            }
            decoded.push(frame);
        }
        Ok((port, decoded))
    };
    ports.into_iter().map(port).collect()
}

pub(super) fn encode_outputs(outputs: &[(PortName, Vec<Frame>)], now: Timestamp) -> String {
    let mut out = String::from("{\"outputs\":");
    encode_ports(&mut out, outputs, now);
    out.push('}');
    out
}

fn encode_ports(out: &mut String, ports: &[(PortName, Vec<Frame>)], now: Timestamp) {
    out.push('{');
    for (index, (port, frames)) in ports.iter().enumerate() {
        out.push_str(if index == 0 { "\"" } else { ",\"" });
        out.push_str(port.as_str());
        out.push_str("\":[");
        for (index, frame) in frames.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            frame::append(out, frame, now);
        }
        out.push(']');
    }
    out.push('}');
}
