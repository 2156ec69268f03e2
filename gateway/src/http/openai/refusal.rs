//! Errors as OpenAI's clients read them: `{"error": {"message", "type", "param", "code"}}`.
//!
//! `code` is Tidegate's own. What the rest of the gateway refuses (a token, a body) is rewritten on the way out, so that there is one form.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tidegate_nodes::{Code, Error};

use crate::errors::{HttpError, mapping};

/// Problem details are shorter.
const BYTES_MAX: usize = 64 << 10;

/// Which field of the request an error is about.
#[derive(Clone, Copy, Debug)]
struct Param(&'static str);

/// An error, and the field of the request that it is about.
#[derive(Debug)]
pub(in crate::http) struct Refusal {
    error: Error,
    param: Option<&'static str>,
}

impl Refusal {
    /// What a field holds cannot be used.
    pub(super) fn of(param: &'static str, text: impl Into<String>) -> Self {
        Error::new(Code::BadRequest, text).about(param)
    }
}

/// Says which field an error is about.
pub(super) trait About {
    /// The same, about a field.
    fn about(self, param: &'static str) -> Refusal;
}

impl About for Error {
    fn about(self, param: &'static str) -> Refusal {
        Refusal {
            error: self,
            param: Some(param),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, param: None }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = HttpError::from(self.error).into_response();
        if let Some(param) = self.param {
            response.extensions_mut().insert(Param(param));
        }
        response
    }
}

/// An error within an answer that has begun.
pub(super) fn event(error: &Error) -> Value {
    let status = mapping(error.code).http;
    body(status, &error.message, None, error.code.as_str())
}

fn body(status: StatusCode, message: &str, param: Option<&str>, code: &str) -> Value {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
}

/// A path that there is not. It may be one of OpenAI's that nothing here can serve: its clients look for `error`, all others for problem
/// details, so that it has both.
pub(in crate::http) async fn unknown_path() -> Response {
    let text = "no such path. Of OpenAI's interfaces there are /v1/models, /v1/audio/transcriptions, /v1/audio/speech and /v1/realtime; GET /openapi.json describes all";
    let status = StatusCode::NOT_FOUND;
    let error = Error::new(Code::BadRequest, text);
    let (mut head, problem) = HttpError::with_status(error, status)
        .into_response()
        .into_parts();
    let problem = axum::body::to_bytes(problem, BYTES_MAX).await;
    let mut problem: Value =
        serde_json::from_slice(&problem.unwrap_or_default()).unwrap_or_default();
    problem["error"] = body(status, text, None, "unknown_url")["error"].take();
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, problem.to_string().into())
}

/// Gives problem details the form of OpenAI's errors.
pub(in crate::http) async fn as_openai(response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE);
    if kind.is_none_or(|kind| kind.as_bytes() != b"application/problem+json") {
        return response;
    }
    let param = response.extensions().get::<Param>().copied();
    let (mut head, problem) = response.into_parts();
    let problem = axum::body::to_bytes(problem, BYTES_MAX).await;
    let problem = problem.unwrap_or_default();
    let problem: Value = serde_json::from_slice(&problem).unwrap_or_default();
    let text = |name: &str| problem[name].as_str().unwrap_or_default();
    let param = param.map(|Param(name)| name);
    let body = body(head.status, text("detail"), param, text("code")).to_string();
    head.headers.remove(header::CONTENT_LENGTH);
    let json = HeaderValue::from_static("application/json");
    head.headers.insert(header::CONTENT_TYPE, json);
    Response::from_parts(head, body.into())
}
