//! Encoded pictures out of RTP packets and back (RFC 7741 for VP8, RFC 6184 for H.264).
//!
//! Nothing is decoded. [`VideoDepacketizer`] orders packets, waits a bounded time for lost ones to be
//! sent again, and gives whole pictures or says that one is gone; [`VideoPacketizer`] cuts pictures to
//! the size of a datagram. Absent: layers (simulcast, temporal), interleaving (RFC 6184 mode 2).

mod depacketize;
mod h264;
mod packetize;
mod vp8;

pub use depacketize::{
    AccessUnit, Depacketized, VideoDepacketizer, VideoDrops, VideoLimits, VideoLoss,
};
pub use packetize::VideoPacketizer;
