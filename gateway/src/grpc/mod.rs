//! gRPC: `tidegate.v1.Gateway`, `inference.GRPCInferenceService`, `grpc.health.v1.Health` and reflection, as axum routes on the one listener.

pub(crate) mod gateway;
pub(crate) mod health;
pub(crate) mod kserve;
mod pieces;
pub(crate) mod reader;
mod response;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use tidegate_proto::v1::gateway_server::GatewayServer;
use tonic::service::Routes;

use self::gateway::Service;
use crate::gateway::Gateway;

/// What the caller gives a call, by `grpc-timeout` ("gRPC over HTTP2", Requests: up to eight digits and a unit). A value that is none
/// is as if there were none.
fn timeout(headers: &http::HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// The sooner of what the call's headers and its message say.
fn sooner(timeout: Option<Duration>, deadline: Option<Duration>) -> Option<Duration> {
    timeout.into_iter().chain(deadline).min()
}

/// The gRPC routes.
pub(crate) fn router(gateway: &Arc<Gateway>) -> Router {
    let limit = gateway.config.limits.message.0;
    let service = GatewayServer::new(Service::new(Arc::clone(gateway)))
        .max_decoding_message_size(limit)
        .max_encoding_message_size(usize::MAX);
    let mut routes = Routes::new(service);
    routes = routes.add_service(health::server(gateway));
    routes = routes.add_service(kserve::server(gateway));
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
    let routes = routes.into_axum_router().merge(stream);
    routes.merge(kserve::router(gateway))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        let read = |value: &'static str| {
            let mut headers = http::HeaderMap::new();
            headers.insert("grpc-timeout", http::HeaderValue::from_static(value));
            timeout(&headers)
        };
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(read("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(
            read("99999999H"),
            Some(Duration::from_secs(359_999_996_400))
        );
        for wrong in ["", "S", "2", "-2S", "123456789S", "2s", "2\u{b5}"] {
            let mut headers = http::HeaderMap::new();
            if let Ok(value) = http::HeaderValue::from_bytes(wrong.as_bytes()) {
                headers.insert("grpc-timeout", value);
            }
            assert_eq!(timeout(&headers), None, "{wrong}");
        }
        let (one, two) = (Duration::from_secs(1), Duration::from_secs(2));
        assert_eq!(sooner(Some(two), Some(one)), Some(one));
        assert_eq!(sooner(Some(two), None), Some(two));
    }
}
