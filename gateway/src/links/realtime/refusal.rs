//! Why something that a client asked for is not done. It is told by an `error` event, or along with what holds instead, and the session
//! goes on.

use serde::Serialize;

/// What an `error` event says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Refusal {
    /// Whose fault it is: `invalid_request_error` or `server_error`.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) code: String,
    pub(super) message: String,
    /// The field that is at fault.
    pub(super) param: Option<String>,
    /// The client's name for the event that is refused.
    pub(super) event_id: Option<String>,
}

/// A field that goes unheeded, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Ignored {
    param: String,
    message: String,
}

impl Ignored {
    pub(super) fn new(param: &str, message: impl Into<String>) -> Self {
        Self {
            param: param.to_owned(),
            message: message.into(),
        }
    }
}

impl Refusal {
    fn request(code: &str, param: Option<&str>, message: impl Into<String>) -> Self {
        Self {
            kind: "invalid_request_error",
            code: code.to_owned(),
            message: message.into(),
            param: param.map(str::to_owned),
            event_id: None,
        }
    }

    /// A value that nobody could take.
    pub(super) fn invalid(param: Option<&str>, message: impl Into<String>) -> Self {
        Self::request("invalid_value", param, message)
    }

    /// A field that is not in the shape of today.
    pub(super) fn unknown(param: &str, hint: &str) -> Self {
        let text = format!("Unknown parameter: '{param}'.{hint}");
        Self::request("unknown_parameter", Some(param), text)
    }

    /// What the interface has and this pipeline has not.
    pub(super) fn unsupported(param: Option<&str>, message: impl Into<String>) -> Self {
        Self::request("unsupported_by_pipeline", param, message)
    }

    /// Something that cannot be done now.
    pub(super) fn now(code: &str, message: impl Into<String>) -> Self {
        Self::request(code, None, message)
    }

    /// The session itself failed.
    pub(super) fn failed(error: &tidegate_nodes::Error) -> Self {
        Self {
            kind: "server_error",
            code: error.code.as_str().to_owned(),
            message: error.message.clone(),
            param: None,
            event_id: None,
        }
    }
}
