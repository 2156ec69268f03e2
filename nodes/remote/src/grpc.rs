//! The transport `grpc`: a worker that serves `tidegate.v1.Gateway`, another Tidegate or whatever speaks the same.

use tidegate_proto::v1;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request};

use crate::auth::Credential;

mod codec;
mod describe;
mod open;
pub(crate) mod status;
mod stream;
mod unary;

pub use describe::{Question, describe};
pub(crate) use open::open;
pub(crate) use unary::open_unary;

/// A request that carries the hop's credentials.
fn authorised<T>(message: T, credential: &Credential) -> Request<T> {
    let metadata = MetadataMap::from_headers(credential.headers().clone());
    Request::from_parts(metadata, Extensions::default(), message)
}

/// What the stream of a hop sends.
type ToWorker = v1::ClientMessage;
