//! What every request passes: no foreign host, no foreign origin, the right token.
//!
//! Loopback alone does not keep web pages out: any page can send requests to 127.0.0.1, and a name that its owner points there
//! (DNS rebinding) makes even the answers readable. So the `Host` must be one of ours, and an `Origin` must be ours or configured.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, header};
use tidegate_nodes::{Code, Error};

use crate::auth::Certificate;
use crate::config::Config;
use crate::errors::HttpError;
use crate::gateway::Gateway;

/// Prefixes of the WebSocket subprotocols that carry a browser's token: ours, and what clients of OpenAI's Realtime API send.
const BEARER_SUBPROTOCOLS: [&str; 2] = ["tidegate.bearer.", "openai-insecure-api-key."];

/// Refuses foreign hosts and origins; answers CORS for configured origins.
pub(crate) async fn refuse_foreign(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
    next: Next,
) -> Response {
    let config = &gateway.config;
    let named = [header::HOST, header::ORIGIN];
    if let Some(name) = named.iter().find(|name| is_unreadable(&request, name)) {
        // Read as absent it would pass.
        let text = format!("the {name} header is not readable text");
        return HttpError::from(Error::new(Code::PermissionDenied, text)).into_response();
    }
    if request.headers().get_all(header::HOST).iter().count() > 1 {
        // RFC 9112 §3.2: which of them is meant nobody can know.
        let text = "several Host headers: send one";
        return HttpError::from(Error::new(Code::BadRequest, text)).into_response();
    }
    let host = request
        .uri()
        .authority()
        .map(|authority| authority.as_str().to_owned())
        .or_else(|| text(request.headers(), header::HOST).map(str::to_owned))
        .unwrap_or_default();
    if !host_allowed(config, &host) {
        let text = format!(
            "host '{}' is not this gateway's: add it to hosts",
            clip(&host)
        );
        return HttpError::from(Error::new(Code::PermissionDenied, text)).into_response();
    }
    let Some(origin) = text(request.headers(), header::ORIGIN).map(str::to_owned) else {
        return next.run(request).await;
    };
    let own = origin_host(&origin).is_some_and(|name| name.eq_ignore_ascii_case(&host));
    let configured = config.origins.contains(&origin);
    if !own && !configured {
        let text = format!(
            "origin '{}' may not use this gateway: add it to origins",
            clip(&origin)
        );
        return HttpError::from(Error::new(Code::PermissionDenied, text)).into_response();
    }
    let preflight = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let wanted = request.headers();
    let wanted = wanted
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .filter(|_| preflight);
    let wanted = wanted.cloned();
    // Answered here, for what is behind asks for credentials, which a preflight never has.
    let mut response = if preflight {
        http::StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    if configured {
        cors(response.headers_mut(), &origin, wanted);
    }
    response
}

/// Where orchestrators ask whether the gateway lives. Their probes carry no token, as on `/healthz`.
const HEALTH: &str = "/grpc.health.v1.Health/";
/// The same of the Open Inference Protocol.
const INFERENCE_HEALTH: [&str; 2] = [
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
];

/// Asks whom the bearer token belongs to, and tells what comes after: who a request's [`Caller`](crate::auth::Caller) is.
pub(crate) async fn authenticate(
    State(gateway): State<Arc<Gateway>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if path.starts_with(HEALTH) || INFERENCE_HEALTH.contains(&path) {
        return next.run(request).await;
    }
    let grpc = text(request.headers(), header::CONTENT_TYPE)
        .is_some_and(|kind| kind.starts_with("application/grpc"));
    let now = gateway.clock.now();
    let token = token(request.headers()).map(str::to_owned);
    let certificate = request.extensions().get::<Arc<Certificate>>();
    let mut found = match (&token, certificate) {
        (None, Some(shown)) => gateway.auth.by_certificate(shown),
        _ => gateway.auth.identify(token.as_deref(), now).await,
    };
    if found.is_err() && on_resource(&request) {
        // Whoever opened it with a key that has expired since may still end it, and move it to another network.
        let opener = token.and_then(|token| gateway.auth.opener(&token));
        found = opener.map_or(found, Ok);
    }
    let error = match found {
        Ok(caller) => {
            let caller = caller.traced(request.headers());
            request.extensions_mut().insert(caller);
            return next.run(request).await;
        }
        Err(error) => error,
    };
    if grpc {
        return crate::errors::status(&error).into_http();
    }
    HttpError::from(error).into_response()
}

/// Whether it is for a resource of WHIP or WHEP.
fn on_resource(request: &Request) -> bool {
    let path = request.extensions().get::<MatchedPath>();
    path.is_some_and(|path| path.as_str().ends_with("/{resource}"))
}

/// The bearer token of a request.
pub(super) fn token(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = text(headers, header::AUTHORIZATION) {
        let (scheme, token) = value.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| token.trim());
    }
    // A browser cannot set headers on a WebSocket.
    let protocols = text(headers, header::SEC_WEBSOCKET_PROTOCOL)?;
    protocols.split(',').find_map(|name| {
        let of = |prefix: &&str| name.trim().strip_prefix(prefix);
        BEARER_SUBPROTOCOLS.iter().find_map(of)
    })
}

fn is_unreadable(request: &Request, name: &header::HeaderName) -> bool {
    let value = request.headers().get(name);
    value.is_some_and(|value| value.to_str().is_err())
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// An address, `localhost`, or a configured name; whatever the port.
fn host_allowed(config: &Config, host: &str) -> bool {
    let name = strip_port(host);
    if name.is_empty() || name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok()
        || config
            .hosts
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(name))
}

fn strip_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Host and port of an origin such as `http://127.0.0.1:8080`.
fn origin_host(origin: &str) -> Option<&str> {
    origin.split_once("://").map(|(_, host)| host)
}

/// What a page of a configured origin may do and read. It may send whatever headers it asks for in its preflight: clients of
/// other protocols have some of their own, and none is a secret that the browser adds.
fn cors(headers: &mut HeaderMap, origin: &str, wanted: Option<HeaderValue>) {
    let Ok(origin) = HeaderValue::from_str(origin) else {
        return;
    };
    let fixed = [
        (
            header::ACCESS_CONTROL_ALLOW_METHODS,
            "GET, POST, PATCH, DELETE, OPTIONS",
        ),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "location, etag, link, accept-patch, retry-after, tidegate-session",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
        (header::VARY, "origin, access-control-request-headers"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let usual = HeaderValue::from_static("authorization, content-type, if-match, accept");
    let allowed = wanted.unwrap_or(usual);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
}

fn clip(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_configured_names_are_ours() {
        let config = Config {
            hosts: vec!["gate.example".to_owned()],
            ..Config::default()
        };
        for host in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "localhost",
            "localhost:1",
            "gate.example:443",
        ] {
            assert!(host_allowed(&config, host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
        ] {
            assert!(!host_allowed(&config, host), "{host}");
        }
    }

    #[test]
    fn a_browser_may_put_its_token_into_a_subprotocol() {
        for value in [
            "tidegate.v1.json, tidegate.bearer.s3cret",
            "realtime, openai-insecure-api-key.s3cret, openai-beta.realtime-v1",
        ] {
            let mut headers = HeaderMap::new();
            let protocols = HeaderValue::from_static(value);
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocols);
            assert_eq!(token(&headers), Some("s3cret"), "{value}");
        }
    }
}
