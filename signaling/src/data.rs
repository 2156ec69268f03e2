//! Data channels of one peer: SCTP (RFC 8831) over the library's association, and the opening
//! handshake (RFC 8832).
//!
//! Channels, message sizes, and bytes waiting in either direction are bounded. While the owner does
//! not read, messages stay in the association, its window shrinks and the sender waits. Absent:
//! channels negotiated outside the protocol, and messages in pieces.

mod handshake;
mod message;

pub(crate) use message::DataEvent;
pub use message::{ChannelId, ChannelMessage};

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::sctp::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event,
    Payload, PayloadProtocolIdentifier as Ppi, ServerConfig, StreamEvent, TransportConfig,
};
use rtc::shared::TransportProtocol;

use crate::config::DataLimits;
use crate::error::SignalingError;

/// Stands for both ends inside the library; never on the wire.
const PLACEHOLDER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
/// The offerer starts the association in most stacks, both in browsers; only if nobody does for
/// this long do we (an offerer built on this library waits when it is the DTLS server).
const INITIATE_AFTER: Duration = Duration::from_millis(200);

struct Channel {
    open: bool,
    label: String,
    protocol: String,
}

/// See the module.
pub(crate) struct Data {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    transport: TransportConfig,
    limits: DataLimits,
    /// Stream ids of ours are even for the DTLS client, odd for the server (RFC 8832 §6).
    next_stream: u16,
    channels: BTreeMap<u16, Channel>,
    initiate_at: Option<Instant>,
    connected: bool,
    reading: bool,
    unread: Vec<u16>,
    events: VecDeque<DataEvent>,
    /// Messages or channels refused.
    pub(crate) refused: u64,
}

impl Data {
    pub(crate) fn new(dtls_client: bool, limits: DataLimits, peer_max_message: u32) -> Self {
        // What we send is limited by what the peer takes; what we take, by our own limit. The
        // library has one number: the smaller is safe for both.
        let max_message = match peer_max_message {
            0 => limits.max_message,
            peer => limits.max_message.min(peer),
        };
        let transport = TransportConfig::default()
            .with_max_message_size(max_message)
            .with_max_receive_buffer_size(limits.receive_buffer.max(limits.max_message))
            .with_max_num_inbound_streams(MAX_STREAMS)
            .with_max_num_outbound_streams(MAX_STREAMS);
        let server = ServerConfig::new(transport.clone());
        Self {
            endpoint: Endpoint::new(
                PLACEHOLDER,
                TransportProtocol::UDP,
                Arc::new(EndpointConfig::default()),
                Some(Arc::new(server)),
            ),
            association: None,
            transport,
            limits,
            next_stream: u16::from(!dtls_client),
            channels: BTreeMap::new(),
            initiate_at: None,
            connected: false,
            reading: true,
            unread: Vec::new(),
            events: VecDeque::new(),
            refused: 0,
        }
    }

    /// DTLS is up: the association may start, at once if `initiate`.
    pub(crate) fn start(&mut self, now: Instant, initiate: bool) {
        self.initiate_at = Some(if initiate { now } else { now + INITIATE_AFTER });
        self.handle_timeout(now);
    }

    /// Opens a reliable, ordered channel as soon as the association is up.
    pub(crate) fn open(&mut self, now: Instant, label: &str, protocol: &str) -> ChannelId {
        let stream = self.next_stream;
        self.next_stream = self.next_stream.wrapping_add(2);
        self.channels.insert(
            stream,
            Channel {
                open: false,
                label: label.to_owned(),
                protocol: protocol.to_owned(),
            },
        );
        if self.connected {
            self.send_open(now, stream);
        }
        ChannelId(stream)
    }

    /// Takes one SCTP packet out of DTLS.
    pub(crate) fn handle(&mut self, now: Instant, packet: Bytes) {
        match self.endpoint.handle(now, PLACEHOLDER, None, packet) {
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                if self.association.is_none() {
                    self.initiate_at = None;
                    self.association = Some((handle, association));
                } else {
                    self.refused += 1;
                }
            }
            Some((handle, DatagramEvent::AssociationEvent(event))) => {
                if let Some((ours, association)) = &mut self.association
                    && *ours == handle
                {
                    association.handle_event(event);
                }
            }
            _ => self.refused += 1,
        }
        self.settle(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.initiate_at.is_some_and(|at| at <= now) {
            self.initiate_at = None;
            if self.association.is_none()
                && let Ok(pair) = self.endpoint.connect(
                    now,
                    ClientConfig::new(self.transport.clone()),
                    PLACEHOLDER,
                )
            {
                self.association = Some(pair);
            }
        }
        if let Some((_, association)) = &mut self.association {
            association.handle_timeout(now);
        }
        self.settle(now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let association = self
            .association
            .as_ref()
            .and_then(|(_, a)| a.poll_timeout());
        [association, self.initiate_at].into_iter().flatten().min()
    }

    /// SCTP packets to be sent through DTLS.
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<Vec<Bytes>> {
        let (_, association) = self.association.as_mut()?;
        match association.poll_transmit(now)?.message {
            Payload::RawEncode(packets) => Some(packets),
            _ => None,
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<DataEvent> {
        self.events.pop_front()
    }

    /// Whether something was left unread for want of room.
    pub(crate) fn has_backlog(&self) -> bool {
        !self.events.is_empty() || (self.reading && !self.unread.is_empty())
    }

    /// Reads on where there was no room; `true` if that gave events.
    pub(crate) fn resume(&mut self, now: Instant) -> bool {
        if self.has_backlog() {
            self.settle(now);
        }
        !self.events.is_empty()
    }

    /// Whether messages are taken out of the association; while not, the sender is slowed down.
    pub(crate) fn set_reading(&mut self, now: Instant, reading: bool) {
        self.reading = reading;
        self.settle(now);
    }

    /// Bytes of `id` queued or not yet acknowledged.
    pub(crate) fn buffered(&mut self, id: ChannelId) -> usize {
        self.association
            .as_mut()
            .and_then(|(_, association)| association.stream(id.0).ok()?.buffered_amount().ok())
            .unwrap_or(0)
    }

    /// Queues one message.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        id: ChannelId,
        message: &ChannelMessage,
    ) -> Result<(), SignalingError> {
        if !self.channels.get(&id.0).is_some_and(|channel| channel.open) {
            return Err(SignalingError::Unknown { what: "channel" });
        }
        let size = message.payload().len();
        let limit = self.transport.max_message_size() as usize;
        if size > limit {
            return Err(SignalingError::TooLarge {
                what: "message",
                size,
                limit,
            });
        }
        let buffered = self.buffered(id);
        if buffered > 0 && buffered + size > self.limits.send_buffer {
            return Err(SignalingError::Full {
                what: "the channel",
                size: buffered,
            });
        }
        // SCTP has no empty messages: one byte of a type that says so (RFC 8831 §6.6).
        let empty = Bytes::from_static(&[0]);
        let (ppi, payload) = match message {
            ChannelMessage::Text(text) if text.is_empty() => (Ppi::StringEmpty, &empty),
            ChannelMessage::Binary(bytes) if bytes.is_empty() => (Ppi::BinaryEmpty, &empty),
            ChannelMessage::Text(text) => (Ppi::String, text),
            ChannelMessage::Binary(bytes) => (Ppi::Binary, bytes),
        };
        self.write(now, id.0, ppi, payload)
    }

    /// Closes one channel; the peer is told by a stream reset (RFC 8831 §6.7).
    pub(crate) fn close_channel(&mut self, now: Instant, id: ChannelId) {
        if let Some((_, association)) = &mut self.association
            && let Ok(mut stream) = association.stream(id.0)
            && let Err(error) = stream.close(now)
        {
            tracing::debug!(%error, "a channel did not close cleanly");
        }
        self.forget(id.0);
    }

    /// Ends the association; the abort is among the next packets.
    pub(crate) fn close(&mut self) {
        if let Some((_, association)) = &mut self.association
            && let Err(error) = association.abort()
        {
            tracing::debug!(%error, "the association did not close cleanly");
        }
    }

    fn write(
        &mut self,
        now: Instant,
        id: u16,
        ppi: Ppi,
        payload: &Bytes,
    ) -> Result<(), SignalingError> {
        let (_, association) = self
            .association
            .as_mut()
            .ok_or(SignalingError::NotConnected)?;
        association
            .stream(id)
            .and_then(|mut stream| stream.write_chunk_with_ppi(now, payload, ppi))
            .map(|_| ())
            .map_err(|e| SignalingError::internal("writing to a channel", e))
    }

    /// Acts on everything that the association has to say.
    fn settle(&mut self, now: Instant) {
        let mut readable = std::mem::take(&mut self.unread);
        let mut just_connected = false;
        let mut lost = Vec::new();
        if let Some((_, association)) = &mut self.association {
            while let Some(event) = association.poll() {
                match event {
                    Event::Connected => just_connected = true,
                    Event::Stream(StreamEvent::Readable { id }) if !readable.contains(&id) => {
                        readable.push(id);
                    }
                    Event::AssociationLost { id, .. } => lost.push(id),
                    _ => {}
                }
            }
        }
        if just_connected {
            self.connected = true;
            let waiting: Vec<u16> = self.channels.keys().copied().collect();
            for stream in waiting {
                self.send_open(now, stream);
            }
        }
        for id in readable {
            self.read(now, id);
        }
        for id in lost {
            self.forget(id);
        }
        self.drop_drained();
    }

    fn drop_drained(&mut self) {
        let Some((handle, association)) = &mut self.association else {
            return;
        };
        if let Some(event) = association.poll_endpoint_event() {
            let handle = *handle;
            self.endpoint.handle_event(handle, event);
            self.association = None;
        }
    }

    /// Reads `id` until it is empty, or until the owner does not want more.
    fn read(&mut self, now: Instant, id: u16) {
        loop {
            if !self.connected || !self.reading || self.events.len() >= self.limits.max_events {
                self.unread.push(id);
                return;
            }
            let Some((_, association)) = &mut self.association else {
                return;
            };
            let Ok(Some(chunks)) = association.stream(id).and_then(|mut s| s.read_sctp()) else {
                return;
            };
            let ppi = chunks.ppi;
            match chunks.to_payload(self.limits.max_message as usize) {
                Ok(payload) => self.on_message(now, id, ppi, payload),
                Err(_) => self.refused += 1,
            }
        }
    }

    fn on_message(&mut self, now: Instant, id: u16, ppi: Ppi, payload: BytesMut) {
        let channel = ChannelId(id);
        let message = match ppi {
            Ppi::Dcep => return self.on_control(now, id, payload),
            Ppi::String => ChannelMessage::Text(payload.freeze()),
            Ppi::Binary => ChannelMessage::Binary(payload.freeze()),
            Ppi::StringEmpty => ChannelMessage::Text(Bytes::new()),
            Ppi::BinaryEmpty => ChannelMessage::Binary(Bytes::new()),
            _ => {
                self.refused += 1;
                return;
            }
        };
        // A peer may send before its own opening was answered, never before it was sent.
        if self.channels.get(&id).is_some_and(|channel| channel.open) {
            self.events.push_back(DataEvent::Message {
                id: channel,
                message,
            });
        } else {
            self.refused += 1;
        }
    }

    fn forget(&mut self, id: u16) {
        if self.channels.remove(&id).is_some() {
            self.events
                .push_back(DataEvent::Closed { id: ChannelId(id) });
        }
    }
}

/// Streams offered to the peer: far above `max_channels`, since ids need not be dense, and far below
/// the protocol's 65,535.
const MAX_STREAMS: u16 = 1024;

#[cfg(test)]
mod tests;
