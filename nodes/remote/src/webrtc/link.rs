//! An open WebRTC peer as a link.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_core::Stream as _;
use tidegate_media::{Frame, Kind, MediaTime, Timestamp};
use tidegate_proto::message::{Ack, Direction, Opened};
use tidegate_proto::{ClientMessage, PortFormats, PortName, ServerMessage, protobuf};
use tidegate_signaling::{ChannelId, ChannelMessage, MediaPacket, PeerEvent, SignalingError};

use super::tracks::{Arrived, Inbound, Outbound};
use super::wire::Wire;
use crate::auth::Credential;
use crate::compat;
use crate::config::HopPorts;
use crate::error::RemoteError;
use crate::link::{Counts, FramePlace, Link};
use crate::opening;
use crate::outbox::{Outbox, Outflow, outbox};

/// The data channel that carries everything but media, and its subprotocol.
const CHANNEL: (&str, &str) = ("events", "tidegate.v1.proto");

/// A peer, and which of its tracks carries what.
pub(super) struct WebrtcLink {
    wire: Wire,
    credential: Credential,
    outbox: Outbox<ChannelMessage>,
    outflow: Outflow<ChannelMessage>,
    /// What the channel had no room for.
    held: Option<ChannelMessage>,
    channel: Option<ChannelId>,
    formats: PortFormats,
    sends: Vec<Sends>,
    receives: Vec<Receives>,
    /// Media time of the first frame that was sent: what comes back counts from zero there.
    anchor: Option<MediaTime>,
    sent: Counts,
    ready: VecDeque<ServerMessage>,
    waker: Option<Waker>,
    over: bool,
}

/// A track that we send on. Its `port` is the hop's input in the graph's numbering.
struct Sends {
    track: Outbound,
    name: Option<PortName>,
    /// The newest number that was sent and not acknowledged yet; 0: none.
    newest: u64,
}

/// A track that we receive on.
struct Receives {
    track: Inbound,
    /// The output that it carries, until that has ended.
    name: Option<PortName>,
    seq: u64,
}

impl WebrtcLink {
    pub(super) fn new(mut wire: Wire, credential: Credential) -> Self {
        let tracks: Vec<_> = wire.peer.tracks().cloned().collect();
        let sends = tracks.iter().filter(|track| track.sends);
        let sends = sends.map(|track| Sends {
            track: Outbound::new(track),
            name: None,
            newest: 0,
        });
        let receives = tracks.iter().filter(|track| track.receives);
        let receives = receives.map(|track| Receives {
            track: Inbound::new(track),
            name: None,
            seq: 0,
        });
        let (label, protocol) = CHANNEL;
        // It opens with the association; the worker cannot speak before.
        wire.peer.open_channel(Wire::now(), label, protocol);
        let (outbox, outflow) = outbox();
        Self {
            sends: sends.collect(),
            receives: receives.collect(),
            wire,
            credential,
            outbox,
            outflow,
            held: None,
            channel: None,
            formats: PortFormats::default(),
            anchor: None,
            sent: Counts::default(),
            ready: VecDeque::new(),
            waker: None,
            over: false,
        }
    }

    /// The worker's answer on the channel, once it has come.
    pub(super) fn poll_opened(
        &mut self,
        cx: &mut Context<'_>,
        now: Timestamp,
    ) -> Result<Option<Box<Opened>>, RemoteError> {
        self.drive(cx, now)?;
        let opened = opening::answer(self.ready.pop_front())?;
        if opened.is_none() && self.over {
            let text = "worker closed the connection instead of opening the pipeline";
            return Err(RemoteError::Network(text.into()));
        }
        Ok(opened)
    }

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

    /// Moves everything that can move.
    fn drive(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Result<(), RemoteError> {
        loop {
            let pictures = self.receives.iter();
            let pictures = pictures
                .filter_map(|receives| receives.track.poll_timeout())
                .min();
            self.wire.drive(cx, pictures)?;
            while let Some(event) = self.wire.peer.poll_event() {
                self.event(now, event)?;
            }
            self.pictures(now);
            self.acknowledge();
            if !self.write(cx)? {
                return Ok(());
            }
            // What was written may set a timer and make datagrams.
        }
    }

    /// Hands queued messages to the channel; true if it took some.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, RemoteError> {
        let Some(channel) = self.channel else {
            return Ok(false);
        };
        let mut wrote = false;
        loop {
            let next = match self.held.take() {
                Some(held) => held,
                None => match Pin::new(&mut self.outflow).poll_next(cx) {
                    Poll::Ready(Some(message)) => message,
                    Poll::Ready(None) | Poll::Pending => return Ok(wrote),
                },
            };
            match self.wire.peer.send_channel(Wire::now(), channel, &next) {
                Ok(()) => wrote = true,
                // The worker's acknowledgements make room and wake this task.
                Err(SignalingError::Full { .. }) => {
                    self.held = Some(next);
                    return Ok(wrote);
                }
                Err(SignalingError::TooLarge { .. }) => {
                    return Err(RemoteError::Incompatible(format!(
                        "a message of {} bytes is larger than the worker takes by WebRTC: use transport 'grpc'",
                        next.payload().len()
                    )));
                }
                // It has ended; why is among the events.
                Err(_) => return Ok(wrote),
            }
        }
    }

    fn event(&mut self, now: Timestamp, event: PeerEvent) -> Result<(), RemoteError> {
        match event {
            PeerEvent::Connected => {
                if let Some(to) = self.wire.peer.path() {
                    self.wire.tie(to);
                }
            }
            PeerEvent::PathChanged(to) => self.wire.tie(to),
            PeerEvent::ChannelOpen { id, label, .. } if label == CHANNEL.0 => {
                self.channel = Some(id);
            }
            PeerEvent::ChannelMessage { id, message } if self.channel == Some(id) => {
                let ChannelMessage::Binary(bytes) = message else {
                    let text = "a text message under tidegate.v1.proto";
                    return Err(RemoteError::Protocol(text.into()));
                };
                let message = protobuf::decode_server_bytes(bytes, now, &self.formats)?;
                if let Some(message) = message.filter(|message| self.is_news(message)) {
                    self.ready.push_back(message);
                }
            }
            PeerEvent::Media(packet) => self.media(now, packet),
            PeerEvent::Failed(failure) => {
                let text = format!("the WebRTC connection to the worker failed: {failure}");
                return Err(RemoteError::Network(text));
            }
            PeerEvent::Closed => self.over = true,
            _ => {}
        }
        Ok(())
    }

    /// Whether the hop hears of a message: what concerns media input was told when it was sent. Media that comes after the end of its
    /// output was overtaken by it.
    fn is_news(&mut self, message: &ServerMessage) -> bool {
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

    fn media(&mut self, now: Timestamp, packet: MediaPacket) {
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
    fn pictures(&mut self, now: Timestamp) {
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
    fn acknowledge(&mut self) {
        for sends in &mut self.sends {
            let seq = std::mem::take(&mut sends.newest);
            if let (1.., Some(port)) = (seq, sends.name.clone()) {
                self.ready.push_back(ServerMessage::Ack(Ack { port, seq }));
            }
        }
    }

    /// Sends a frame at once if a track carries its port; else it is to be queued.
    fn send_media(&mut self, place: FramePlace, frame: &Frame) -> Result<bool, RemoteError> {
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
            let (at, marker) = (packet.timestamp, packet.marker);
            // A peer that is not connected any more has an event that says so.
            drop(
                self.wire
                    .peer
                    .send_rtp(now, id, at, marker, &packet.payload),
            );
        }
        self.sent.add(place);
        let waker = self.waker.clone().unwrap_or_else(|| Waker::noop().clone());
        self.wire.transmit(&mut Context::from_waker(&waker))?;
        waker.wake();
        Ok(true)
    }
}

impl Link for WebrtcLink {
    fn send(
        &mut self,
        message: ClientMessage,
        place: Option<FramePlace>,
        now: Timestamp,
    ) -> Result<(), RemoteError> {
        if let (ClientMessage::Frame { frame, .. }, Some(place)) = (&message, place)
            && self.send_media(place, frame)?
        {
            return Ok(());
        }
        let bytes = protobuf::encode_client_bytes(message, now);
        self.outbox.push(place, ChannelMessage::Binary(bytes))
    }

    fn discard_frames(&mut self) -> Counts {
        self.outbox.discard_frames()
    }

    fn take_sent(&mut self) -> Counts {
        let mut taken = self.outbox.take_sent();
        taken.merge(&std::mem::take(&mut self.sent));
        taken
    }

    fn wake_when_taken(&mut self, cx: &Context<'_>) {
        if self.sent.iter().next().is_some() {
            cx.waker().wake_by_ref();
        } else {
            self.outbox.wake_when_taken(cx.waker());
        }
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        now: Timestamp,
    ) -> Poll<Option<Result<ServerMessage, RemoteError>>> {
        if self.ready.is_empty() && !self.over {
            let driven = self.drive(cx, now);
            // What the worker said before its connection broke comes first: it says why.
            if let (Err(error), true) = (driven, self.ready.is_empty()) {
                self.over = true;
                return Poll::Ready(Some(Err(error)));
            }
        }
        if let Some(message) = self.ready.pop_front() {
            return Poll::Ready(Some(Ok(message)));
        }
        if self.over {
            return Poll::Ready(None);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn close(&mut self) {
        self.outbox.close();
        self.wire.close();
    }

    fn credential(&mut self) -> Option<&mut Credential> {
        Some(&mut self.credential)
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
