//! The graph: a pipeline as a state machine without I/O.
//!
//! [`Graph::handle_input`] and [`Graph::handle_timeout`] say what happened, [`Graph::poll_output`] what is to be done about it, and
//! [`Graph::poll_timeout`] when to come again. A driver owns sockets, threads and the clock; it polls all output after every call.
//!
//! What it keeps true:
//! - In-place nodes are called in place, depth first in the order of the edges: on every edge frames keep their order, and
//!   when a call returns nothing is left half done. No queue, no allocation on the steady path.
//! - Queues stand before offloaded and remote hops, one for each input port, and before each listener. Each has bounds. Under
//!   `block` nothing that was accepted is lost: see [`OVERRUN_MAX`] for what a full queue still takes, and [`Graph::input_ready`]
//!   and [`Graph::hop_ready`] for how the sender learns that it is to stop.
//! - Every frame that does not go on is counted with its reason ([`HopStats::dropped`]).
//! - The same inputs at the same instants give the same outputs.
//!
//! **Waiting.** A queue waits — blocks whatever its edge says, and applies neither age nor deadline — if an input whose client
//! waits reaches it by any path; or, where no live client's input reaches it, if a listener that waits is reached from it. An
//! input keeps the mode of its last client after that one has gone, so that a file's tail is not thinned out.
//!
//! **Ends.** A port ends when all edges into it have; a node's outputs end when all its inputs have. Generators, nodes without
//! joined inputs, begin when their timer is called for the first time, which the graph does unasked, and end when every input of
//! the pipeline has ended; they never end if it has none: then the client's closing ends the session. A hop without outputs is
//! done when it says that output 0 has ended, or has acknowledged all that it was sent.
//!
//! **Consumption.** Where a driver asked for it ([`Graph::track`]), each frame carries in `meta.since` the oldest input without which
//! it could not be made again: the input's own place, or that of the oldest that the state of a node on its way needed. The least of all that is
//! under way says what may be acknowledged, the least of that and of what nodes keep says where a replay would begin
//! ([`Graph::consumed`]). Without it nothing is kept and nothing costs.
//!
//! **Time.** Durations of in-place hops are measured for the first eight calls of each hop and then for one of 64.
//!
//! Absent from here: clocks, threads, sockets, codecs, and what a node does.

mod attach;
mod build;
mod call;
mod consumed;
mod egress;
mod ends;
mod flow;
mod gate;
mod hops;
mod interrupt;
mod io;
mod pacer;
mod sampling;
mod sent;
mod state;
mod stats;
mod timers;
mod topology;

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_media::Timestamp;

pub use self::build::Offloaded;
pub use self::consumed::Consumed;
pub use self::gate::OVERRUN_MAX;
pub use self::io::{EgressId, Input, Listener, Output, Probe, Stage};
pub use self::pacer::{LEAD, LEAP, WINDOW};
pub use self::sampling::{FIRST as TIMED_FIRST, ONE_OF as TIMED_ONE_OF};
pub use self::stats::{HopStats, Role};
pub use self::timers::{TIMER_CALLS_MAX, TIMER_REST};
pub use crate::plan::Mode;

use self::consumed::Tracking;
use self::state::{Egress, FullGates, Hop, InPlace, Ingress, Newest, Outlet, Place, Port, Work};
use self::topology::Topology;
use crate::error::Error;
use crate::node::{Effects, Reception};
use crate::plan::Plan;
use crate::registry::Registry;

/// A running pipeline. See the module's text.
pub struct Graph {
    plan: Arc<Plan>,
    topology: Topology,
    /// The node types that conversions for clients are made of.
    conversions: Registry,
    probe: Box<dyn Probe>,

    places: Vec<Place>,
    ports: Vec<Port>,
    nodes: Vec<InPlace>,
    /// When each node's timer is due; `MAX` is never.
    timers: Vec<Timestamp>,
    vacant: Vec<usize>,
    hops: Vec<Hop>,
    inputs: Vec<Ingress>,
    outlets: Vec<Outlet>,
    egresses: Vec<Option<Egress>>,
    next_egress: u32,
    full: FullGates,
    stats: Vec<HopStats>,

    /// How far inputs are consumed is kept track of, since somebody asked.
    tracking: Option<Tracking>,
    /// What the plan makes of the same input is always the same.
    deterministic: bool,
    now: Timestamp,
    /// The newest frame of the inputs that have ended, which is what their end is caused by.
    ended: Newest,
    work: Vec<Work>,
    effects: Effects,
    outputs: VecDeque<Output>,
    /// Something ended since it was last asked whether all has.
    ends_changed: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Finished,
    Failed,
}

impl Graph {
    /// Takes what happened at `now`. Instants that go back are taken for the latest one.
    pub fn handle_input(&mut self, now: Timestamp, input: Input) {
        let now = self.advance(now);
        match input {
            Input::Frame { input, frame } => self.accept(now, input, frame),
            Input::End { input } => self.end_input(now, input),
            _ if self.state != State::Running => {}
            Input::Interrupt => self.interrupt(now),
            Input::Hop { hop, event } => self.hop_event(now, hop, event),
            Input::EgressCredit { egress, frames } => self.credit_egress(now, egress, frames),
        }
        self.run(now);
        self.finish();
    }

    /// The next thing to do, in order. `None`: nothing until the next input or timeout.
    #[inline]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether an input may be sent to. `false`: the transport is to stop reading, and to ask again after whatever it next tells
    /// the graph. Where a generator fills the same queue, room goes to whoever is served first: a driver that always serves timers
    /// or hops first starves its clients. What was read by then may still be given: it is kept, up to [`OVERRUN_MAX`] frames a queue.
    #[must_use]
    pub fn input_ready(&self, input: usize) -> bool {
        let gates = self.topology.input_gates.get(input);
        gates.is_none_or(|gates| !self.full.any(gates))
    }

    /// Whether events of an offloaded or remote hop may be taken. `false`: its frames would not fit; leave its events where they
    /// are, so that it waits as well, and ask again after whatever is next told to the graph.
    #[must_use]
    pub fn hop_ready(&self, hop: usize) -> bool {
        let gates = self.topology.hop_gates.get(hop);
        gates.is_none_or(|gates| !self.full.any(gates))
    }

    /// Running totals: first the plan's hops by their index, then its inputs, then its outputs, then the conversions made for
    /// clients in the order of their first use. Rows are added, never removed.
    #[must_use]
    pub fn hop_stats(&self) -> &[HopStats] {
        &self.stats
    }

    /// What the jitter buffer at this row of [`Graph::hop_stats`] last said of its stream.
    #[must_use]
    pub fn reception(&self, hop: usize) -> Option<Reception> {
        self.stats.get(hop)?.reception
    }

    /// Whether the same input from a replay point on makes the same outputs again, through the conversions of the clients that are
    /// here now. Holds while nothing is shed.
    #[must_use]
    pub fn is_deterministic(&self) -> bool {
        self.deterministic
            && self.inputs.iter().all(|input| input.repeats)
            && self.egresses.iter().flatten().all(|egress| egress.repeats)
    }

    /// The plan that it runs.
    #[must_use]
    pub const fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    fn advance(&mut self, now: Timestamp) -> Timestamp {
        self.now = self.now.max(now);
        if let Some(tracking) = &mut self.tracking {
            tracking.changed();
        }
        self.now
    }

    /// Ends the session with an error.
    fn fail(&mut self, error: Error) {
        if self.state == State::Running {
            self.state = State::Failed;
            self.work.clear();
            self.outputs.push_back(Output::Failed(error));
        }
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph")
            .field("pipeline", &self.plan.pipeline)
            .field("state", &self.state)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}
