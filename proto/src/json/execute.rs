//! The body and the answer of `POST …/execute`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use tidegate_media::{Frame, Timestamp};

use super::frame::{self, WireFrame};
use super::shared::{PortSpec, Result, specs};
use crate::error::at_most;
use crate::limits::PORTS;
use crate::message::{Execute, PortFormats, Source};
use crate::name::PortName;
use crate::validate;

#[derive(Deserialize)]
pub(super) struct Body<'a> {
    #[serde(borrow, default)]
    inputs: BTreeMap<Cow<'a, str>, Vec<WireFrame<'a>>>,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(borrow, default)]
    outputs: Vec<PortSpec<'a>>,
}

pub(super) fn decode(body: Body<'_>, source: Source, now: Timestamp) -> Result<Execute> {
    validate::parameters("execute.parameters", &body.parameters)?;
    at_most("execute.inputs", body.inputs.len(), PORTS, "ports")?;
    let formats = PortFormats::default();
    let port = |(name, frames): (Cow<'_, str>, Vec<WireFrame<'_>>)| {
        let port = PortName::at("execute.inputs", name.into_owned())?;
        let mut decoded = Vec::with_capacity(frames.len());
        let list = format!("execute.inputs.{port}");
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
    Ok(Execute {
        source,
        parameters: body.parameters,
        inputs: body.inputs.into_iter().map(port).collect::<Result<_>>()?,
        outputs: specs("execute.outputs", body.outputs)?,
    })
}

pub(super) fn encode_outputs(outputs: &[(PortName, Vec<Frame>)], now: Timestamp) -> String {
    let mut out = String::from("{\"outputs\":{");
    for (index, (port, frames)) in outputs.iter().enumerate() {
        out.push_str(if index == 0 { "\"" } else { ",\"" });
        out.push_str(port.as_str());
        out.push_str("\":[");
        for (index, frame) in frames.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            frame::append(&mut out, frame, now);
        }
        out.push(']');
    }
    out.push_str("}}");
    out
}
