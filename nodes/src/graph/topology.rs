//! What of a plan never changes while it runs: who feeds whom, and which gates a source can fill.
//!
//! Gates are numbered: first each joined input port of each offloaded or remote hop, in order, then each output.

use std::sync::Arc;

use crate::error::{Code, Error};
use crate::plan::{Placement, Plan, Queue, Source, Target, WhenFull};

/// Gate numbers, shared by the nodes that reach the same ones.
pub(super) type Gates = Arc<[usize]>;

/// The unchanging relations of a plan.
#[derive(Debug)]
pub(super) struct Topology {
    /// For each input, the gates that it reaches through in-place nodes alone.
    pub(super) input_gates: Vec<Gates>,
    /// For each hop, the gates that its outputs reach through in-place nodes alone.
    pub(super) hop_gates: Vec<Gates>,
    /// For each gate, the inputs that reach it on any path.
    pub(super) gate_inputs: Vec<Vec<usize>>,
    /// For each gate of a hop, the outputs that it reaches on any path; for an output itself.
    pub(super) gate_outputs: Vec<Vec<usize>>,
    /// Gates that belong to hops; the outputs' follow.
    pub(super) hop_ports: Vec<HopPort>,
    /// Outputs that an interrupt empties.
    pub(super) interrupted: Vec<usize>,
}

/// A queued input port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HopPort {
    pub(super) hop: usize,
    pub(super) port: usize,
}

impl Topology {
    /// Reads a plan.
    ///
    /// # Errors
    /// An edge names what does not exist, or in-place hops feed each other in a circle: `internal`, since the compiler refuses both.
    pub(super) fn new(plan: &Plan) -> Result<Self, Error> {
        check(plan)?;
        let walk = Walk::new(plan);
        if let Some(hop) = walk.circle() {
            let text = "in-place hops feed each other in a circle";
            return Err(Error::new(Code::Internal, text).at_hop(plan.hops[hop].id.clone()));
        }
        let hop_ports = hop_ports(plan);
        let gates = |visited: &Visited| -> Vec<usize> {
            let hops = hop_ports.iter().enumerate();
            let hops = hops.filter(|(_, g)| visited.ports.contains(&(g.hop, g.port)));
            let outputs = visited.outputs.iter().map(|o| hop_ports.len() + o);
            let mut gates: Vec<_> = hops.map(|(gate, _)| gate).chain(outputs).collect();
            gates.sort_unstable();
            gates
        };
        let from_input = |input, far| gates(&walk.from(Start::Input(input), far));
        let from_hop = |hop, far| gates(&walk.from(Start::Hop(hop), far));
        let inputs = 0..plan.inputs.len();
        let hops = 0..plan.hops.len();
        let gate_count = hop_ports.len() + plan.outputs.len();
        let mut gate_inputs = vec![Vec::new(); gate_count];
        for input in inputs.clone() {
            for gate in from_input(input, true) {
                gate_inputs[gate].push(input);
            }
        }
        let to_outputs = |hop| walk.from(Start::Hop(hop), true).outputs;
        let gate_outputs = hop_ports.iter().map(|gate| to_outputs(gate.hop));
        let gate_outputs = gate_outputs.chain((0..plan.outputs.len()).map(|o| vec![o]));
        Ok(Self {
            input_gates: inputs.map(|i| from_input(i, false).into()).collect(),
            hop_gates: hops.map(|h| from_hop(h, false).into()).collect(),
            gate_inputs,
            gate_outputs: gate_outputs.collect(),
            interrupted: interrupted(plan, &to_outputs),
            hop_ports,
        })
    }

    /// The gate of an output.
    pub(super) fn output_gate(&self, output: usize) -> usize {
        self.hop_ports.len() + output
    }
}

/// The bounds of a queue that several edges may share: the widest of each, and it blocks if one of them does, since that one
/// was promised that nothing is lost.
pub(super) fn shared_queue<'a>(edges: impl Iterator<Item = &'a Queue>) -> Queue {
    edges
        .copied()
        .reduce(|a, b| Queue {
            frames: a.frames.max(b.frames),
            bytes: a.bytes.max(b.bytes),
            age: a.age.zip(b.age).map(|(a, b)| a.max(b)),
            when_full: match (a.when_full, b.when_full) {
                (WhenFull::Block, _) | (_, WhenFull::Block) => WhenFull::Block,
                (first, _) => first,
            },
        })
        .unwrap_or_default()
}

fn hop_ports(plan: &Plan) -> Vec<HopPort> {
    let mut ports = Vec::new();
    for (hop, planned) in plan.hops.iter().enumerate() {
        if planned.placement == Placement::InPlace {
            continue;
        }
        for port in 0..planned.inputs.len() {
            let to = Target::Hop { hop, port };
            if plan.edges.iter().any(|edge| edge.to == to) {
                ports.push(HopPort { hop, port });
            }
        }
    }
    ports
}

fn interrupted(plan: &Plan, to_outputs: &impl Fn(usize) -> Vec<usize>) -> Vec<usize> {
    let flush = plan.interrupt.as_ref().map_or(&[][..], |i| &i.flush[..]);
    let audible = |output: &usize| plan.outputs[*output].kind == tidegate_media::Kind::Audio;
    let all = 0..plan.outputs.len();
    if flush.is_empty() {
        return all.filter(audible).collect();
    }
    let flushed: Vec<_> = flush.iter().flat_map(|hop| to_outputs(*hop)).collect();
    all.filter(|output| flushed.contains(output))
        .filter(audible)
        .collect()
}

fn check(plan: &Plan) -> Result<(), Error> {
    let port = |hop: usize, port: usize, outputs: bool| {
        plan.hops.get(hop).is_some_and(|hop| {
            port < if outputs {
                hop.outputs.len()
            } else {
                hop.inputs.len()
            }
        })
    };
    let edges = plan.edges.iter().all(|edge| {
        let from = match edge.from {
            Source::Input(input) => input < plan.inputs.len(),
            Source::Hop { hop, port: p } => port(hop, p, true),
        };
        let to = match edge.to {
            Target::Output(output) => output < plan.outputs.len(),
            Target::Hop { hop, port: p } => port(hop, p, false),
        };
        from && to
    });
    let flush = plan.interrupt.as_ref().map_or(&[][..], |i| &i.flush[..]);
    if edges && flush.iter().all(|hop| *hop < plan.hops.len()) {
        return Ok(());
    }
    let text = "the plan joins ports that do not exist";
    Err(Error::new(Code::Internal, text))
}

#[derive(Clone, Copy)]
enum Start {
    Input(usize),
    Hop(usize),
}

#[derive(Default)]
struct Visited {
    hops: Vec<usize>,
    ports: Vec<(usize, usize)>,
    outputs: Vec<usize>,
}

struct Walk<'a> {
    plan: &'a Plan,
}

impl<'a> Walk<'a> {
    const fn new(plan: &'a Plan) -> Self {
        Self { plan }
    }

    fn targets(&self, start: Start) -> impl Iterator<Item = Target> + '_ {
        let edges = self.plan.edges.iter();
        edges
            .filter(move |edge| match (start, edge.from) {
                (Start::Input(a), Source::Input(b)) => a == b,
                (Start::Hop(a), Source::Hop { hop, .. }) => a == hop,
                _ => false,
            })
            .map(|edge| edge.to)
    }

    /// What is reached from here; `far` goes on behind queues.
    fn from(&self, start: Start, far: bool) -> Visited {
        let mut visited = Visited::default();
        let mut open = vec![start];
        while let Some(start) = open.pop() {
            for target in self.targets(start) {
                match target {
                    Target::Output(output) if !visited.outputs.contains(&output) => {
                        visited.outputs.push(output);
                    }
                    Target::Output(_) => {}
                    Target::Hop { hop, port } => {
                        let queued = self.plan.hops[hop].placement != Placement::InPlace;
                        if queued && !visited.ports.contains(&(hop, port)) {
                            visited.ports.push((hop, port));
                        }
                        if (far || !queued) && !visited.hops.contains(&hop) {
                            visited.hops.push(hop);
                            open.push(Start::Hop(hop));
                        }
                    }
                }
            }
        }
        visited
    }

    /// A hop that reaches itself without a queue between.
    fn circle(&self) -> Option<usize> {
        let mut hops = 0..self.plan.hops.len();
        hops.find(|hop| {
            self.plan.hops[*hop].placement == Placement::InPlace
                && self.from(Start::Hop(*hop), false).hops.contains(hop)
        })
    }
}
