//! Workers that compute, and workers that die, lie, stall, refuse, leave, or say nothing.

use std::collections::VecDeque;

use rand::Rng as _;
use rand::rngs::SmallRng;
use tidegate_media::{Frame, MediaTime, Payload};
use tidegate_proto::message::{Ack, Credit, Direction, Opened, Port};
use tidegate_proto::{ClientMessage, PortName, ServerMessage};

/// What a pipeline at a worker computes; the same for all workers of a history.
#[derive(Clone, Copy, Debug)]
pub(super) enum Recipe {
    /// Each input once.
    Echo,
    /// Each input none to three times, over both outputs.
    Fan,
    /// So many inputs become one output; the rest at the end.
    Window(usize),
    /// Each input together with so many before it.
    Slide(usize),
}

impl Recipe {
    pub(super) fn random(random: &mut SmallRng) -> Self {
        match random.random_range(0..4) {
            0 => Self::Echo,
            1 => Self::Fan,
            2 => Self::Window(random.random_range(2..5)),
            _ => Self::Slide(random.random_range(1..4)),
        }
    }

    pub(super) const fn has_state(self) -> bool {
        matches!(self, Self::Window(_) | Self::Slide(_))
    }
}

/// A recipe at work: values in, values out.
#[derive(Clone, Debug)]
pub(super) struct Brain {
    recipe: Recipe,
    /// Number and value of what is kept.
    kept: VecDeque<(u64, u64)>,
}

impl Brain {
    pub(super) const fn new(recipe: Recipe) -> Self {
        Self {
            recipe,
            kept: VecDeque::new(),
        }
    }

    /// Outputs of an input: port and value.
    pub(super) fn feed(&mut self, seq: u64, value: u64) -> Vec<(usize, u64)> {
        match self.recipe {
            Recipe::Echo => vec![(0, value)],
            Recipe::Fan => (0..value % 4)
                .map(|i| (usize::from((value + i) % 3 == 0), mix(value, i)))
                .collect(),
            Recipe::Window(size) => {
                self.kept.push_back((seq, value));
                if self.kept.len() < size {
                    return Vec::new();
                }
                self.drain()
            }
            Recipe::Slide(size) => {
                self.kept.push_back((seq, value));
                let sum = self.kept.iter().fold(0, |sum, (_, value)| mix(sum, *value));
                if self.kept.len() > size {
                    self.kept.pop_front();
                }
                vec![(0, sum)]
            }
        }
    }

    /// Outputs of the end.
    pub(super) fn end(&mut self) -> Vec<(usize, u64)> {
        match self.recipe {
            Recipe::Window(_) if !self.kept.is_empty() => self.drain(),
            _ => Vec::new(),
        }
    }

    /// The oldest input that is needed.
    fn holds(&self) -> Option<u64> {
        self.kept.front().map(|(seq, _)| *seq)
    }

    fn drain(&mut self) -> Vec<(usize, u64)> {
        let kept = self.kept.drain(..);
        vec![(0, kept.fold(7, |sum, (_, value)| mix(sum, value)))]
    }
}

fn mix(a: u64, b: u64) -> u64 {
    (a.rotate_left(13) ^ b).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// How a worker speaks, the same for all workers of a history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) credits: bool,
    pub(super) acks: bool,
    pub(super) deterministic: bool,
    /// Acknowledges what it consumed and names where a replay begins, or acknowledges only what it needs no more.
    pub(super) names_places: bool,
    /// Acknowledges one in so many.
    pub(super) every: u64,
}

/// One session at a worker.
#[derive(Debug)]
pub(super) struct Worker {
    brain: Brain,
    style: Style,
    seen: u64,
    acknowledged: u64,
    place: Option<u64>,
    credit: u32,
    over: bool,
}

/// Frames that a worker takes ahead.
const CREDIT: u32 = 6;

impl Worker {
    pub(super) const fn new(recipe: Recipe, style: Style) -> Self {
        Self {
            brain: Brain::new(recipe),
            style,
            seen: 0,
            acknowledged: 0,
            place: None,
            credit: 0,
            over: false,
        }
    }

    /// Its answer to `open`, and what it says next.
    pub(super) fn open(&mut self) -> (Opened, Vec<ServerMessage>) {
        let port = |text, direction| Port {
            name: name(text),
            direction,
            kind: tidegate_media::Kind::Binary,
            format: None,
        };
        let mut opened = Opened {
            ports: vec![
                port("in", Direction::Input),
                port("out", Direction::Output),
                port("more", Direction::Output),
            ],
            deterministic: self.style.deterministic,
            ..Opened::default()
        };
        let mut said = Vec::new();
        if self.style.acks {
            opened.features.push("acks".into());
        }
        if self.style.credits {
            opened.features.push("credits".into());
            self.credit = CREDIT;
            said.push(credit(CREDIT));
        }
        (opened, said)
    }

    /// Takes a message; what it answers.
    pub(super) fn take(&mut self, message: ClientMessage) -> Vec<ServerMessage> {
        let mut said = Vec::new();
        match message {
            ClientMessage::Frame { frame, .. } if !self.over => {
                self.seen += 1;
                assert_eq!(
                    frame.meta.seq, self.seen,
                    "numbers on the wire count by one"
                );
                if self.style.credits {
                    self.credit = self.credit.checked_sub(1).expect("within credit");
                }
                for (port, value) in self.brain.feed(self.seen, value(&frame)) {
                    said.push(output(port, value, self.seen));
                }
                self.acknowledge(&mut said);
                if self.style.credits && self.credit == CREDIT / 2 {
                    self.credit = CREDIT;
                    said.push(credit(CREDIT / 2));
                }
            }
            ClientMessage::End { .. } if !self.over => {
                self.over = true;
                for (port, value) in self.brain.end() {
                    said.push(output(port, value, self.seen + 1));
                }
                if self.style.acks {
                    let port = name("in");
                    let seq = self.seen;
                    said.push(ServerMessage::Ack(Ack { port, seq }));
                }
                let reason = String::new();
                said.push(ServerMessage::Ended { reason });
            }
            _ => {}
        }
        said
    }

    fn acknowledge(&mut self, said: &mut Vec<ServerMessage>) {
        if !self.style.acks || self.seen % self.style.every != 0 {
            return;
        }
        let port = || name("in");
        let held = self.brain.holds();
        if !self.style.names_places {
            let seq = held.map_or(self.seen, |held| held - 1);
            if seq > self.acknowledged {
                self.acknowledged = seq;
                said.push(ServerMessage::Ack(Ack { port: port(), seq }));
            }
            return;
        }
        if held != self.place {
            self.place = held;
            let seq = held.unwrap_or(self.seen + 1);
            said.push(ServerMessage::ReplayFrom(Ack { port: port(), seq }));
        }
        self.acknowledged = self.seen;
        let seq = self.seen;
        said.push(ServerMessage::Ack(Ack { port: port(), seq }));
    }
}

pub(super) fn name(text: &str) -> PortName {
    PortName::new(text).expect("a name")
}

fn credit(frames: u32) -> ServerMessage {
    ServerMessage::Credit(Credit {
        port: name("in"),
        frames,
        bytes: Credit::UNCOUNTED,
    })
}

fn output(port: usize, value: u64, caused_by: u64) -> ServerMessage {
    let mut frame = frame(value);
    frame.meta.caused_by = caused_by;
    ServerMessage::Frame {
        port: name(["out", "more"][port]),
        caused_port: None,
        frame,
    }
}

pub(super) fn frame(value: u64) -> Frame {
    let data = value.to_be_bytes().to_vec();
    Frame::new(MediaTime::ZERO, Payload::Binary(data.into()))
}

pub(super) fn value(frame: &Frame) -> u64 {
    match &frame.payload {
        Payload::Binary(data) => u64::from_be_bytes(data[..].try_into().expect("eight bytes")),
        other => panic!("{other:?}"),
    }
}

/// What becomes of one attempt.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// It serves.
    Good,
    /// It refuses to open.
    Refuses,
    /// It never answers the opening.
    Hangs,
    /// Its connection breaks after so many messages that it took.
    Dies(u32),
    /// It takes and says nothing more after so many.
    Stalls(u32),
    /// It sends what it may not after so many.
    Lies(u32),
    /// It ends the session after so many, as if all were done.
    Leaves(u32),
    /// It says that it will leave after so many, and does some time later.
    Drains(u32),
}

impl Fate {
    pub(super) fn random(random: &mut SmallRng) -> Self {
        let after = random.random_range(0..30);
        match random.random_range(0..9) {
            0 => Self::Refuses,
            1 => Self::Hangs,
            2 | 3 => Self::Dies(after),
            4 => Self::Stalls(after),
            5 => Self::Lies(after),
            6 => Self::Leaves(after),
            7 => Self::Drains(after),
            _ => Self::Good,
        }
    }
}
