//! The transport `grpc`: a worker that serves `tidegate.v1.Gateway`, another Tidegate or whatever speaks the same.

use tidegate_proto::v1;
use tonic::Request;
use tonic::metadata::MetadataValue;

use crate::config::Secret;
use crate::error::RemoteError;

mod codec;
mod describe;
mod open;
mod status;
mod stream;

pub use describe::{Described, describe};
pub(crate) use open::open;

/// Puts the token where gRPC servers look for it.
fn authorise<T>(request: &mut Request<T>, bearer: Option<&Secret>) -> Result<(), RemoteError> {
    let Some(bearer) = bearer else {
        return Ok(());
    };
    let mut value =
        MetadataValue::try_from(format!("Bearer {}", bearer.reveal())).map_err(|_| {
            RemoteError::Config("'auth.bearer' has characters that a header cannot have".into())
        })?;
    value.set_sensitive(true);
    request.metadata_mut().insert("authorization", value);
    Ok(())
}

/// What the stream of a hop sends.
type ToWorker = v1::ClientMessage;
