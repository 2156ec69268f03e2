//! What a hop's tracks carry: which port, what was sent, and what arrived.

use std::task::{Context, Waker};

use tidegate_media::{Frame, Kind, MediaTime, Timestamp};
use tidegate_proto::message::{Ack, Direction, Opened};
use tidegate_proto::{PortName, ServerMessage};
use tidegate_signaling::{MediaPacket, TrackInfo};

use super::link::WebrtcLink;
use super::tracks::{Arrived, Inbound, Outbound};
use super::wire::Wire;
use crate::compat;
use crate::config::HopPorts;
use crate::error::RemoteError;
use crate::link::FramePlace;
use crate::opening;

/// A track that we send on. Its `port` is the hop's input in the graph's numbering.
pub(super) struct Sends {
    pub(super) track: Outbound,
    pub(super) name: Option<PortName>,
    /// The newest number that was sent and not acknowledged yet; 0: none.
    newest: u64,
}

/// A track that we receive on.
pub(super) struct Receives {
    pub(super) track: Inbound,
    /// The output that it carries, until that has ended.
    pub(super) name: Option<PortName>,
    seq: u64,
}

impl Sends {
    pub(super) fn new(track: &TrackInfo) -> Self {
        Self {
            track: Outbound::new(track),
            name: None,
            newest: 0,
        }
    }
}

impl Receives {
    pub(super) fn new(track: &TrackInfo) -> Self {
        Self {
            track: Inbound::new(track),
            name: None,
            seq: 0,
        }
    }
}

impl WebrtcLink {
    /// Gives each track the port that the worker has joined to it: the first one of its kind.
    ///
    /// # Errors
    /// The manifest joins another one.
    pub(super) fn settle(&mut self, ports: &HopPorts, opened: &Opened) -> Result<(), RemoteError> {
        self.formats = opening::formats(ports, opened);
        let ports = compat::resolve(ports.clone(), opened);
        let theirs = |direction, kind| {
            let mut ports = opened.ports.iter();
            ports.find(|port| port.direction == direction && port.kind == kind)
        };
        for sends in &mut self.sends {
            let kind = sends.track.kind();
            let joined = ports.inputs.iter().position(|(_, f)| is(f.as_ref(), kind));
            let name = theirs(Direction::Input, kind).map(|port| port.name.clone());
            if let Some(index) = joined {
                check(kind, "input", &ports.inputs[index].0, name.as_ref())?;
                (sends.track.port, sends.name) = (Some(index), name);
            }
        }
        for receives in &mut self.receives {
            let kind = receives.track.kind();
            let joined = ports.outputs.iter().find(|(_, f)| is(f.as_ref(), kind));
            let name = theirs(Direction::Output, kind).map(|port| port.name.clone());
            if let Some((ours, _)) = joined {
                check(kind, "output", ours, name.as_ref())?;
            }
            receives.name = name;
        }
        Ok(())
    }

    /// Whether the hop hears of a message: what concerns media input was told when it was sent. Media that comes after the end of its
    /// output was overtaken by it.
    pub(super) fn is_news(&mut self, message: &ServerMessage) -> bool {
        let sends_on = |port| {
            self.sends
                .iter()
                .any(|sends| sends.name.as_ref() == Some(port))
        };
        match message {
            ServerMessage::Ack(ack) => !sends_on(&ack.port),
            ServerMessage::Credit(credit) => !sends_on(&credit.port),
            ServerMessage::End { port } => {
                for receives in &mut self.receives {
                    receives.name.take_if(|name| name == port);
                }
                true
            }
            ServerMessage::Ended { .. } => {
                self.receives.clear();
                true
            }
            _ => true,
        }
    }

    pub(super) fn media(&mut self, now: Timestamp, packet: MediaPacket) {
        let mut receives = self.receives.iter();
        let Some(index) = receives.position(|receives| receives.track.id == packet.track) else {
            return;
        };
        match self.receives[index].track.push(Wire::now(), packet) {
            Some(Arrived::Frame(frame)) => self.arrived(now, index, frame),
            Some(Arrived::PictureLost) => self.picture_lost(index),
            None => {}
        }
    }

    /// Pictures that are whole now.
    pub(super) fn pictures(&mut self, now: Timestamp) {
        for index in 0..self.receives.len() {
            while let Some(arrived) = self.receives[index].track.poll(Wire::now()) {
                match arrived {
                    Arrived::Frame(frame) => self.arrived(now, index, frame),
                    Arrived::PictureLost => self.picture_lost(index),
                }
            }
        }
    }

    fn picture_lost(&mut self, index: usize) {
        let id = self.receives[index].track.id;
        // At most one request in 200 ms goes out; an error means that the peer has ended, which is an event.
        drop(self.wire.peer.request_key_frame(Wire::now(), id));
    }

    fn arrived(&mut self, now: Timestamp, index: usize, mut frame: Frame) {
        let receives = &mut self.receives[index];
        let Some(port) = receives.name.clone() else {
            return;
        };
        receives.seq += 1;
        frame.meta.seq = receives.seq;
        frame.meta.ingress = now;
        if let Some(anchor) = self.anchor {
            let at = frame.meta.media_time.as_micros() + anchor.as_micros();
            frame.meta.media_time = MediaTime::from_micros(at);
        }
        self.ready.push_back(ServerMessage::Frame {
            port,
            caused_port: None,
            frame,
        });
    }

    /// What was sent as media counts as consumed.
    pub(super) fn acknowledge(&mut self) {
        for sends in &mut self.sends {
            let seq = std::mem::take(&mut sends.newest);
            if let (1.., Some(port)) = (seq, sends.name.clone()) {
                self.ready.push_back(ServerMessage::Ack(Ack { port, seq }));
            }
        }
    }

    /// Sends a frame at once if a track carries its port; else it is to be queued.
    pub(super) fn send_media(
        &mut self,
        place: FramePlace,
        frame: &Frame,
    ) -> Result<bool, RemoteError> {
        let mut sends = self.sends.iter_mut();
        let Some(sends) = sends.find(|sends| sends.track.port == Some(place.port)) else {
            return Ok(false);
        };
        let Some(packets) = sends.track.packets(frame) else {
            return Err(RemoteError::Internal("a frame that its track cannot carry"));
        };
        self.anchor.get_or_insert(frame.meta.media_time);
        sends.newest = frame.meta.seq;
        let (id, now) = (sends.track.id, Wire::now());
        for packet in packets {
            // A peer that is not connected any more has an event that says so.
            drop(packet.send(&mut self.wire.peer, now, id));
        }
        self.sent.add(place);
        let waker = self.waker.clone().unwrap_or_else(|| Waker::noop().clone());
        self.wire.transmit(&mut Context::from_waker(&waker))?;
        waker.wake();
        Ok(true)
    }
}

fn is(format: Option<&tidegate_nodes::StreamFormat>, kind: Kind) -> bool {
    format.is_some_and(|format| format.kind() == kind)
}

/// The worker joins a track to the first port of its kind.
fn check(kind: Kind, side: &str, ours: &str, theirs: Option<&PortName>) -> Result<(), RemoteError> {
    match theirs {
        Some(theirs) if theirs.as_str() != ours => Err(RemoteError::Incompatible(format!(
            "by WebRTC the worker's {kind} {side} is '{theirs}', and the manifest joins '{ours}': join that one, or use transport 'grpc'"
        ))),
        _ => Ok(()),
    }
}
