//! Loads: what a client does to a server while its times are taken. They run in this process, on
//! [`crate::server::LOAD_CORE`].

pub mod chain;
pub mod grpc;
mod speech;
pub mod turns;
pub mod webrtc;
pub mod ws;

use std::time::Duration;

/// How long and how much.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Time before anything counts: connections, allocators and branch predictors settle.
    pub warm_up: Duration,
    /// Time that counts.
    pub measured: Duration,
    /// Bytes of each frame's payload.
    pub payload: usize,
    /// Frames on their way at the same time; 1 is ping-pong.
    pub window: usize,
}

impl Load {
    /// Ping-pong with frames of 20 ms of 16 kHz audio.
    #[must_use]
    pub fn ping_pong(seconds: u64) -> Self {
        Self {
            warm_up: Duration::from_secs(1),
            measured: Duration::from_secs(seconds),
            payload: 640,
            window: 1,
        }
    }
}
