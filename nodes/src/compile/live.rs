//! Which queues a live input meets first.
//!
//! A live stream cannot be told to wait, so on each path from it the first queue must shed. Queues stand before offloaded and
//! remote hops and at outputs; an in-place node has none. An output whose queue the manifest leaves open is given one that
//! sheds the oldest where a live input reaches it without another queue in between, and one that blocks elsewhere.

use crate::plan::{Mode, Placement, Plan, Source, Target, WhenFull};

/// Settles the open queues of outputs for these modes, and returns the edges at which a live input would have to wait.
pub(super) fn settle(plan: &mut Plan, modes: &[Mode]) -> Vec<usize> {
    let reached = reached(plan, modes);
    for (index, output) in plan.outputs.iter_mut().enumerate() {
        let edges = || {
            plan.edges
                .iter()
                .enumerate()
                .filter(|(_, edge)| edge.to == Target::Output(index))
        };
        if edges().any(|(_, edge)| edge.explicit) {
            continue;
        }
        if edges().any(|(edge, _)| reached.contains(&edge)) {
            output.queue.when_full = WhenFull::DropOldest;
        }
    }
    for edge in &mut plan.edges {
        if let Target::Output(output) = edge.to
            && !edge.explicit
        {
            edge.queue = plan.outputs[output].queue;
        }
    }
    reached
        .into_iter()
        .filter(|edge| plan.edges[*edge].queue.when_full == WhenFull::Block)
        .collect()
}

/// The edges with queues that live inputs reach without another queue in between, in the order in which they are met.
fn reached(plan: &Plan, modes: &[Mode]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut entered = vec![false; plan.hops.len()];
    let mut open: Vec<Source> = (0..plan.inputs.len())
        .filter(|input| modes.get(*input).copied().unwrap_or_default() == Mode::Live)
        .map(Source::Input)
        .collect();
    while let Some(source) = open.pop() {
        for (index, edge) in plan.edges.iter().enumerate() {
            if edge.from != source {
                continue;
            }
            let in_place = match edge.to {
                Target::Hop { hop, .. } if plan.hops[hop].placement == Placement::InPlace => {
                    Some(hop)
                }
                _ => None,
            };
            let Some(hop) = in_place else {
                found.push(index);
                continue;
            };
            if !std::mem::replace(&mut entered[hop], true) {
                let ports = 0..plan.hops[hop].outputs.len();
                open.extend(ports.map(|port| Source::Hop { hop, port }));
            }
        }
    }
    found.sort_unstable();
    found
}
