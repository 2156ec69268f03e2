//! Native messages as protobuf: for gRPC as generated types, for WebSocket and data channels as bytes.
//!
//! Payloads are shared, not copied, in both directions between frames and generated types; decoding bytes shares the input, and
//! only encoding to bytes copies, once. Text and JSON payloads are the exception: generated code owns their strings, so encoding
//! copies them. `now` turns a deadline's remaining microseconds into an instant and back, and becomes a decoded frame's ingress.

use bytes::Bytes;
use prost::Message as _;
use tidegate_media::Timestamp;

use crate::error::WireMessageError;
use crate::message::{ClientMessage, PortFormats, ServerMessage};
use crate::v1;

mod client;
mod execute;
mod format;
mod frame;
mod parameters;
mod server;
mod split;
#[cfg(test)]
mod tests;

pub use client::{decode_client, encode_client};
pub use execute::{decode_execute, decode_outputs, encode_execute, encode_outputs};
pub use format::{decode_port, encode_port};
pub use frame::{decode_frame, encode_frame};
pub use server::{decode_error, decode_server, encode_error, encode_server};
pub use split::encode_server_split;

/// A client's message out of bytes, which stay shared with the frame's payload.
///
/// # Errors
/// The bytes are not protobuf, or as for [`decode_client`].
pub fn decode_client_bytes(
    bytes: Bytes,
    now: Timestamp,
    formats: &PortFormats,
) -> Result<ClientMessage, WireMessageError> {
    decode_client(read::<v1::ClientMessage>(bytes)?, now, formats)
}

/// A server's message out of bytes, which stay shared with the frame's payload; `None` as for [`decode_server`].
///
/// # Errors
/// The bytes are not protobuf, or as for [`decode_server`].
pub fn decode_server_bytes(
    bytes: Bytes,
    now: Timestamp,
    formats: &PortFormats,
) -> Result<Option<ServerMessage>, WireMessageError> {
    decode_server(read::<v1::ServerMessage>(bytes)?, now, formats)
}

/// A client's message as bytes.
#[must_use]
pub fn encode_client_bytes(message: ClientMessage, now: Timestamp) -> Bytes {
    Bytes::from(encode_client(message, now).encode_to_vec())
}

/// A server's message as bytes.
#[must_use]
pub fn encode_server_bytes(message: ServerMessage, now: Timestamp) -> Bytes {
    Bytes::from(encode_server(message, now).encode_to_vec())
}

fn read<M: prost::Message + Default>(bytes: Bytes) -> Result<M, WireMessageError> {
    M::decode(bytes).map_err(|error| WireMessageError::malformed("protobuf", error))
}
