//! The moving parts that the graph is made of; what they do is in the files beside.

use std::sync::Arc;

use tidegate_media::{Frame, Timestamp};

use super::consumed::Arrivals;
use super::gate::Gate;
use super::io::EgressId;
use super::pacer::Pacer;
use super::sent::SentRing;
use super::topology::Gates;
use crate::node::{Context, Hold, Node, NodeError};
use crate::plan::Mode;
use crate::stream::StreamFormat;

/// Where a frame goes next. Indices into the graph's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dest {
    /// An in-place node's input port.
    Node { node: usize, port: usize },
    /// An input port of an offloaded or remote hop.
    Hop { hop: usize, port: usize },
    /// An output, for all its listeners.
    Output(usize),
    /// The queue of one listener, behind its conversions.
    Egress(usize),
}

/// What remains to be done in a call of the graph. The stack is emptied before the call returns.
#[derive(Debug)]
pub(super) enum Work {
    Frame { to: Dest, frame: Frame },
    End { to: Dest },
    Interrupt,
}

/// A place that frames come from: an input, or an output port of a hop.
#[derive(Debug, Default)]
pub(super) struct Port {
    /// Frames that came from it.
    pub(super) seq: u64,
    pub(super) dests: Vec<Dest>,
    /// A frame from here interrupts the listener, after the first so many of `dests` have it: outputs that tell clients why.
    pub(super) interrupts: Option<usize>,
    /// Its last frame came.
    pub(super) ended: bool,
}

impl Port {
    /// Nothing comes of a frame that leaves here.
    #[inline]
    pub(super) fn is_loose(&self) -> bool {
        self.dests.is_empty() && self.interrupts.is_none()
    }
}

/// The newest of the pipeline's inputs that something has handled: the last to arrive, of several at one instant the one with
/// the highest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Newest {
    pub(super) ingress: Timestamp,
    pub(super) caused_by: u64,
    pub(super) caused_port: u16,
}

/// A node that is called in place.
pub(super) struct InPlace {
    pub(super) node: Box<dyn Node>,
    /// Its row in the stats.
    pub(super) stat: usize,
    pub(super) newest: Newest,
    /// What its state needs, as it said after its last call.
    pub(super) hold: Hold,
    /// The oldest input that what the present call makes needs.
    pub(super) since: u64,
    /// Its output ports lie in the graph's list from here on.
    pub(super) ports: usize,
    pub(super) port_count: usize,
    /// Edges into each input port that have not ended.
    pub(super) open_edges: Vec<usize>,
    /// Input ports that have not ended. A generator has none from the start.
    pub(super) open_inputs: usize,
    pub(super) ended: bool,
    /// Calls of its timer in the present timeout.
    pub(super) timer_calls: u32,
    /// Gates that its outputs can fill: while one is full its timer is not called.
    pub(super) gates: Gates,
}

impl InPlace {
    /// It has no inputs of its own, and has not ended.
    pub(super) const fn is_generating(&self) -> bool {
        self.open_inputs == 0 && !self.ended
    }
}

/// Stands where a conversion was whose client is gone.
pub(super) struct Vacant;

impl Node for Vacant {
    fn on_frame(&mut self, _: &mut Context<'_>, _: usize, _: Frame) -> Result<(), NodeError> {
        Ok(())
    }
}

/// A hop that is spoken to by messages.
#[derive(Debug)]
pub(super) struct Hop {
    /// Its index in the plan, and its row in the stats.
    pub(super) index: usize,
    pub(super) remote: bool,
    pub(super) inputs: Vec<HopInput>,
    /// Its output ports lie in the graph's list from here on.
    pub(super) ports: usize,
    /// Of each output port.
    pub(super) outputs: Vec<HopOutput>,
    /// An interrupt was sent, and nothing since.
    pub(super) silenced: bool,
    /// An interrupt was sent, and since then nothing was sent and nothing came: another would find nothing to end.
    pub(super) interrupted: bool,
    /// What its state needs, as it says.
    pub(super) hold: Hold,
    /// Nothing more comes from it.
    pub(super) ended: bool,
}

/// An input port of a hop.
#[derive(Debug)]
pub(super) struct HopInput {
    /// Its number among the gates; `None` if nothing is joined to it.
    pub(super) gate_index: Option<usize>,
    pub(super) gate: Gate,
    pub(super) open_edges: usize,
    pub(super) credit_frames: u64,
    /// May go below zero by one frame, so that a frame larger than all credit passes.
    pub(super) credit_bytes: i128,
    pub(super) ring: SentRing,
    /// Outputs caused by frames up to this number are not wanted.
    pub(super) flushed: u64,
    pub(super) end_sent: bool,
}

/// An output port of a hop.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HopOutput {
    /// The newest utterance that something came of.
    pub(super) utterance: u64,
}

/// Where a plan's hop is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    InPlace(usize),
    Message(usize),
}

/// An input of the pipeline.
#[derive(Debug)]
pub(super) struct Ingress {
    pub(super) stat: usize,
    pub(super) seq: u64,
    /// When the newest frame came.
    pub(super) heard: Timestamp,
    /// The client that sends to it now.
    pub(super) client: Option<StreamFormat>,
    /// Of the client that sends to it now, or last did.
    pub(super) mode: Option<Mode>,
    /// The client's conversions, in order.
    pub(super) chain: Vec<usize>,
    /// They make the same again when they are fed the same again.
    pub(super) repeats: bool,
    pub(super) ended: bool,
    /// Which places in the order of arrival its frames have.
    pub(super) arrivals: Arrivals,
    /// When its sender was last asked for a key frame.
    pub(super) key_asked: Option<Timestamp>,
}

/// An output of the pipeline.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) stat: usize,
    pub(super) open_edges: usize,
    pub(super) ended: bool,
    pub(super) paced: bool,
    /// Where its frames go: the head of each listener's conversions, in order of coming.
    pub(super) listeners: Vec<Dest>,
}

/// A listener's own part of an output.
#[derive(Debug)]
pub(super) struct Egress {
    pub(super) id: EgressId,
    pub(super) output: usize,
    pub(super) mode: Mode,
    /// Frames that it still takes; `None` takes all.
    pub(super) credit: Option<u64>,
    /// Its conversions, in order.
    pub(super) chain: Vec<usize>,
    /// They make the same again when they are fed the same again.
    pub(super) repeats: bool,
    pub(super) head: Dest,
    pub(super) gate: Gate,
    pub(super) pacer: Option<Pacer>,
    pub(super) seq: u64,
    /// What caused its newest frame, and the oldest input that one of all frames with that cause needs.
    pub(super) newest: (u16, u64),
    pub(super) since: u64,
    /// [`super::Output::Ended`] was given.
    pub(super) ended: bool,
}

/// Which gates are full, and how many.
#[derive(Debug, Default)]
pub(super) struct FullGates {
    full: Vec<bool>,
    count: usize,
}

impl FullGates {
    pub(super) fn new(gates: usize) -> Self {
        Self {
            full: vec![false; gates],
            count: 0,
        }
    }

    pub(super) fn set(&mut self, gate: usize, full: bool) {
        if self.full[gate] != full {
            self.full[gate] = full;
            if full {
                self.count += 1;
            } else {
                self.count -= 1;
            }
        }
    }

    /// Whether one of these is full.
    #[inline]
    pub(super) fn any(&self, gates: &Arc<[usize]>) -> bool {
        self.count > 0 && gates.iter().any(|gate| self.full[*gate])
    }
}
