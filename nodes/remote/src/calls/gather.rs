//! What becomes one call, and what its answers mean, without I/O.

use tidegate_media::{Frame, Kind};
use tidegate_nodes::StreamFormat;
use tidegate_nodes::compile::remote::HopMode;
use tidegate_proto::message::{Ack, Direction, Port, StreamSpec};
use tidegate_proto::{PortName, ServerMessage};

use super::answered::Answered;
use crate::compat;
use crate::config::HopPorts;
use crate::error::RemoteError;
use crate::opening;

/// Frames of one call. An hour of speech in frames of 20 ms; each costs some hundred bytes beside its payload.
const FRAMES_MAX: usize = 180_000;

/// The hop's ports, what was gathered for the next call, and what the call under way is about.
#[derive(Debug)]
pub(crate) struct Gather {
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<Output>,
    /// Outputs that the manifest declares and joins to nothing: what is answered there is no loss.
    pub(super) unjoined: Vec<String>,
    /// What the call under way was answered.
    pub(super) answered: Answered,
    /// One call is made of all that comes until the inputs end.
    whole: bool,
    /// Frames of no utterance belong together, as long as they come.
    loose: bool,
    /// A call begins with its first frame, and takes the others as they come.
    pub(super) grows: bool,
    /// A call takes a frame of each input, in their order, where there are several; utterances of sound and text are gathered.
    turns: bool,
    bytes_max: usize,
}

#[derive(Debug)]
pub(super) struct Input {
    pub(super) name: PortName,
    format: StreamFormat,
    gathered: Vec<Frame>,
    bytes: usize,
    /// What was gathered makes a call, whatever comes next.
    complete: bool,
    pub(super) ended: bool,
    /// The stream's number of the newest frame that was taken, and of the newest one that was acknowledged.
    pub(super) newest: u64,
    acknowledged: u64,
    pub(super) call: Option<Called>,
}

/// What the call under way has of an input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Called {
    /// The stream's number of the frame before its first one.
    pub(super) before: u64,
    pub(super) count: u64,
    pub(super) utterance: u64,
    /// It grows, and is not complete.
    pub(super) open: bool,
}

#[derive(Debug)]
pub(super) struct Output {
    pub(super) name: PortName,
    format: StreamFormat,
    /// The manifest does not name it: whatever the worker calls its only output.
    unnamed: bool,
    sent: u64,
}

/// Whose frames make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// One input's.
    Input(usize),
    /// All that was gathered.
    All,
}

impl Gather {
    /// Gathers for these ports: until an utterance ends, or a frame that belongs to none. A unary hop with several inputs makes one
    /// call of all of them, once they have ended.
    ///
    /// # Errors
    /// A port has a name that no port can have.
    pub(crate) fn new(
        ports: &HopPorts,
        mode: HopMode,
        bytes_max: usize,
    ) -> Result<Self, RemoteError> {
        let joined = |side: &[(String, Option<StreamFormat>)]| {
            let joined = side
                .iter()
                .filter_map(|(name, f)| Some((name.clone(), (*f)?)));
            joined.collect::<Vec<_>>()
        };
        let name =
            |name: &str, otherwise| opening::port(if name.is_empty() { otherwise } else { name });
        let input = |(given, format): (String, StreamFormat)| {
            Ok::<_, RemoteError>(Input {
                name: name(&given, "in")?,
                format,
                gathered: Vec::new(),
                bytes: 0,
                complete: false,
                ended: false,
                newest: 0,
                acknowledged: 0,
                call: None,
            })
        };
        let output = |(given, format): (String, StreamFormat)| {
            Ok::<_, RemoteError>(Output {
                name: name(&given, "out")?,
                format,
                unnamed: given.is_empty(),
                sent: 0,
            })
        };
        let inputs = joined(&ports.inputs).into_iter().map(input);
        let outputs = joined(&ports.outputs).into_iter().map(output);
        let inputs: Vec<_> = inputs.collect::<Result<_, _>>()?;
        let unjoined = ports.outputs.iter().filter(|(_, format)| format.is_none());
        Ok(Self {
            unjoined: unjoined.map(|(name, _)| name.clone()).collect(),
            answered: Answered::default(),
            whole: mode == HopMode::Unary && inputs.len() > 1,
            inputs,
            outputs: outputs.collect::<Result<_, _>>()?,
            loose: false,
            grows: false,
            turns: false,
            bytes_max,
        })
    }

    /// Frames of no utterance are not each a call: all of them are one, until an utterance begins or the input ends.
    pub(crate) fn with_loose_frames_together(mut self) -> Self {
        self.loose = true;
        self
    }

    /// Each call has something of each input: where there are several, their next frames; of one input an utterance of sound or text,
    /// and else a frame.
    pub(crate) fn in_turns(mut self) -> Self {
        self.turns = true;
        self
    }

    /// Whether each frame of an input is a unit by itself, whatever utterance it is of.
    fn is_single(&self, kind: Kind) -> bool {
        self.turns && (self.inputs.len() > 1 || !matches!(kind, Kind::Audio | Kind::Text))
    }

    /// The first output.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn output_port(&self) -> Result<PortName, RemoteError> {
        let first = self.outputs.first();
        first.map(|output| output.name.clone()).ok_or_else(|| {
            let text = "nothing is joined to the output of the hop: add an edge from it";
            RemoteError::Config(text.to_owned())
        })
    }

    /// The ports as a worker would list them.
    pub(super) fn ports(&self) -> Vec<Port> {
        let one = |name: &PortName, direction, format: &StreamFormat| Port {
            name: name.clone(),
            direction,
            kind: format.kind(),
            format: compat::spec(format),
        };
        let inputs = self.inputs.iter();
        let inputs = inputs.map(|input| one(&input.name, Direction::Input, &input.format));
        let outputs = self.outputs.iter();
        let outputs = outputs.map(|output| one(&output.name, Direction::Output, &output.format));
        inputs.chain(outputs).collect()
    }

    /// The formats in which outputs are wanted.
    pub(super) fn wanted(&self) -> Vec<(PortName, StreamSpec)> {
        let named = self.outputs.iter().filter(|output| !output.unnamed);
        named
            .filter_map(|output| Some((output.name.clone(), compat::spec(&output.format)?)))
            .collect()
    }

    /// Whether a frame is of another utterance than what was gathered of its input, which then makes a call before the frame is taken.
    pub(super) fn begins_another(&mut self, port: &PortName, frame: &Frame) -> bool {
        if self.whole || self.turns && self.inputs.len() > 1 {
            return false;
        }
        let Some(input) = self.input(port) else {
            return false;
        };
        let last = input.gathered.last();
        input.complete |= last.is_some_and(|last| last.meta.utterance != frame.meta.utterance);
        input.complete
    }

    /// Takes a frame.
    ///
    /// # Errors
    /// The call becomes larger than it may be.
    pub(super) fn push(&mut self, port: &PortName, frame: Frame) -> Result<(), RemoteError> {
        let (whole, loose) = (self.whole, self.loose);
        let single = self.is_single(frame.payload.kind());
        let Some(input) = self.input(port) else {
            return Err(RemoteError::Internal(
                "a frame for a port that is not joined",
            ));
        };
        input.bytes += frame.payload.size();
        input.newest = frame.meta.seq;
        let is_whole = frame.meta.utterance == 0 && !loose || frame.meta.is_final || single;
        input.complete = !whole && is_whole;
        input.gathered.push(frame);
        let bytes: usize = self.inputs.iter().map(|input| input.bytes).sum();
        let frames: usize = self.inputs.iter().map(|input| input.gathered.len()).sum();
        if bytes > self.bytes_max || frames > FRAMES_MAX {
            return Err(RemoteError::Config(format!(
                "one call gathers more than {} bytes or {FRAMES_MAX} frames: send shorter utterances, or use a transport that streams",
                self.bytes_max
            )));
        }
        Ok(())
    }

    /// No more comes on this input, or on any.
    pub(super) fn end(&mut self, port: Option<&PortName>) {
        for input in &mut self.inputs {
            input.ended |= port.is_none_or(|port| input.name == *port);
        }
    }

    /// Whether nothing more comes on any input.
    pub(super) fn has_ended(&self) -> bool {
        self.inputs.iter().all(|input| input.ended)
    }

    /// What makes a call now.
    pub(super) fn due(&self) -> Option<Due> {
        let mut gathered = self.inputs.iter().enumerate();
        let mut gathered = gathered
            .by_ref()
            .filter(|(_, input)| !input.gathered.is_empty());
        if self.whole {
            return (self.has_ended() && gathered.next().is_some()).then_some(Due::All);
        }
        if self.turns && self.inputs.len() > 1 {
            // One that has ended gives nothing more, which the server says what it thinks of.
            let has = |input: &Input| !input.gathered.is_empty();
            let any = self.inputs.iter().any(has);
            let all = self.inputs.iter().all(|input| has(input) || input.ended);
            return (any && all).then_some(Due::All);
        }
        let due = gathered.find(|(_, input)| self.grows || input.complete || input.ended);
        due.map(|(index, _)| Due::Input(index))
    }

    /// What was gathered, as the inputs of a call, numbered from 1.
    pub(super) fn take(&mut self, due: Due) -> Vec<(PortName, Vec<Frame>)> {
        self.answered = Answered::default();
        let one = self.turns && self.inputs.len() > 1;
        let mut inputs = Vec::new();
        for (index, input) in self.inputs.iter_mut().enumerate() {
            let meant = due == Due::All || due == Due::Input(index);
            if input.gathered.is_empty() || !meant {
                continue;
            }
            let taken = if one { 1 } else { input.gathered.len() };
            let mut frames: Vec<_> = input.gathered.drain(..taken).collect();
            let taken = frames.iter().map(|frame| frame.payload.size());
            let open = self.grows && !input.complete;
            (input.bytes, input.complete) = (input.bytes.saturating_sub(taken.sum()), false);
            let (newest, utterance) = frames
                .last()
                .map_or((0, 0), |last| (last.meta.seq, last.meta.utterance));
            for (seq, frame) in (1..).zip(&mut frames) {
                frame.meta.seq = seq;
            }
            let count = frames.len() as u64;
            input.call = Some(Called {
                before: newest.saturating_sub(count),
                count,
                utterance,
                open,
            });
            inputs.push((input.name.clone(), frames));
        }
        inputs
    }

    /// A frame that is not gathered any more, since an interrupt made it void.
    pub(super) fn skip(&mut self, port: &PortName, frame: &Frame) {
        if let Some(input) = self.input(port) {
            input.newest = frame.meta.seq;
        }
    }

    /// Drops what was gathered and forgets the call under way. All that was taken counts as consumed.
    pub(super) fn forget(&mut self) -> Vec<ServerMessage> {
        for input in &mut self.inputs {
            input.gathered.clear();
            (input.bytes, input.complete, input.call) = (0, false, None);
        }
        self.acknowledge(|input| input.newest)
    }

    /// What an answer means on the stream; `None` where the manifest joins nothing to the output. That is no loss, unless it is all that
    /// the call is answered ([`Self::done`]).
    pub(super) fn output(
        &mut self,
        port: &PortName,
        caused_port: Option<PortName>,
        mut frame: Frame,
    ) -> Option<ServerMessage> {
        let (alone, any) = (self.outputs.len() == 1, !self.outputs.is_empty());
        let mut outputs = self.outputs.iter_mut();
        let output = outputs.find(|output| output.name == *port || (alone && output.unnamed));
        // Who joins nothing at all wants no answer.
        let unjoined = || self.unjoined.iter().any(|name| name == port.as_str());
        if output.is_some() || unjoined() {
            self.answered.declared = true;
        } else if any {
            self.answered.elsewhere.get_or_insert_with(|| port.clone());
        }
        let output = output?;
        output.sent += 1;
        frame.meta.seq = output.sent;
        let mut called = self.inputs.iter().filter(|input| input.call.is_some());
        let cause = match &caused_port {
            Some(named) => called.find(|input| input.name == *named),
            None => called.next(),
        };
        if let Some(Called {
            before,
            count,
            utterance,
            ..
        }) = cause.and_then(|input| input.call)
        {
            // What the worker does not tell came of all that it was given.
            frame.meta.caused_by = before
                + match frame.meta.caused_by {
                    0 => count,
                    given => given.min(count),
                };
            if frame.meta.utterance == 0 {
                frame.meta.utterance = utterance;
            }
        }
        Some(ServerMessage::Frame {
            port: output.name.clone(),
            caused_port,
            frame,
        })
    }

    fn input(&mut self, port: &PortName) -> Option<&mut Input> {
        self.inputs.iter_mut().find(|input| input.name == *port)
    }

    pub(super) fn acknowledge(&mut self, up_to: impl Fn(&mut Input) -> u64) -> Vec<ServerMessage> {
        let mut acks = Vec::new();
        for input in &mut self.inputs {
            let seq = up_to(input);
            if seq > input.acknowledged {
                input.acknowledged = seq;
                let port = input.name.clone();
                acks.push(ServerMessage::Ack(Ack { port, seq }));
            }
        }
        acks
    }
}
