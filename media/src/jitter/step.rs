//! What goes into the jitter buffer's decisions and what comes out of them.

use std::time::Duration;

use bytes::Bytes;

use crate::frame::{Meta, Rtp};

/// A packet as the buffer takes it.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Its RTP numbers.
    pub rtp: Rtp,
    /// What it carries.
    pub payload: Bytes,
    /// Its playing time in clock units.
    pub samples: u32,
    /// It carries a copy of the packet before it.
    pub fec: bool,
    /// Silence follows it: discontinuous transmission.
    pub pause: bool,
    /// What its frame says of itself.
    pub meta: Meta,
}

/// What to play next. Lengths are in clock units.
#[derive(Clone, Debug)]
pub enum Step {
    /// Decode this packet.
    Decode(Packet),
    /// Make the last `samples` before `next` from the copy in it.
    Fec {
        /// The packet after the missing one; it is decoded by the step after this.
        next: Bytes,
        /// Its playing time, which is that of the copy.
        covers: u32,
        /// Length wanted: at most `covers`; the copy's end.
        samples: u32,
    },
    /// Make something up.
    Conceal {
        /// Length wanted.
        samples: u32,
    },
    /// Play silence.
    Silence {
        /// Length wanted.
        samples: u32,
    },
}

/// How the delay differs from what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correction {
    /// Not enough to act on.
    None,
    /// It is too long by this.
    Shrink(Duration),
    /// It is too short by this.
    Grow(Duration),
}

/// How a pause of the sender ends.
pub(super) enum Pause {
    /// The first packet after it is next.
    Over,
    /// So many clock units of silence come before it.
    Fill(u32),
    /// It is too early to say.
    Wait,
}
