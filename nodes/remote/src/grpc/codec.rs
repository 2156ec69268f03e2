//! Messages of the stream as bytes. Other than tonic's own codec it tells what the worker sent wrong from what broke on the way.

use prost::Message as _;
use tidegate_proto::v1;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// A message, or why the bytes are none.
pub(super) type Received = Result<v1::ServerMessage, prost::DecodeError>;

/// Encodes what goes to a worker, decodes what comes from it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WireCodec;

impl Codec for WireCodec {
    type Encode = v1::ClientMessage;
    type Decode = Received;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for WireCodec {
    type Item = v1::ClientMessage;
    type Error = Status;

    fn encode(&mut self, message: Self::Item, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // A large payload is copied once, into room made for it.
        buf.reserve(message.encoded_len());
        message
            .encode(buf)
            .map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}

impl Decoder for WireCodec {
    type Item = Received;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Received>, Status> {
        Ok(Some(v1::ServerMessage::decode(buf)))
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}

/// A hop holds two such buffers for its whole life; speech needs little.
fn settings() -> BufferSettings {
    BufferSettings::new(4 << 10, 32 << 10)
}
