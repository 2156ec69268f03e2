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
pub use demux::{Demux, DemuxCounters};
pub use error::SignalingError;
pub use event::{
    AudioLevel, Failure, MediaPacket, PacketDrops, PeerEvent, PeerStats, TrackId, TrackInfo,
    TrackStats, Transmit,
};
pub use peer::Peer;
