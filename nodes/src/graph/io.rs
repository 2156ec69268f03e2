//! What goes into the graph and comes out of it, and what the driver supplies.

use std::time::Duration;

use tidegate_media::{Frame, Timestamp};

use crate::error::Error;
use crate::hop::{HopCommand, HopEvent};
use crate::plan::Mode;
use crate::stream::Accepts;

/// One listener at one output. Never given twice by the same graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EgressId(pub(super) u32);

/// A client that listens to an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What it takes; conversions to it are inserted.
    pub accepts: Accepts,
    /// Whether it can be told to wait.
    pub mode: Mode,
    /// It plays what it gets: if it is live, a paced output gives it frames by media time. A gateway in front of this one does not: it
    /// paces for its own client, and what it has sent again after a failure it wants as fast as it can be made.
    pub plays: bool,
    /// It gives credit by [`Input::EgressCredit`], starting with none; otherwise frames leave as soon as they are due (WebRTC).
    pub metered: bool,
}

/// Something that happened outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A client sent a frame. `meta.ingress` is when it arrived (`now` if zero); `meta.seq` is kept if it is not 0.
    Frame {
        /// The pipeline's input.
        input: usize,
        /// The frame.
        frame: Frame,
    },
    /// No more frames will come on this input.
    End {
        /// The pipeline's input.
        input: usize,
    },
    /// A client interrupts.
    Interrupt,
    /// An offloaded or remote hop says something.
    Hop {
        /// Index in [`Plan::hops`](crate::plan::Plan::hops).
        hop: usize,
        /// What it says.
        event: HopEvent,
    },
    /// A metered listener takes this many more frames.
    EgressCredit {
        /// The listener.
        egress: EgressId,
        /// Frames, on top of what is left.
        frames: u32,
    },
}

/// Something that the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send a frame to a listener. `meta.seq` counts from 1 by 1 for each listener.
    Frame {
        /// The listener.
        egress: EgressId,
        /// The frame.
        frame: Frame,
    },
    /// No more frames will come for this listener.
    Ended {
        /// The listener.
        egress: EgressId,
    },
    /// Tell an offloaded or remote hop something.
    Hop {
        /// Index in [`Plan::hops`](crate::plan::Plan::hops).
        hop: usize,
        /// What to tell it.
        command: HopCommand,
    },
    /// What was queued for this listener is gone; it is to forget what it has not played.
    Interrupted {
        /// The listener.
        egress: EgressId,
    },
    /// Ask the sender of this video input for a key frame.
    KeyFrameWanted {
        /// The pipeline's input.
        input: usize,
    },
    /// The session is over; the graph does nothing more.
    Failed(Error),
    /// Every output has ended and every hop is done. Comes once, as the last; only listeners that come later are still told that
    /// they have ended.
    Finished,
}

/// What a duration measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Waited in the graph before the hop. Of an output: how long a frame that could not leave at once waited for its listener.
    Queue,
    /// The hop's own work: of remote hops as the worker says it, its queue included.
    Service,
    /// The remainder: network, encoding and decoding.
    Wire,
    /// To the first output of an utterance, from the input that this output says it was caused by, when that came to the hop: not from the
    /// utterance's beginning, nor to the result that it ends with.
    FirstOutput,
}

/// Supplied by the driver; virtual in simulation.
pub trait Probe: Send {
    /// Reads the driver's clock, for the sampled timing of in-place hops.
    fn now(&mut self) -> Timestamp;

    /// Takes one measurement of a hop; `hop` is an index into [`Graph::hop_stats`](super::Graph::hop_stats).
    /// `now` is when what is being handled came: to read a clock for each measurement would cost more than it.
    fn record(&mut self, now: Timestamp, hop: usize, stage: Stage, value: Duration);

    /// Takes the time from the arrival of the newest input that caused a frame to the departure of that frame.
    fn session_latency(&mut self, egress: EgressId, value: Duration);
}
