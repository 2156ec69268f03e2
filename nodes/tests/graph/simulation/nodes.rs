//! Nodes that stamp what passes with the way that it took.

use std::collections::VecDeque;

use serde_json::{Value, json};
use tidegate_media::{Frame, Kind, Timestamp};
use tidegate_nodes::node::{Context, DropReason, Node, NodeError};
use tidegate_nodes::{NodeType, ParamError, Ports, Registry, StreamFormat};

use super::shape::Tag;
use crate::toolkit::{PCM, ms};

/// Most frames that a delay holds.
pub(super) const HELD_MAX: usize = 8;

/// Origin of the first hop's frames, if it is a source; below are the inputs.
const FIRST_SOURCE: u64 = 1_000;

/// Frames of a source: with no end to them they could take all the room in a queue that a client waits for.
const SOURCED: u64 = 100;

struct SimType(&'static str);

const TYPES: [&str; 6] = [
    "sim.pass",
    "sim.twice",
    "sim.delay",
    "sim.thin",
    "sim.cross",
    "sim.source",
];

pub(super) fn add_to(registry: &mut Registry) {
    for name in TYPES {
        registry.add(SimType(name));
    }
}

impl NodeType for SimType {
    fn name(&self) -> &'static str {
        self.0
    }
    fn summary(&self) -> &'static str {
        "for the simulation"
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
        let number = |name: &str| params[name].as_u64().unwrap_or_default();
        Ok(Box::new(SimNode {
            act: self.0,
            id: number("id"),
            outputs: usize::try_from(number("outputs")).unwrap(),
            every_ms: number("every_ms"),
            count: 0,
            held: VecDeque::new(),
            kind: match params["kind"].as_str() {
                Some("audio") => Kind::Audio,
                Some("video") => Kind::Video,
                _ => Kind::Binary,
            },
        }))
    }
}

struct SimNode {
    act: &'static str,
    id: u64,
    outputs: usize,
    every_ms: u64,
    count: u64,
    held: VecDeque<(Timestamp, Frame)>,
    kind: Kind,
}

impl SimNode {
    fn emit(&self, cx: &mut Context<'_>, from: usize, frame: &Frame, copy: u64) {
        for port in 0..self.outputs {
            let step = (self.id << 8) ^ ((from as u64) << 4) ^ ((port as u64) << 2) ^ copy;
            cx.emit(port, Tag::step(frame, step + 1));
        }
    }

    fn release(&mut self, cx: &mut Context<'_>, until: Timestamp) {
        while let Some((_, frame)) = self.held.pop_front_if(|held| held.0 <= until) {
            self.emit(cx, 0, &frame, 0);
        }
        if let Some((at, _)) = self.held.front() {
            cx.set_timer(*at);
        }
    }
}

impl Node for SimNode {
    fn on_frame(
        &mut self,
        cx: &mut Context<'_>,
        port: usize,
        frame: Frame,
    ) -> Result<(), NodeError> {
        self.count += 1;
        match self.act {
            "sim.twice" => {
                self.emit(cx, port, &frame, 0);
                self.emit(cx, port, &frame, 1);
            }
            "sim.delay" => {
                let at = cx.now() + ms(self.every_ms);
                self.held.push_back((at, frame));
                let over = self.held.len() > HELD_MAX;
                let until = if over {
                    self.held[0].0
                } else {
                    Timestamp::ZERO
                };
                self.release(cx, until);
            }
            "sim.thin" if self.count.is_multiple_of(3) => cx.drop_frame(DropReason::Condition),
            _ => self.emit(cx, port, &frame, 0),
        }
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) -> Result<(), NodeError> {
        if self.act == "sim.source" {
            self.count += 1;
            let origin = FIRST_SOURCE + self.id;
            let tag = Tag {
                origin,
                path: 0,
                n: self.count,
            };
            cx.emit(0, tag.frame(self.kind, PCM));
            if self.count < SOURCED {
                cx.set_timer(cx.now() + ms(self.every_ms));
            }
        }
        self.release(cx, cx.now());
        Ok(())
    }

    fn on_end(&mut self, cx: &mut Context<'_>, _: usize) -> Result<(), NodeError> {
        self.release(cx, Timestamp::MAX);
        Ok(())
    }
}
