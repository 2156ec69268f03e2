//! Nodes with simple behaviour.

use serde_json::{Value, json};
use tidegate_media::{Frame, Timestamp};
use tidegate_nodes::node::{Context, Hold, Node, NodeError, Reception};
use tidegate_nodes::{NodeType, ParamError, Ports, Registry, StreamFormat};

use super::{audio, ms, text, words};

/// What a test node does, by its type's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Passes what comes.
    Identity,
    /// Passes what comes and appends its parameter `mark`.
    Mark,
    /// `times` frames for each.
    Repeat,
    /// Holds the newest frame back until the next or the end.
    Hold,
    /// Emits a frame each `every_ms`, from its first frame or timer on.
    Generate,
    /// Passes on output 0 and, if the text is `speech`, announces it on output 1 before.
    Detect,
    /// Fails when it sees `bad`.
    Brittle,
    /// Sets a timer in the past for ever.
    Restless,
    /// Keeps everything, gives nothing.
    Sink,
    /// Two inputs, one output: passes both.
    Join,
    /// As `Hold`, and says how reception stands.
    Dejitter,
    /// Passes; notes interrupts as `flushed` at the next frame.
    Flushable,
}

const ACTS: [(&str, Act); 11] = [
    ("identity", Act::Identity),
    ("mark", Act::Mark),
    ("repeat", Act::Repeat),
    ("hold", Act::Hold),
    ("generate", Act::Generate),
    ("detect", Act::Detect),
    ("brittle", Act::Brittle),
    ("restless", Act::Restless),
    ("sink", Act::Sink),
    ("join", Act::Join),
    ("flushable", Act::Flushable),
];

/// Stands for a conversion between audio formats; says so in nothing but its row.
const CONVERSIONS: [&str; 6] = [
    "audio.dejitter",
    "audio.decode",
    "audio.resample",
    "audio.channels",
    "audio.encode",
    "audio.pcm",
];

struct TestType {
    name: &'static str,
    act: Act,
}

struct TestNode {
    act: Act,
    params: Value,
    held: Option<Frame>,
    count: u64,
}

impl NodeType for TestType {
    fn name(&self) -> &'static str {
        self.name
    }
    fn summary(&self) -> &'static str {
        "for tests"
    }
    fn cost(&self) -> &'static str {
        "nothing"
    }
    fn schema(&self) -> Value {
        json!({})
    }
    fn ports(&self, _: &Value) -> Result<Ports, ParamError> {
        Ok(Ports::default())
    }
    fn outputs(
        &self,
        _: &Value,
        _: &[Option<StreamFormat>],
    ) -> Result<Vec<StreamFormat>, ParamError> {
        Ok(Vec::new())
    }
    fn build(
        &self,
        params: &Value,
        _: &[Option<StreamFormat>],
    ) -> Result<Box<dyn Node>, ParamError> {
        if params.get("refuse").is_some() {
            return Err(ParamError::new("refuse", "it was asked to refuse"));
        }
        Ok(Box::new(TestNode {
            act: self.act,
            params: params.clone(),
            held: None,
            count: 0,
        }))
    }
}

impl TestNode {
    fn number(&self, name: &str) -> u64 {
        self.params.get(name).and_then(Value::as_u64).unwrap_or(1)
    }
}

impl Node for TestNode {
    fn on_frame(&mut self, cx: &mut Context<'_>, _: usize, frame: Frame) -> Result<(), NodeError> {
        match self.act {
            Act::Identity | Act::Join => cx.emit(0, frame),
            Act::Flushable => {
                let flushed = std::mem::take(&mut self.count) > 0;
                cx.emit(0, if flushed { text("flushed") } else { frame });
            }
            Act::Mark => {
                let mark = self.params["mark"].as_str().unwrap_or("+");
                cx.emit(0, text(&format!("{}{mark}", words(&frame))));
            }
            Act::Repeat => {
                for n in 0..self.number("times") {
                    let mut copy = frame.clone();
                    copy.meta.media_time += ms(20 * n);
                    cx.emit(0, copy);
                }
            }
            Act::Hold | Act::Dejitter => {
                if self.act == Act::Dejitter {
                    self.count += 1;
                    let lost = self.count;
                    let reception = Reception {
                        lost,
                        ..Reception::default()
                    };
                    cx.report_reception(reception);
                }
                if let Some(before) = self.held.replace(frame) {
                    cx.emit(0, before);
                }
            }
            Act::Generate => cx.set_timer(cx.now()),
            Act::Detect => {
                if words(&frame) == "speech" {
                    cx.emit(1, text("start"));
                }
                cx.emit(0, frame);
            }
            Act::Brittle if words(&frame) == "bad" => {
                return Err(NodeError::new("it cannot take 'bad'"));
            }
            Act::Brittle => cx.emit(0, frame),
            Act::Restless => cx.set_timer(Timestamp::ZERO),
            Act::Sink => self.held = Some(frame),
        }
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) -> Result<(), NodeError> {
        self.count += 1;
        match self.act {
            Act::Generate => {
                let every = ms(self.number("every_ms"));
                cx.emit(0, audio(20 * (self.count - 1)));
                cx.set_timer(cx.now() + every);
                if self.params.get("frames").and_then(Value::as_u64) == Some(self.count) {
                    cx.end_outputs();
                }
            }
            Act::Restless => cx.set_timer(Timestamp::ZERO),
            _ => {}
        }
        Ok(())
    }

    fn on_end(&mut self, cx: &mut Context<'_>, _: usize) -> Result<(), NodeError> {
        if let (Act::Hold | Act::Dejitter, Some(frame)) = (self.act, self.held.take()) {
            cx.emit(0, frame);
        }
        Ok(())
    }

    fn holds(&self) -> Hold {
        self.held.as_ref().map(|frame| frame.meta.since).into()
    }

    fn on_interrupt(&mut self, _: &mut Context<'_>) {
        self.count = 1;
    }
}

pub(crate) fn registry() -> Registry {
    let mut registry = Registry::empty();
    for (name, act) in ACTS {
        registry.add(TestType { name, act });
    }
    for name in CONVERSIONS {
        let act = match name {
            "audio.dejitter" => Act::Dejitter,
            _ => Act::Identity,
        };
        registry.add(TestType { name, act });
    }
    registry
}
