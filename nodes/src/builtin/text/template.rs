//! `text.template`: a text with places that are filled from what comes in.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tidegate_media::{Frame, Kind, Payload, Text};

use super::super::adapt::{Refusal, map};
use super::super::json::text_of;
use super::super::typed::{Inputs, Typed};
use crate::emitted::check_made;
use crate::node::{DropReason, Node};
use crate::registry::{ParamError, Port, Ports, Replay};
use crate::stream::{Accepts, StreamFormat};

pub(in super::super) struct Template;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Params {
    /// The text. `{{text}}` is the text that comes in, or the whole JSON value; `{{/a/b}}` is the value at a pointer in JSON, nothing if
    /// it is missing; `{{utterance}}` and `{{media_time}}` (in µs) are the frame's own; any other name is one of `values`.
    template: String,
    /// Texts by name.
    #[serde(default)]
    values: BTreeMap<String, String>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Pointer(String),
    Text,
    Utterance,
    MediaTime,
}

impl Params {
    fn pieces(&self) -> Result<Vec<Piece>, ParamError> {
        let error = |message: String| ParamError::new("template", message);
        let mut pieces = Vec::new();
        let mut rest = self.template.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else {
                return Err(error("a '{{' has no '}}' after it".to_owned()));
            };
            pieces.push(Piece::Literal(before.to_owned()));
            pieces.push(match name.trim() {
                "text" => Piece::Text,
                "utterance" => Piece::Utterance,
                "media_time" => Piece::MediaTime,
                pointer if pointer.starts_with('/') => Piece::Pointer(pointer.to_owned()),
                name => match self.values.get(name) {
                    Some(value) => Piece::Literal(value.clone()),
                    None => {
                        return Err(error(format!(
                            "'{name}' is unknown: use text, a JSON pointer, utterance, media_time, or add it to values"
                        )));
                    }
                },
            });
            rest = after;
        }
        pieces.push(Piece::Literal(rest.to_owned()));
        Ok(pieces)
    }
}

impl Typed for Template {
    type Params = Params;

    const NAME: &'static str = "text.template";
    const EXAMPLE: &'static str = r#"{"template": "{{text}}"}"#;
    const SUMMARY: &'static str = "Puts text or values of JSON into a text.";
    const COST: &'static str = "0.5 µs for 50 bytes of JSON, which are parsed";
    const REPLAY: Replay = Replay::Same;

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        super::check_length("template", &params.template)?;
        for (name, value) in &params.values {
            super::check_length(&format!("values.{name}"), value)?;
        }
        params.pieces().map(|_| ())
    }

    fn ports(&self, _: &Params) -> Ports {
        Ports {
            inputs: vec![Port::input("in", Accepts::Anything, "Text or JSON.")],
            outputs: vec![Port::output("out", Kind::Text, "The filled text.")],
        }
    }

    fn outputs(
        &self,
        params: &Params,
        inputs: Inputs<'_>,
    ) -> Result<Vec<StreamFormat>, ParamError> {
        let kind = inputs
            .first()
            .copied()
            .flatten()
            .map(|format| format.kind());
        let points = |piece: &Piece| matches!(piece, Piece::Pointer(_));
        match kind {
            Some(Kind::Json) => {}
            Some(Kind::Text) if !params.pieces()?.iter().any(points) => {}
            Some(Kind::Text) => {
                let message = "points into JSON, but text comes in: use {{text}}";
                return Err(ParamError::new("template", message));
            }
            Some(other) => {
                let message = format!("takes text or JSON, not {other}");
                return Err(ParamError::new("", message));
            }
            None => return Err(ParamError::new("", "needs an edge to its input")),
        }
        Ok(vec![StreamFormat::Text])
    }

    fn build(&self, params: Params, inputs: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        self.outputs(&params, inputs)?;
        let pieces = params.pieces()?;
        Ok(map(move |frame| fill(&pieces, frame)))
    }
}

fn fill(pieces: &[Piece], frame: &Frame) -> Result<Payload, Refusal> {
    let value = match &frame.payload {
        Payload::Text(text) => Value::String(text.as_str().to_owned()),
        Payload::Json(json) => json.to_value(),
        _ => return Err(DropReason::Undecodable.into()),
    };
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(literal) => text.push_str(literal),
            Piece::Text => text.push_str(&text_of(&value)),
            Piece::Pointer(pointer) => {
                text.push_str(&value.pointer(pointer).map(text_of).unwrap_or_default());
            }
            Piece::Utterance => text.push_str(&frame.meta.utterance.to_string()),
            Piece::MediaTime => text.push_str(&frame.meta.media_time.as_micros().to_string()),
        }
        // Before the next piece: a long text in many places would not fit into the memory.
        check_made(text.len())?;
    }
    Ok(Payload::Text(Text::from(text)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_media::{Json, MediaTime};

    use super::super::super::testing::{Bench, error};
    use super::*;

    fn filled(params: Value, payload: Payload) -> String {
        let format = match payload.kind() {
            Kind::Json => StreamFormat::Json,
            _ => StreamFormat::Text,
        };
        let mut bench = Bench::new("text.template", params, &[format]);
        let mut frame = Frame::new(MediaTime::from_micros(1_500), payload);
        frame.meta.utterance = 7;
        match &bench.frame(frame)[0].payload {
            Payload::Text(text) => text.as_str().to_owned(),
            other => panic!("{}", other.kind()),
        }
    }

    #[test]
    fn places_are_filled_from_text_values_and_the_frame() {
        let params = json!({
            "template": "{{who}} says: {{ text }} ({{utterance}} at {{media_time}})",
            "values": {"who": "{{text}}"},
        });
        let text = filled(params, Payload::Text("hi {{who}}".into()));
        assert_eq!(text, "{{text}} says: hi {{who}} (7 at 1500)");
    }

    #[test]
    fn places_are_filled_from_json() {
        let value = json!({"text": "hi", "n": [1, null]});
        let params = json!({"template": "{{/text}} {{/n/0}}{{/n/1}}{{/none}} {{text}}"});
        let text = filled(params, Payload::Json(Json::from(&value)));
        assert_eq!(text, format!("hi 1 {value}"));
    }

    #[test]
    fn places_that_cannot_be_filled_are_refused() {
        let at = |template: &str, format| {
            error("text.template", json!({"template": template}), &[format])
        };
        assert!(at("{{text", StreamFormat::Text).message.contains("}}"));
        assert!(
            at("{{name}}", StreamFormat::Text)
                .message
                .contains("values")
        );
        assert!(
            at("{{/a}}", StreamFormat::Text)
                .message
                .contains("{{text}}")
        );
        assert!(
            at("{{text}}", StreamFormat::Tensor)
                .message
                .contains("tensor")
        );
    }

    #[test]
    fn a_text_that_grows_beyond_all_bounds_is_not_made() {
        let params = json!({"template": "{{text}}".repeat(100)});
        let mut bench = Bench::new("text.template", params, &[StreamFormat::Text]);
        let text = |length: usize| {
            let text = Text::from("x".repeat(length));
            Frame::new(MediaTime::ZERO, Payload::Text(text))
        };
        assert_eq!(bench.frame(text(1_000))[0].payload.size(), 100_000);
        let why = bench.fails(text(1 << 20));
        assert!(why.contains("64 MiB"), "{why}");
    }
}
