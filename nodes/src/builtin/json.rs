//! `json.pick`: one value out of a JSON value.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tidegate_media::{Json, Kind, Payload, Text};

use super::adapt::map;
use super::filter::pointer;
use super::typed::{Inputs, Typed};
use crate::node::{DropReason, Node};
use crate::registry::{ParamError, Port, Ports, Replay};
use crate::stream::{Accepts, StreamFormat};

pub(super) struct Pick;

/// What comes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum As {
    /// The value as JSON.
    #[default]
    Json,
    /// A string as it is, any other value as its JSON text.
    Text,
}

/// What becomes of a frame that has no such value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Missing {
    /// It is dropped and counted.
    #[default]
    Drop,
    /// Null comes out, as text nothing.
    Null,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// Where the value is (RFC 6901), such as `/words/0/text`; empty is the whole.
    pointer: String,
    /// What comes out.
    #[serde(default, rename = "as")]
    form: As,
    /// What becomes of a frame that has no such value.
    #[serde(default, deserialize_with = "quoted")]
    missing: Missing,
}

/// YAML reads a bare `null` as nothing at all.
fn quoted<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Missing, D::Error> {
    let nothing = || serde::de::Error::custom("null is no word in YAML: write \"null\" in quotes");
    Option::deserialize(deserializer)?.ok_or_else(nothing)
}

impl Typed for Pick {
    type Params = Params;

    const NAME: &'static str = "json.pick";
    const EXAMPLE: &'static str = r#"{"pointer": "/text"}"#;
    const SUMMARY: &'static str = "Takes one value out of JSON by its pointer, as JSON or as text.";
    const COST: &'static str = "0.7 µs for 50 bytes, which are parsed";
    const REPLAY: Replay = Replay::Same;

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        pointer("pointer", &params.pointer)
    }

    fn ports(&self, params: &Params) -> Ports {
        let kind = params.output().kind();
        Ports {
            inputs: vec![Port::input("in", Accepts::Kind(Kind::Json), "JSON values.")],
            outputs: vec![Port::output("out", kind, "The value at the pointer.")],
        }
    }

    fn outputs(&self, params: &Params, _: Inputs<'_>) -> Result<Vec<StreamFormat>, ParamError> {
        Ok(vec![params.output()])
    }

    fn build(&self, params: Params, _: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        Ok(map(move |frame| {
            let Payload::Json(json) = &frame.payload else {
                return Err(DropReason::Undecodable);
            };
            let value = json.to_value();
            let found = match (value.pointer(&params.pointer), params.missing) {
                (Some(found), _) => found,
                (None, Missing::Null) => &Value::Null,
                (None, Missing::Drop) => return Err(DropReason::Condition),
            };
            Ok(match params.form {
                As::Json => Payload::Json(Json::from(found)),
                As::Text => Payload::Text(Text::from(text_of(found))),
            })
        }))
    }
}

impl Params {
    const fn output(&self) -> StreamFormat {
        match self.form {
            As::Json => StreamFormat::Json,
            As::Text => StreamFormat::Text,
        }
    }
}

/// A value as people read it: strings without quotes, null as nothing.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_media::{Frame, MediaTime};

    use super::super::testing::{Bench, error};
    use super::*;

    fn pick(params: Value, value: &Value) -> Option<Payload> {
        let mut bench = Bench::new("json.pick", params, &[StreamFormat::Json]);
        let frame = Frame::new(MediaTime::ZERO, Payload::Json(Json::from(value)));
        bench.frame(frame).pop().map(|frame| frame.payload)
    }

    #[test]
    fn a_value_is_picked_as_json_or_as_text() {
        let value = json!({"words": [{"text": "hello", "p": 0.5}]});
        let at = |pointer: &str| json!({"pointer": pointer});
        let as_text = |pointer: &str| json!({"pointer": pointer, "as": "text"});
        let json = |value: Value| Some(Payload::Json(Json::from(&value)));
        let text = |text: &str| Some(Payload::Text(text.into()));
        assert_eq!(pick(at("/words/0/p"), &value), json(json!(0.5)));
        assert_eq!(pick(at(""), &value), json(value.clone()));
        assert_eq!(pick(as_text("/words/0/text"), &value), text("hello"));
        assert_eq!(pick(as_text("/words/0/p"), &value), text("0.5"));
    }

    #[test]
    fn what_is_missing_is_dropped_or_null() {
        assert_eq!(pick(json!({"pointer": "/a"}), &json!({})), None);
        let null = pick(
            json!({"pointer": "/a", "missing": "null", "as": "text"}),
            &json!({}),
        );
        assert_eq!(null, Some(Payload::Text("".into())));
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        let at = |params| error("json.pick", params, &[StreamFormat::Json]).path;
        assert_eq!(at(json!({"pointer": "a.b"})), "pointer");
        assert_eq!(at(json!({"pointer": "/a", "as": "xml"})), "as");
    }
}
