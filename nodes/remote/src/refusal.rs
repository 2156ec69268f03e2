//! What an HTTP response that is no success means: problem details (RFC 9457) of a Tidegate, or the nearest of our codes to the status
//! of somebody else's server.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use tidegate_proto::message::WireError;

use crate::error::RemoteError;

/// So much of an answer is quoted.
const QUOTED: usize = 200;

/// Problem details as a Tidegate writes them; whoever writes `code` writes ours.
#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    fault: String,
    #[serde(default)]
    retryable: bool,
    hop: Option<String>,
    endpoint: Option<String>,
    phase: Option<String>,
}

/// The error of a response.
pub(crate) fn error(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> RemoteError {
    let after = headers.get(header::RETRY_AFTER);
    let after = after.and_then(|value| value.to_str().ok()?.parse().ok());
    let retry_after = after.map(Duration::from_secs);
    if let Ok(problem) = serde_json::from_slice::<Problem>(body) {
        return RemoteError::Worker(Box::new(WireError {
            code: problem.code,
            message: problem.detail,
            fault: problem.fault,
            retryable: problem.retryable,
            hop: problem.hop,
            endpoint: problem.endpoint,
            phase: problem.phase,
            retry_after,
            ..WireError::default()
        }));
    }
    match said_by_openai(body) {
        Some(said) => foreign(status, said.message.as_bytes(), retry_after),
        None => foreign(status, body, retry_after),
    }
}

/// What OpenAI's interfaces say of what went wrong.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    message: String,
}

fn said_by_openai(body: &[u8]) -> Option<Said> {
    #[derive(Deserialize)]
    struct Holds {
        error: Said,
    }
    serde_json::from_slice::<Holds>(body)
        .ok()
        .map(|holds| holds.error)
}

/// An error that came in an answer which had begun as a success.
pub(crate) fn openai(body: &[u8]) -> Option<RemoteError> {
    let said = said_by_openai(body)?;
    Some(foreign(
        StatusCode::INTERNAL_SERVER_ERROR,
        said.message.as_bytes(),
        None,
    ))
}

fn foreign(status: StatusCode, body: &[u8], retry_after: Option<Duration>) -> RemoteError {
    let said = quote(body);
    let text = match said.as_str() {
        "" => format!("HTTP status {status}"),
        said => format!("{said} (HTTP status {status})"),
    };
    let text = match status.as_u16() {
        404 | 410 => format!(
            "{text}: look whether 'endpoints' is a worker's address, and 'pipeline' one that it serves"
        ),
        _ => text,
    };
    let (code, fault, retryable) = match status.as_u16() {
        401 => ("unauthenticated", "client", false),
        403 | 407 => ("permission_denied", "client", false),
        404 | 410 => ("unknown_pipeline", "client", false),
        408 | 504 => ("timeout", "worker", true),
        413 => ("too_large", "client", false),
        406 | 415 => ("unsupported_media", "client", false),
        429 => ("rate_limited", "worker", true),
        503 => ("overloaded", "worker", true),
        502 => return RemoteError::Network(format!("a proxy before the worker says: {text}")),
        405 | 426 | 501 | 505 => {
            return RemoteError::Incompatible(format!(
                "the worker does not serve this transport at this path: {text}"
            ));
        }
        300..=399 => {
            return RemoteError::Incompatible(format!(
                "the worker sends its callers elsewhere, which a hop does not follow: name the place in 'endpoints': {text}"
            ));
        }
        500..=599 => ("remote_execution", "worker", true),
        // Of what was sent, which the next request may have right.
        400 | 409 | 422 => ("remote_execution", "client", false),
        _ => ("remote_execution", "worker", false),
    };
    RemoteError::Worker(Box::new(WireError {
        code: code.to_owned(),
        message: text,
        fault: fault.to_owned(),
        retryable,
        phase: (code == "timeout").then(|| "call".to_owned()),
        retry_after,
        ..WireError::default()
    }))
}

/// The beginning of an answer, fit for a line of a log.
pub(crate) fn quote(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * QUOTED)]);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let printable = line.chars().filter(|c| !c.is_control());
    printable.take(QUOTED).collect()
}

#[cfg(test)]
mod tests {
    use tidegate_nodes::{Code, Error, Fault};

    use super::*;

    fn of(status: u16, body: &str) -> Error {
        let status = StatusCode::from_u16(status).expect("a status");
        error(status, &HeaderMap::new(), body.as_bytes()).into()
    }

    #[test]
    fn problem_details_of_a_tidegate_keep_what_they_say() {
        let body = r#"{"type":"urn:tidegate:error:overloaded","status":503,"title":"-","detail":"full",
            "code":"overloaded","fault":"gateway","retryable":true,"hop":"tts"}"#;
        let error = of(503, body);
        assert_eq!((error.code, error.fault), (Code::Overloaded, Fault::Worker));
        assert!(error.retryable);
        assert_eq!(error.message, "worker says: full (at its hop tts)");
    }

    #[test]
    fn a_foreign_status_has_the_nearest_code_and_is_quoted() {
        let cases = [
            (401, Code::Unauthenticated, false),
            (404, Code::UnknownPipeline, false),
            (429, Code::RateLimited, true),
            (500, Code::RemoteExecution, true),
            (502, Code::Network, true),
            (301, Code::Incompatible, false),
            (422, Code::RemoteExecution, false),
        ];
        for (status, code, retryable) in cases {
            let error = of(status, "  no\n<b>luck</b> ");
            assert_eq!((error.code, error.retryable), (code, retryable), "{status}");
            assert!(
                error.message.contains("no <b>luck</b> (HTTP status"),
                "{error}"
            );
        }
        for status in [400, 409, 422] {
            assert_eq!(of(status, "no").fault, Fault::Client, "{status}");
        }
        assert_eq!(of(500, "no").fault, Fault::Worker);
        assert!(
            of(500, "")
                .message
                .ends_with("HTTP status 500 Internal Server Error")
        );
        assert_eq!(quote(&vec![b'a'; 5_000]).len(), QUOTED);
    }
}
