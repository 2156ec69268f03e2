//! What can go wrong with a remote hop, and how it becomes the one error that a client sees.
//!
//! The endpoint and the hop are added where the error leaves the crate ([`crate::RemoteHop`]).

use std::sync::Arc;
use std::time::Duration;

use tidegate_nodes::{Code, Error, Fault, Phase};
use tidegate_proto::WireMessageError;
use tidegate_proto::message::WireError;

/// Why a hop could not be opened or cannot go on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum RemoteError {
    /// The connection could not be made, or broke.
    #[error("{0}")]
    Network(String),
    /// The worker took longer than it may.
    #[error("worker {}: raise 'timeout.{}' if it may take longer", what(*phase, *limit), phase.as_str())]
    Timeout { phase: Phase, limit: Duration },
    /// The worker sent what the protocol does not allow.
    #[error("worker sent what the protocol does not allow: {0}")]
    Protocol(String),
    /// A call was answered where nobody listens, and nowhere else.
    #[error("{0}")]
    Unheard(String),
    /// What runs at the worker does not fit the pipeline here.
    #[error("{0}")]
    Incompatible(String),
    /// A message does not fit the limit that this gateway sets.
    #[error("message of the worker is too large: {0}")]
    TooLarge(String),
    /// The configuration of the hop cannot be used.
    #[error("{0}")]
    Config(String),
    /// The session went through too many gateways.
    #[error(
        "the session passed {0} gateways, so a pipeline seems to refer to itself: check which pipelines name which endpoints"
    )]
    Circle(u32),
    /// The worker refused or failed, in its own words.
    #[error("{}", said(.0))]
    Worker(Box<WireError>),
    /// It ended before its time, or without any output.
    #[error("worker ended the session before its input had ended, or gave no output")]
    Empty,
    /// None of several endpoints did.
    #[error("none of the endpoints could be used: {}", listed(.0))]
    All(Vec<Attempt>),
    /// There is nobody to ask.
    #[error(
        "no endpoint may be asked just now: their circuit breakers are open, or 'endpoints' is empty"
    )]
    NoEndpoint,
    /// A broken invariant on this side.
    #[error("{0}")]
    Internal(&'static str),
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// As configured.
    pub(crate) endpoint: Arc<str>,
    /// Why.
    pub(crate) said: String,
}

/// Each endpoint with what it said, once, however often it said so.
fn listed(attempts: &[Attempt]) -> String {
    let mut each: Vec<(&Attempt, usize)> = Vec::new();
    for attempt in attempts {
        match each.iter_mut().find(|(known, _)| *known == attempt) {
            Some((_, times)) => *times += 1,
            None => each.push((attempt, 1)),
        }
    }
    let each = each.into_iter().map(|(attempt, times)| match times {
        1 => format!("{}: {}", attempt.endpoint, attempt.said),
        _ => format!("{} ({times} times): {}", attempt.endpoint, attempt.said),
    });
    each.collect::<Vec<_>>().join("; ")
}

fn what(phase: Phase, limit: Duration) -> String {
    match phase {
        Phase::Connect => format!("did not open the pipeline within {limit:?}"),
        Phase::FirstOutput => format!("gave no first output within {limit:?}"),
        Phase::Gap => format!("gave no further output within {limit:?}"),
        Phase::Call => format!("was not done within {limit:?}"),
    }
}

/// What the worker said, and where that happened if it was further away than at the worker itself.
fn said(error: &WireError) -> String {
    let place = match (error.hop.as_deref(), error.endpoint.as_deref()) {
        (Some(hop), Some(endpoint)) => format!(" (at its hop {hop}, {endpoint})"),
        (Some(hop), None) => format!(" (at its hop {hop})"),
        (None, _) => String::new(),
    };
    // Who asked is this hop, unless the worker speaks of one of its own.
    let place = match error.code.as_str() {
        "unauthenticated" if error.hop.is_none() => {
            ": give the worker's token in 'auth.bearer' of the node".to_owned()
        }
        _ => place,
    };
    match error.message.as_str() {
        "" => format!("worker failed with '{}'{place}", error.code),
        // It passes on what another said.
        said if said.starts_with(SAYS) => format!("{said}{place}"),
        said => format!("{SAYS}{said}{place}"),
    }
}

impl RemoteError {
    /// The code that a client hears.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Network(_) | Self::Empty => Code::Network,
            Self::Timeout { .. } => Code::Timeout,
            Self::Protocol(_) | Self::Unheard(_) | Self::TooLarge(_) => Code::InvalidRemoteData,
            Self::Incompatible(_) => Code::Incompatible,
            Self::Config(_) => Code::ManifestInvalid,
            Self::Circle(_) => Code::ManifestCycle,
            Self::All(_) => Code::AllEndpointsFailed,
            Self::NoEndpoint => Code::CircuitOpen,
            Self::Internal(_) => Code::Internal,
            Self::Worker(error) => worker_code(error),
        }
    }
}

/// Stands before what a worker said.
const SAYS: &str = "worker says: ";

impl From<WireMessageError> for RemoteError {
    fn from(error: WireMessageError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<RemoteError> for Error {
    fn from(error: RemoteError) -> Self {
        let message = error.to_string();
        match error {
            RemoteError::Timeout { phase, .. } => Self::new(Code::Timeout, message).in_phase(phase),
            // It tells of a circle as a whole, wherever that was found.
            RemoteError::Worker(error) if error.code == Code::ManifestCycle.as_str() => {
                Self::new(Code::ManifestCycle, error.message)
            }
            RemoteError::Worker(error) => from_worker(&error, message),
            error => Self::new(error.code(), message),
        }
    }
}

/// Codes that speak of what the worker was asked for keep their name; those that speak of its inside become `remote_execution`.
fn worker_code(error: &WireError) -> Code {
    match Code::from_name(&error.code) {
        Some(Code::BadRequest) if is_refusal(error) => Code::BadRequest,
        None | Some(Code::BadRequest | Code::NodeFailed | Code::Internal | Code::Cancelled) => {
            Code::RemoteExecution
        }
        Some(code) => code,
    }
}

/// Whether the worker did its part, and could not do what it was asked for: a language that it does not know, sound that cannot be read. Any other would say the same,
/// and the next request may be a good one.
pub(crate) fn is_refusal(error: &WireError) -> bool {
    let of_content = matches!(
        Code::from_name(&error.code),
        Some(Code::BadRequest | Code::TooLarge | Code::UnsupportedMedia | Code::RemoteExecution)
    );
    of_content && error.fault == Fault::Client.as_str()
}

/// What the worker said, as this gateway's client is to hear it.
fn from_worker(error: &WireError, message: String) -> Error {
    let code = worker_code(error);
    let phases = [Phase::Connect, Phase::FirstOutput, Phase::Gap, Phase::Call];
    Error {
        fault: match error.fault.as_str() {
            "client" if is_refusal(error) => Fault::Client,
            // The worker's client is this gateway, which has the address, the pipeline there and the token from its own manifest.
            "client" => Fault::Gateway,
            _ => Fault::Worker,
        },
        retryable: error.retryable,
        hop: error.hop.clone(),
        phase: phases
            .into_iter()
            .find(|phase| Some(phase.as_str()) == error.phase.as_deref()),
        ..Error::new(code, message)
    }
}

/// An error with its sources, each said once.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(code: &str, fault: &str) -> Error {
        RemoteError::Worker(Box::new(WireError {
            code: code.into(),
            message: "no such voice".into(),
            fault: fault.into(),
            hop: Some("tts".into()),
            phase: Some("gap".into()),
            ..WireError::default()
        }))
        .into()
    }

    #[test]
    fn what_the_worker_says_of_its_inside_is_remote_execution() {
        let error = wire("node_failed", "gateway");
        assert_eq!(
            (error.code, error.fault),
            (Code::RemoteExecution, Fault::Worker)
        );
        assert_eq!(error.message, "worker says: no such voice (at its hop tts)");
        assert_eq!(wire("a_newer_code", "gateway").code, Code::RemoteExecution);
    }

    #[test]
    fn what_the_worker_says_of_what_was_asked_is_the_clients_fault() {
        for name in [
            "bad_request",
            "too_large",
            "unsupported_media",
            "remote_execution",
        ] {
            let error = wire(name, "client");
            assert_eq!((error.code.as_str(), error.fault), (name, Fault::Client));
        }
        let error = wire("bad_request", "worker");
        assert_eq!(
            (error.code, error.fault),
            (Code::RemoteExecution, Fault::Worker)
        );
        assert_eq!(wire("cancelled", "client").code, Code::RemoteExecution);
    }

    #[test]
    fn what_an_endpoint_says_again_and_again_is_listed_once() {
        let attempt = |endpoint: &str, said: &str| Attempt {
            endpoint: endpoint.into(),
            said: said.into(),
        };
        let all = RemoteError::All(vec![
            attempt("http://a:1", "refused"),
            attempt("http://b:1", "silent"),
            attempt("http://a:1", "refused"),
            attempt("http://a:1", "draining"),
        ]);
        assert_eq!(
            all.to_string(),
            "none of the endpoints could be used: http://a:1 (2 times): refused; http://b:1: silent; http://a:1: draining"
        );
    }

    #[test]
    fn what_the_worker_says_of_the_request_keeps_its_code() {
        let error = wire("unauthenticated", "client");
        assert_eq!(
            (error.code, error.fault),
            (Code::Unauthenticated, Fault::Gateway)
        );
        assert_eq!(wire("timeout", "worker").phase, Some(Phase::Gap));
    }

    #[test]
    fn a_timeout_says_which_wait_and_how_to_lengthen_it() {
        let limit = Duration::from_millis(1500);
        let phase = Phase::FirstOutput;
        let error = Error::from(RemoteError::Timeout { phase, limit });
        assert_eq!(error.phase, Some(Phase::FirstOutput));
        assert_eq!(
            error.message,
            "worker gave no first output within 1.5s: raise 'timeout.first_output' if it may take longer"
        );
    }
}
