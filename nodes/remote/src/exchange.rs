//! The native protocol of one stream, as a state machine without I/O.
//!
//! It keeps true: no frame goes to the worker beyond its credit; what the worker sends names only ports that it has, in their kind and
//! format, within its credit; after [`Said::Failed`] or [`Said::Over`] nothing more comes out. What stays outside: the transport, the
//! clock, which worker it is, and what was said on other streams of the hop.

use std::collections::VecDeque;
use std::time::Duration;

use tidegate_media::{Frame, Kind, Timestamp};
use tidegate_nodes::{DropReason, StreamFormat};
use tidegate_proto::message::{Credit, Direction, Opened, feature};
use tidegate_proto::{ClientMessage, PortName};

use crate::compat;
use crate::config::{HopPorts, Timeouts};
use crate::credit::{ReceiveWindow, Room, SendWindow};
use crate::error::RemoteError;
use crate::link::{Counts, FramePlace};
use crate::numbering::Numbering;
use crate::watch::{SentFrame, Watch};

mod receive;
#[cfg(test)]
mod tests;
mod waits;

/// One open stream.
#[derive(Debug)]
pub(crate) struct Exchange {
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    watch: Watch,
    said: VecDeque<Said>,
    transmit: VecDeque<ClientMessage>,
    /// The newest frame sent on any port.
    newest: Option<Cause>,
    acks: bool,
    deterministic: bool,
    by_utterance: bool,
    over: bool,
}

/// What the worker said, in the graph's numbering.
#[derive(Debug)]
pub(crate) enum Said {
    /// A frame on an output port, and what caused it if that is known.
    Frame {
        port: usize,
        cause: Option<Cause>,
        frame: Frame,
    },
    /// All that comes of a port's frames up to this one has come.
    Acknowledged { port: usize, seq: u64 },
    /// A replay of a port would have to begin at this frame.
    ReplayFrom { port: usize, seq: u64 },
    /// Frames that go nowhere.
    Dropped { reason: DropReason, frames: u32 },
    /// An output port has ended.
    Ended { port: usize },
    /// The worker shuts down after this time.
    Draining { deadline: Duration },
    /// The session at the worker has ended in order.
    Over,
    /// The stream is of no use any more.
    Failed(RemoteError),
}

/// An input frame that caused an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) port: usize,
    pub(crate) seq: u64,
}

/// An input port, in the graph's numbering.
#[derive(Debug)]
struct Input {
    /// `None`: nothing is joined to it here, and the worker may not even have it.
    name: Option<PortName>,
    window: SendWindow,
    /// The graph's number of the newest frame.
    newest: u64,
    numbering: Numbering,
    ended: bool,
}

/// An output port that the worker has.
#[derive(Debug)]
struct Output {
    name: PortName,
    /// Its number in the graph; `None`: the hop here does not have it, so its frames are dropped.
    port: Option<usize>,
    kind: Kind,
    format: Option<StreamFormat>,
    window: ReceiveWindow,
    ended: bool,
}

impl Exchange {
    /// Begins after the worker has opened the pipeline.
    ///
    /// # Errors
    /// What runs there does not fit the hop's ports.
    pub(crate) fn begin(
        ports: &HopPorts,
        opened: &Opened,
        timeouts: Timeouts,
    ) -> Result<Self, RemoteError> {
        let ports = &compat::resolve(ports.clone(), opened);
        compat::check(ports, opened)?;
        let has = |feature| opened.features.iter().any(|f| f == feature);
        let counts = has(feature::CREDITS);
        let acks = has(feature::ACKS);
        let theirs = |direction| {
            let all = opened.ports.iter();
            all.filter(move |port| port.direction == direction)
        };
        let input = |(name, format): &(String, Option<StreamFormat>)| Input {
            name: format
                .is_some()
                .then(|| PortName::new(name.as_str()).ok())
                .flatten(),
            window: SendWindow::new(counts),
            newest: 0,
            numbering: Numbering::default(),
            ended: false,
        };
        let mut this = Self {
            inputs: ports.inputs.iter().map(input).collect(),
            outputs: Vec::new(),
            watch: Watch::new(timeouts, ports.inputs.len(), acks),
            said: VecDeque::new(),
            transmit: VecDeque::new(),
            newest: None,
            acks,
            deterministic: opened.deterministic,
            by_utterance: false,
            over: false,
        };
        for port in theirs(Direction::Output) {
            let place = ports
                .outputs
                .iter()
                .position(|(name, _)| name == port.name.as_str());
            let (window, first) = ReceiveWindow::new(counts);
            if let Some(frames) = first {
                this.credit(port.name.clone(), frames);
            }
            this.outputs.push(Output {
                name: port.name.clone(),
                port: place,
                kind: port.kind,
                format: place.and_then(|place| ports.outputs[place].1),
                window,
                ended: false,
            });
        }
        // What nobody here feeds has ended, or the worker would wait for it.
        for port in theirs(Direction::Input) {
            if !this
                .inputs
                .iter()
                .any(|input| input.name.as_ref() == Some(&port.name))
            {
                let port = Some(port.name.clone());
                this.transmit.push_back(ClientMessage::End { port });
            }
        }
        Ok(this)
    }

    /// Whether the worker says what it has consumed.
    pub(crate) const fn acks(&self) -> bool {
        self.acks
    }

    /// Whether the worker says how much it takes.
    pub(crate) fn counts(&self) -> bool {
        self.inputs.iter().any(|input| input.window.is_counted())
    }

    /// Whether the worker says that equal input gives equal output.
    pub(crate) const fn is_deterministic(&self) -> bool {
        self.deterministic
    }

    /// The newest frame sent on any port.
    pub(crate) const fn newest(&self) -> Option<Cause> {
        self.newest
    }

    /// Whether a port is joined here.
    pub(crate) fn is_joined(&self, port: usize) -> bool {
        self.inputs
            .get(port)
            .is_some_and(|input| input.name.is_some())
    }

    /// What may be sent on a port now.
    pub(crate) fn room(&self, port: usize) -> Room {
        let input = self.inputs.get(port).filter(|input| input.name.is_some());
        input.map_or(
            Room {
                frames: 0,
                bytes: 0,
            },
            |input| input.window.room(),
        )
    }

    /// Whether a frame may be sent on a port now.
    pub(crate) fn can_send(&self, port: usize) -> bool {
        self.inputs
            .get(port)
            .is_some_and(|input| input.window.is_open())
    }

    /// Whether a port's frames wait for the transport.
    pub(crate) fn is_queued(&self, port: usize) -> bool {
        self.inputs
            .get(port)
            .is_some_and(|input| input.window.is_queued())
    }

    /// A frame of the graph as it is sent; only where [`Self::can_send`]. `None`: nobody takes it.
    pub(crate) fn frame(
        &mut self,
        now: Timestamp,
        port: usize,
        mut frame: Frame,
    ) -> Option<(ClientMessage, FramePlace)> {
        let bytes = frame.payload.size();
        let input = self.inputs.get_mut(port)?;
        let name = input.name.clone()?;
        input.window.sent(bytes);
        let meta = frame.meta;
        input.newest = input.newest.max(meta.seq);
        let sent = SentFrame {
            port,
            seq: meta.seq,
            utterance: meta.utterance,
            is_final: meta.is_final,
            // Sound that nobody has cut into utterances comes to no end.
            is_whole: !self.by_utterance
                || meta.utterance == 0 && frame.payload.kind() != Kind::Audio,
        };
        self.watch.sent(now, sent);
        self.newest = Some(Cause {
            port,
            seq: meta.seq,
        });
        frame.meta.seq = input.numbering.send(meta.seq);
        let message = ClientMessage::Frame { port: name, frame };
        Some((message, FramePlace { port, bytes }))
    }

    /// A port's end as it is sent, once.
    pub(crate) fn end(&mut self, now: Timestamp, port: usize) -> Option<ClientMessage> {
        let input = self.inputs.get_mut(port)?;
        if std::mem::replace(&mut input.ended, true) {
            return None;
        }
        let port = Some(input.name.clone()?);
        let mut fed = self.inputs.iter().filter(|input| input.name.is_some());
        if fed.all(|input| input.ended) {
            self.watch.ending(now);
        }
        Some(ClientMessage::End { port })
    }

    /// The graph wants nothing of what was sent. Before it the transport's queue is to be emptied of frames if
    /// [`Self::may_discard`] says so, and [`Self::discarded`] told.
    pub(crate) fn interrupt(&mut self, now: Timestamp) -> ClientMessage {
        let mut fed = self.inputs.iter().filter(|input| input.name.is_some());
        let starving = fed.any(|input| !input.ended && !input.window.is_open());
        self.watch.interrupted(now, starving);
        ClientMessage::Interrupt
    }

    /// The transport took frames.
    pub(crate) fn taken(&mut self, counts: &Counts) {
        for (port, frames, bytes) in counts.iter() {
            if let Some(input) = self.inputs.get_mut(port) {
                input.window.taken(frames, bytes);
            }
        }
    }

    /// Whether frames that were not sent yet may be taken back: where several inputs are joined, what the others were sent meanwhile
    /// may only make sense with them.
    pub(crate) fn may_discard(&self) -> bool {
        self.only_fed().is_some()
    }

    /// The input that is joined, if it is the only one.
    fn only_fed(&self) -> Option<usize> {
        let inputs = self.inputs.iter().enumerate();
        let mut fed = inputs.filter(|(_, input)| input.name.is_some());
        let (first, _) = fed.next()?;
        fed.next().is_none().then_some(first)
    }

    /// The newest frames left the transport's queue unsent.
    pub(crate) fn discarded(&mut self, counts: &Counts) {
        for (port, frames, bytes) in counts.iter() {
            if let Some(input) = self.inputs.get_mut(port) {
                input.window.discarded(frames, bytes);
                input.numbering.take_back(frames);
            }
            let frames = u32::try_from(frames).unwrap_or(u32::MAX);
            self.drop_frames(DropReason::Interrupted, frames);
        }
    }

    /// The worker closed the stream without saying that the session ended.
    pub(crate) fn closed(&mut self) {
        self.failed(RemoteError::Network(
            "worker closed the stream before the session had ended".into(),
        ));
    }

    /// Ends the stream with one error; what was received before it is still given out.
    pub(crate) fn failed(&mut self, error: RemoteError) {
        if !std::mem::replace(&mut self.over, true) {
            self.watch.ended();
            self.said.push_back(Said::Failed(error));
        }
    }

    pub(crate) fn poll_said(&mut self) -> Option<Said> {
        self.said.pop_front()
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<ClientMessage> {
        self.transmit.pop_front()
    }

    /// Nothing more will come but what [`Self::poll_said`] still has.
    #[cfg(test)]
    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    fn credit(&mut self, port: PortName, frames: u32) {
        let bytes = Credit::UNCOUNTED;
        self.transmit.push_back(ClientMessage::Credit(Credit {
            port,
            frames,
            bytes,
        }));
    }

    fn drop_frames(&mut self, reason: DropReason, frames: u32) {
        self.said.push_back(Said::Dropped { reason, frames });
    }
}
