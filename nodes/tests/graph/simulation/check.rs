//! What must hold at any instant between two calls of the graph.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_media::{Frame, Timestamp};
use tidegate_nodes::graph::{EgressId, Graph, HopStats, Probe, Role, Stage};
use tidegate_nodes::node::DropReason;
use tidegate_nodes::plan::{PlanEdge, Source, Target, WhenFull};
use tidegate_nodes::{Placement, Plan};

use super::nodes::HELD_MAX;
use super::shape::{Tag, start};
use super::worker::Worker;

/// Frames that one call can make at most in these graphs, and that may so stand behind a full queue: what all delays hold.
const OVERRUN: u32 = 512;

/// Virtual time after which an ended session must have finished, and that nothing takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// A probe whose clock stands still, so that a trace does not depend on how often it is read.
pub(super) struct Still;

impl Probe for Still {
    fn now(&mut self) -> Timestamp {
        start()
    }
    fn record(&mut self, _: Timestamp, _: usize, _: Stage, value: Duration) {
        assert!(value < PATIENCE);
    }
    fn session_latency(&mut self, _: EgressId, value: Duration) {
        assert!(value < PATIENCE);
    }
}

/// On every way from an origin, frames come in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Order(BTreeMap<(u64, u64), u64>);

impl Order {
    pub(super) fn check(&mut self, frame: &Frame) {
        let tag = Tag::of(frame);
        let last = self.0.insert((tag.origin, tag.path), tag.n);
        assert!(
            last.is_none_or(|last| last < tag.n),
            "{tag:?} came after {last:?}"
        );
    }
}

/// Every frame went on, waits, or is counted as dropped.
pub(super) fn conservation(graph: &Graph, workers: &[Worker], over: bool) {
    let plan = graph.plan();
    let rows = graph.hop_stats();
    for row in rows {
        let gone = row.frames_out + row.dropped_frames() + u64::from(row.queue_frames);
        match row.role {
            Role::Input | Role::Output | Role::Conversion => {
                assert_eq!(row.frames_in, gone, "{row:?}");
            }
            Role::Hop if row.placement == Placement::InPlace => in_place(row, plan, over),
            Role::Hop => {}
        }
    }
    for worker in workers {
        let row = &rows[worker.hop];
        let came = row.frames_in + worker.emitted + worker.dropped;
        let gone = row.frames_out + row.dropped_frames() + u64::from(row.queue_frames);
        // What the worker says that it dropped may still be on its way.
        let on_way = (worker.received + gone).abs_diff(came);
        assert!(on_way <= worker.dropped, "{row:?}");
    }
    for (hop, planned) in plan.hops.iter().enumerate() {
        let edges = plan.edges.iter();
        let into = edges.filter(|edge| matches!(edge.to, Target::Hop { hop: h, .. } if h == hop));
        let sent: u64 = into.map(|edge| made(plan, rows, edge.from)).sum();
        assert_eq!(rows[hop].frames_in, sent, "into {}", planned.id);
    }
}

fn in_place(row: &HopStats, plan: &Plan, over: bool) {
    let thinned = row.dropped[DropReason::Condition as usize];
    let gone = row.frames_out;
    let hop = plan.hops.iter().find(|hop| *hop.id == *row.id).unwrap();
    let outputs = hop.outputs.len() as u64;
    match &*row.node_type {
        "sim.twice" => assert_eq!(gone, 2 * row.frames_in, "{row:?}"),
        "sim.thin" => {
            assert_eq!(thinned, row.frames_in / 3, "{row:?}");
            assert_eq!(gone + thinned, row.frames_in, "{row:?}");
        }
        "sim.delay" => {
            let held = row.frames_in - gone;
            assert!(held <= if over { 0 } else { HELD_MAX as u64 }, "{row:?}");
        }
        "sim.source" => {}
        _ => assert_eq!(gone, row.frames_in * outputs, "{row:?}"),
    }
}

/// Frames that reached an output, each counted once for each listener, or once if there was none.
pub(super) struct Arrivals {
    reached: u64,
    due: u64,
}

impl Arrivals {
    pub(super) const fn new() -> Self {
        Self { reached: 0, due: 0 }
    }

    /// Brings the count up to now, with the listeners that were there until now.
    pub(super) fn note(&mut self, graph: &Graph, output: usize, listeners: usize) {
        let plan = graph.plan();
        let rows = graph.hop_stats();
        let edges = plan.edges.iter();
        let into = edges.filter(|edge| edge.to == Target::Output(output));
        let reached: u64 = into.map(|edge| made(plan, rows, edge.from)).sum();
        self.due += (reached - self.reached) * listeners.max(1) as u64;
        self.reached = reached;
        let row = &rows[plan.hops.len() + plan.inputs.len() + output];
        assert_eq!(
            row.frames_in, self.due,
            "every listener gets every frame: {row:?}"
        );
    }
}

/// Frames that came from a port.
fn made(plan: &Plan, rows: &[HopStats], source: Source) -> u64 {
    match source {
        Source::Input(input) => rows[plan.hops.len() + input].frames_out,
        // Each of them makes as much on every port.
        Source::Hop { hop, .. } => {
            rows[hop].frames_out / plan.hops[hop].outputs.len().max(1) as u64
        }
    }
}

/// Queues hold what they may, and what one call makes on top of it if they block.
pub(super) fn bounds(graph: &Graph, listeners: &[usize], all_live: bool) {
    let plan = graph.plan();
    let rows = graph.hop_stats();
    for (hop, planned) in plan.hops.iter().enumerate() {
        let ports = 0..planned.inputs.len();
        let into = |port: usize| {
            let to = Target::Hop { hop, port };
            plan.edges.iter().filter(move |edge| edge.to == to)
        };
        let limit = |port| into(port).map(|edge| edge.queue.frames).max().unwrap_or(0);
        let limit: u32 = ports.clone().map(limit).sum();
        let sheds = |edge: &PlanEdge| edge.queue.when_full != WhenFull::Block;
        let sheds = all_live && ports.flat_map(into).all(sheds);
        let overrun = if sheds { 0 } else { OVERRUN };
        assert!(rows[hop].queue_frames <= limit + overrun, "{:?}", rows[hop]);
    }
    let first = plan.hops.len() + plan.inputs.len();
    for (output, planned) in plan.outputs.iter().enumerate() {
        let sheds = all_live && planned.queue.when_full != WhenFull::Block;
        let limit = planned.queue.frames + if sheds { 0 } else { OVERRUN };
        let row = &rows[first + output];
        let listeners = u32::try_from(listeners[output]).unwrap();
        assert!(row.queue_frames <= limit * listeners, "{row:?}");
    }
}

/// Where everybody waits, nothing that came from a client is lost for want of room or time.
pub(super) fn patience(graph: &Graph) {
    let plan = graph.plan();
    let reached = reached(plan);
    for (index, row) in graph.hop_stats().iter().enumerate() {
        if row.role != Role::Hop || reached[index] {
            for reason in [DropReason::QueueFull, DropReason::Age, DropReason::Deadline] {
                assert_eq!(row.dropped[reason as usize], 0, "{reason:?} {row:?}");
            }
        }
    }
}

/// Of which hops an input reaches every queue; a plan's hops come in the order of their edges here.
fn reached(plan: &Plan) -> Vec<bool> {
    let mut fed = vec![false; plan.hops.len()];
    let mut all = vec![false; plan.hops.len()];
    for (hop, planned) in plan.hops.iter().enumerate() {
        let ports: Vec<bool> = (0..planned.inputs.len())
            .map(|port| {
                let to = Target::Hop { hop, port };
                let mut edges = plan.edges.iter().filter(|edge| edge.to == to);
                edges.any(|edge| match edge.from {
                    Source::Input(_) => true,
                    Source::Hop { hop, .. } => fed[hop],
                })
            })
            .collect();
        fed[hop] = ports.contains(&true);
        all[hop] = !ports.contains(&false);
    }
    all
}
