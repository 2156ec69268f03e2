//! The transport `grpc`: a worker that serves `tidegate.v1.Gateway`, another Tidegate or whatever speaks the same.

use tidegate_proto::v1;
use tonic::Request;
use tonic::metadata::MetadataValue;

use crate::config::{HOP_COUNT_MAX, HopPorts, OpenContext, RemoteConfig, Secret};
use crate::connector::Connector;
use crate::error::RemoteError;
use crate::exchange::Exchange;
use crate::link::Link;

mod codec;
mod describe;
mod open;
mod status;
mod stream;

pub use describe::{Described, describe};

/// Opens a hop's pipeline at one endpoint.
pub(crate) async fn open(
    connector: &Connector,
    endpoint: &str,
    config: &RemoteConfig,
    ports: &HopPorts,
    context: OpenContext,
) -> Result<(Box<dyn Link>, Exchange), RemoteError> {
    if context.hop_count >= HOP_COUNT_MAX {
        return Err(RemoteError::Circle(context.hop_count));
    }
    let limit = config.timeouts.connect;
    let opening = open::open(connector, endpoint, config, ports, context);
    tokio::time::timeout(limit, opening)
        .await
        .unwrap_or(Err(RemoteError::Timeout {
            phase: tidegate_nodes::Phase::Connect,
            limit,
        }))
}

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
