//! Resolution of edges and of `interrupt`: which port each end names; and what is missing or superfluous after that.

use std::collections::HashSet;

use tidegate_media::Kind;

use super::draft::{Body, DraftEdge, DraftNode, Name, Names, remote_port};
use crate::manifest::diagnostic::nearest;
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

/// Resolves ends against names and ports.
pub(super) struct Resolver<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) names: &'a Names<'a>,
    pub(super) nodes: &'a [DraftNode],
}

impl Resolver<'_> {
    /// All edges both ends of which exist.
    pub(super) fn edges(&self, report: &mut Report) -> Vec<DraftEdge> {
        let mut found: Vec<DraftEdge> = Vec::new();
        let mut seen = HashSet::new();
        for (decl, edge) in self.manifest.edges.iter().enumerate() {
            let from = self.source(&edge.from, report);
            let to = self.target(&edge.to, report);
            let (Some(from), Some(to)) = (from, to) else {
                continue;
            };
            if seen.insert((from, to)) {
                found.push(DraftEdge { from, to, decl });
            } else {
                report.error(
                    edge.from.at,
                    "duplicate-edge",
                    format!("'{} -> {}' is already an edge", edge.from, edge.to),
                    "remove one: each frame would arrive twice",
                );
            }
        }
        found
    }

    fn name(&self, end: &EndDecl, report: &mut Report) -> Option<Name> {
        let found = self.names.get(end.node.as_str()).copied();
        if found.is_none() && !self.manifest.unusable.contains(&end.node) {
            let mut known: Vec<_> = self.names.keys().copied().collect();
            known.extend(self.manifest.unusable.iter().map(String::as_str));
            known.sort_unstable();
            report.error(
                end.at,
                "unknown-node",
                format!("there is no input, output or node '{}'", end.node),
                nearest(&end.node, known),
            );
        }
        found
    }

    /// Where an edge begins.
    pub(super) fn source(&self, end: &EndDecl, report: &mut Report) -> Option<Source> {
        match self.name(end, report)? {
            Name::Input(input) => {
                self.no_port(end, "an input", report);
                Some(Source::Input(input))
            }
            Name::Output(_) => {
                report.error(
                    end.at,
                    "direction",
                    format!(
                        "'{}' is an output of the pipeline: nothing begins there",
                        end.node
                    ),
                    "begin the edge at an input or at a node's output port",
                );
                None
            }
            Name::Node(node) => {
                let hop = self.nodes.get(node)?;
                let port = port_of(hop, &hop.ports.outputs, end, "output", report)?;
                Some(Source::Hop { hop: node, port })
            }
        }
    }

    fn target(&self, end: &EndDecl, report: &mut Report) -> Option<Target> {
        match self.name(end, report)? {
            Name::Output(output) => {
                self.no_port(end, "an output", report);
                Some(Target::Output(output))
            }
            Name::Input(_) => {
                report.error(
                    end.at,
                    "direction",
                    format!(
                        "'{}' is an input of the pipeline: nothing ends there",
                        end.node
                    ),
                    "end the edge at an output or at a node's input port",
                );
                None
            }
            Name::Node(node) => {
                let hop = self.nodes.get(node)?;
                let port = port_of(hop, &hop.ports.inputs, end, "input", report)?;
                Some(Target::Hop { hop: node, port })
            }
        }
    }

    #[expect(clippy::unused_self, reason = "reads like its siblings")]
    fn no_port(&self, end: &EndDecl, what: &str, report: &mut Report) {
        if let Some(port) = &end.port {
            report.error(
                end.at,
                "unknown-port",
                format!(
                    "'{}' is {what} of the pipeline and has no port '{port}'",
                    end.node
                ),
                format!("write '{}'", end.node),
            );
        }
    }

    /// The nodes that an interrupt flushes.
    pub(super) fn flush(&self, report: &mut Report) -> Vec<usize> {
        let mut found = Vec::new();
        let entries = self.manifest.interrupt.iter().flat_map(|i| &i.flush);
        for entry in entries {
            if let Some(Name::Node(node)) = self.names.get(entry.value.as_str()) {
                if found.contains(node) {
                    let message = format!("'{}' is listed twice", entry.value);
                    report.error(entry.at, "interrupt", message, "remove one");
                } else {
                    found.push(*node);
                }
                continue;
            }
            let nodes = self.manifest.nodes.iter().map(|n| n.id.value.as_str());
            report.error(
                entry.at,
                "interrupt",
                format!("there is no node '{}' to flush", entry.value),
                nearest(&entry.value, nodes),
            );
        }
        found
    }

    /// The input that each output's `for` names.
    pub(super) fn seats(&self, report: &mut Report) -> Vec<Option<usize>> {
        let inputs = || self.manifest.inputs.iter().map(|i| i.name.value.as_str());
        self.manifest
            .outputs
            .iter()
            .map(|output| {
                let seat = output.seat.as_ref()?;
                let found = inputs().position(|name| name == seat.value);
                if found.is_none() {
                    report.error(
                        seat.at,
                        "seat",
                        format!("'for' names '{}', which is no input", seat.value),
                        nearest(&seat.value, inputs()),
                    );
                }
                found
            })
            .collect()
    }
}

/// The number of the port that an end names.
fn port_of(
    node: &DraftNode,
    ports: &[Port],
    end: &EndDecl,
    side: &str,
    report: &mut Report,
) -> Option<usize> {
    if matches!(node.body, Body::Broken) {
        return None;
    }
    let list = || ports.iter().map(|port| port.name.as_str());
    let Some(wanted) = &end.port else {
        match ports.len() {
            1 => return Some(0),
            0 => report.error(
                end.at,
                "unknown-port",
                format!("'{}' has no {side} port", end.node),
                "join another node",
            ),
            _ => report.error(
                end.at,
                "ambiguous-port",
                format!("'{}' has {} {side} ports", end.node, ports.len()),
                format!(
                    "write one of {}",
                    list()
                        .map(|port| format!("'{}.{port}'", end.node))
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            ),
        }
        return None;
    };
    let found = list().position(|port| port == wanted);
    if found.is_none() {
        report.error(
            end.at,
            "unknown-port",
            format!("'{}' has no {side} port '{wanted}'", end.node),
            nearest(wanted, list()),
        );
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

/// Ports that must be joined and are not; inputs, outputs and nodes that nothing uses.
pub(super) fn completeness(
    manifest: &Manifest,
    nodes: &[DraftNode],
    edges: &[DraftEdge],
    interrupt: Option<Source>,
    report: &mut Report,
) {
    for (index, input) in manifest.inputs.iter().enumerate() {
        let used = |source: Source| source == Source::Input(index);
        if !edges.iter().any(|edge| used(edge.from)) && !interrupt.is_some_and(used) {
            unused(&input.name, "input", "leads nowhere", report);
        }
    }
    for (index, output) in manifest.outputs.iter().enumerate() {
        if !edges.iter().any(|edge| edge.to == Target::Output(index)) {
            unused(&output.name, "output", "gets nothing", report);
        }
    }
    for (index, (decl, node)) in manifest.nodes.iter().zip(nodes).enumerate() {
        if matches!(node.body, Body::Broken) {
            continue;
        }
        let mut complete = true;
        for (number, port) in node.ports.inputs.iter().enumerate() {
            let target = Target::Hop {
                hop: index,
                port: number,
            };
            if port.required && !edges.iter().any(|edge| edge.to == target) {
                complete = false;
                report.error(
                    decl.id.at,
                    "missing-edge",
                    format!("nothing is joined to '{}.{}'", decl.id.value, port.name),
                    format!("add an edge such as '… -> {}.{}'", decl.id.value, port.name),
                );
            }
        }
        let is_source = |source: Source| matches!(source, Source::Hop { hop, .. } if hop == index);
        let is_target = |target: Target| matches!(target, Target::Hop { hop, .. } if hop == index);
        let leads =
            edges.iter().any(|edge| is_source(edge.from)) || interrupt.is_some_and(is_source);
        let fed = edges.iter().any(|edge| is_target(edge.to));
        let silent = !leads && !node.ports.outputs.is_empty();
        if complete && (silent || !(leads || fed)) {
            unused(&decl.id, "node", "leads nowhere", report);
        }
    }
}

fn unused(name: &crate::manifest::Located<String>, what: &str, how: &str, report: &mut Report) {
    report.warn(
        name.at,
        "unused",
        format!("{what} '{}' {how}", name.value),
        "join it, or remove it",
    );
}
