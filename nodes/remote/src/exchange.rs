//! The native protocol of one open hop, as a state machine without I/O.
//!
//! It keeps true: no frame goes to the worker beyond the credit of both the worker and this process; what the worker sends names
//! only ports that it has, in their kind and format, within its credit; after `Failed`, or after all outputs have ended, nothing
//! more comes out. What stays outside: the transport, the clock, and which worker it is.

use std::collections::VecDeque;

use tidegate_media::{Frame, Kind, Timestamp};
use tidegate_nodes::{DropReason, Error, HopCommand, HopEvent, StreamFormat};
use tidegate_proto::message::{Credit, Direction, Opened, feature};
use tidegate_proto::{ClientMessage, PortName, ServerMessage};

use crate::compat;
use crate::config::{HopPorts, Timeouts};
use crate::credit::{ReceiveWindow, SendWindow};
use crate::error::RemoteError;
use crate::link::{Counts, FramePlace};
use crate::watch::Watch;

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
    newest: u64,
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

    /// What the graph wants; gives what is to be sent. The transport's queue is to be emptied of frames ([`Self::discarded`])
    /// before an interrupt is sent.
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
        frame: Frame,
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
        let message = ClientMessage::Frame { port: name, frame };
        Some((message, Some(FramePlace { port, bytes })))
    }

    /// What the worker sent.
    pub(crate) fn receive(&mut self, now: Timestamp, message: ServerMessage) {
        if self.over {
            return;
        }
        if let Err(error) = self.take(now, message) {
            self.failed(error);
        }
    }

    fn take(&mut self, now: Timestamp, message: ServerMessage) -> Result<(), RemoteError> {
        match message {
            ServerMessage::Frame { port, frame } => self.output(now, &port, frame)?,
            ServerMessage::Credit(credit) => {
                let (_, input) = self.input(&credit.port)?;
                input.window.credited(&credit);
                self.grant();
            }
            ServerMessage::Ack(ack) => {
                let (port, _) = self.input(&ack.port)?;
                self.watch.acknowledged(now, port, ack.seq);
                let event = HopEvent::Acknowledged { port, seq: ack.seq };
                self.events.push_back(event);
            }
            ServerMessage::End { port } => {
                let output = self.named(&port)?;
                self.end(output);
            }
            ServerMessage::Ended { .. } => {
                for output in 0..self.outputs.len() {
                    self.end(output);
                }
                self.over = true;
                self.watch.ended();
            }
            ServerMessage::Error(error) => return Err(RemoteError::Worker(error)),
            ServerMessage::Opened(_) => {
                return Err(RemoteError::Protocol("a second 'opened'".into()));
            }
            ServerMessage::Draining { deadline } => {
                tracing::info!(?deadline, "worker of a remote hop is draining");
            }
            // Its outputs' listeners hear of an interrupt from the graph; figures and replay were not asked for.
            ServerMessage::Interrupted { .. }
            | ServerMessage::Stats(_)
            | ServerMessage::ReplayFrom(_) => {}
        }
        Ok(())
    }

    fn output(&mut self, now: Timestamp, port: &PortName, frame: Frame) -> Result<(), RemoteError> {
        let index = self.named(port)?;
        let output = &mut self.outputs[index];
        if output.ended {
            return Err(RemoteError::Protocol(format!(
                "a frame on '{port}' after its end"
            )));
        }
        if !compat::admits(output.format.as_ref(), output.kind, &frame) {
            return Err(RemoteError::Protocol(format!(
                "a frame of {} on '{port}', which is {}",
                shape(&frame),
                output
                    .format
                    .map_or_else(|| output.kind.to_string(), |format| format.to_string())
            )));
        }
        let credit = output.window.received().map_err(|_| {
            RemoteError::Protocol(format!("more frames on '{port}' than it had credit for"))
        })?;
        let place = output.port;
        if let Some(frames) = credit {
            self.credit(port.clone(), frames);
        }
        let caused_by = frame.meta.caused_by;
        self.watch.output(now, caused_by);
        if (1..=self.void_up_to).contains(&caused_by) {
            self.drop_frames(DropReason::Interrupted, 1);
            return Ok(());
        }
        match place {
            Some(port) => self.events.push_back(HopEvent::Frame { port, frame }),
            None => self.drop_frames(DropReason::NoListener, 1),
        }
        Ok(())
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

    /// Frames left the transport's queue unsent.
    pub(crate) fn discarded(&mut self, counts: &Counts) {
        for (port, frames, bytes) in counts.iter() {
            if let Some(input) = self.inputs.get_mut(port) {
                input.window.discarded(frames, bytes);
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

    fn input(&mut self, name: &PortName) -> Result<(usize, &mut Input), RemoteError> {
        let mut inputs = self.inputs.iter_mut().enumerate();
        let found = inputs.find(|(_, input)| input.name.as_ref() == Some(name));
        found.ok_or_else(|| RemoteError::Protocol(format!("input '{name}', which was not joined")))
    }

    fn named(&self, name: &PortName) -> Result<usize, RemoteError> {
        let found = self.outputs.iter().position(|output| output.name == *name);
        found.ok_or_else(|| {
            RemoteError::Protocol(format!(
                "output '{name}', which it did not list when it opened"
            ))
        })
    }

    fn end(&mut self, output: usize) {
        let output = &mut self.outputs[output];
        if !std::mem::replace(&mut output.ended, true)
            && let Some(port) = output.port
        {
            self.events.push_back(HopEvent::Ended { port });
        }
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

fn shape(frame: &Frame) -> String {
    match &frame.payload {
        tidegate_media::Payload::Audio(audio) => audio.format.to_string(),
        tidegate_media::Payload::Video(video) => video.format.codec.as_str().to_owned(),
        other => other.kind().to_string(),
    }
}
