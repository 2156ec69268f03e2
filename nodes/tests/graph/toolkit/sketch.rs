//! Plans built by hand.

use std::sync::Arc;

use serde_json::Value;
use tidegate_nodes::graph::Graph;
use tidegate_nodes::plan::{
    PlanEdge, PlanHop, PlanInput, PlanInterrupt, PlanOutput, PlanPort, Queue, Source, Target,
    WhenFull,
};
use tidegate_nodes::{Accepts, Error, Placement, Plan, StreamFormat};

use super::bench::{Bench, TestProbe};
use super::registry;

/// A plan under construction. Ports and formats follow from what is joined.
#[derive(Clone)]
pub(crate) struct Sketch {
    pub(crate) plan: Plan,
}

impl Sketch {
    pub(crate) fn new() -> Self {
        Self {
            plan: Plan {
                pipeline: "test".to_owned(),
                inputs: Vec::new(),
                outputs: Vec::new(),
                hops: Vec::new(),
                edges: Vec::new(),
                interrupt: None,
            },
        }
    }

    pub(crate) fn input(&mut self, name: &str, format: StreamFormat) -> Source {
        self.plan.inputs.push(PlanInput {
            name: name.to_owned(),
            kind: format.kind(),
            format,
        });
        Source::Input(self.plan.inputs.len() - 1)
    }

    pub(crate) fn output(&mut self, name: &str, format: StreamFormat) -> Target {
        self.plan.outputs.push(PlanOutput {
            name: name.to_owned(),
            kind: format.kind(),
            format,
            seat: None,
            paced: false,
            role: None,
            queue: Queue::default(),
        });
        Target::Output(self.plan.outputs.len() - 1)
    }

    /// Bounds of the newest output's queues.
    pub(crate) fn output_queue(&mut self, frames: u32, when_full: WhenFull) -> &mut PlanOutput {
        let output = self.plan.outputs.last_mut().unwrap();
        output.queue = queue(frames, when_full);
        output
    }

    pub(crate) fn hop(&mut self, id: &str, placement: Placement, ports: (usize, usize)) -> usize {
        self.add(id, id, placement, ports, Value::Null)
    }

    pub(crate) fn node(&mut self, node_type: &str) -> usize {
        self.node_with(node_type, Value::Null)
    }

    pub(crate) fn node_with(&mut self, node_type: &str, params: Value) -> usize {
        let ports = match node_type {
            "generate" => (0, 1),
            "detect" => (1, 2),
            "sink" => (1, 0),
            "join" => (2, 1),
            _ => (1, 1),
        };
        let id = format!("{node_type}{}", self.plan.hops.len());
        self.add(&id, node_type, Placement::InPlace, ports, params)
    }

    /// A hop with everything said.
    pub(crate) fn add(
        &mut self,
        id: &str,
        node_type: &str,
        placement: Placement,
        (inputs, outputs): (usize, usize),
        params: Value,
    ) -> usize {
        let port = |index: usize| PlanPort {
            name: format!("p{index}"),
            format: None,
            accepts: Accepts::Anything,
        };
        self.plan.hops.push(PlanHop {
            id: id.to_owned(),
            node_type: node_type.to_owned(),
            placement,
            inserted: false,
            params: Arc::new(params),
            inputs: (0..inputs).map(port).collect(),
            outputs: (0..outputs).map(port).collect(),
        });
        self.plan.hops.len() - 1
    }

    pub(crate) fn join(&mut self, from: Source, to: Target) -> &mut PlanEdge {
        self.plan.edges.push(PlanEdge {
            from,
            to,
            queue: Queue::default(),
            explicit: false,
        });
        self.plan.edges.last_mut().unwrap()
    }

    /// Joins input 0 to output 0 of these hops in a row, and the last to a target.
    pub(crate) fn chain(&mut self, from: Source, hops: &[usize], to: Target) {
        let mut from = from;
        for &hop in hops {
            self.join(from, into(hop));
            from = out(hop);
        }
        self.join(from, to);
    }

    pub(crate) fn interrupt(&mut self, on: Option<Source>, flush: &[usize]) {
        let flush = flush.to_vec();
        self.plan.interrupt = Some(PlanInterrupt { on, flush });
    }

    /// Why no graph can be made of it.
    pub(crate) fn refused(&self) -> Error {
        let plan = Arc::new(self.plan.clone());
        let probe = Box::new(TestProbe(Arc::default()));
        let Err(error) = Graph::new(plan, &registry(), probe) else {
            panic!("a graph was made of it");
        };
        error
    }

    pub(crate) fn run(&self) -> Bench {
        Bench::new(self.plan.clone())
    }
}

pub(crate) fn into(hop: usize) -> Target {
    Target::Hop { hop, port: 0 }
}

pub(crate) fn out(hop: usize) -> Source {
    Source::Hop { hop, port: 0 }
}

pub(crate) fn queue(frames: u32, when_full: WhenFull) -> Queue {
    Queue {
        frames,
        when_full,
        ..Queue::default()
    }
}
