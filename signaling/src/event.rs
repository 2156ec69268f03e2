//! What a peer tells its owner, and what the owner may ask it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::codec::{Codec, MediaKind};
use crate::data::{ChannelId, ChannelMessage};

/// A media section of a peer that is in use. Numbers are stable for the peer's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(pub(crate) u8);

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What was negotiated for a track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackInfo {
    /// Its number.
    pub id: TrackId,
    /// The section's name in the description, empty if it has none.
    pub mid: String,
    /// Its codec.
    pub codec: Codec,
    /// The payload type in both directions.
    pub payload_type: u8,
    /// The peer sends on it.
    pub receives: bool,
    /// We send on it.
    pub sends: bool,
}

impl TrackInfo {
    /// Audio or video.
    #[must_use]
    pub const fn kind(&self) -> MediaKind {
        self.codec.kind()
    }
}

/// A datagram to be sent on the shared socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub data: Bytes,
}

/// How loud a packet's audio is, as its sender says (RFC 6464).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLevel {
    /// The sender takes it for speech.
    pub voice: bool,
    /// Level in −dBov: 0 is the loudest, 127 silence.
    pub negative_dbov: u8,
}

/// One decrypted RTP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaPacket {
    /// The track that it came on.
    pub track: TrackId,
    /// The track's codec.
    pub codec: Codec,
    /// Its stream; a sender that starts over has a new one.
    pub ssrc: u32,
    /// The sequence number, extended to 64 bits: it never wraps and grows by one per packet sent.
    pub sequence: u64,
    /// The RTP timestamp in units of the codec's clock; it wraps.
    pub timestamp: u32,
    /// The marker bit: end of a picture, or start of talk.
    pub marker: bool,
    /// The level, if the sender says it.
    pub level: Option<AudioLevel>,
    /// The encoded payload, not copied since decryption.
    pub payload: Bytes,
}

/// Why a peer ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// No path was found in time.
    NoPath,
    /// The peer fell silent.
    Silence,
    /// The DTLS handshake failed: wrong certificate, no common cipher, or no answer.
    Handshake(String),
    /// The peer sent from more SSRCs than one connection may.
    Sources,
    /// The peer sent something that a protocol library did not survive.
    Internal,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPath => f.write_str("no network path to the peer was found in time"),
            Self::Silence => f.write_str("the peer fell silent"),
            Self::Sources => f.write_str("the peer started too many streams of media"),
            Self::Internal => f.write_str("what the peer sent broke a protocol library"),
            Self::Handshake(reason) => write!(f, "the DTLS handshake failed: {reason}"),
        }
    }
}

/// What shows that a peer is at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A check with its credentials came from there; the sender's address may be made up.
    Claimed,
    /// It answered a check of ours, which went there.
    Answered,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerEvent {
    /// Media and data flow from here on. Once.
    Connected,
    /// Nothing was heard for the configured time; it may come back.
    Disconnected,
    /// Heard again.
    Reconnected,
    /// The end, without a goodbye. Nothing follows.
    Failed(Failure),
    /// The end, asked for by the peer or by us. Nothing follows.
    Closed,
    /// Packets go to another address from now on.
    PathChanged(SocketAddr),
    /// A packet of media came.
    Media(MediaPacket),
    /// The peer cannot decode what we send until it gets a key frame (PLI or FIR).
    KeyFrameRequested(TrackId),
    /// A data channel is open.
    ChannelOpen {
        /// Its number.
        id: ChannelId,
        /// The name that its opener gave it.
        label: String,
        /// The subprotocol, empty if none.
        protocol: String,
    },
    /// A message came.
    ChannelMessage {
        /// The channel.
        id: ChannelId,
        /// The message.
        message: ChannelMessage,
    },
    /// A data channel is closed.
    ChannelClosed(ChannelId),
}

/// Packets that did not go on, by reason. Each field only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PacketDrops {
    /// Neither STUN, DTLS, RTP nor RTCP.
    pub unknown: u64,
    /// From an address that ICE does not know.
    pub unknown_address: u64,
    /// STUN without valid credentials or over a bound.
    pub refused_checks: u64,
    /// Media before the keys.
    pub early: u64,
    /// Media that fails authentication, is a replay, or is malformed.
    pub forged: u64,
    /// Media of no negotiated track or direction.
    pub unknown_stream: u64,
    /// Media that the owner did not fetch in time.
    pub overflow: u64,
    /// Data channel messages or channels over a bound.
    pub data: u64,
    /// Media of ours that was to be forwarded and came twice, or too late to keep its number.
    pub outdated: u64,
}

/// Figures of one track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackStats {
    /// The track.
    pub id: TrackId,
    /// Packets received.
    pub packets_received: u64,
    /// Payload bytes received.
    pub bytes_received: u64,
    /// Packets that never came, late duplicates counted against them.
    pub packets_lost: i64,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// Packets sent, repairs not counted.
    pub packets_sent: u64,
    /// Payload bytes sent.
    pub bytes_sent: u64,
    /// Packets sent again on request.
    pub packets_resent: u64,
    /// What the peer says it lost of ours, in 256ths since its report before.
    pub remote_fraction_lost: u8,
    /// What the peer says it lost of ours in all.
    pub remote_packets_lost: u32,
    /// The jitter that the peer sees.
    pub remote_jitter: Duration,
    /// Key frames that the peer asked for.
    pub key_frame_requests: u64,
}

/// Figures of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStats {
    /// One entry per track.
    pub tracks: Vec<TrackStats>,
    /// The newest round trip: from reports if there are any, else from connectivity checks.
    pub round_trip: Option<Duration>,
    /// What did not go on.
    pub drops: PacketDrops,
}
