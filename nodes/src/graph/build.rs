//! Making a graph of a plan.

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_media::Timestamp;

use super::gate::Gate;
use super::state::{
    Dest, FullGates, Hop, HopInput, HopOutput, InPlace, Ingress, Newest, Outlet, Place, Port,
};
use super::stats::{HopStats, Role};
use super::topology::{Topology, shared_queue};
use super::{Graph, Probe, State};
use crate::deterministic::deterministic;
use crate::error::{Code, Error};
use crate::node::{Effects, Hold, Node};
use crate::plan::{Placement, Plan, PlanHop, Source, Target};
use crate::registry::Registry;
use crate::stream::StreamFormat;

/// The node types that [`conversions`](crate::compile::conversions) names.
const CONVERSIONS: [&str; 6] = [
    "audio.dejitter",
    "audio.decode",
    "audio.resample",
    "audio.channels",
    "audio.encode",
    "audio.pcm",
];

/// Nodes of offloaded hops, each with its hop's index: the driver runs them.
pub type Offloaded = Vec<(usize, Box<dyn Node>)>;

impl Graph {
    /// Makes a graph of a plan, and the nodes of its offloaded hops, each with its index in the plan, which the driver runs and
    /// speaks for in [`HopEvent`](crate::HopEvent)s. Remote hops are the driver's to open.
    ///
    /// # Errors
    /// `node_failed` if a node cannot be built, for example since its file cannot be opened; `internal` if the plan is
    /// inconsistent or names an unknown node type, which the compiler refuses.
    pub fn new(
        plan: Arc<Plan>,
        registry: &Registry,
        probe: Box<dyn Probe>,
    ) -> Result<(Self, Offloaded), Error> {
        let topology = Topology::new(&plan)?;
        let mut graph = Self {
            full: FullGates::new(topology.gate_inputs.len()),
            topology,
            conversions: conversions_of(registry),
            probe,
            places: Vec::with_capacity(plan.hops.len()),
            ports: Vec::new(),
            nodes: Vec::new(),
            timers: Vec::new(),
            vacant: Vec::new(),
            hops: Vec::new(),
            inputs: Vec::new(),
            outlets: Vec::new(),
            egresses: Vec::new(),
            next_egress: 0,
            stats: stats_of(&plan),
            tracking: None,
            deterministic: deterministic(&plan, registry),
            now: Timestamp::ZERO,
            ended: Newest::default(),
            work: Vec::new(),
            effects: Effects::default(),
            outputs: VecDeque::new(),
            ends_changed: false,
            state: State::Running,
            plan: Arc::clone(&plan),
        };
        graph.add_clients_places();
        let mut offloaded = Vec::new();
        for (index, hop) in plan.hops.iter().enumerate() {
            match hop.placement {
                Placement::InPlace => {
                    let node = build(registry, &hop.node_type, hop)?;
                    graph.add_node(index, node);
                }
                Placement::Offload => {
                    offloaded.push((index, build(registry, &hop.node_type, hop)?));
                    graph.add_hop(index, false);
                }
                Placement::Remote => graph.add_hop(index, true),
            }
        }
        graph.join();
        Ok((graph, offloaded))
    }

    fn add_clients_places(&mut self) {
        let hops = self.plan.hops.len();
        for index in 0..self.plan.inputs.len() {
            let stat = hops + index;
            self.inputs.push(Ingress {
                stat,
                seq: 0,
                heard: Timestamp::ZERO,
                client: None,
                mode: None,
                chain: Vec::new(),
                repeats: true,
                ended: false,
                arrivals: super::consumed::Arrivals::default(),
                key_asked: None,
            });
            // An input's port has the input's own number.
            self.ports.push(Port::default());
        }
        for (index, output) in self.plan.outputs.iter().enumerate() {
            let to = Target::Output(index);
            let open_edges = self.plan.edges.iter().filter(|e| e.to == to).count();
            self.outlets.push(Outlet {
                stat: hops + self.plan.inputs.len() + index,
                open_edges,
                ended: open_edges == 0,
                paced: output.paced,
                listeners: Vec::new(),
            });
        }
    }

    fn add_node(&mut self, index: usize, node: Box<dyn Node>) {
        let hop = &self.plan.hops[index];
        let edges: Vec<_> = (0..hop.inputs.len())
            .map(|port| edges_into(&self.plan, index, port))
            .collect();
        let generator = edges.iter().all(|count| *count == 0);
        self.places.push(Place::InPlace(self.nodes.len()));
        self.nodes.push(InPlace {
            node,
            stat: index,
            newest: Newest::default(),
            hold: Hold::Nothing,
            since: u64::MAX,
            ports: self.ports.len(),
            port_count: hop.outputs.len(),
            open_inputs: edges.iter().filter(|count| **count > 0).count(),
            open_edges: edges,
            ended: false,
            timer_calls: 0,
            gates: Arc::clone(&self.topology.hop_gates[index]),
        });
        // A generator is called at once, so that it can begin.
        let first = if generator {
            Timestamp::ZERO
        } else {
            Timestamp::MAX
        };
        self.timers.push(first);
        let ports = hop.outputs.len();
        self.ports.extend((0..ports).map(|_| Port::default()));
    }

    fn add_hop(&mut self, index: usize, remote: bool) {
        let hop = &self.plan.hops[index];
        let ports = self.topology.hop_ports.iter();
        let gates: Vec<_> = ports.enumerate().filter(|(_, g)| g.hop == index).collect();
        let inputs = (0..hop.inputs.len()).map(|port| {
            let to = Target::Hop { hop: index, port };
            let edges = self.plan.edges.iter().filter(|edge| edge.to == to);
            let gate = gates.iter().find(|(_, gate)| gate.port == port);
            HopInput {
                gate_index: gate.map(|(gate, _)| *gate),
                gate: Gate::new(&shared_queue(edges.map(|edge| &edge.queue))),
                open_edges: edges_into(&self.plan, index, port),
                credit_frames: 0,
                credit_bytes: 0,
                ring: super::sent::SentRing::default(),
                flushed: 0,
                end_sent: false,
            }
        });
        let inputs = inputs.collect();
        self.places.push(Place::Message(self.hops.len()));
        self.hops.push(Hop {
            index,
            remote,
            inputs,
            ports: self.ports.len(),
            outputs: vec![HopOutput::default(); hop.outputs.len()],
            silenced: false,
            interrupted: false,
            hold: Hold::Nothing,
            ended: false,
        });
        let ports = hop.outputs.len();
        self.ports.extend((0..ports).map(|_| Port::default()));
    }

    /// Joins the ports by the plan's edges.
    fn join(&mut self) {
        let plan = Arc::clone(&self.plan);
        for edge in &plan.edges {
            let to = match edge.to {
                Target::Output(output) => Dest::Output(output),
                Target::Hop { hop, port } => match self.places[hop] {
                    Place::InPlace(node) => Dest::Node { node, port },
                    Place::Message(hop) => Dest::Hop { hop, port },
                },
            };
            let from = self.port_of(edge.from);
            self.ports[from].dests.push(to);
        }
        let on = plan.interrupt.as_ref().and_then(|interrupt| interrupt.on);
        if let Some(on) = on {
            let emptied = &self.topology.interrupted;
            let tells = |to: &Dest| matches!(to, Dest::Output(o) if !emptied.contains(o));
            let port = self.port_of(on);
            if let Some(port) = self.ports.get_mut(port) {
                port.dests.sort_by_key(|to| !tells(to));
                port.interrupts = Some(port.dests.iter().filter(|to| tells(to)).count());
            }
        }
    }

    fn port_of(&self, source: Source) -> usize {
        match source {
            Source::Input(input) => input,
            Source::Hop { hop, port } => match self.places[hop] {
                Place::InPlace(node) => self.nodes[node].ports + port,
                Place::Message(hop) => self.hops[hop].ports + port,
            },
        }
    }
}

fn edges_into(plan: &Plan, hop: usize, port: usize) -> usize {
    let to = Target::Hop { hop, port };
    plan.edges.iter().filter(|edge| edge.to == to).count()
}

fn conversions_of(registry: &Registry) -> Registry {
    let mut conversions = Registry::empty();
    for name in CONVERSIONS {
        if let Some(node_type) = registry.get(name) {
            conversions.add_shared(Arc::clone(node_type));
        }
    }
    conversions
}

fn stats_of(plan: &Plan) -> Vec<HopStats> {
    let hops = plan.hops.iter().map(|hop| HopStats {
        placement: hop.placement,
        inserted: hop.inserted,
        ..HopStats::new(&hop.id, &hop.node_type, Role::Hop)
    });
    let inputs = plan.inputs.iter();
    let inputs = inputs.map(|input| HopStats::new(&input.name, "input", Role::Input));
    let outputs = plan.outputs.iter();
    let outputs = outputs.map(|output| HopStats::new(&output.name, "output", Role::Output));
    hops.chain(inputs).chain(outputs).collect()
}

fn build(registry: &Registry, node_type: &str, hop: &PlanHop) -> Result<Box<dyn Node>, Error> {
    let formats: Vec<Option<StreamFormat>> = hop.inputs.iter().map(|port| port.format).collect();
    make(registry, node_type, &hop.params, &formats).map_err(|error| error.at_hop(hop.id.clone()))
}

/// Makes a node of a type.
pub(super) fn make(
    registry: &Registry,
    node_type: &str,
    params: &serde_json::Value,
    inputs: &[Option<StreamFormat>],
) -> Result<Box<dyn Node>, Error> {
    let Some(found) = registry.get(node_type) else {
        let text = format!("there is no node type '{node_type}' to build");
        return Err(Error::new(Code::Internal, text));
    };
    found.build(params, inputs).map_err(|error| {
        let text = format!("{node_type} cannot be built: {error}");
        Error::new(Code::NodeFailed, text)
    })
}
