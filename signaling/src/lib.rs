//! How peers meet: SDP, ICE, WHIP and WHEP, and the WebRTC peer itself.
//!
//! Everything here is sans-I/O: values in, values out, time as an argument. The parts:
//! * [`Peer`] answers an offer and carries media and data channels, built on the protocol crates of
//!   webrtc-rs (`rtc`), none of whose types is visible;
//! * [`Demux`] assigns the datagrams of one UDP socket to peers;
//! * [`whip`] has what WHIP and WHEP need above HTTP, [`turn`] the servers that clients are told of;
//! * [`video`] turns packets into pictures and back;
//! * with the feature `client`, [`ClientPeer`] offers, for load generators and tests.
//!
//! A task that owns a peer runs, for every datagram, timer or packet to send:
//!
//! ```no_run
//! # use std::{net::{SocketAddr, UdpSocket}, time::Instant};
//! # use tidegate_signaling::{Peer, PeerEvent};
//! fn on_datagram(peer: &mut Peer, socket: &UdpSocket, now: Instant, from: SocketAddr, data: &[u8]) {
//!     peer.handle_datagram(now, from, data);
//!     while let Some(event) = peer.poll_event() {
//!         if let PeerEvent::Media(media) = event {
//!             // An echo; `media.payload` is not copied on the way here.
//!             let _ = peer.send_rtp(now, media.track, media.timestamp, media.marker, &media.payload);
//!         }
//!     }
//!     while let Some(transmit) = peer.poll_transmit() {
//!         let _ = socket.send_to(&transmit.data, transmit.to);
//!     }
//!     // Then sleep until `peer.poll_timeout()`, and call `peer.handle_timeout(now)`.
//! }
//! ```
//!
//! Absent: sockets, timers, tasks, HTTP, pipelines, codecs of audio and video.

mod certificate;
#[cfg(any(test, feature = "client"))]
mod client;
#[cfg(test)]
mod clock;
mod codec;
mod config;
mod connection;
mod data;
mod demux;
mod dtls;
mod error;
mod event;
mod ice;
mod peer;
mod rtp;
mod sdp;
mod srtp;
pub mod turn;
pub mod video;
pub mod whip;

pub use certificate::Certificate;
#[cfg(any(test, feature = "client"))]
pub use client::{ClientPeer, Offer};
pub use codec::{AudioCodec, Codec, MediaKind, VideoCodec};
pub use config::{Capabilities, DataLimits, Limits, PeerConfig, Role, Timing};
pub use data::{ChannelId, ChannelMessage};
pub use demux::Demux;
pub use error::SignalingError;
pub use event::{
    AudioLevel, Failure, MediaPacket, PacketDrops, PeerEvent, PeerStats, Proof, TrackId, TrackInfo,
    TrackStats, Transmit,
};
pub use peer::Peer;
