//! An open WebRTC peer as a link.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_core::Stream as _;
use tidegate_media::{MediaTime, Timestamp};
use tidegate_proto::message::Opened;
use tidegate_proto::{ClientMessage, PortFormats, ServerMessage, protobuf};
use tidegate_signaling::{ChannelId, ChannelMessage, PeerEvent, SignalingError};

use super::media::{Receives, Sends};
use super::wire::Wire;
use crate::auth::Credential;
use crate::error::RemoteError;
use crate::link::{Counts, FramePlace, Link};
use crate::opening;
use crate::outbox::{Outbox, Outflow, outbox};

/// The data channel that carries everything but media, and its subprotocol.
const CHANNEL: (&str, &str) = ("events", "tidegate.v1.proto");

/// A peer, and which of its tracks carries what.
pub(super) struct WebrtcLink {
    pub(super) wire: Wire,
    credential: Credential,
    outbox: Outbox<ChannelMessage>,
    outflow: Outflow<ChannelMessage>,
    /// What the channel had no room for.
    held: Option<ChannelMessage>,
    channel: Option<ChannelId>,
    pub(super) formats: PortFormats,
    pub(super) sends: Vec<Sends>,
    pub(super) receives: Vec<Receives>,
    /// Media time of the first frame that was sent: what comes back counts from zero there.
    pub(super) anchor: Option<MediaTime>,
    pub(super) sent: Counts,
    pub(super) ready: VecDeque<ServerMessage>,
    pub(super) waker: Option<Waker>,
    /// The input on which the worker waits for a key frame.
    key_frame_wanted: Option<usize>,
    over: bool,
}

impl WebrtcLink {
    pub(super) fn new(mut wire: Wire, credential: Credential) -> Self {
        let tracks: Vec<_> = wire.peer.tracks().cloned().collect();
        let sends = tracks.iter().filter(|track| track.sends);
        let sends = sends.map(Sends::new);
        let receives = tracks.iter().filter(|track| track.receives);
        let receives = receives.map(Receives::new);
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
            key_frame_wanted: None,
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
            PeerEvent::KeyFrameRequested(track) => {
                let mut sends = self.sends.iter();
                let sends = sends.find(|sends| sends.track.id == track);
                self.key_frame_wanted = sends.and_then(|sends| sends.track.port);
            }
            PeerEvent::Failed(failure) => {
                let text = format!("the WebRTC connection to the worker failed: {failure}");
                return Err(RemoteError::Network(text));
            }
            PeerEvent::Closed => self.over = true,
            _ => {}
        }
        Ok(())
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

    fn take_key_frame_wanted(&mut self) -> Option<usize> {
        self.key_frame_wanted.take()
    }

    fn credential(&mut self) -> Option<&mut Credential> {
        Some(&mut self.credential)
    }
}
