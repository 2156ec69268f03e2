//! Refusals that the HTTP library makes by itself, as problem details like all others.
//!
//! A path that is no UTF-8, a query that does not fit, a missing upgrade, a body over its limit, a method that a path does not have:
//! the library answers each in plain text with the right status. The status and its headers are kept.

use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use tidegate_nodes::{Code, Error};

use crate::errors::HttpError;

/// The library's texts are shorter.
const TEXT_BYTES: usize = 4096;

/// Gives a refusal in plain text, or in none, the form of our own.
pub(crate) async fn as_problem(response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let plain = kind.is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !response.status().is_client_error() || !plain {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, TEXT_BYTES)
        .await
        .unwrap_or_default();
    let mut text = String::from_utf8_lossy(&body).into_owned();
    if text.is_empty() {
        text = match head.status {
            StatusCode::METHOD_NOT_ALLOWED => {
                "the path does not have this method: GET /openapi.json describes what there is"
            }
            status => status.canonical_reason().unwrap_or("refused"),
        }
        .to_owned();
    }
    let code = match head.status {
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMedia,
        _ => Code::BadRequest,
    };
    let mut problem = HttpError::with_status(Error::new(code, text), head.status).into_response();
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        head.headers.remove(name);
    }
    problem.headers_mut().extend(head.headers);
    problem
}
