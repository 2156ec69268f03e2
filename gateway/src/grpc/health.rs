//! `grpc.health.v1.Health`: serving until the drain begins.
//!
//! Written out because the library's answers `Watch` of an unknown service with `NOT_FOUND`, where the protocol asks for a stream
//! that says `SERVICE_UNKNOWN` and goes on.

use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use futures_util::StreamExt as _;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::gateway::Gateway;

/// Services that are reported; the empty name is the whole server.
const SERVICES: [&str; 6] = [
    "",
    "tidegate.v1.Gateway",
    "inference.GRPCInferenceService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// The service.
pub(crate) struct Service {
    gateway: Arc<Gateway>,
}

/// The service for a gateway.
pub(crate) fn server(gateway: &Arc<Gateway>) -> HealthServer<Service> {
    HealthServer::new(Service {
        gateway: Arc::clone(gateway),
    })
}

fn answer(known: bool, draining: bool) -> HealthCheckResponse {
    let status = match (known, draining) {
        (false, _) => ServingStatus::ServiceUnknown,
        (true, true) => ServingStatus::NotServing,
        (true, false) => ServingStatus::Serving,
    };
    HealthCheckResponse {
        status: status.into(),
    }
}

#[tonic::async_trait]
impl Health for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !SERVICES.contains(&service.as_str()) {
            return Err(Status::not_found("no such service"));
        }
        Ok(Response::new(answer(
            true,
            self.gateway.sessions.draining(),
        )))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = SERVICES.contains(&request.into_inner().service.as_str());
        // The current state comes at once.
        let states = WatchStream::new(self.gateway.sessions.watch_drain());
        let answers = states.map(move |draining| Ok(answer(known, draining)));
        Ok(Response::new(Box::pin(answers)))
    }
}
