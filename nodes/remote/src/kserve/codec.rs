//! Messages as bytes. Raw contents are shared with the memory that a message was read into.

use std::marker::PhantomData;

use prost::Message;
use tidegate_proto::inference::ModelInferRequest;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Requests there, and responses of a type back.
#[derive(Debug)]
pub(super) struct InferCodec<T>(PhantomData<fn() -> T>);

impl<T> Default for InferCodec<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + Default + 'static> Codec for InferCodec<T> {
    type Encode = ModelInferRequest;
    type Decode = T;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<T> Encoder for InferCodec<T> {
    type Item = ModelInferRequest;
    type Error = Status;

    fn encode(&mut self, message: Self::Item, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // A large payload is copied once, into room made for it.
        buf.reserve(message.encoded_len());
        message
            .encode(buf)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

impl<T: Message + Default> Decoder for InferCodec<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        T::decode(buf)
            .map(Some)
            .map_err(|error| Status::internal(format!("bytes that are no message: {error}")))
    }
}
