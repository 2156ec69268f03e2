//! `grpc.health.v1.Health`: serving until the drain begins.

use std::sync::Arc;
use std::time::Duration;

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

use crate::gateway::Gateway;

/// Services that are reported besides the whole server.
const SERVICES: [&str; 3] = [
    "tidegate.v1.Gateway",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
];
/// How soon a drain shows; the drain itself waits for nothing.
const REFRESH: Duration = Duration::from_millis(100);

/// The service, with a task that follows the gateway's state.
pub(crate) fn server(gateway: &Arc<Gateway>) -> HealthServer<impl Health> {
    let (reporter, server) = tonic_health::server::health_reporter();
    let sessions = Arc::clone(&gateway.sessions);
    // Ends with the drain.
    drop(gateway.tasks.spawn(async move {
        report(&reporter, ServingStatus::Serving).await;
        let mut ticks = tokio::time::interval(REFRESH);
        while !sessions.draining() {
            ticks.tick().await;
        }
        report(&reporter, ServingStatus::NotServing).await;
    }));
    server
}

async fn report(reporter: &HealthReporter, status: ServingStatus) {
    reporter.set_service_status("", status).await;
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}
