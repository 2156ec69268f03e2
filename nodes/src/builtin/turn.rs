//! `turn.gate`: what somebody says is one turn, however often they pause in it.
//!
//! A final text waits while its speaker speaks again, or has spoken again and is still being understood, so that whoever answers
//! neither talks over them nor answers half of what they say.
//!
//! It keeps true: no words are lost but by an interrupt that names it, they keep their order, and a text waits only while an utterance
//! is open, which ends by its final text, by the wait, or with the input.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_media::{Frame, Kind, Payload, Text};

use super::params::{Span, millis, within_span};
use super::typed::{Inputs, Typed};
use crate::node::{Context, DropReason, Hold, Node, NodeError};
use crate::registry::{ParamError, Port, Ports};
use crate::stream::{Accepts, StreamFormat};

/// Input ports.
const TEXT: usize = 0;
const START: usize = 1;
const STOP: usize = 2;

/// Text beyond which what is held is let out, in bytes: more than anybody says in an hour.
const HELD_MAX: usize = 64 * 1_024;

pub(super) struct Turn;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Params {
    /// How long the final text of what was said is waited for after `stop`, 100ms to 2m. Then what is held is let out without it.
    wait: Span,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            wait: millis(10_000),
        }
    }
}

impl Typed for Turn {
    type Params = Params;

    const NAME: &'static str = "turn.gate";
    const SUMMARY: &'static str = "Holds final texts while their speaker speaks on or is still being understood, and lets them out as one: a turn. \
                                   While nothing is open a text passes at once.";
    const COST: &'static str = "under 1 µs";

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        within_span("wait", params.wait, 100, 120_000)
    }

    fn ports(&self, _: &Params) -> Ports {
        let event = Accepts::Kind(Kind::Json);
        Ports {
            inputs: vec![
                Port::input(
                    "text",
                    Accepts::Kind(Kind::Text),
                    "What was said, with the utterances' numbers; of one without a number the oldest is meant. Partial texts are dropped and counted.",
                ),
                Port::input("start", event.clone(), "`speech_start` of `audio.vad`."),
                Port::input("stop", event, "`speech_stop` of `audio.vad`."),
            ],
            outputs: vec![Port::output(
                "out",
                Kind::Text,
                "Final texts: what was held joined by spaces, with the newest one's utterance.",
            )],
        }
    }

    fn outputs(&self, _: &Params, _: Inputs<'_>) -> Result<Vec<StreamFormat>, ParamError> {
        Ok(vec![StreamFormat::Text])
    }

    fn build(&self, params: Params, _: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        Ok(Box::new(Gate {
            wait: params.wait.0,
            speaking: false,
            stopped: 0,
            understood: 0,
            held: None,
            words: String::new(),
            since: None,
        }))
    }
}

struct Gate {
    wait: Duration,
    /// Somebody speaks.
    speaking: bool,
    /// The newest utterance that ended.
    stopped: u64,
    /// The newest utterance whose final text came or is waited for no longer, and with it all before it.
    understood: u64,
    /// The newest text that is held.
    held: Option<Frame>,
    /// The words of all that is held.
    words: String,
    /// The oldest input that what is open or held began with.
    since: Option<u64>,
}

impl Gate {
    const fn is_open(&self) -> bool {
        self.speaking || self.understood < self.stopped
    }

    fn text(&mut self, cx: &mut Context<'_>, frame: Frame) {
        let Payload::Text(text) = &frame.payload else {
            return cx.drop_frame(DropReason::Undecodable);
        };
        if !frame.meta.is_final {
            return cx.drop_frame(DropReason::Condition);
        }
        let was_open = self.is_open();
        let utterance = match frame.meta.utterance {
            0 => self.stopped.min(self.understood.saturating_add(1)),
            number => number,
        };
        self.understood = self.understood.max(utterance);
        if !was_open && self.held.is_none() {
            return cx.emit(0, frame);
        }
        let words = text.as_str().trim();
        if !words.is_empty() && !self.words.is_empty() {
            self.words.push(' ');
        }
        self.words.push_str(words);
        self.reach_back(frame.meta.since);
        self.held = Some(frame);
        if !self.is_open() {
            cx.clear_timer();
            self.release(cx);
        } else if self.words.len() > HELD_MAX {
            self.release(cx);
        }
    }

    fn start(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        self.speaking = true;
        self.reach_back(frame.meta.since);
        // Who speaks is waited for.
        cx.clear_timer();
    }

    fn stop(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        self.speaking = false;
        let utterance = match frame.meta.utterance {
            0 => self.stopped.saturating_add(1),
            number => number,
        };
        self.stopped = self.stopped.max(utterance);
        self.settle(cx);
    }

    /// Nobody speaks any more.
    fn settle(&mut self, cx: &mut Context<'_>) {
        if self.is_open() {
            cx.set_timer(cx.now() + self.wait);
        } else {
            self.release(cx);
        }
    }

    fn release(&mut self, cx: &mut Context<'_>) {
        if let Some(frame) = self.held.take() {
            let words = Text::from(std::mem::take(&mut self.words));
            cx.emit(0, frame.with_payload(Payload::Text(words)));
        }
        if !self.is_open() {
            self.since = None;
        }
    }

    fn reach_back(&mut self, since: u64) {
        self.since = Some(self.since.map_or(since, |oldest| oldest.min(since)));
    }
}

impl Node for Gate {
    fn on_frame(
        &mut self,
        cx: &mut Context<'_>,
        port: usize,
        frame: Frame,
    ) -> Result<(), NodeError> {
        match port {
            TEXT => self.text(cx, frame),
            START => self.start(cx, &frame),
            _ => self.stop(cx, &frame),
        }
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) -> Result<(), NodeError> {
        self.understood = self.understood.max(self.stopped);
        self.release(cx);
        Ok(())
    }

    fn on_end(&mut self, cx: &mut Context<'_>, port: usize) -> Result<(), NodeError> {
        match port {
            TEXT => self.release(cx),
            STOP if self.speaking => {
                self.speaking = false;
                self.settle(cx);
            }
            _ => {}
        }
        Ok(())
    }

    fn holds(&self) -> Hold {
        self.since.into()
    }

    fn on_interrupt(&mut self, cx: &mut Context<'_>) {
        self.words.clear();
        if self.held.take().is_some() {
            cx.drop_frame(DropReason::Interrupted);
        }
        self.understood = self.understood.max(self.stopped);
        if !self.speaking {
            self.since = None;
        }
        cx.clear_timer();
    }
}

#[cfg(test)]
mod tests;
