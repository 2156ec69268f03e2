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
    /// Each utterance some partial outputs and a final one, in words that no two workers share.
    Talk,
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
    /// Whose words these are.
    who: u64,
}

impl Brain {
    pub(super) const fn new(recipe: Recipe, who: u64) -> Self {
        Self {
            recipe,
            kept: VecDeque::new(),
            who,
        }
    }

    /// Outputs of an input: port and value.
    pub(super) fn feed(&mut self, seq: u64, value: u64) -> Vec<(usize, u64)> {
        match self.recipe {
            Recipe::Echo => vec![(0, value)],
            Recipe::Fan => (0..value % 4)
                .map(|i| (usize::from((value + i).is_multiple_of(3)), mix(value, i)))
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
            Recipe::Talk => vec![(0, self.who)],
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
    /// Is mostly silent until an utterance ends, and acknowledges it then.
    pub(super) listens: bool,
    /// Acknowledges what it consumed and names where a replay begins, or acknowledges only what it needs no more.
    pub(super) names_places: bool,
    /// Acknowledges one in so many.
    pub(super) every: u64,
}

/// One session at a worker.
#[derive(Debug)]
pub(super) struct Worker {
    inputs: [Input; 2],
    style: Style,
    open: usize,
    over: bool,
    /// Revision of the utterance under way.
    revision: u32,
}

/// One input of a session.
#[derive(Debug)]
struct Input {
    brain: Brain,
    seen: u64,
    acknowledged: u64,
    place: Option<u64>,
    credit: u32,
}

/// Frames that a worker takes ahead.
const CREDIT: u32 = 6;

/// Names of the inputs and outputs.
const INPUTS: [&str; 2] = ["in", "in-too"];
const OUTPUTS: [&str; 2] = ["out", "more"];

impl Worker {
    pub(super) fn new(recipe: Recipe, style: Style, who: u64, inputs: usize) -> Self {
        let input = |_| Input {
            brain: Brain::new(recipe, who),
            seen: 0,
            acknowledged: 0,
            place: None,
            credit: 0,
        };
        Self {
            inputs: [0, 1].map(input),
            style,
            open: inputs,
            over: false,
            revision: 0,
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
        let inputs = INPUTS[..self.open].iter();
        let inputs = inputs.map(|text| port(text, Direction::Input));
        let outputs = OUTPUTS.iter().map(|text| port(text, Direction::Output));
        let mut opened = Opened {
            ports: inputs.chain(outputs).collect(),
            deterministic: self.style.deterministic,
            ..Opened::default()
        };
        let mut said = Vec::new();
        if self.style.acks {
            opened.features.push("acks".into());
        }
        if self.style.credits {
            opened.features.push("credits".into());
            for port in 0..self.open {
                self.inputs[port].credit = CREDIT;
                said.push(credit(port, CREDIT));
            }
        }
        (opened, said)
    }

    /// Takes a message; what it answers.
    pub(super) fn take(&mut self, message: ClientMessage) -> Vec<ServerMessage> {
        let mut said = Vec::new();
        match message {
            ClientMessage::Frame { port, frame } if !self.over => {
                self.frame(place(&port), &frame, &mut said);
            }
            ClientMessage::End { port: Some(port) } if !self.over => {
                self.end(place(&port), &mut said);
            }
            _ => {}
        }
        said
    }

    fn frame(&mut self, port: usize, frame: &Frame, said: &mut Vec<ServerMessage>) {
        let input = &mut self.inputs[port];
        input.seen += 1;
        let seen = input.seen;
        assert_eq!(frame.meta.seq, seen, "numbers on the wire count by one");
        if self.style.credits {
            input.credit = input.credit.checked_sub(1).expect("within credit");
        }
        let is_last = frame.meta.is_final;
        let silent = self.style.listens && !is_last && !value(frame).is_multiple_of(3);
        let said_of_it = input.brain.feed(seen, value(frame));
        for (out, value) in said_of_it.into_iter().filter(|_| !silent) {
            let mut output = output(out, value, (port, seen));
            if let (Recipe::Talk, ServerMessage::Frame { frame: spoken, .. }) =
                (input.brain.recipe, &mut output)
            {
                spoken.meta.utterance = frame.meta.utterance;
                spoken.meta.is_final = frame.meta.is_final;
                spoken.meta.revision = self.revision;
                self.revision = if frame.meta.is_final {
                    0
                } else {
                    self.revision + 1
                };
            }
            said.push(output);
        }
        if is_last || !self.style.listens {
            input.acknowledge(port, self.style, said);
        }
        if self.style.credits && input.credit == CREDIT / 2 {
            input.credit = CREDIT;
            said.push(credit(port, CREDIT / 2));
        }
    }

    fn end(&mut self, port: usize, said: &mut Vec<ServerMessage>) {
        let input = &mut self.inputs[port];
        for (out, value) in input.brain.end() {
            said.push(output(out, value, (port, input.seen + 1)));
        }
        if self.style.acks {
            let (port, seq) = (name(INPUTS[port]), input.seen);
            said.push(ServerMessage::Ack(Ack { port, seq }));
        }
        self.open -= 1;
        if self.open == 0 {
            self.over = true;
            let reason = String::new();
            said.push(ServerMessage::Ended { reason });
        }
    }
}

impl Input {
    fn acknowledge(&mut self, port: usize, style: Style, said: &mut Vec<ServerMessage>) {
        if !style.acks || !style.listens && !self.seen.is_multiple_of(style.every) {
            return;
        }
        let port = || name(INPUTS[port]);
        let held = self.brain.holds();
        if !style.names_places {
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

fn place(port: &PortName) -> usize {
    let place = INPUTS.iter().position(|name| *name == port.as_str());
    place.expect("one of them")
}

pub(super) fn name(text: &str) -> PortName {
    PortName::new(text).expect("a name")
}

fn credit(port: usize, frames: u32) -> ServerMessage {
    ServerMessage::Credit(Credit {
        port: name(INPUTS[port]),
        frames,
        bytes: Credit::UNCOUNTED,
    })
}

fn output(port: usize, value: u64, (caused_port, caused_by): (usize, u64)) -> ServerMessage {
    let mut frame = frame(value);
    frame.meta.caused_by = caused_by;
    ServerMessage::Frame {
        port: name(OUTPUTS[port]),
        caused_port: Some(name(INPUTS[caused_port])),
        frame,
    }
}

pub(in crate::failover) fn frame(value: u64) -> Frame {
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
    /// It does all that it is asked, each time somewhat later than it may.
    Late,
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
