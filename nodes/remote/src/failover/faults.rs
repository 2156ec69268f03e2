//! What a failure means for what is tried next.

use tidegate_nodes::Code;

use crate::error::{RemoteError, is_refusal};
use crate::pool::Outcome;

/// Who may succeed where this failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The same endpoint a little later, or another one.
    Transient,
    /// Another endpoint: this one will do the same again.
    Endpoint,
    /// Nobody who serves the same pipeline: it was asked for something wrong.
    Request,
    /// Nobody.
    Ours,
}

/// Judges an error.
pub(super) fn fault(error: &RemoteError) -> Fault {
    match error {
        RemoteError::Network(_) | RemoteError::Timeout { .. } | RemoteError::Empty => {
            Fault::Transient
        }
        RemoteError::Protocol(_) | RemoteError::Unheard(_) | RemoteError::TooLarge(_) => {
            Fault::Endpoint
        }
        RemoteError::Incompatible(_) | RemoteError::Config(_) => Fault::Request,
        RemoteError::Circle(_)
        | RemoteError::Internal(_)
        | RemoteError::All(_)
        | RemoteError::NoEndpoint => Fault::Ours,
        RemoteError::Worker(said) => {
            let passing = matches!(
                Code::from_name(&said.code),
                Some(
                    Code::Network
                        | Code::Timeout
                        | Code::Draining
                        | Code::Overloaded
                        | Code::RateLimited
                        | Code::SessionExpired
                        | Code::CircuitOpen
                        | Code::AllEndpointsFailed
                )
            );
            if said.retryable || passing {
                Fault::Transient
            } else {
                Fault::Request
            }
        }
    }
}

/// What a failure says about its endpoint. `heard`: it had given a sign of life on this stream.
pub(super) fn outcome(error: &RemoteError, heard: bool) -> Outcome {
    match error {
        RemoteError::Timeout { .. } if !heard => Outcome::Silent,
        RemoteError::Empty => Outcome::Empty,
        RemoteError::Worker(said) if is_refusal(said) => Outcome::Refused,
        error => Outcome::Failed {
            code: error.code(),
            transient: fault(error) == Fault::Transient,
        },
    }
}
