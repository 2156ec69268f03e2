//! A gRPC status as an error of this crate.

use tidegate_proto::message::WireError;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::error::RemoteError;
use crate::trouble;

/// How the library begins what it says of a message beyond the limit on messages.
const TOO_LARGE: &str = "Error, decoded message length too large";

/// Why a stream could not be opened, or a question got no answer. `encrypted`: TLS was asked for.
pub(crate) fn before_answer(status: &Status, encrypted: bool) -> RemoteError {
    match std::error::Error::source(status) {
        Some(source) if native(status).is_none() => {
            let said = trouble::before_answer(source, encrypted);
            RemoteError::Network(format!("worker cannot be reached: {said}"))
        }
        _ => error(status),
    }
}

/// What a call or a stream ended with.
pub(super) fn error(status: &Status) -> RemoteError {
    if let Some(error) = native(status) {
        return RemoteError::Worker(Box::new(error));
    }
    // A source means that the status was made here, of what the connection said; a worker's own has none.
    if let Some(source) = std::error::Error::source(status) {
        return RemoteError::Network(format!(
            "connection to the worker failed: {}",
            trouble::said(source)
        ));
    }
    let said = status.message();
    match status.code() {
        Code::Unavailable | Code::Aborted | Code::Cancelled => {
            RemoteError::Network(format!("worker is unavailable: {said}"))
        }
        Code::Unimplemented => RemoteError::Incompatible(format!(
            "the worker does not serve tidegate.v1.Gateway: point 'endpoints' at one that does ({said})"
        )),
        // Made here by the limit on messages, before the message was read.
        Code::OutOfRange if said.starts_with(TOO_LARGE) => RemoteError::TooLarge(said.to_owned()),
        code => RemoteError::Worker(Box::new(foreign(code, said))),
    }
}

/// The error that a Tidegate put into the status.
fn native(status: &Status) -> Option<WireError> {
    let info = status.get_details_error_info()?;
    if info.domain != "tidegate.v1" {
        return None;
    }
    let field = |name: &str| info.metadata.get(name).cloned();
    Some(WireError {
        code: info.reason,
        message: status.message().to_owned(),
        fault: field("fault").unwrap_or_default(),
        retryable: field("retryable").is_some_and(|text| text == "true"),
        hop: field("hop"),
        endpoint: field("endpoint"),
        phase: field("phase"),
        retry_after: status
            .get_details_retry_info()
            .and_then(|info| info.retry_delay),
        attempt: None,
        elapsed: None,
    })
}

/// The nearest of our codes to a status of somebody else's server.
fn foreign(code: Code, said: &str) -> WireError {
    let (name, fault, retryable) = match code {
        Code::Unauthenticated => ("unauthenticated", "client", false),
        Code::PermissionDenied => ("permission_denied", "client", false),
        Code::NotFound => ("unknown_pipeline", "client", false),
        Code::ResourceExhausted => ("overloaded", "worker", true),
        Code::DeadlineExceeded => ("timeout", "worker", true),
        // An exception in one worker: another one may be well. So it is with HTTP's 500 and WebSocket's 1011.
        Code::Unknown | Code::Internal | Code::DataLoss => ("remote_execution", "worker", true),
        // Of what was sent, which the next request may have right.
        Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::AlreadyExists => ("remote_execution", "client", false),
        _ => ("remote_execution", "worker", false),
    };
    WireError {
        code: name.to_owned(),
        message: format!("{said} (gRPC status {code:?})"),
        fault: fault.to_owned(),
        retryable,
        phase: (code == Code::DeadlineExceeded).then(|| "call".to_owned()),
        ..WireError::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tidegate_nodes::{Code as Ours, Error, Fault};
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_status_of_a_tidegate_keeps_what_it_says() {
        let metadata = HashMap::from([
            ("fault".to_owned(), "gateway".to_owned()),
            ("retryable".to_owned(), "true".to_owned()),
        ]);
        let details = ErrorDetails::with_error_info("overloaded", "tidegate.v1", metadata);
        let status = Status::with_error_details(Code::ResourceExhausted, "full", details);
        let error = Error::from(error(&status));
        assert_eq!((error.code, error.fault), (Ours::Overloaded, Fault::Worker));
        assert!(error.retryable);
        assert_eq!(error.message, "worker says: full");
    }

    #[test]
    fn a_foreign_status_has_the_nearest_code() {
        let cases = [
            (
                Status::unauthenticated("who?"),
                Ours::Unauthenticated,
                Fault::Gateway,
            ),
            (Status::unimplemented(""), Ours::Incompatible, Fault::Client),
            (Status::unavailable(""), Ours::Network, Fault::Worker),
            (
                Status::internal("boom"),
                Ours::RemoteExecution,
                Fault::Worker,
            ),
        ];
        for (status, code, fault) in cases {
            let error = Error::from(error(&status));
            assert_eq!((error.code, error.fault), (code, fault), "{status}");
        }
    }

    #[test]
    fn an_exception_in_one_worker_is_none_in_another() {
        for code in [Code::Unknown, Code::Internal, Code::DataLoss] {
            let error = error(&Status::new(code, "Exception calling application"));
            assert!(Error::from(error).retryable, "{code:?}");
        }
        let wrong = error(&Status::invalid_argument("no such voice"));
        assert!(!Error::from(wrong).retryable);
    }

    #[test]
    fn only_the_limit_on_messages_makes_a_message_too_large() {
        let limit = Status::out_of_range(
            "Error, decoded message length too large: found 9 bytes, the limit is: 8 bytes",
        );
        assert!(matches!(error(&limit), RemoteError::TooLarge(_)));
        let said = Error::from(error(&Status::out_of_range("speed must be below 4")));
        assert_eq!(
            (said.code, said.fault),
            (Ours::RemoteExecution, Fault::Client)
        );
    }
}
