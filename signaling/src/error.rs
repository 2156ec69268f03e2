//! What can go wrong while two peers meet, and whose fault it is.
//!
//! Everything that a peer sends ends in one of these, never in a panic. What is absent: transport
//! errors of single packets, which are counted (see [`PeerStats`](crate::PeerStats)) and not reported.

use thiserror::Error;

/// Why an offer, an answer, a fragment or a call on a peer was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignalingError {
    /// The text is larger than the configured limit.
    #[error(
        "{what} has {size} bytes, more than the limit of {limit}: send fewer codecs or candidates"
    )]
    TooLarge {
        /// What was too large: `offer`, `answer` or `fragment`.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The text is not what its content type says.
    #[error("malformed {what}: {reason}")]
    Malformed {
        /// `offer`, `answer`, `fragment` or `candidate`.
        what: &'static str,
        /// What is wrong, and where.
        reason: String,
    },
    /// The offer is well formed and cannot be served.
    #[error("the offer cannot be served: {reason}")]
    NotAcceptable {
        /// What would be needed.
        reason: String,
    },
    /// A data channel or track that does not exist, or not in this direction.
    #[error("no such {what}")]
    Unknown {
        /// `track` or `channel`.
        what: &'static str,
    },
    /// The bounded buffer is full; nothing was queued.
    #[error("{what} is full ({size} bytes buffered): wait until it drains")]
    Full {
        /// Which buffer.
        what: &'static str,
        /// Bytes buffered now.
        size: usize,
    },
    /// The peer is not connected yet, or no longer.
    #[error("the peer is not connected")]
    NotConnected,
    /// A library below refused what should not be refusable.
    #[error("{operation} failed: {reason}")]
    Internal {
        /// What was tried.
        operation: &'static str,
        /// What the library said.
        reason: String,
    },
}

impl SignalingError {
    /// The HTTP status of WHIP and WHEP for this error (RFC 9725 §4.2).
    #[must_use]
    pub const fn http_status(&self) -> u16 {
        match self {
            Self::TooLarge { .. } => 413,
            Self::Malformed { .. } => 400,
            Self::NotAcceptable { .. } => 406,
            Self::Unknown { .. } => 404,
            Self::Full { .. } => 503,
            Self::NotConnected => 409,
            Self::Internal { .. } => 500,
        }
    }

    pub(crate) fn malformed(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Malformed {
            what,
            reason: reason.into(),
        }
    }

    pub(crate) fn not_acceptable(reason: impl Into<String>) -> Self {
        Self::NotAcceptable {
            reason: reason.into(),
        }
    }

    pub(crate) fn internal(operation: &'static str, reason: impl ToString) -> Self {
        Self::Internal {
            operation,
            reason: reason.to_string(),
        }
    }
}
