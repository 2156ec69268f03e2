//! The one table that maps error codes to HTTP statuses, gRPC statuses and WebSocket close codes: the table of docs/errors.md.
//!
//! HTTP: RFC 9457 problem details. gRPC: the status with `google.rpc.ErrorInfo` in its details.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tidegate_nodes::{Code, Error};
use tonic::Status;

/// What a client that may retry is advised to wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a client is advised to wait; `None`: a retry does not help.
pub(crate) fn retry_after(error: &Error) -> Option<Duration> {
    let wait = error.retry_after().unwrap_or(RETRY_AFTER);
    error.retryable.then_some(wait)
}

/// How a code shows on each transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// HTTP status (RFC 9110 §15).
    pub(crate) http: StatusCode,
    /// gRPC status.
    pub(crate) grpc: tonic::Code,
    /// WebSocket close code (RFC 6455 §7.4; 4000 and up are ours).
    pub(crate) close: u16,
}

/// The table.
pub(crate) const fn mapping(code: Code) -> Mapping {
    use tonic::Code as G;
    let (http, grpc, close) = match code {
        Code::ManifestInvalid | Code::ManifestCycle => {
            (StatusCode::UNPROCESSABLE_ENTITY, G::InvalidArgument, 4422)
        }
        Code::ManifestFetchFailed => (StatusCode::BAD_GATEWAY, G::Unavailable, 4502),
        Code::Incompatible => (StatusCode::CONFLICT, G::FailedPrecondition, 4409),
        Code::UnknownPipeline | Code::UnknownSession => (StatusCode::NOT_FOUND, G::NotFound, 4404),
        Code::Unauthenticated => (StatusCode::UNAUTHORIZED, G::Unauthenticated, 4401),
        Code::PermissionDenied => (StatusCode::FORBIDDEN, G::PermissionDenied, 4403),
        Code::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, G::ResourceExhausted, 1013),
        Code::RateLimited => (StatusCode::TOO_MANY_REQUESTS, G::ResourceExhausted, 4429),
        Code::Draining => (StatusCode::SERVICE_UNAVAILABLE, G::Unavailable, 1012),
        Code::SessionExpired => (StatusCode::GONE, G::Aborted, 4410),
        Code::BadRequest => (StatusCode::BAD_REQUEST, G::InvalidArgument, 4400),
        Code::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, G::OutOfRange, 1009),
        Code::UnsupportedMedia => (StatusCode::UNSUPPORTED_MEDIA_TYPE, G::InvalidArgument, 4415),
        Code::Network | Code::CircuitOpen | Code::AllEndpointsFailed => {
            (StatusCode::BAD_GATEWAY, G::Unavailable, 4502)
        }
        Code::Timeout => (StatusCode::GATEWAY_TIMEOUT, G::DeadlineExceeded, 4504),
        Code::RemoteExecution | Code::InvalidRemoteData => {
            (StatusCode::BAD_GATEWAY, G::Internal, 4502)
        }
        Code::Cancelled => (StatusCode::CONFLICT, G::Cancelled, 4499),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, G::Internal, 1011),
    };
    Mapping { http, grpc, close }
}

/// The close code of a session's end reason.
pub(crate) fn close_code(reason: &str) -> u16 {
    Code::from_name(reason).map_or(1000, |code| mapping(code).close)
}

/// Problem details (RFC 9457 §3).
#[derive(Debug, Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    fault: &'a str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    hop: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    elapsed: Option<f64>,
}

/// An error as an HTTP response. A status given with it overrides the table's, where a protocol (WHIP) fixes one.
#[derive(Debug)]
pub(crate) struct HttpError {
    pub(crate) error: Error,
    pub(crate) status: Option<StatusCode>,
}

impl From<Error> for HttpError {
    fn from(error: Error) -> Self {
        Self {
            error,
            status: None,
        }
    }
}

impl HttpError {
    /// With a status that the protocol fixes.
    pub(crate) fn with_status(error: Error, status: StatusCode) -> Self {
        Self {
            error,
            status: Some(status),
        }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let Self { error, status } = self;
        let status = status.unwrap_or_else(|| mapping(error.code).http);
        let problem = Problem {
            r#type: format!("urn:tidegate:error:{}", error.code),
            title: status.canonical_reason().unwrap_or("error"),
            status: status.as_u16(),
            detail: &error.message,
            code: error.code.as_str(),
            fault: error.fault.as_str(),
            retryable: error.retryable,
            hop: error.hop.as_deref(),
            endpoint: error.endpoint.as_deref(),
            phase: error.phase.map(|phase| phase.as_str()),
            attempt: error.attempt,
            elapsed: error.elapsed.map(|elapsed| elapsed.as_secs_f64()),
        };
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
        let headers = response.headers_mut();
        if let Some(wait) = retry_after(&error)
            && matches!(status.as_u16(), 409 | 429 | 503)
        {
            // Whole seconds (RFC 9110 §10.2.3), and never too few.
            let seconds = wait.as_millis().div_ceil(1_000);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UPGRADE_REQUIRED {
            // RFC 9110 §15.5.22 and §7.8.
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// An error as a gRPC status with `google.rpc.ErrorInfo` and, where a retry may help, `google.rpc.RetryInfo`.
pub(crate) fn status(error: &Error) -> Status {
    use tonic_types::{ErrorDetails, StatusExt as _};
    let mut metadata = std::collections::HashMap::new();
    metadata.insert("fault".to_owned(), error.fault.as_str().to_owned());
    metadata.insert("retryable".to_owned(), error.retryable.to_string());
    let extra = [
        ("hop", error.hop.as_deref()),
        ("endpoint", error.endpoint.as_deref()),
        ("phase", error.phase.map(|phase| phase.as_str())),
    ];
    for (key, value) in extra {
        if let Some(value) = value {
            metadata.insert(key.to_owned(), value.to_owned());
        }
    }
    let mut details = ErrorDetails::with_error_info(error.code.as_str(), "tidegate.v1", metadata);
    if let Some(wait) = retry_after(error) {
        details.set_retry_info(Some(wait));
    }
    Status::with_error_details(mapping(error.code).grpc, error.message.clone(), details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_but_internal_and_node_failed_has_a_mapping_of_its_own() {
        for &code in Code::ALL {
            let server = mapping(code).http == StatusCode::INTERNAL_SERVER_ERROR;
            assert_eq!(
                server,
                matches!(code, Code::Internal | Code::NodeFailed),
                "{code}"
            );
        }
    }

    /// A status as gRPC's own documents write it.
    fn grpc_name(code: tonic::Code) -> String {
        let mut name = String::new();
        for c in format!("{code:?}").chars() {
            if c.is_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(c.to_ascii_uppercase());
        }
        name
    }

    #[test]
    fn the_published_table_is_this_one() {
        let page = include_str!("../../docs/errors.md");
        let rows: Vec<_> = page
            .lines()
            .filter(|line| line.starts_with("| `"))
            .collect();
        assert_eq!(rows.len(), Code::ALL.len(), "a row for each code");
        for (row, &code) in rows.iter().zip(Code::ALL) {
            let Mapping { http, grpc, close } = mapping(code);
            let (http, grpc) = (http.as_u16(), grpc_name(grpc));
            let fault = code.fault().as_str();
            let retry = if code.retryable() { "yes" } else { "no" };
            let start = format!("| `{code}` | {fault} | {retry} | {http} | `{grpc}` | {close} | ");
            assert!(
                row.starts_with(&start),
                "docs/errors.md must have\n{start}\nand has\n{row}"
            );
        }
    }

    #[test]
    fn an_end_that_is_no_error_closes_normally() {
        assert_eq!(close_code("finished"), 1000);
        assert_eq!(close_code("draining"), 1012);
    }
}
