//! Cycles of in-place nodes: a call that would call itself. A cycle through a queue (an offloaded or remote hop) is allowed.

use super::draft::{Body, DraftEdge, DraftNode, Name, Names};
use crate::manifest::{Manifest, Report};
use crate::plan::{Placement, Source, Target};

/// Reports each cycle of in-place nodes once, with all its nodes; says whether there are none.
pub(super) fn check(
    manifest: &Manifest,
    nodes: &[DraftNode],
    edges: &[DraftEdge],
    names: &Names<'_>,
    report: &mut Report,
) -> bool {
    let broken = |hop: usize| matches!(nodes[hop].body, Body::Broken);
    // Of a broken node of an unknown type nothing is known, not even this.
    let in_place = |hop: usize| {
        let node = &nodes[hop];
        node.placement == Placement::InPlace && node.known
    };
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for edge in edges {
        if let (Source::Hop { hop: from, .. }, Target::Hop { hop: to, .. }) = (edge.from, edge.to)
            && in_place(from)
            && in_place(to)
        {
            next[from].push(to);
        }
    }
    // Edges of broken nodes have no ports; from where to where they lead is known all the same.
    let node = |name: &str| match names.get(name) {
        Some(Name::Node(node)) => Some(*node),
        _ => None,
    };
    for edge in &manifest.edges {
        if let (Some(from), Some(to)) = (node(&edge.from.node), node(&edge.to.node))
            && (broken(from) || broken(to))
            && in_place(from)
            && in_place(to)
            && !next[from].contains(&to)
        {
            next[from].push(to);
        }
    }
    let mut search = Search {
        next: &next,
        state: vec![State::New; nodes.len()],
        path: Vec::new(),
        cycles: Vec::new(),
    };
    for node in 0..nodes.len() {
        search.visit(node);
    }
    for cycle in &search.cycles {
        let name = |index: &usize| manifest.nodes[*index].id.value.as_str();
        let mut shown: Vec<&str> = cycle.iter().map(name).collect();
        shown.extend(cycle.first().map(name));
        let last = cycle.last().copied();
        let first = cycle.first().copied();
        let closing = manifest.edges.iter().find(|edge| {
            node(&edge.from.node) == last && node(&edge.to.node) == first && last.is_some()
        });
        let at = closing.map_or(manifest.at, |edge| edge.from.at);
        report.error(
            at,
            "cycle",
            format!("in-place nodes form a cycle: {}", shown.join(" -> ")),
            "remove one of these edges",
        );
    }
    search.cycles.is_empty()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    OnPath,
    Done,
}

struct Search<'a> {
    next: &'a [Vec<usize>],
    state: Vec<State>,
    path: Vec<usize>,
    cycles: Vec<Vec<usize>>,
}

impl Search<'_> {
    /// Depth first. The depth is bounded by the number of nodes a manifest may have (256).
    fn visit(&mut self, node: usize) {
        match self.state[node] {
            State::Done => return,
            State::OnPath => {
                let start = self.path.iter().position(|on| *on == node).unwrap_or(0);
                self.cycles.push(self.path[start..].to_vec());
                return;
            }
            State::New => {}
        }
        self.state[node] = State::OnPath;
        self.path.push(node);
        for &next in &self.next[node] {
            self.visit(next);
        }
        self.path.pop();
        self.state[node] = State::Done;
    }
}
