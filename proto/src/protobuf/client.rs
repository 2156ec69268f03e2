//! Messages of the client between generated types and the program's own.

use tidegate_media::Timestamp;

use super::format::{specs_from, specs_to};
use super::frame::{decode_frame, encode_frame};
use super::parameters;
use crate::error::{WireMessageError, at_most};
use crate::limits::{FEATURES, PORTS};
use crate::message::{Ack, ClientMessage, Credit, Mode, Open, PortFormats, Raw, Source};
use crate::name::PortName;
use crate::v1::client_message::Message;
use crate::{v1, validate};

type Result<T> = std::result::Result<T, WireMessageError>;

/// What [`WireMessageError::Unknown`] names.
const CLIENT_KINDS: &str = "open, frame, interrupt, end, credit, ack";

/// A client's message; `formats` are those that its `open` named.
///
/// # Errors
/// It is empty or of an unknown kind, or a field is missing or cannot be.
pub fn decode_client(
    message: v1::ClientMessage,
    now: Timestamp,
    formats: &PortFormats,
) -> Result<ClientMessage> {
    Ok(match message.message.ok_or_else(unknown)? {
        Message::Frame(frame) => {
            let (port, frame) = decode_frame(frame, now, formats)?;
            ClientMessage::Frame { port, frame }
        }
        Message::Open(open) => ClientMessage::Open(Box::new(decode_open(open)?)),
        Message::Interrupt(_) => ClientMessage::Interrupt,
        Message::End(end) => ClientMessage::End {
            port: optional_port("end.port", end.port)?,
        },
        Message::Credit(credit) => ClientMessage::Credit(decode_credit(credit)?),
        Message::Ack(ack) => ClientMessage::Ack(decode_ack("ack.port", ack.port, ack.seq)?),
    })
}

#[cold]
const fn unknown() -> WireMessageError {
    WireMessageError::Unknown {
        expected: CLIENT_KINDS,
    }
}

/// A client's message for the wire.
#[must_use]
pub fn encode_client(message: ClientMessage, now: Timestamp) -> v1::ClientMessage {
    let message = match message {
        ClientMessage::Frame { port, frame } => {
            Message::Frame(encode_frame(port.into_string(), frame, now))
        }
        ClientMessage::Open(open) => Message::Open(encode_open(*open)),
        ClientMessage::Interrupt => Message::Interrupt(v1::Interrupt {}),
        ClientMessage::End { port } => Message::End(v1::End {
            port: port.map(PortName::into_string).unwrap_or_default(),
        }),
        ClientMessage::Credit(credit) => Message::Credit(encode_credit(credit)),
        ClientMessage::Ack(ack) => Message::Ack(encode_ack(ack)),
    };
    v1::ClientMessage {
        message: Some(message),
    }
}

pub(super) fn decode_credit(credit: v1::Credit) -> Result<Credit> {
    Ok(Credit {
        port: PortName::at("credit.port", credit.port)?,
        frames: u32::try_from(credit.frames).unwrap_or(u32::MAX),
        bytes: match (credit.frames, credit.bytes) {
            (1.., 0) => Credit::UNCOUNTED,
            (_, bytes) => bytes,
        },
    })
}

pub(super) fn encode_credit(credit: Credit) -> v1::Credit {
    v1::Credit {
        port: credit.port.into_string(),
        frames: u64::from(credit.frames),
        bytes: match credit.bytes {
            Credit::UNCOUNTED => 0,
            bytes => bytes,
        },
    }
}

pub(super) fn decode_ack(field: &str, port: String, seq: u64) -> Result<Ack> {
    Ok(Ack {
        port: PortName::at(field, port)?,
        seq,
    })
}

fn encode_ack(ack: Ack) -> v1::Ack {
    v1::Ack {
        port: ack.port.into_string(),
        seq: ack.seq,
    }
}

pub(super) fn optional_port(field: &str, port: String) -> Result<Option<PortName>> {
    (!port.is_empty())
        .then(|| PortName::at(field, port))
        .transpose()
}

pub(super) fn features(field: &str, features: Vec<String>) -> Result<Vec<String>> {
    at_most(field, features.len(), FEATURES, "features")?;
    features
        .into_iter()
        .map(|feature| validate::short(field, feature))
        .collect()
}

fn decode_open(open: v1::Open) -> Result<Open> {
    at_most("open.as", open.r#as.len(), PORTS, "ports")?;
    let as_ports = open.r#as.into_iter();
    Ok(Open {
        source: match open.source {
            Some(v1::open::Source::Pipeline(name)) => validate::pipeline("open.pipeline", name)?,
            Some(v1::open::Source::Manifest(text)) => Source::Manifest(text),
            // The path that the stream was opened on may name it.
            None => Source::Pipeline(String::new()),
        },
        parameters: parameters::decode("open.parameters", open.parameters)?,
        mode: match v1::Mode::try_from(open.mode) {
            Ok(v1::Mode::Unspecified | v1::Mode::Live) => Mode::Live,
            Ok(v1::Mode::Waits) => Mode::Waits,
            Err(_) => {
                return Err(WireMessageError::invalid(
                    "open.mode",
                    format!("has the unknown number {}", open.mode),
                    "name live or waits",
                ));
            }
        },
        features: features("open.features", open.features)?,
        session: validate::optional("open.session", open.session)?,
        as_ports: as_ports
            .map(|port| PortName::at("open.as", port))
            .collect::<Result<_>>()?,
        inputs: specs_from("open.inputs", open.inputs)?,
        outputs: specs_from("open.outputs", open.outputs)?,
        raw: open.raw.map(decode_raw).transpose()?,
        hop_count: open.hop_count,
        deadline: validate::optional_micros(open.deadline),
    })
}

fn decode_raw(raw: v1::RawAudio) -> Result<Raw> {
    Ok(Raw {
        input: optional_port("open.raw.input", raw.input)?,
        output: optional_port("open.raw.output", raw.output)?,
    })
}

fn encode_open(open: Open) -> v1::Open {
    let name = |port: Option<PortName>| port.map(PortName::into_string).unwrap_or_default();
    v1::Open {
        source: match open.source {
            // Left to the path, as `decode_open` reads it.
            Source::Pipeline(name) if name.is_empty() => None,
            Source::Pipeline(name) => Some(v1::open::Source::Pipeline(name)),
            Source::Manifest(text) => Some(v1::open::Source::Manifest(text)),
        },
        parameters: parameters::encode(open.parameters),
        mode: match open.mode {
            Mode::Live => v1::Mode::Live,
            Mode::Waits => v1::Mode::Waits,
        }
        .into(),
        features: open.features,
        session: open.session.unwrap_or_default(),
        r#as: open
            .as_ports
            .into_iter()
            .map(PortName::into_string)
            .collect(),
        inputs: specs_to(open.inputs),
        outputs: specs_to(open.outputs),
        raw: open.raw.map(|raw| v1::RawAudio {
            input: name(raw.input),
            output: name(raw.output),
        }),
        hop_count: open.hop_count,
        deadline: validate::some_micros(open.deadline),
    }
}
