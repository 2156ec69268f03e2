//! Whether a pipeline makes the same again when its input is replayed from where it says.
//!
//! It does if each node does, and if nothing depends on which of two ways was faster: no paths that meet again, and no frame that
//! interrupts. Nodes that count need a pipeline in one line. What a client's own conversions do is the graph's to add.

use serde_json::Value;

use crate::plan::{Placement, Plan, PlanEdge, PlanHop, Source};
use crate::registry::{Registry, Replay};
use crate::stream::StreamFormat;

/// Whether a plan does, its clients' conversions left out.
pub(crate) fn deterministic(plan: &Plan, registry: &Registry) -> bool {
    let meets = |at: usize| plan.edges[..at].iter().any(|e| e.to == plan.edges[at].to);
    let joined = |hop: &PlanHop| hop.inputs.iter().filter(|p| p.format.is_some()).count();
    let forks = |at: usize| {
        plan.edges[..at]
            .iter()
            .any(|e| e.from == plan.edges[at].from)
    };
    let source_hop = |edge: &PlanEdge| match edge.from {
        Source::Hop { hop, .. } => Some(hop),
        Source::Input(_) => None,
    };
    let splits = |at: usize| {
        let hop = source_hop(&plan.edges[at]);
        hop.is_some() && plan.edges[..at].iter().any(|edge| source_hop(edge) == hop)
    };
    let edges = 0..plan.edges.len();
    let line = plan.inputs.len() <= 1 && !edges.clone().any(|at| forks(at) || splits(at));
    let interrupted = plan.interrupt.as_ref().is_some_and(|i| i.on.is_some());
    !interrupted
        && !edges.clone().any(meets)
        && plan.hops.iter().all(|hop| {
            let formats: Vec<_> = hop.inputs.iter().map(|port| port.format).collect();
            joined(hop) <= 1
                && match hop.placement {
                    // The worker's outputs are not known to be: whoever wrote the manifest is.
                    Placement::Remote => {
                        hop.params.get("deterministic") == Some(&Value::Bool(true))
                    }
                    Placement::InPlace | Placement::Offload => {
                        repeats(registry, &hop.node_type, &hop.params, &formats, line)
                    }
                }
        })
}

/// Whether a node of a type does; `line`: in a pipeline in one line.
pub(crate) fn repeats(
    registry: &Registry,
    node_type: &str,
    params: &Value,
    inputs: &[Option<StreamFormat>],
    line: bool,
) -> bool {
    let replay = registry
        .get(node_type)
        .map(|found| found.replay(params, inputs));
    match replay {
        Some(Replay::Same | Replay::SameInUtterances) => true,
        Some(Replay::SameInLine) => line,
        Some(Replay::Differs) | None => false,
    }
}
