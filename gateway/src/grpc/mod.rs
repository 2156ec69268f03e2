//! gRPC: `tidegate.v1.Gateway`, `grpc.health.v1.Health` and reflection, as axum routes on the one listener.

pub(crate) mod gateway;
pub(crate) mod health;
pub(crate) mod reader;
mod response;
mod stream;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use tidegate_proto::v1::gateway_server::GatewayServer;
use tonic::service::Routes;

use self::gateway::Service;
use crate::gateway::Gateway;

/// The gRPC routes.
pub(crate) fn router(gateway: &Arc<Gateway>) -> Router {
    let limit = gateway.config.limits.message.0;
    let service = GatewayServer::new(Service::new(Arc::clone(gateway)))
        .max_decoding_message_size(limit)
        .max_encoding_message_size(usize::MAX);
    let mut routes = Routes::new(service);
    routes = routes.add_service(health::server(gateway));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tidegate_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => routes = routes.add_service(v1).add_service(v1alpha),
        (Err(error), _) | (_, Err(error)) => {
            // The descriptors are built in; a defect here costs reflection and nothing else.
            tracing::error!(%error, "no gRPC reflection");
        }
    }
    // The method that carries media is served beside the library: see `stream`.
    let stream = Router::new()
        .route("/tidegate.v1.Gateway/Stream", post(stream::stream))
        .with_state(Arc::clone(gateway));
    routes.into_axum_router().merge(stream)
}
