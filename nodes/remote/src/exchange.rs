//! The native protocol of one open hop, as a state machine without I/O.
//!
//! It keeps true: no frame goes to the worker beyond the credit of both the worker and this process; what the worker sends names
//! only ports that it has, in their kind and format, within its credit; after `Failed`, or after all outputs have ended, nothing
//! more comes out. What stays outside: the transport, the clock, and which worker it is.

use std::collections::VecDeque;

use tidegate_media::{Frame, Kind, Timestamp};
use tidegate_nodes::{DropReason, Error, HopCommand, HopEvent, StreamFormat};
use tidegate_proto::message::{Credit, Direction, Opened, feature};
use tidegate_proto::{ClientMessage, PortName};

use crate::compat;
use crate::config::{HopPorts, Timeouts};
use crate::credit::{ReceiveWindow, SendWindow};
use crate::error::RemoteError;
use crate::link::{Counts, FramePlace};
use crate::numbering::Numbering;
use crate::watch::Watch;

mod receive;
#[cfg(test)]
mod tests;

/// One open hop.
#[derive(Debug)]
pub(crate) struct Exchange {
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    watch: Watch,
    events: VecDeque<HopEvent>,
    transmit: VecDeque<ClientMessage>,
    /// Outputs caused by inputs up to here are void.
    void_up_to: u64,
    over: bool,
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
        now: Timestamp,
    ) -> Result<Self, RemoteError> {
        let ports = &compat::resolve(ports.clone(), opened);
        compat::check(ports, opened)?;
        let counts = opened.features.iter().any(|f| f == feature::CREDITS);
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
            watch: Watch::new(timeouts, now, ports.inputs.len()),
            events: VecDeque::new(),
            transmit: VecDeque::new(),
            void_up_to: 0,
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
        this.grant();
        Ok(this)
    }

    /// What the graph wants; gives what is to be sent. Before an interrupt the transport's queue is to be emptied of frames if
    /// [`Self::may_discard`] says so, and [`Self::discarded`] told.
    pub(crate) fn command(
        &mut self,
        now: Timestamp,
        command: HopCommand,
    ) -> Option<(ClientMessage, Option<FramePlace>)> {
        if self.over {
            return None;
        }
        match command {
            HopCommand::Frame { port, frame } => self.frame(now, port, frame),
            HopCommand::End { port } => {
                let input = self.inputs.get_mut(port)?;
                if std::mem::replace(&mut input.ended, true) {
                    return None;
                }
                let port = Some(input.name.clone()?);
                Some((ClientMessage::End { port }, None))
            }
            HopCommand::Interrupt => {
                self.watch.interrupted();
                // With several inputs it is not said which one caused an output: only what is old by all of them is surely void.
                let fed = self.inputs.iter().map(|input| input.newest);
                self.void_up_to = fed.filter(|newest| *newest > 0).min().unwrap_or(0);
                Some((ClientMessage::Interrupt, None))
            }
        }
    }

    fn frame(
        &mut self,
        now: Timestamp,
        port: usize,
        mut frame: Frame,
    ) -> Option<(ClientMessage, Option<FramePlace>)> {
        let bytes = frame.payload.size();
        let input = self.inputs.get_mut(port)?;
        let Some(name) = input.name.clone() else {
            self.drop_frames(DropReason::NoListener, 1);
            return None;
        };
        if input.ended || !input.window.sent(bytes) {
            self.failed(RemoteError::Internal(
                "the graph sent a frame to a remote hop without credit or after the end",
            ));
            return None;
        }
        input.newest = input.newest.max(frame.meta.seq);
        self.watch
            .sent(now, port, frame.meta.seq, frame.meta.utterance);
        frame.meta.seq = input.numbering.to_wire(frame.meta.seq);
        let message = ClientMessage::Frame { port: name, frame };
        Some((message, Some(FramePlace { port, bytes })))
    }

    /// The transport took frames.
    pub(crate) fn taken(&mut self, counts: &Counts) {
        for (port, frames, bytes) in counts.iter() {
            if let Some(input) = self.inputs.get_mut(port) {
                input.window.taken(frames, bytes);
            }
        }
        self.grant();
    }

    /// Whether frames that were not sent yet may be taken back: with several inputs it is not said which one caused an output,
    /// so their numbers must stay as they are.
    pub(crate) fn may_discard(&self) -> bool {
        self.only_fed().is_some()
    }

    /// The input that is joined, if it is the only one.
    fn only_fed(&self) -> Option<&Input> {
        let mut fed = self.inputs.iter().filter(|input| input.name.is_some());
        let first = fed.next()?;
        fed.next().is_none().then_some(first)
    }

    /// The newest frames left the transport's queue unsent.
    pub(crate) fn discarded(&mut self, counts: &Counts) {
        for (port, frames, bytes) in counts.iter() {
            if let Some(input) = self.inputs.get_mut(port) {
                input.window.discarded(frames, bytes);
                input.numbering.skip(frames, input.newest);
            }
            let frames = u32::try_from(frames).unwrap_or(u32::MAX);
            self.drop_frames(DropReason::Interrupted, frames);
        }
        self.grant();
    }

    /// The worker closed the stream without saying that the session ended.
    pub(crate) fn closed(&mut self) {
        self.failed(RemoteError::Network(
            "worker closed the stream before the session had ended".into(),
        ));
    }

    /// Ends the hop with one error; what was received before it is still given out.
    pub(crate) fn failed(&mut self, error: RemoteError) {
        if !std::mem::replace(&mut self.over, true) {
            self.watch.ended();
            self.events.push_back(HopEvent::Failed(Error::from(error)));
        }
    }

    /// Looks whether a wait has run out.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        if let Some((phase, limit)) = self.watch.expired(now) {
            self.failed(RemoteError::Timeout { phase, limit });
        }
    }

    /// When [`Self::handle_timeout`] has something to say.
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        self.watch.next()
    }

    pub(crate) fn poll_event(&mut self) -> Option<HopEvent> {
        self.events.pop_front()
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<ClientMessage> {
        self.transmit.pop_front()
    }

    /// Nothing more will come but what [`Self::poll_event`] still has.
    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    /// Whether frames of some port can go on only after the transport takes what is queued.
    pub(crate) fn waits_for_transport(&self) -> bool {
        let mut inputs = self.inputs.iter();
        inputs.any(|input| input.window.waits_for_transport())
    }

    fn grant(&mut self) {
        for (port, input) in self.inputs.iter_mut().enumerate() {
            if input.name.is_none() {
                continue;
            }
            if let Some(grant) = input.window.grant() {
                self.events.push_back(HopEvent::Credit {
                    port,
                    frames: grant.frames,
                    bytes: grant.bytes,
                });
            }
        }
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
        self.events.push_back(HopEvent::Dropped { reason, frames });
    }
}
