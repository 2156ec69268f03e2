//! `text.constant`: the same text, whatever comes in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_media::{Frame, Kind, Payload, Text};

use super::super::typed::{Inputs, Typed};
use crate::node::{Context, Node, NodeError};
use crate::registry::{ParamError, Port, Ports, Replay};
use crate::stream::{Accepts, StreamFormat};

pub(in super::super) struct Constant;

/// How often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Per {
    /// For each frame.
    #[default]
    Frame,
    /// For each utterance, when it is closed.
    Utterance,
    /// Once.
    Stream,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Params {
    /// The text.
    text: String,
    /// How often it comes.
    #[serde(default)]
    per: Per,
}

impl Typed for Constant {
    type Params = Params;

    const NAME: &'static str = "text.constant";
    const EXAMPLE: &'static str = r#"{"text": "…"}"#;
    const SUMMARY: &'static str = "Says the same text for each frame, utterance or stream that comes in, of whatever kind: also a fallback for a \
                                   hop that failed.";
    const COST: &'static str = "under 0.1 µs";
    const REPLAY_DOC: &'static str = "makes the same again, except once a stream";

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        super::check_length("text", &params.text)
    }

    fn ports(&self, _: &Params) -> Ports {
        Ports {
            inputs: vec![Port::input(
                "in",
                Accepts::Anything,
                "What calls for the text.",
            )],
            outputs: vec![Port::output("out", Kind::Text, "The text.")],
        }
    }

    fn outputs(&self, _: &Params, _: Inputs<'_>) -> Result<Vec<StreamFormat>, ParamError> {
        Ok(vec![StreamFormat::Text])
    }

    fn replay(&self, params: &Params, _: Inputs<'_>) -> Replay {
        match params.per {
            Per::Frame | Per::Utterance => Replay::Same,
            // It would be said again.
            Per::Stream => Replay::Differs,
        }
    }

    fn build(&self, params: Params, _: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        Ok(Box::new(Speaker {
            text: params.text.into(),
            per: params.per,
            said: false,
        }))
    }
}

struct Speaker {
    text: Text,
    per: Per,
    said: bool,
}

impl Node for Speaker {
    fn on_frame(&mut self, cx: &mut Context<'_>, _: usize, frame: Frame) -> Result<(), NodeError> {
        let due = match self.per {
            Per::Frame => true,
            Per::Utterance => frame.meta.is_final,
            Per::Stream => !self.said,
        };
        if due {
            self.said = true;
            cx.emit(0, frame.with_payload(Payload::Text(self.text.clone())));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::testing::{Bench, audio, error, pcm};
    use super::*;

    #[test]
    fn it_is_said_as_often_as_asked() {
        for (per, expected) in [("frame", 4), ("utterance", 2), ("stream", 1)] {
            let params = json!({"text": "sorry", "per": per});
            let mut bench = Bench::new("text.constant", params, &[pcm(8_000, 1)]);
            let frames = (0..4).map(|index| {
                let mut frame = audio(index * 20, 8_000, 1, vec![0.0; 160]);
                frame.meta.is_final = index % 2 == 1;
                frame
            });
            let made = bench.frames(frames.collect());
            assert_eq!(made.len(), expected, "per {per}");
            assert_eq!(made[0].payload, Payload::Text("sorry".into()));
        }
    }

    #[test]
    fn a_text_that_is_too_long_or_missing_is_refused() {
        let at = |params| error("text.constant", params, &[StreamFormat::Text]);
        assert_eq!(at(json!({"text": "x".repeat(70_000)})).path, "text");
        assert!(at(json!({})).message.contains("text"));
    }
}
