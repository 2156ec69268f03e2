//! The error that reaches a user: one code, the same on every transport, in logs and as a metric label (docs/errors.md).
//!
//! It says whose fault it is, whether a retry can help, and which hop and endpoint it concerns. Module errors elsewhere are
//! turned into it where they cross to a client; it is not a replacement for them.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $fault:ident, $retry:literal;)+) => {
        /// What went wrong, as a stable name. Clients take an unknown one for `internal`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* $name,)+ }

        impl Code {
            /// Every code, in the order of the published table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Whose fault it usually is.
            #[must_use]
            pub const fn fault(self) -> Fault {
                match self { $(Self::$name => Fault::$fault,)+ }
            }

            /// Whether the same request can succeed later.
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $(Self::$name => $retry,)+ }
            }

            /// The code with this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

codes! {
    /// The manifest has errors; the message lists them with their positions.
    ManifestInvalid = "manifest_invalid", Client, false;
    /// A manifest named by URL could not be fetched.
    ManifestFetchFailed = "manifest_fetch_failed", Worker, true;
    /// A pipeline refers to itself through remote hops.
    ManifestCycle = "manifest_cycle", Client, false;
    /// Formats, kinds or versions do not fit each other.
    Incompatible = "incompatible", Client, false;
    /// No pipeline has this name.
    UnknownPipeline = "unknown_pipeline", Client, false;
    /// No session has this id.
    UnknownSession = "unknown_session", Client, false;
    /// No credentials, or wrong ones.
    Unauthenticated = "unauthenticated", Client, false;
    /// The credentials do not grant this.
    PermissionDenied = "permission_denied", Client, false;
    /// All session slots are taken.
    Overloaded = "overloaded", Gateway, true;
    /// Too many requests from this client.
    RateLimited = "rate_limited", Client, true;
    /// The gateway is shutting down and takes no new sessions.
    Draining = "draining", Gateway, true;
    /// The session lived for as long as it may, or was idle too long.
    SessionExpired = "session_expired", Client, true;
    /// The request or message is malformed.
    BadRequest = "bad_request", Client, false;
    /// A message is larger than the limit.
    TooLarge = "too_large", Client, false;
    /// The codec, format or content type is not served.
    UnsupportedMedia = "unsupported_media", Client, false;
    /// A connection to a worker could not be made or broke.
    Network = "network", Worker, true;
    /// Something took longer than its limit; `phase` says what.
    Timeout = "timeout", Worker, true;
    /// A worker reported an error of its own.
    RemoteExecution = "remote_execution", Worker, false;
    /// A worker sent what the protocol does not allow.
    InvalidRemoteData = "invalid_remote_data", Worker, false;
    /// The endpoint's circuit breaker is open.
    CircuitOpen = "circuit_open", Worker, true;
    /// Every endpoint of the pool failed.
    AllEndpointsFailed = "all_endpoints_failed", Worker, true;
    /// A local node failed.
    NodeFailed = "node_failed", Gateway, false;
    /// The client, or an operator, ended it.
    Cancelled = "cancelled", Client, false;
    /// A broken invariant in the gateway itself.
    Internal = "internal", Gateway, false;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Who asked must ask differently.
    Client,
    /// This gateway.
    Gateway,
    /// A remote hop's worker, or the network to it.
    Worker,
}

impl Fault {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Gateway => "gateway",
            Self::Worker => "worker",
        }
    }
}

/// Which wait a [`Code::Timeout`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Until the connection stood.
    Connect,
    /// From input to the first output.
    FirstOutput,
    /// Between two outputs while input was unacknowledged.
    Gap,
    /// The whole call.
    Call,
}

impl Phase {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::FirstOutput => "first_output",
            Self::Gap => "gap",
            Self::Call => "call",
        }
    }
}

/// An error as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// The stable code.
    pub code: Code,
    /// What, where and how to mend it: lower case, no full stop.
    pub message: String,
    /// Whose fault it is.
    pub fault: Fault,
    /// Whether the same request can succeed later.
    pub retryable: bool,
    /// The hop that it concerns; of a hop inside a remote one, the way there: `stt/asr`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hop: Option<String>,
    /// The endpoint that it concerns, as configured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub endpoint: Option<String>,
    /// Of a timeout: which wait ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub phase: Option<Phase>,
    /// Of a remote hop: how many attempts were made, this one included.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attempt: Option<u32>,
    /// Of a remote hop: time spent on them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub elapsed: Option<Duration>,
    /// When a retry can help, where that is known. Small, for errors are returned by value.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<NonZeroU32>,
}

impl Error {
    /// An error with the code's usual fault and retry advice.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            fault: code.fault(),
            retryable: code.retryable(),
            hop: None,
            endpoint: None,
            phase: None,
            attempt: None,
            elapsed: None,
            retry_after_ms: None,
        }
    }

    /// Says when a retry can help, to the next millisecond.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        let millis = u32::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX);
        self.retry_after_ms = NonZeroU32::new(millis);
        self
    }

    /// When a retry can help, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let millis = self.retry_after_ms?;
        Some(Duration::from_millis(millis.get().into()))
    }

    /// Names the hop.
    #[must_use]
    pub fn at_hop(mut self, hop: impl Into<String>) -> Self {
        self.hop = Some(hop.into());
        self
    }

    /// Names the remote hop that an error came through; which of the hops there it concerns, it knows already.
    #[must_use]
    pub fn through_hop(mut self, hop: &str) -> Self {
        self.hop = Some(match self.hop {
            Some(inner) => format!("{hop}/{inner}"),
            None => hop.to_owned(),
        });
        self
    }

    /// Names the endpoint.
    #[must_use]
    pub fn at_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Names the wait that ended.
    #[must_use]
    pub const fn in_phase(mut self, phase: Phase) -> Self {
        self.phase = Some(phase);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        if let Some(hop) = &self.hop {
            write!(f, " (hop {hop}")?;
            if let Some(endpoint) = &self.endpoint {
                write!(f, " at {endpoint}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_name() {
        for &code in Code::ALL {
            assert_eq!(Code::from_name(code.as_str()), Some(code));
        }
    }
}
