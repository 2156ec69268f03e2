//! What the server's JSON says, by the pointers of the options.

use serde_json::Value;
use tidegate_nodes::compile::remote::WebsocketSttOptions;

use crate::dialogue::failed;
use crate::error::RemoteError;

/// What one message of the server says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// Words, and whether they stay.
    pub(super) text: Option<(String, bool)>,
    /// Nothing follows.
    pub(super) last: bool,
}

impl Heard {
    pub(super) fn of(options: &WebsocketSttOptions, text: &str) -> Result<Self, RemoteError> {
        let value: Value = serde_json::from_str(text).map_err(|error| {
            let text = crate::refusal::quote(text.as_bytes());
            RemoteError::Protocol(format!("'{text}' is no JSON: {error}"))
        })?;
        let at = |pointer: &Option<String>| {
            let pointer = pointer.as_deref()?;
            value.pointer(pointer).filter(|value| is_true(value))
        };
        if let Some(error) = at(&options.error) {
            let said = error
                .as_str()
                .map_or_else(|| error.to_string(), str::to_owned);
            return Err(failed(&said));
        }
        let words = |pointer: &Option<String>| {
            let text = value.pointer(pointer.as_deref()?)?.as_str()?;
            Some(text.trim().to_owned())
        };
        let settled = options.settled.is_none() || at(&options.settled).is_some();
        let text = words(&Some(options.text.clone())).map(|text| (text, settled));
        let text = text.or_else(|| words(&options.partial).map(|text| (text, false)));
        Ok(Self {
            text,
            last: at(&options.last).is_some(),
        })
    }
}

/// Whether a value says yes: anything but null, false, nothing and 0.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn heard(options: Value, message: &Value) -> Result<Heard, RemoteError> {
        let options = serde_json::from_value(options).expect("options");
        Heard::of(&options, &message.to_string())
    }

    fn words(text: &str, stays: bool) -> Heard {
        Heard {
            text: Some((text.to_owned(), stays)),
            last: false,
        }
    }

    #[test]
    fn words_are_where_the_options_say_and_stay_if_they_say_so() {
        let vosk = || json!({"partial": "/partial"});
        let said = heard(vosk(), &json!({"partial": "and so"}));
        assert_eq!(said, Ok(words("and so", false)));
        let said = heard(vosk(), &json!({"text": " and so my "}));
        assert_eq!(said, Ok(words("and so my", true)));
        let other = || json!({"text": "/channel/alternatives/0/transcript", "final": "/is_final", "last": "/done"});
        let message = |stays: bool| json!({"channel": {"alternatives": [{"transcript": "ask"}]}, "is_final": stays, "error": null});
        assert_eq!(heard(other(), &message(false)), Ok(words("ask", false)));
        assert_eq!(heard(other(), &message(true)), Ok(words("ask", true)));
        let last = heard(other(), &json!({"done": true})).expect("a message");
        assert!(last.last && last.text.is_none(), "{last:?}");
    }

    #[test]
    fn an_error_and_what_is_no_json_fail_the_call() {
        let error = heard(json!({}), &json!({"error": {"code": 7}})).expect_err("an error");
        assert!(error.to_string().contains("{\"code\":7}"), "{error}");
        let options = WebsocketSttOptions::default();
        assert!(matches!(
            Heard::of(&options, "ready"),
            Err(RemoteError::Protocol(_))
        ));
    }
}
