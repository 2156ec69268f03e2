//! Ports of remote nodes that are not declared: their names come from the edges, their kinds from what they are joined to.

use tidegate_media::Kind;

use super::draft::{Body, DraftEdge, DraftNode, remote_port};
use crate::manifest::{EndDecl, Manifest, Report};
use crate::plan::{Source, Target};
use crate::registry::Port;
use crate::stream::Accepts;

/// Gives remote nodes whose ports are not declared those that the edges name.
pub(super) fn infer_ports(manifest: &Manifest, nodes: &mut [DraftNode]) {
    for (decl, node) in manifest.nodes.iter().zip(nodes) {
        let Body::Remote(remote) = &node.body else {
            continue;
        };
        let id = decl.id.value.as_str();
        if remote.infer_inputs {
            let ends = manifest.edges.iter().map(|edge| &edge.to);
            node.ports.inputs = named_ports(id, ends);
        }
        if remote.infer_outputs {
            let ends = manifest.edges.iter().map(|edge| &edge.from);
            let interrupt = manifest.interrupt.iter().filter_map(|i| i.on.as_ref());
            node.ports.outputs = named_ports(id, ends.chain(interrupt));
        }
    }
}

/// The ports by which `ends` name a node; one without a name if that is how it is named.
fn named_ports<'a>(id: &str, ends: impl Iterator<Item = &'a EndDecl>) -> Vec<Port> {
    let mut found = Vec::new();
    let mut named = false;
    for end in ends.filter(|end| end.node == id) {
        named = true;
        if let Some(port) = &end.port
            && !found.iter().any(|known: &Port| known.name == *port)
        {
            found.push(remote_port(port, Accepts::Anything, None));
        }
    }
    if named && found.is_empty() {
        found.push(remote_port("", Accepts::Anything, None));
    }
    found
}

/// Finds the kinds of inferred ports from what they are joined to, until nothing more follows.
pub(super) fn infer_kinds(
    manifest: &Manifest,
    nodes: &mut [DraftNode],
    edges: &[DraftEdge],
    report: &mut Report,
) {
    loop {
        let mut changed = false;
        for edge in edges {
            let from = source_kind(manifest, nodes, edge.from);
            let to = target_kind(manifest, nodes, edge.to);
            match (from, to) {
                (None, Some(kind)) => changed |= learn_output(nodes, edge.from, kind),
                (Some(kind), None) => changed |= learn_input(nodes, edge.to, kind),
                _ => {}
            }
        }
        if !changed {
            break;
        }
    }
    for (decl, node) in manifest.nodes.iter().zip(nodes.iter()) {
        let Body::Remote(remote) = &node.body else {
            continue;
        };
        for port in &node.ports.outputs {
            if remote.infer_outputs && port.accepts == Accepts::Anything {
                let name = if port.name.is_empty() {
                    "out"
                } else {
                    &port.name
                };
                report.error(
                    decl.id.at,
                    "unknown-kind",
                    format!(
                        "nothing says which kind '{}' gives on '{name}'",
                        decl.id.value
                    ),
                    format!("declare it: 'outputs: [{{name: {name}, kind: text}}]'"),
                );
            }
        }
    }
}

fn source_kind(manifest: &Manifest, nodes: &[DraftNode], from: Source) -> Option<Kind> {
    match from {
        Source::Input(input) => manifest.inputs.get(input).map(|input| input.kind),
        Source::Hop { hop, port } => nodes.get(hop)?.ports.outputs.get(port)?.accepts.kind(),
    }
}

fn target_kind(manifest: &Manifest, nodes: &[DraftNode], to: Target) -> Option<Kind> {
    match to {
        Target::Output(output) => manifest.outputs.get(output).map(|output| output.kind),
        Target::Hop { hop, port } => nodes.get(hop)?.ports.inputs.get(port)?.accepts.kind(),
    }
}

fn learn_output(nodes: &mut [DraftNode], from: Source, kind: Kind) -> bool {
    let Source::Hop { hop, port } = from else {
        return false;
    };
    let Some(node) = nodes.get_mut(hop) else {
        return false;
    };
    match &node.body {
        Body::Remote(remote) if remote.infer_outputs => {
            node.ports.outputs[port].accepts = Accepts::Kind(kind);
            true
        }
        _ => false,
    }
}

fn learn_input(nodes: &mut [DraftNode], to: Target, kind: Kind) -> bool {
    let Target::Hop { hop, port } = to else {
        return false;
    };
    let Some(node) = nodes.get_mut(hop) else {
        return false;
    };
    match &node.body {
        Body::Remote(remote) if remote.infer_inputs => {
            node.ports.inputs[port].accepts = Accepts::Kind(kind);
            true
        }
        _ => false,
    }
}
