//! Why something that a peer sent is not a message: which field of which message, what is wrong with it, and how to mend it.

/// A peer's message that cannot be taken. The texts are meant for whoever wrote the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireMessageError {
    /// The bytes or the text are not in the encoding at all.
    #[error("message is not {encoding} of tidegate.v1: {detail}")]
    Malformed {
        /// `protobuf` or `JSON`.
        encoding: &'static str,
        /// The decoder's own words, with the position where it has one.
        detail: String,
    },
    /// The message names no kind, or one that this version does not know.
    #[error("message is empty or of an unknown kind: send one of {expected}")]
    Unknown {
        /// The kinds that are known.
        expected: &'static str,
    },
    /// A field that must be there is not.
    #[error("{field} is missing: {mend}")]
    Missing {
        /// Path of the field, such as `frame.tensor.dtype`.
        field: String,
        /// How to mend it.
        mend: String,
    },
    /// A field has a value that cannot be.
    #[error("{field} {problem}: {mend}")]
    Invalid {
        /// Path of the field.
        field: String,
        /// What is wrong with its value.
        problem: String,
        /// How to mend it.
        mend: String,
    },
    /// A field has more than is allowed.
    #[error("{field} has {actual} {unit}: at most {limit} are allowed")]
    TooLarge {
        /// Path of the field.
        field: String,
        /// How much it has.
        actual: usize,
        /// How much is allowed.
        limit: usize,
        /// What is counted.
        unit: &'static str,
    },
}

impl WireMessageError {
    pub(crate) fn missing(field: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::Missing {
            field: field.into(),
            mend: mend.into(),
        }
    }

    pub(crate) fn invalid(
        field: impl Into<String>,
        problem: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self::Invalid {
            field: field.into(),
            problem: problem.into(),
            mend: mend.into(),
        }
    }

    pub(crate) fn malformed(encoding: &'static str, detail: impl std::fmt::Display) -> Self {
        Self::Malformed {
            encoding,
            detail: detail.to_string(),
        }
    }

    /// The same of a frame that stands in a list: `frame.…` becomes `list[place].…`.
    pub(crate) fn of_item(mut self, list: &str, place: usize) -> Self {
        if let Self::Missing { field, .. }
        | Self::Invalid { field, .. }
        | Self::TooLarge { field, .. } = &mut self
        {
            let rest = field.strip_prefix("frame").unwrap_or(field);
            *field = format!("{list}[{place}]{rest}");
        }
        self
    }

    /// Whether a bound of [`crate::limits`] was met: `too_large` rather than `bad_request`.
    #[must_use]
    pub const fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge { .. })
    }
}

/// Refuses more than `limit` of something.
pub(crate) fn at_most(
    field: &str,
    actual: usize,
    limit: usize,
    unit: &'static str,
) -> Result<(), WireMessageError> {
    if actual <= limit {
        return Ok(());
    }
    Err(WireMessageError::TooLarge {
        field: field.to_owned(),
        actual,
        limit,
        unit,
    })
}
