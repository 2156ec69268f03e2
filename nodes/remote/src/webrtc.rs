//! The transport `webrtc`: this gateway offers to `/v1/pipelines/{name}/whip` (RFC 9725) of a worker. Audio and encoded video travel as
//! RTP, everything else on the data channel `events`, which speaks `tidegate.v1.proto`.
//!
//! A hop has a UDP socket of its own, which is polled in place. Media is live: what is lost on the way is lost, and what was sent counts
//! as consumed, so that nothing of it is ever replayed. What travels on the channel arrives whole and in order.
//!
//! Absent: trickled candidates and TURN. Gateways and their workers reach each other directly.

mod link;
mod media;
mod open;
mod ping;
mod source;
pub mod tracks;
mod wire;

pub(crate) use open::open;
pub(crate) use ping::ping;

use std::sync::{Mutex, PoisonError};

use tidegate_signaling::Certificate;

use crate::error::RemoteError;

/// The certificate by which all hops of a process are known to their workers: made once, since making one takes a while.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<Option<Certificate>>);

impl Known {
    fn get(&self) -> Result<Certificate, RemoteError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*known {
            return Ok(known.clone());
        }
        let made = Certificate::generate()
            .map_err(|error| RemoteError::Network(format!("no certificate for WebRTC: {error}")))?;
        Ok(known.insert(made).clone())
    }
}
