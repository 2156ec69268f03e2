//! Messages that wait until the data channel `events` has room.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use tidegate_media::Timestamp;
use tidegate_proto::message::ServerMessage;
use tidegate_proto::{json, protobuf};
use tidegate_signaling::{ChannelId, ChannelMessage, Peer, SignalingError};

use crate::links::websocket::Subprotocol;

/// Frames that may wait for a client that can be told to wait; the session holds the others.
const WINDOW: u32 = 16;
/// Frames, and bytes of all messages, that may wait for one that cannot: some large tensors. More are lost, and counted; of other
/// messages, which are few and small unless their client makes them, from twice as many bytes on.
const LIVE_FRAMES: u32 = 256;
const LIVE_BYTES: usize = 8 << 20;

/// The client's channel, and what waits for it.
#[derive(Default)]
pub(super) struct Backlog {
    open: Option<(ChannelId, Subprotocol)>,
    waiting: VecDeque<(bool, ChannelMessage)>,
    frames: u32,
    bytes: usize,
    /// Bytes that were handed over.
    handed: u64,
}

impl Backlog {
    /// The client has opened it.
    pub(super) const fn open(&mut self, id: ChannelId, subprotocol: Subprotocol) {
        self.open = Some((id, subprotocol));
    }

    /// A channel was closed; what waits for this one goes nowhere. Gives how many frames were lost.
    pub(super) fn closed(&mut self, id: ChannelId) -> u64 {
        if self.open.is_none_or(|(ours, _)| ours != id) {
            return 0;
        }
        let (lost, handed) = (self.frames(), self.handed);
        *self = Self {
            handed,
            ..Self::default()
        };
        lost
    }

    /// Frames that wait.
    pub(super) const fn frames(&self) -> u64 {
        self.frames as u64
    }

    /// Bytes that the client has acknowledged, or that went nowhere.
    pub(super) fn taken(&self, peer: &mut Peer) -> u64 {
        let buffered = self.open.map_or(0, |(id, _)| peer.channel_buffered(id));
        self.handed.saturating_sub(buffered as u64)
    }

    /// How messages are written on it, if it is this one.
    pub(super) fn subprotocol(&self, id: ChannelId) -> Option<Subprotocol> {
        let (_, subprotocol) = self.open.filter(|(ours, _)| *ours == id)?;
        Some(subprotocol)
    }

    /// Frames that a client that waits takes now.
    pub(super) const fn window(&self) -> u32 {
        WINDOW.saturating_sub(self.frames)
    }

    /// Queues a message; false if it is lost: the channel is not open, or too much waits for a live client.
    pub(super) fn push(&mut self, message: ServerMessage, live: bool, now: Timestamp) -> bool {
        let frame = matches!(message, ServerMessage::Frame { .. });
        let full = self.frames >= LIVE_FRAMES || self.bytes >= LIVE_BYTES;
        let flooded = self.bytes >= 2 * LIVE_BYTES;
        let Some((_, subprotocol)) = self.open.filter(|_| !(frame && live && full || flooded))
        else {
            return !frame && !flooded;
        };
        let message = match subprotocol {
            Subprotocol::Json => {
                ChannelMessage::Text(Bytes::from(json::encode_server(&message, now)))
            }
            Subprotocol::Proto => {
                ChannelMessage::Binary(protobuf::encode_server_bytes(message, now))
            }
        };
        self.frames += u32::from(frame);
        self.bytes += message.payload().len();
        self.waiting.push_back((frame, message));
        true
    }

    /// Whether the client has a channel.
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Queues a text; false if it is lost: too much waits.
    pub(super) fn push_text(&mut self, text: ChannelMessage) -> bool {
        if self.bytes >= LIVE_BYTES {
            return false;
        }
        self.bytes += text.payload().len();
        self.waiting.push_back((false, text));
        true
    }

    /// Hands over what the channel takes; gives how many frames were lost because no channel takes them.
    pub(super) fn pump(&mut self, peer: &mut Peer, at: Instant) -> u64 {
        let mut lost = 0;
        while let (Some((id, _)), Some((frame, message))) = (self.open, self.waiting.front()) {
            match peer.send_channel(at, id, message) {
                // The client's acknowledgements make room.
                Err(SignalingError::Full { .. }) => break,
                sent => lost += u64::from(*frame && sent.is_err()),
            }
            self.frames -= u32::from(*frame);
            self.bytes -= message.payload().len();
            self.handed += message.payload().len() as u64;
            self.waiting.pop_front();
        }
        lost
    }

    /// Whether the client has everything.
    pub(super) fn is_drained(&self, peer: &mut Peer) -> bool {
        let Some((id, _)) = self.open else {
            return true;
        };
        self.waiting.is_empty() && peer.channel_buffered(id) == 0
    }
}
