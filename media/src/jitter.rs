//! De-jittering of received audio: packets go in when the network delivers them, sound comes out in order and in time.
//!
//! [`JitterBuffer`] decides, [`JitterDecoder`] decodes. Both keep this true: the sound that comes out advances exactly as
//! fast as the gateway's clock, whatever the sender's clock does; nothing waits longer than the network's jitter demands;
//! memory is bounded whatever is sent.
//!
//! How. Each packet has a *due time*: when the fastest packets of late would have brought it, plus a target delay that
//! follows the network. A packet whose turn it is goes on as soon as it is here, ahead of its due time: on
//! a clean network the buffer costs nothing. The due time decides only how long a missing packet is waited for. Then it
//! is made from the copy in the next one (in-band FEC) or concealed. When the sound runs ahead of or behind the target by
//! more than a margin, a pitch period is taken out or put in ([`stretch`]); pauses are simply cut or drawn out.
//!
//! Absent: clocks and timers. `poll_timeout` says when to call `poll` again.

mod arrivals;
mod buffer;
mod decoder;
mod delay;
mod packets;
mod step;
pub mod stretch;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::buffer::JitterBuffer;
pub use self::decoder::{JitterDecoder, NotRtp};
pub use self::step::{Correction, Packet, Step};

/// Bounds and habits of a jitter buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JitterSettings {
    /// Least target: on a network without jitter, how long a missing packet is waited for. No packet is held for it that could go on.
    pub delay_min: Duration,
    /// Target before anything is known about the network.
    pub delay_initial: Duration,
    /// Most target: sound that lies further behind is skipped.
    pub delay_max: Duration,
    /// How far ahead of its due time a packet may go on. Zero paces the output evenly, for sinks that have no buffer of
    /// their own, and costs the whole delay.
    pub early: Duration,
    /// Most packets held.
    pub packets_max: usize,
    /// Most payload bytes held.
    pub bytes_max: usize,
    /// Silence after which the output stops until a packet comes.
    pub idle_after: Duration,
}

impl Default for JitterSettings {
    fn default() -> Self {
        Self {
            delay_min: Duration::from_millis(20),
            delay_initial: Duration::from_millis(30),
            delay_max: Duration::from_millis(500),
            early: Duration::from_millis(200),
            packets_max: 256,
            bytes_max: 256 * 1024,
            idle_after: Duration::from_secs(2),
        }
    }
}

/// What a jitter buffer has seen and done. Counters only grow; durations and rates are of now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct JitterFigures {
    /// Packets that came, whatever became of them.
    pub received: u64,
    /// Packets that never came in time, as far as later ones show.
    pub lost: u64,
    /// Packets that came after their place had been given up; counted as lost before.
    pub late: u64,
    /// Packets that had come already.
    pub duplicates: u64,
    /// Packets that came after a younger one, and in time.
    pub reordered: u64,
    /// Packets thrown away because the buffer was full, the delay too long, or their numbers senseless.
    pub discarded: u64,
    /// Packets that the decoder refused.
    pub malformed: u64,
    /// Samples of each channel, at the output's rate, that came out in all.
    pub samples: u64,
    /// Of these, made up for missing packets.
    pub concealed_samples: u64,
    /// Of these, made from the copy in the next packet.
    pub recovered_samples: u64,
    /// Of these, silence: discontinuous transmission or a sender that stopped.
    pub silence_samples: u64,
    /// Samples put in to lengthen the delay.
    pub inserted_samples: u64,
    /// Samples taken out to shorten the delay.
    pub removed_samples: u64,
    /// How often the sender began anew.
    pub restarts: u64,
    /// Inter-arrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// Delay that is aimed for, from a packet's earliest possible arrival to its due time.
    pub target_delay: Duration,
    /// Delay that there is, from a packet's earliest possible arrival to its due time.
    pub delay: Duration,
    /// Sum over packets of the time each waited here; divide by `emitted` for the mean.
    pub waited: Duration,
    /// Packets that went on.
    pub emitted: u64,
}
