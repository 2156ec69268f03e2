//! Messages of the client as JSON.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tidegate_media::Timestamp;

use super::frame::WireFrame;
use super::shared::{
    Credit, Empty, Place, PortOnly, PortSpec, Result, features, is_default, name, optional_port,
    specs, specs_of,
};
use crate::error::{WireMessageError, at_most};
use crate::limits::PORTS;
use crate::message::{self, ClientMessage, PortFormats, Source};
use crate::name::PortName;
use crate::validate;

/// What a client sends. Frames are written by [`super::frame`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "a frame is what most messages are, and lives on the stack for one decoding"
)]
pub(super) enum Client<'a> {
    #[serde(borrow)]
    Open(Box<Open<'a>>),
    #[serde(borrow, skip_serializing)]
    Frame(WireFrame<'a>),
    Interrupt(Empty),
    #[serde(borrow)]
    End(PortOnly<'a>),
    #[serde(borrow)]
    Credit(Credit<'a>),
    #[serde(borrow)]
    Ack(Place<'a>),
}

#[derive(Serialize, Deserialize)]
pub(super) struct Open<'a> {
    #[serde(default, skip_serializing_if = "is_default")]
    pipeline: String,
    /// A manifest's text as a string, or the manifest itself as an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    parameters: Map<String, Value>,
    #[serde(default)]
    mode: Mode,
    #[serde(default, skip_serializing_if = "is_default")]
    features: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    session: String,
    #[serde(rename = "as", default, skip_serializing_if = "is_default")]
    as_ports: Vec<String>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<PortSpec<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    outputs: Vec<PortSpec<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    raw: Option<Raw<'a>>,
    #[serde(default, skip_serializing_if = "is_default")]
    hop_count: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    deadline: u64,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Live,
    Waits,
}

#[derive(Serialize, Deserialize)]
struct Raw<'a> {
    #[serde(borrow, default, skip_serializing_if = "is_default")]
    input: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "is_default")]
    output: Cow<'a, str>,
}

pub(super) fn decode(
    message: Client<'_>,
    now: Timestamp,
    formats: &PortFormats,
) -> Result<ClientMessage> {
    Ok(match message {
        Client::Frame(frame) => {
            let (port, frame) = frame.decode(now, formats)?;
            ClientMessage::Frame { port, frame }
        }
        Client::Open(open) => ClientMessage::Open(Box::new(open.decode()?)),
        Client::Interrupt(Empty {}) => ClientMessage::Interrupt,
        Client::End(end) => ClientMessage::End {
            port: optional_port("end.port", end.port)?,
        },
        Client::Credit(credit) => ClientMessage::Credit(credit.decode()?),
        Client::Ack(ack) => ClientMessage::Ack(ack.decode("ack.port")?),
    })
}

impl Open<'_> {
    fn decode(self) -> Result<message::Open> {
        at_most("open.as", self.as_ports.len(), PORTS, "ports")?;
        validate::parameters("open.parameters", &self.parameters)?;
        let as_ports = self.as_ports.into_iter();
        Ok(message::Open {
            source: source("open", self.pipeline, self.manifest)?,
            parameters: self.parameters,
            mode: match self.mode {
                Mode::Live => message::Mode::Live,
                Mode::Waits => message::Mode::Waits,
            },
            features: features("open.features", self.features)?,
            session: validate::optional("open.session", self.session)?,
            as_ports: as_ports
                .map(|port| PortName::at("open.as", port))
                .collect::<Result<_>>()?,
            inputs: specs("open.inputs", self.inputs)?,
            outputs: specs("open.outputs", self.outputs)?,
            raw: self.raw.map(Raw::decode).transpose()?,
            hop_count: self.hop_count,
            deadline: validate::optional_micros(self.deadline),
        })
    }
}

impl Raw<'_> {
    fn decode(self) -> Result<message::Raw> {
        Ok(message::Raw {
            input: optional_port("open.raw.input", self.input)?,
            output: optional_port("open.raw.output", self.output)?,
        })
    }
}

/// What to run, as the message `at` says. An empty name is left to the path.
pub(super) fn source(
    at: &str,
    pipeline: String,
    manifest: Option<Box<RawValue>>,
) -> Result<Source> {
    match manifest {
        // The path that the stream was opened on may name it.
        None if pipeline.is_empty() => Ok(Source::Pipeline(pipeline)),
        None => validate::pipeline(&format!("{at}.pipeline"), pipeline),
        Some(_) if !pipeline.is_empty() => Err(WireMessageError::invalid(
            format!("{at}.manifest"),
            "is there beside pipeline",
            "send one of the two",
        )),
        Some(manifest) if manifest.get().starts_with('"') => Ok(Source::Manifest(
            serde_json::from_str(manifest.get())
                .map_err(|error| WireMessageError::malformed("JSON", error))?,
        )),
        // JSON is a manifest's text as it stands.
        Some(manifest) => Ok(Source::Manifest(manifest.get().to_owned())),
    }
}

impl<'a> From<&'a ClientMessage> for Client<'a> {
    fn from(message: &'a ClientMessage) -> Self {
        match message {
            ClientMessage::Open(open) => Client::Open(Box::new(Open::from(&**open))),
            // Frames have a writer of their own.
            ClientMessage::Frame { .. } | ClientMessage::Interrupt => Client::Interrupt(Empty {}),
            ClientMessage::End { port } => Client::End(PortOnly {
                port: name(port.as_ref()),
            }),
            ClientMessage::Credit(credit) => Client::Credit(credit.into()),
            ClientMessage::Ack(ack) => Client::Ack(ack.into()),
        }
    }
}

impl<'a> From<&'a message::Open> for Open<'a> {
    fn from(open: &'a message::Open) -> Self {
        let (pipeline, manifest) = match &open.source {
            Source::Pipeline(name) => (name.clone(), None),
            // A string can always be written as JSON.
            Source::Manifest(text) => (String::new(), serde_json::value::to_raw_value(text).ok()),
        };
        Self {
            pipeline,
            manifest,
            parameters: open.parameters.clone(),
            mode: match open.mode {
                message::Mode::Live => Mode::Live,
                message::Mode::Waits => Mode::Waits,
            },
            features: open.features.clone(),
            session: open.session.clone().unwrap_or_default(),
            as_ports: open
                .as_ports
                .iter()
                .map(|port| port.as_str().to_owned())
                .collect(),
            inputs: specs_of(&open.inputs),
            outputs: specs_of(&open.outputs),
            raw: open.raw.as_ref().map(|raw| Raw {
                input: name(raw.input.as_ref()),
                output: name(raw.output.as_ref()),
            }),
            hop_count: open.hop_count,
            deadline: validate::some_micros(open.deadline),
        }
    }
}
