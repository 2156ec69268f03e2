//! Native messages as JSON text: WebSocket `tidegate.v1.json`, data channels, `execute` and `application/x-ndjson`.
//!
//! A message is an object with exactly one key, its kind in `snake_case`. Bytes are base64 (RFC 4648 §4, padded), 64-bit integers
//! plain numbers, enums the names that manifests use, `json` payloads the value itself. Unknown fields are ignored; fields that
//! hold nothing are left out. What is encoded has no line breaks, so that each message is a line of NDJSON.
//!
//! Frames are the path that counts: they are read without an intermediate tree and written straight into the text.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_media::{Frame, Timestamp};

use crate::error::WireMessageError;
use crate::message::{ClientMessage, Execute, PortFormats, ServerMessage};
use crate::name::PortName;

mod base64;
mod client;
mod execute;
mod frame;
mod server;
mod shared;
#[cfg(test)]
mod tests;

/// A client's message; `formats` are those that its `open` named.
///
/// # Errors
/// The text is not JSON of a known kind, or a field is missing or cannot be. Types that do not fit name the field's path and the
/// text's line and column.
pub fn decode_client(
    text: &str,
    now: Timestamp,
    formats: &PortFormats,
) -> Result<ClientMessage, WireMessageError> {
    let message = read(text).map_err(|error| one_kind(text).unwrap_or(error))?;
    client::decode(message, now, formats)
}

/// A server's message; `formats` are those of its `opened`. `None`: a kind that a newer server knows and this version lacks,
/// which is to be ignored.
///
/// # Errors
/// As for [`decode_client`].
pub fn decode_server(
    text: &str,
    now: Timestamp,
    formats: &PortFormats,
) -> Result<Option<ServerMessage>, WireMessageError> {
    let message = read(text).map_err(|error| one_kind(text).unwrap_or(error))?;
    server::decode(message, now, formats)
}

/// A client's message as one line of text.
#[must_use]
pub fn encode_client(message: &ClientMessage, now: Timestamp) -> String {
    match message {
        ClientMessage::Frame { port, frame } => frame::message(port, None, frame, now),
        other => write(&client::Client::from(other)),
    }
}

/// A server's message as one line of text.
#[must_use]
pub fn encode_server(message: &ServerMessage, now: Timestamp) -> String {
    match message {
        ServerMessage::Frame {
            port,
            caused_port,
            frame,
        } => frame::message(port, caused_port.as_ref(), frame, now),
        other => write(&server::Server::from(other)),
    }
}

/// The body of `execute`, `{inputs: {port: [frame]}, parameters, outputs}`, for the pipeline that the path names, if it does; else
/// the body has `pipeline` or `manifest`. Frames that carry no number are numbered by their place.
///
/// # Errors
/// As for [`decode_client`]; also where a frame names another port than the list that it is in, or where path and body contradict.
pub fn decode_execute(
    text: &str,
    path: Option<&str>,
    now: Timestamp,
) -> Result<Execute, WireMessageError> {
    execute::decode(read(text)?, path, now)
}

/// The body of `execute` as text, for a path that names no pipeline unless it is this one.
#[must_use]
pub fn encode_execute(execute: &Execute, now: Timestamp) -> String {
    execute::encode(execute, now)
}

/// All frames of each output out of the answer of `execute`, ordered by the output's name.
///
/// # Errors
/// As for [`decode_execute`].
pub fn decode_outputs(
    text: &str,
    now: Timestamp,
) -> Result<Vec<(PortName, Vec<Frame>)>, WireMessageError> {
    execute::decode_outputs(read(text)?, now)
}

/// The answer of `execute`: `{outputs: {port: [frame]}}`.
#[must_use]
pub fn encode_outputs(outputs: &[(PortName, Vec<Frame>)], now: Timestamp) -> String {
    execute::encode_outputs(outputs, now)
}

/// Reads a text; only where that fails is it read again, slower, to say where.
fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, WireMessageError> {
    serde_json::from_str(text).map_err(|error| located::<T>(text, &error))
}

#[cold]
fn located<'a, T: Deserialize<'a>>(text: &'a str, error: &serde_json::Error) -> WireMessageError {
    let mut reader = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Err(found) => {
            // Where a text just stops there is no field to name: the library writes a question mark.
            let path = found.path().to_string();
            let path = path.trim_end_matches('?').trim_end_matches('.');
            if path.is_empty() {
                return WireMessageError::malformed("JSON", error);
            }
            WireMessageError::malformed("JSON", format_args!("{path}: {}", found.inner()))
        }
        _ => WireMessageError::malformed("JSON", error),
    }
}

/// How much of the keys of a message that has several is repeated.
const KINDS_SHOWN: usize = 80;

/// What is wrong with a message that is an object with none or several kinds: the library only says at which column it stopped.
#[cold]
fn one_kind(text: &str) -> Option<WireMessageError> {
    let object: BTreeMap<String, serde::de::IgnoredAny> = serde_json::from_str(text).ok()?;
    let keys: Vec<_> = object.keys().map(String::as_str).collect();
    let found = match keys[..] {
        [_] => return None,
        [] => String::from("none"),
        [..] => keys.join(", ").chars().take(KINDS_SHOWN).collect(),
    };
    let detail = format!("a message has exactly one key, its kind, and this one has {found}");
    Some(WireMessageError::malformed("JSON", detail))
}

/// Our own structures have string keys and finite numbers, so writing them cannot fail.
fn write<T: serde::Serialize>(message: &T) -> String {
    serde_json::to_string(message).unwrap_or_default()
}
