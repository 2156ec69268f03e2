//! `filter`: frames of any kind pass if they meet a condition.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tidegate_media::{Frame, Payload};

use super::identity::{any_ports, same_as_input};
use super::params::within;
use super::typed::{Inputs, Typed};
use crate::node::{Context, DropReason, Node, NodeError};
use crate::registry::{ParamError, Ports, Replay};
use crate::stream::StreamFormat;

pub(super) struct Filter;

/// A frame passes if it meets every condition that is given; at least one is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Params {
    /// Whether the frame closes its utterance.
    r#final: Option<bool>,
    /// Of all frames the first, and then each so many; 1 to 1000000.
    every: Option<u32>,
    /// By chance, with this probability, 0 to 1; the same frames in each run.
    probability: Option<f64>,
    /// What a text says; no other kind meets it.
    text: Option<TextCondition>,
    /// What a JSON value has; no other kind meets it.
    json: Option<JsonCondition>,
    /// The other way round: frames that meet all conditions do not pass.
    invert: bool,
}

/// All that is given must hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct TextCondition {
    /// It is this, apart from white space around it.
    equals: Option<String>,
    /// It has this in it.
    contains: Option<String>,
    /// It has this in front.
    starts_with: Option<String>,
    /// It has this at its end.
    ends_with: Option<String>,
    /// It is not empty, apart from white space.
    not_empty: bool,
    /// Capital and small letters are alike.
    ignore_case: bool,
}

/// All that is given must hold for the value at the pointer; with a pointer alone it must be there.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct JsonCondition {
    /// Where to look (RFC 6901), such as `/words/0/text`; empty is the whole.
    pointer: String,
    /// It is this value.
    equals: Option<Value>,
    /// It is not this value.
    not_equals: Option<Value>,
    /// It is a number above this.
    above: Option<f64>,
    /// It is a number below this.
    below: Option<f64>,
}

impl Typed for Filter {
    type Params = Params;

    const NAME: &'static str = "filter";
    const EXAMPLE: &'static str = r#"{"final": true}"#;
    const SUMMARY: &'static str = "Lets frames of any kind pass if they meet a condition; the others are dropped and counted.";
    const COST: &'static str = "under 0.1 µs; 0.6 µs for JSON of 50 bytes, which is parsed";
    const REPLAY_DOC: &'static str = "makes the same again, except with `every` or `probability`";

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        if let Some(every) = params.every {
            within("every", every, 1..=1_000_000)?;
        }
        if let Some(probability) = params.probability {
            within("probability", probability, 0.0..=1.0)?;
        }
        if let Some(json) = &params.json {
            pointer("json.pointer", &json.pointer)?;
        }
        if params.text.as_ref().is_some_and(|text| !text.asks()) {
            let message = "asks nothing: set equals, contains, starts_with, ends_with or not_empty";
            return Err(ParamError::new("text", message));
        }
        let given = params.r#final.is_some()
            || params.every.is_some()
            || params.probability.is_some()
            || params.text.is_some()
            || params.json.is_some();
        if given {
            return Ok(());
        }
        let message = "has no condition: set final, every, probability, text or json";
        Err(ParamError::new("", message))
    }

    fn ports(&self, _: &Params) -> Ports {
        any_ports("Those that pass.")
    }

    fn outputs(&self, _: &Params, inputs: Inputs<'_>) -> Result<Vec<StreamFormat>, ParamError> {
        same_as_input(inputs)
    }

    fn replay(&self, params: &Params, _: Inputs<'_>) -> Replay {
        // A count and a die begin anew.
        match (params.every, params.probability) {
            (None, None) => Replay::Same,
            _ => Replay::Differs,
        }
    }

    fn build(&self, params: Params, _: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        Ok(Box::new(Gate {
            params,
            seen: 0,
            dice: 0x9E37_79B9_7F4A_7C15,
        }))
    }
}

/// Refuses what is no JSON pointer.
pub(super) fn pointer(path: &str, pointer: &str) -> Result<(), ParamError> {
    if pointer.is_empty() || pointer.starts_with('/') {
        return Ok(());
    }
    let message = format!("'{pointer}' is no JSON pointer: start it with '/', such as /text");
    Err(ParamError::new(path, message))
}

impl TextCondition {
    const fn asks(&self) -> bool {
        self.equals.is_some()
            || self.contains.is_some()
            || self.starts_with.is_some()
            || self.ends_with.is_some()
            || self.not_empty
    }

    fn holds(&self, text: &str) -> bool {
        let fold = |text: &str| match self.ignore_case {
            true => text.to_lowercase(),
            false => text.to_owned(),
        };
        let text = fold(text);
        let all = |wanted: &Option<String>, holds: fn(&str, &str) -> bool| {
            wanted
                .as_ref()
                .is_none_or(|wanted| holds(&text, &fold(wanted)))
        };
        all(&self.equals, |text, wanted| text.trim() == wanted.trim())
            && all(&self.contains, |text, wanted| text.contains(wanted))
            && all(&self.starts_with, |text, wanted| text.starts_with(wanted))
            && all(&self.ends_with, |text, wanted| text.ends_with(wanted))
            && (!self.not_empty || !text.trim().is_empty())
    }
}

impl JsonCondition {
    fn holds(&self, value: &Value) -> bool {
        let Some(found) = value.pointer(&self.pointer) else {
            return false;
        };
        let number = found.as_f64();
        self.equals
            .as_ref()
            .is_none_or(|wanted| alike(found, wanted))
            && self
                .not_equals
                .as_ref()
                .is_none_or(|other| !alike(found, other))
            && self
                .above
                .is_none_or(|limit| number.is_some_and(|n| n > limit))
            && self
                .below
                .is_none_or(|limit| number.is_some_and(|n| n < limit))
    }
}

/// Equal, where 1 and 1.0 are.
fn alike(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(x), Some(y)) => a == b || (x - y).abs() == 0.0,
        _ => a == b,
    }
}

struct Gate {
    params: Params,
    /// Frames that came.
    seen: u64,
    /// State of the generator of chances (xorshift, G. Marsaglia 2003).
    dice: u64,
}

impl Gate {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    fn chance(&mut self) -> f64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn meets(&mut self, frame: &Frame) -> bool {
        let (index, chance) = (self.seen, self.chance());
        self.seen += 1;
        let params = &self.params;
        params.r#final.is_none_or(|wanted| wanted == frame.meta.is_final)
            && params.every.is_none_or(|every| index.is_multiple_of(u64::from(every)))
            && params.probability.is_none_or(|probability| chance < probability)
            && params.text.as_ref().is_none_or(|condition| {
                matches!(&frame.payload, Payload::Text(text) if condition.holds(text.as_str()))
            })
            && params.json.as_ref().is_none_or(|condition| {
                matches!(&frame.payload, Payload::Json(json) if condition.holds(&json.to_value()))
            })
    }
}

impl Node for Gate {
    fn on_frame(&mut self, cx: &mut Context<'_>, _: usize, frame: Frame) -> Result<(), NodeError> {
        if self.meets(&frame) == self.params.invert {
            cx.drop_frame(DropReason::Condition);
        } else {
            cx.emit(0, frame);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_media::{Json, MediaTime};

    use super::super::testing::{Bench, error};
    use super::*;

    /// Which of some texts pass.
    fn texts(params: Value, texts: &[&str]) -> Vec<String> {
        let mut bench = Bench::new("filter", params, &[StreamFormat::Text]);
        let frames = texts
            .iter()
            .map(|text| Frame::new(MediaTime::ZERO, Payload::Text((*text).into())));
        let made = bench.frames(frames.collect());
        let dropped: u32 = bench.drops.iter().map(|(_, count)| count).sum();
        assert_eq!(
            made.len() + dropped as usize,
            texts.len(),
            "all are counted"
        );
        made.iter()
            .map(|frame| match &frame.payload {
                Payload::Text(text) => text.as_str().to_owned(),
                other => panic!("{}", other.kind()),
            })
            .collect()
    }

    fn values(params: Value, values: &[Value]) -> usize {
        let mut bench = Bench::new("filter", params, &[StreamFormat::Json]);
        let frames = values
            .iter()
            .map(|v| Frame::new(MediaTime::ZERO, Payload::Json(Json::from(v))));
        bench.frames(frames.collect()).len()
    }

    #[test]
    fn texts_pass_by_what_they_say() {
        let input = ["Hello world", "goodbye", "  "];
        let contains = json!({"text": {"contains": "hello", "ignore_case": true}});
        assert_eq!(texts(contains, &input), ["Hello world"]);
        assert_eq!(
            texts(json!({"text": {"equals": "goodbye "}}), &input),
            ["goodbye"]
        );
        assert_eq!(texts(json!({"text": {"not_empty": true}}), &input).len(), 2);
        let not = json!({"text": {"starts_with": "Hello"}, "invert": true});
        assert_eq!(texts(not, &input), ["goodbye", "  "]);
        assert_eq!(
            texts(json!({"text": {"ends_with": "bye"}}), &input),
            ["goodbye"]
        );
    }

    #[test]
    fn values_pass_by_what_they_have() {
        let input = [
            json!({"a": {"p": 0.7}}),
            json!({"a": {"p": 1}}),
            json!({"b": "x"}),
            json!([1.0]),
        ];
        assert_eq!(values(json!({"json": {"pointer": "/a/p"}}), &input), 2);
        assert_eq!(
            values(
                json!({"json": {"pointer": "/a/p", "above": 0.5, "below": 0.9}}),
                &input
            ),
            1
        );
        assert_eq!(
            values(json!({"json": {"pointer": "/a/p", "equals": 1.0}}), &input),
            1
        );
        assert_eq!(
            values(
                json!({"json": {"pointer": "/b", "not_equals": "y"}}),
                &input
            ),
            1
        );
        assert_eq!(
            values(json!({"json": {"pointer": "/b", "above": 0}}), &input),
            0
        );
    }

    #[test]
    fn frames_pass_by_number_chance_and_end() {
        let many: Vec<&str> = vec!["x"; 1_000];
        assert_eq!(texts(json!({"every": 3}), &many).len(), 334);
        let lucky = texts(json!({"probability": 0.25}), &many).len();
        assert!((200..300).contains(&lucky), "{lucky}");
        assert_eq!(texts(json!({"probability": 0}), &many).len(), 0);
        assert_eq!(texts(json!({"final": false}), &many).len(), 1_000);
        assert_eq!(texts(json!({"final": true}), &many).len(), 0);
    }

    #[test]
    fn conditions_that_cannot_be_are_refused() {
        let at = |params| error("filter", params, &[StreamFormat::Text]).path;
        assert_eq!(at(json!({})), "");
        assert_eq!(at(json!({"every": 0})), "every");
        assert_eq!(at(json!({"text": {}})), "text");
        assert_eq!(at(json!({"json": {"pointer": "a"}})), "json.pointer");
        assert_eq!(at(json!({"json": {"greater": 1}})), "json.greater");
    }
}
