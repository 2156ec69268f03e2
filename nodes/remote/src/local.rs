//! A node of this process in a worker's place.
//!
//! It is called where it is spoken to, as in a pipeline; what it makes is heard at the next poll. Nothing of it is counted as a hop of
//! its own. It acknowledges each input after its outputs.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tidegate_media::{Frame, Timestamp};
use tidegate_nodes::node::{Context as NodeContext, Effects, Node};
use tidegate_nodes::{Error, NodeError};
use tidegate_proto::message::{Ack, Opened, WireError};
use tidegate_proto::{ClientMessage, PortName, ServerMessage};

use crate::config::HopPorts;
use crate::error::RemoteError;
use crate::inplace::{Mouth, Names};
use crate::link::{Counts, FramePlace, Link};

/// Makes a node, for one stream.
pub type MakeNode = dyn Fn() -> Result<Box<dyn Node>, Error> + Send + Sync;

/// A node as a tier.
#[derive(Clone)]
pub struct LocalNode {
    /// Makes one for the formats that flow at the hop.
    pub make: Arc<MakeNode>,
    /// Names of its input ports, in its order.
    pub inputs: Vec<String>,
    /// Names of its output ports.
    pub outputs: Vec<String>,
}

impl LocalNode {
    /// The node's number for each of the hop's ports: by name, or the only one where each has one.
    fn places(
        ours: &[(String, Option<tidegate_nodes::StreamFormat>)],
        theirs: &[String],
        side: &str,
    ) -> Result<Vec<Option<usize>>, RemoteError> {
        let joined = ours.iter().filter(|(_, format)| format.is_some()).count();
        let one = |(name, format): &(String, Option<tidegate_nodes::StreamFormat>)| {
            if format.is_none() {
                return Ok(None);
            }
            let named = theirs.iter().position(|port| port == name);
            let only = (joined == 1 && theirs.len() == 1).then_some(0);
            named.or(only).map(Some).ok_or_else(|| {
                RemoteError::Incompatible(format!(
                    "the manifest joins {side} '{name}', which the local node lacks; its {side}s: {}",
                    theirs.join(", ")
                ))
            })
        };
        ours.iter().map(one).collect()
    }
}

impl fmt::Debug for LocalNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalNode")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

/// A running node.
pub(crate) struct LocalLink {
    node: Box<dyn Node>,
    names: Names,
    /// The node's number of each of the hop's inputs.
    inputs: Vec<Option<usize>>,
    /// The hop's number of each of the node's outputs.
    outputs: Vec<Option<usize>>,
    /// Port and number of the newest input.
    newest: Option<(PortName, u64)>,
    open: usize,
    timer: Option<Timestamp>,
    mouth: Mouth,
    failed: bool,
}

impl LocalLink {
    /// Makes the node.
    ///
    /// # Errors
    /// It cannot be made, or has not the hop's ports.
    pub(crate) fn open(local: &LocalNode, ports: &HopPorts) -> Result<(Self, Opened), RemoteError> {
        let names = Names::of(ports)?;
        let inputs = LocalNode::places(&ports.inputs, &local.inputs, "input")?;
        let places = LocalNode::places(&ports.outputs, &local.outputs, "output")?;
        let outputs = (0..local.outputs.len())
            .map(|port| places.iter().position(|place| *place == Some(port)))
            .collect();
        let node = (local.make)().map_err(|error| said(&error))?;
        let opened = names.opened("local");
        let link = Self {
            node,
            open: names.joined(),
            names,
            inputs,
            outputs,
            newest: None,
            timer: None,
            mouth: Mouth::default(),
            failed: false,
        };
        Ok((link, opened))
    }

    /// One call of the node; what it made is said.
    fn call(
        &mut self,
        now: Timestamp,
        work: impl FnOnce(&mut dyn Node, &mut NodeContext<'_>) -> Result<(), NodeError>,
    ) {
        if self.failed {
            return;
        }
        let mut effects = Effects::default();
        let mut cx = NodeContext::new(now, &mut effects);
        let result = work(self.node.as_mut(), &mut cx);
        let result = effects.outcome(result);
        if let Some(timer) = effects.timer {
            self.timer = timer;
        }
        for (port, mut frame) in effects.frames {
            let place = self.outputs.get(port).copied().flatten();
            let Some(name) = place.and_then(|place| self.names.output(place)) else {
                continue;
            };
            let (caused_port, caused_by) = match &self.newest {
                Some((port, seq)) => (Some(port.clone()), *seq),
                None => (None, 0),
            };
            frame.meta.caused_by = caused_by;
            self.mouth.say(ServerMessage::Frame {
                port: name.clone(),
                caused_port,
                frame,
            });
        }
        if let Err(error) = result {
            self.failed = true;
            let error = Error::new(tidegate_nodes::Code::NodeFailed, error.to_string());
            self.mouth.fail(said(&error));
        }
    }

    fn frame(&mut self, now: Timestamp, port: PortName, frame: Frame) {
        let seq = frame.meta.seq;
        let place = self.names.input(&port);
        let place = place.and_then(|place| self.inputs.get(place).copied().flatten());
        self.newest = Some((port.clone(), seq));
        if let Some(place) = place {
            self.call(now, |node, cx| node.on_frame(cx, place, frame));
        }
        self.mouth.say(ServerMessage::Ack(Ack { port, seq }));
    }

    fn end(&mut self, now: Timestamp, port: &PortName) {
        let place = self.names.input(port);
        let place = place.and_then(|place| self.inputs.get(place).copied().flatten());
        if let Some((newest, seq)) = &mut self.newest
            && newest == port
        {
            // What the end causes has the number behind the last frame.
            *seq += 1;
        }
        if let Some(place) = place {
            self.call(now, |node, cx| node.on_end(cx, place));
        }
        self.open = self.open.saturating_sub(1);
        if self.open == 0 && !self.failed {
            let reason = String::new();
            self.mouth.say(ServerMessage::Ended { reason });
        }
    }
}

/// An error of this process, as a worker would have said it.
fn said(error: &Error) -> RemoteError {
    RemoteError::Worker(Box::new(WireError {
        code: error.code.as_str().to_owned(),
        message: error.message.clone(),
        fault: error.fault.as_str().to_owned(),
        retryable: error.retryable,
        ..WireError::default()
    }))
}

impl Link for LocalLink {
    fn send(
        &mut self,
        message: ClientMessage,
        place: Option<FramePlace>,
        now: Timestamp,
    ) -> Result<(), RemoteError> {
        self.mouth.took(place);
        match message {
            ClientMessage::Frame { port, frame } => self.frame(now, port, frame),
            ClientMessage::End { port: Some(port) } => self.end(now, &port),
            ClientMessage::Interrupt => self.call(now, |node, cx| {
                node.on_interrupt(cx);
                Ok(())
            }),
            _ => {}
        }
        Ok(())
    }

    fn discard_frames(&mut self) -> Counts {
        Counts::default()
    }

    fn take_sent(&mut self) -> Counts {
        self.mouth.taken()
    }

    fn wake_when_taken(&mut self, _: &Context<'_>) {}

    fn poll_receive(
        &mut self,
        _: &mut Context<'_>,
        now: Timestamp,
    ) -> Poll<Option<Result<ServerMessage, RemoteError>>> {
        if self.timer.is_some_and(|at| at <= now) {
            self.timer = None;
            self.call(now, |node, cx| node.on_timer(cx));
        }
        self.mouth.poll()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.timer
    }
}
