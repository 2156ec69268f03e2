//! What passes between the graph and a hop that is not in place: a thread, a gRPC stream, or anything later.
//!
//! The graph numbers the frames that it sends to a hop from 1 by 1 per port in `meta.seq`. A hop's output names in `meta.caused_by`
//! the newest of those numbers that caused it, in `meta.caused_port` the input port that it counts on (from 1; 0 if it does not know),
//! and in `meta.service` the worker's own time; from these the graph derives queue, wire and service time and restores the
//! pipeline's own numbering. A hop takes only as many frames as it gave credit for.
//!
//! What the end of an input makes a hop say is caused by the number behind its last frame.
//!
//! What a hop was sent is not consumed before it says so ([`HopEvent::Acknowledged`]): a hop whose other side knows no
//! acknowledgements takes an answer for one.

use std::sync::Arc;
use std::time::Duration;

use tidegate_media::Frame;

use crate::error::{Code, Error};
use crate::node::Hold;

/// A port as `meta.caused_port` names it: from 1. A port beyond what that can name is not named.
#[must_use]
pub fn port_number(port: usize) -> u16 {
    u16::try_from(port + 1).unwrap_or(0)
}

/// From the graph to the hop.
#[derive(Clone, Debug, PartialEq)]
pub enum HopCommand {
    /// A frame for an input port.
    Frame {
        /// Input port.
        port: usize,
        /// The frame, numbered for this hop.
        frame: Frame,
    },
    /// No more frames will come on this input port.
    End {
        /// Input port.
        port: usize,
    },
    /// Forget what was sent so far and is not answered yet.
    Interrupt,
}

/// From the hop to the graph.
#[derive(Clone, Debug, PartialEq)]
pub enum HopEvent {
    /// The hop takes this much more on an input port, on top of what is left of earlier credit.
    Credit {
        /// Input port.
        port: usize,
        /// Frames.
        frames: u32,
        /// Payload bytes; `u64::MAX` means that only frames count.
        bytes: u64,
    },
    /// The hop consumed what was sent up to this number and will not ask for it again.
    Acknowledged {
        /// Input port.
        port: usize,
        /// Up to this `seq`, inclusive.
        seq: u64,
    },
    /// A frame made by the hop.
    Frame {
        /// Output port.
        port: usize,
        /// The frame; see the module's words on `caused_by` and `service`.
        frame: Frame,
    },
    /// What the hop's state still needs, by `meta.since` of the frames that it was sent: a replay of the whole pipeline would have to
    /// begin there. Replaces what it said before.
    Holds(Hold),
    /// Frames that the hop itself did not let pass.
    Dropped {
        /// Why.
        reason: crate::node::DropReason,
        /// How many.
        frames: u32,
    },
    /// The video that it was sent on an input cannot be used before the next key frame: whoever makes it is to be asked for one.
    KeyFrameWanted {
        /// Input port.
        port: usize,
    },
    /// One of the hop's outputs has ended. After all have, the hop has ended.
    Ended {
        /// Output port.
        port: usize,
    },
    /// The hop is gone; nothing more comes from it.
    Failed(Error),
    /// What happened to a remote hop's streams. For whoever counts; the graph takes no notice.
    Note(HopNote),
}

/// What happened to a remote hop's streams.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum HopNote {
    /// A stream was opened, or could not be, or broke.
    Attempt {
        /// As configured.
        endpoint: Arc<str>,
        /// `None`: it was opened.
        outcome: Option<Code>,
        /// Until it was opened or refused; of a stream that broke, how long it had stood.
        took: Duration,
    },
    /// A stream took over from another one.
    Failover {
        /// The endpoint before.
        from: Arc<str>,
        /// The endpoint now.
        to: Arc<str>,
        /// Frames that the one before had been sent and that are sent again.
        replayed: u64,
    },
    /// So many frames were to be sent again and were no longer kept.
    Gap(u64),
    /// This tier serves the hop from now on; 0 is the primary.
    Tier(usize),
}
