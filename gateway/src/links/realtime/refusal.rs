//! Why something that a client asked for is not done. It is told by an `error` event, or along with what holds instead, and the session
//! goes on.

use serde::Serialize;

/// Most characters of the name of a field that goes unheeded.
const PARAM_CHARS: usize = 128;
/// Most characters of why it does.
const MESSAGE_CHARS: usize = 512;

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
    /// What a client named itself is cut where it is too long.
    pub(super) fn new(param: &str, message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self {
            param: param.chars().take(PARAM_CHARS).collect(),
            message: message.chars().take(MESSAGE_CHARS).collect(),
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

    /// More fields that go unheeded than anybody would be told of one by one.
    pub(super) fn too_many(of: &str, most: usize) -> Self {
        let text = format!(
            "more than {most} fields of '{of}' say what this pipeline does not heed: leave out those that are not of the interface"
        );
        Self::invalid(Some(of), text)
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
