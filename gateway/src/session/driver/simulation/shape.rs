//! A random pipeline in which every input reaches every output that it reaches on one path.

use std::sync::Arc;

use tidegate_media::Kind;
use tidegate_nodes::plan::{
    Placement, Plan, PlanEdge, PlanHop, PlanInput, PlanOutput, PlanPort, Queue, Source, Target,
    WhenFull,
};
use tidegate_nodes::{Accepts, StreamFormat};

use super::{Rng, ms};

/// A random pipeline.
pub(super) struct Shape {
    pub(super) plan: Plan,
    /// For each output, the inputs that reach it.
    pub(super) reaches: Vec<Vec<usize>>,
}

impl Shape {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let mut shape = Self {
            plan: Plan {
                pipeline: "simulated".to_owned(),
                inputs: Vec::new(),
                outputs: Vec::new(),
                hops: Vec::new(),
                edges: Vec::new(),
                interrupt: None,
            },
            reaches: Vec::new(),
        };
        let mut ends: Vec<(Source, Vec<usize>)> = Vec::new();
        for input in 0..1 + rng.index(2) {
            shape.plan.inputs.push(PlanInput {
                name: format!("in{input}"),
                kind: Kind::Binary,
                format: StreamFormat::Binary,
            });
            let end = shape.chain(rng, Source::Input(input));
            ends.push((end, vec![input]));
        }
        if ends.len() > 1 && rng.one_in(2) {
            let joined = shape.hop(rng, Placement::InPlace);
            for (from, _) in &ends {
                shape.join(
                    rng,
                    *from,
                    Target::Hop {
                        hop: joined,
                        port: 0,
                    },
                );
            }
            let end = shape.chain(
                rng,
                Source::Hop {
                    hop: joined,
                    port: 0,
                },
            );
            ends = vec![(end, (0..ends.len()).collect())];
        }
        for (end, inputs) in ends {
            for _ in 0..1 + rng.index(2) {
                let output = shape.plan.outputs.len();
                shape.plan.outputs.push(PlanOutput {
                    name: format!("out{output}"),
                    kind: Kind::Binary,
                    format: StreamFormat::Binary,
                    seat: None,
                    paced: false,
                    role: None,
                    queue: queue(rng),
                });
                shape.join(rng, end, Target::Output(output));
                shape.reaches.push(inputs.clone());
            }
        }
        shape
    }

    /// Hops that are spoken to by messages, with their inputs.
    pub(super) fn hops(&self) -> impl Iterator<Item = (usize, usize)> {
        let hops = self.plan.hops.iter().enumerate();
        let far = hops.filter(|(_, hop)| hop.placement != Placement::InPlace);
        far.map(|(index, hop)| (index, hop.inputs.len()))
    }

    fn chain(&mut self, rng: &mut Rng, from: Source) -> Source {
        let mut from = from;
        for _ in 0..rng.index(3) {
            let placement = match rng.one_in(2) {
                true => Placement::Remote,
                false => Placement::InPlace,
            };
            let hop = self.hop(rng, placement);
            self.join(rng, from, Target::Hop { hop, port: 0 });
            from = Source::Hop { hop, port: 0 };
        }
        from
    }

    fn hop(&mut self, _: &mut Rng, placement: Placement) -> usize {
        let port = |name: &str| PlanPort {
            name: name.to_owned(),
            format: Some(StreamFormat::Binary),
            accepts: Accepts::Anything,
        };
        let hop = self.plan.hops.len();
        self.plan.hops.push(PlanHop {
            id: format!("n{hop}"),
            node_type: "identity".to_owned(),
            placement,
            inserted: false,
            params: Arc::new(serde_json::json!({})),
            inputs: vec![port("in")],
            outputs: vec![port("out")],
        });
        hop
    }

    fn join(&mut self, rng: &mut Rng, from: Source, to: Target) {
        self.plan.edges.push(PlanEdge {
            from,
            to,
            queue: queue(rng),
            explicit: true,
        });
    }
}

fn queue(rng: &mut Rng) -> Queue {
    Queue {
        frames: 1 + rng.small(8),
        bytes: 1 << 20,
        age: rng.one_in(4).then(|| ms(5 + rng.below(100))),
        when_full: [WhenFull::Block, WhenFull::DropOldest, WhenFull::DropNewest][rng.index(3)],
    }
}
