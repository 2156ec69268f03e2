//! What a peer is configured with: shared by all peers of a process and cheap to clone.
//!
//! Every bound is here, with the reason for its default.

use std::net::SocketAddr;
use std::time::Duration;

use crate::certificate::Certificate;
use crate::codec::{AudioCodec, VideoCodec};

/// Settings of every peer of a process.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// The certificate that peers prove themselves with.
    pub certificate: Certificate,
    /// Host candidates written into each description, most wanted first. All peers share one UDP
    /// socket; these are the addresses under which it can be reached. Not resolved, not probed.
    pub candidates: Vec<SocketAddr>,
    /// Bounds.
    pub limits: Limits,
    /// Intervals and patience.
    pub timing: Timing,
}

impl PeerConfig {
    /// Defaults with `certificate` and `candidates`.
    #[must_use]
    pub fn new(certificate: Certificate, candidates: Vec<SocketAddr>) -> Self {
        Self {
            certificate,
            candidates,
            limits: Limits::default(),
            timing: Timing::default(),
        }
    }
}

/// Bounds of what a peer may send or keep waiting.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a description or fragment. A browser's offer with all its codecs has about 8 KiB.
    pub max_sdp: usize,
    /// Media sections of an offer.
    pub max_sections: usize,
    /// Candidates taken from descriptions and fragments together; more are ignored and counted.
    pub max_candidates: usize,
    /// Events waiting for `poll_event`; media beyond it is dropped and counted.
    pub max_events: usize,
    /// Packets of sent video kept to be sent again, per track: at 1,200 bytes about 300 KiB, 0.4 s
    /// of 5 Mbit/s.
    pub max_resend_packets: usize,
    /// Kilobits per second of video that a sender is told it may send. Browsers start at 300 and
    /// go up to this at once if they are told within two seconds (REMB).
    pub video_kbit: u16,
    /// Bounds of the data channels.
    pub data: DataLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_sdp: 64 * 1024,
            max_sections: 16,
            max_candidates: 32,
            max_events: 1024,
            max_resend_packets: 256,
            video_kbit: 2500,
            data: DataLimits::default(),
        }
    }
}

/// Bounds of the data channels of one peer.
#[derive(Debug, Clone, Copy)]
pub struct DataLimits {
    /// Bytes of one message, announced as `max-message-size`. Browsers split nothing above 256 KiB.
    pub max_message: u32,
    /// Bytes received and not read; the sender's window.
    pub receive_buffer: u32,
    /// Bytes of one channel queued or not yet acknowledged before `send` refuses.
    pub send_buffer: usize,
    /// Open channels.
    pub max_channels: usize,
    /// Events waiting before messages are left in the association.
    pub max_events: usize,
}

impl Default for DataLimits {
    fn default() -> Self {
        Self {
            max_message: 256 * 1024,
            receive_buffer: 512 * 1024,
            send_buffer: 1024 * 1024,
            max_channels: 16,
            max_events: 64,
        }
    }
}

/// Intervals and patience.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// First interval between connectivity checks of one address; doubles per check. Short, because
    /// the first check often goes out before the peer has its answer.
    pub check_interval: Duration,
    /// Between consent checks (RFC 7675 asks for one in 5 s at least).
    pub keepalive: Duration,
    /// Silence until [`PeerEvent::Disconnected`](crate::PeerEvent::Disconnected). Above two
    /// keepalives, so that one lost packet is not an event.
    pub disconnected: Duration,
    /// Silence, or time without a connection, until [`PeerEvent::Failed`](crate::PeerEvent::Failed).
    pub failed: Duration,
    /// Between reports of reception and sending.
    pub report_interval: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            check_interval: Duration::from_millis(20),
            keepalive: Duration::from_secs(2),
            disconnected: Duration::from_secs(5),
            failed: Duration::from_secs(15),
            report_interval: Duration::from_secs(2),
        }
    }
}

/// What the caller came for: its protocol decides which direction is the main one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The client sends (RFC 9725), and may receive if it offers `sendrecv`.
    Whip,
    /// The client receives; what it sends is not taken.
    Whep,
}

/// What a session can take and give, decided by its pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Audio codecs, most wanted first; empty if there is no audio.
    pub audio_codecs: Vec<AudioCodec>,
    /// Whether audio of the client is taken.
    pub receive_audio: bool,
    /// Whether there is audio for the client.
    pub send_audio: bool,
    /// Video codecs, most wanted first; empty if there is no video.
    pub video_codecs: Vec<VideoCodec>,
    /// Whether video of the client is taken.
    pub receive_video: bool,
    /// Whether there is video for the client.
    pub send_video: bool,
    /// Whether data channels are served.
    pub data_channels: bool,
}

impl Capabilities {
    /// Audio both ways with every codec, data channels, no video: a voice pipeline.
    #[must_use]
    pub fn voice() -> Self {
        Self {
            audio_codecs: vec![AudioCodec::Opus, AudioCodec::Pcmu, AudioCodec::Pcma],
            receive_audio: true,
            send_audio: true,
            video_codecs: Vec::new(),
            receive_video: false,
            send_video: false,
            data_channels: true,
        }
    }

    /// Audio and video both ways, data channels.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            video_codecs: vec![VideoCodec::Vp8, VideoCodec::H264],
            receive_video: true,
            send_video: true,
            ..Self::voice()
        }
    }
}
