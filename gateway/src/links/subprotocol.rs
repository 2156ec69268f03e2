//! The two ways in which the native stream is written down as WebSocket messages.

use axum::extract::ws::Message;
use tidegate_media::Timestamp;
use tidegate_nodes::{Code, Error};
use tidegate_proto::message::{PortFormats, ServerMessage};
use tidegate_proto::{json, protobuf};

use super::wire::malformed;

/// How messages are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subprotocol {
    /// `tidegate.v1.json`.
    Json,
    /// `tidegate.v1.proto`.
    Proto,
}

impl Subprotocol {
    /// The token of `Sec-WebSocket-Protocol`.
    pub(crate) const fn token(self) -> &'static str {
        match self {
            Self::Json => "tidegate.v1.json",
            Self::Proto => "tidegate.v1.proto",
        }
    }

    /// A client's message.
    pub(crate) fn decode(
        self,
        message: Message,
        now: Timestamp,
        formats: &PortFormats,
    ) -> Result<tidegate_proto::message::ClientMessage, Error> {
        let decoded = match (self, &message) {
            (Self::Json, Message::Text(text)) => json::decode_client(text.as_str(), now, formats),
            (Self::Proto, Message::Binary(bytes)) => {
                protobuf::decode_client_bytes(bytes.clone(), now, formats)
            }
            (Self::Json, _) => {
                let text = "binary message without raw audio: name its input in open.raw";
                return Err(Error::new(Code::BadRequest, text));
            }
            (Self::Proto, _) => {
                let text = "text message under tidegate.v1.proto: send binary protobuf messages";
                return Err(Error::new(Code::BadRequest, text));
            }
        };
        decoded.map_err(|error| malformed(&error))
    }

    /// A server's message.
    pub(crate) fn encode(self, message: ServerMessage, now: Timestamp) -> Message {
        match self {
            Self::Json => Message::Text(json::encode_server(&message, now).into()),
            Self::Proto => Message::Binary(protobuf::encode_server_bytes(message, now)),
        }
    }
}
