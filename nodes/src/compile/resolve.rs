//! Resolution of edges and of `interrupt`: which port each end names; and what is missing or superfluous after that.

use std::collections::HashSet;

use super::draft::{Body, DraftEdge, DraftNode, Name, Names};
use crate::manifest::diagnostic::nearest;
use crate::manifest::{EndDecl, Located, Manifest, Report, Unusable};
use crate::plan::{Source, Target};
use crate::registry::{Port, Ports};

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
        if found.is_none() && self.unusable(end).is_none() {
            let mut known: Vec<_> = self.names.keys().copied().collect();
            known.extend(self.manifest.unusable.iter().map(|port| port.name.as_str()));
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

    /// The input or output that an end names and that cannot be used.
    fn unusable(&self, end: &EndDecl) -> Option<&Unusable> {
        let mut unusable = self.manifest.unusable.iter();
        unusable.find(|port| port.name == end.node)
    }

    /// Where an edge begins.
    pub(super) fn source(&self, end: &EndDecl, report: &mut Report) -> Option<Source> {
        let Some(name) = self.name(end, report) else {
            if self.unusable(end).is_some_and(|port| !port.is_input) {
                begins_at_output(end, report);
            }
            return None;
        };
        match name {
            Name::Input(input) => {
                self.no_port(end, "an input", report);
                Some(Source::Input(input))
            }
            Name::Output(_) => {
                begins_at_output(end, report);
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
        let Some(name) = self.name(end, report) else {
            if self.unusable(end).is_some_and(|port| port.is_input) {
                ends_at_input(end, report);
            }
            return None;
        };
        match name {
            Name::Output(output) => {
                self.no_port(end, "an output", report);
                Some(Target::Output(output))
            }
            Name::Input(_) => {
                ends_at_input(end, report);
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

fn begins_at_output(end: &EndDecl, report: &mut Report) {
    report.error(
        end.at,
        "direction",
        format!(
            "'{}' is an output of the pipeline: nothing begins there",
            end.node
        ),
        "begin the edge at an input or at a node's output port",
    );
}

fn ends_at_input(end: &EndDecl, report: &mut Report) {
    report.error(
        end.at,
        "direction",
        format!(
            "'{}' is an input of the pipeline: nothing ends there",
            end.node
        ),
        "end the edge at an output or at a node's input port",
    );
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

/// Ports that must be joined and are not; inputs, outputs and nodes that nothing uses.
pub(super) fn completeness(
    manifest: &Manifest,
    nodes: &[DraftNode],
    edges: &[DraftEdge],
    interrupt: Option<Source>,
    report: &mut Report,
) {
    // Edges of nodes that could not be made, and of inputs and outputs that cannot be used, lead from and to no port, and join what
    // they name all the same. So do those that could not be read, one way or the other.
    let unusable = |end: &EndDecl| manifest.unusable.iter().any(|port| port.name == end.node);
    let loose = |name: &str| manifest.loose.iter().any(|end| end.node == name);
    let broken = |end: &EndDecl| {
        let mut all = manifest.nodes.iter().zip(nodes);
        unusable(end)
            || all
                .any(|(decl, node)| decl.id.value == end.node && matches!(node.body, Body::Broken))
    };
    let lost = manifest.edges.iter();
    let lost: Vec<_> = lost
        .filter(|edge| broken(&edge.from) || broken(&edge.to))
        .collect();
    let from = |name: &str| loose(name) || lost.iter().any(|edge| edge.from.node == name);
    let to = |name: &str| loose(name) || lost.iter().any(|edge| edge.to.node == name);
    for (index, input) in manifest.inputs.iter().enumerate() {
        let used = |source: Source| source == Source::Input(index);
        if !from(&input.name.value)
            && !edges.iter().any(|edge| used(edge.from))
            && !interrupt.is_some_and(used)
        {
            unused(&input.name, "input", "leads nowhere", report);
        }
    }
    for (index, output) in manifest.outputs.iter().enumerate() {
        let fed = |edge: &DraftEdge| edge.to == Target::Output(index);
        if !to(&output.name.value) && !edges.iter().any(fed) {
            unused(&output.name, "output", "gets nothing", report);
        }
    }
    for (index, (decl, node)) in manifest.nodes.iter().zip(nodes).enumerate() {
        if matches!(node.body, Body::Broken) {
            if let Some(likely) = &node.likely {
                missing_edges_by_name(manifest, &decl.id, likely, report);
            }
            continue;
        }
        let mut complete = true;
        for (number, port) in node.ports.inputs.iter().enumerate() {
            let target = Target::Hop {
                hop: index,
                port: number,
            };
            let ends = lost.iter().map(|edge| &edge.to).chain(&manifest.loose);
            let by_name = named(ends, &decl.id, &port.name);
            if port.required && !by_name && !edges.iter().any(|edge| edge.to == target) {
                complete = false;
                missing_edge(&decl.id, port, report);
            }
        }
        let is_source = |source: Source| matches!(source, Source::Hop { hop, .. } if hop == index);
        let is_target = |target: Target| matches!(target, Target::Hop { hop, .. } if hop == index);
        let leads =
            edges.iter().any(|edge| is_source(edge.from)) || interrupt.is_some_and(is_source);
        let fed = edges.iter().any(|edge| is_target(edge.to)) || to(&decl.id.value);
        let leads = leads || from(&decl.id.value);
        let silent = !leads && !node.ports.outputs.is_empty();
        if complete && (silent || !(leads || fed)) {
            unused(&decl.id, "node", "leads nowhere", report);
        }
    }
}

/// Whether one of these ends may be this port of a node.
fn named<'a>(
    mut ends: impl Iterator<Item = &'a EndDecl>,
    id: &Located<String>,
    port: &str,
) -> bool {
    ends.any(|end| end.node == id.value && end.port.as_ref().is_none_or(|name| name == port))
}

fn missing_edge(id: &Located<String>, port: &Port, report: &mut Report) {
    report.error(
        id.at,
        "missing-edge",
        format!("nothing is joined to '{}.{}'", id.value, port.name),
        format!("add an edge such as '… -> {}.{}'", id.value, port.name),
    );
}

/// The same for a node that could not be made, whose edges therefore lead to no port: an edge that names none may mean any.
fn missing_edges_by_name(
    manifest: &Manifest,
    id: &Located<String>,
    ports: &Ports,
    report: &mut Report,
) {
    for port in ports.inputs.iter().filter(|port| port.required) {
        let ends = manifest.edges.iter().map(|edge| &edge.to);
        if !named(ends.chain(&manifest.loose), id, &port.name) {
            missing_edge(id, port, report);
        }
    }
}

fn unused(name: &Located<String>, what: &str, how: &str, report: &mut Report) {
    report.warn(
        name.at,
        "unused",
        format!("{what} '{}' {how}", name.value),
        "join it, or remove it",
    );
}
