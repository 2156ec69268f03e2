//! Joining one edge: conversions are inserted where the format does not fit the target.

use std::sync::Arc;

use super::conversions::{Conversion, conversions};
use super::draft::DraftEdge;
use super::formats::Flow;
use crate::manifest::Report;
use crate::plan::{PlanEdge, PlanHop, PlanPort, Queue, Source, Target};
use crate::registry::{NodeType, Registry};
use crate::stream::{Accepts, StreamFormat};

impl Flow<'_> {
    /// Joins the edges into the chosen targets whose source's format is known.
    pub(super) fn join_where(
        &mut self,
        joined: &mut [bool],
        report: &mut Report,
        chosen: impl Fn(Target) -> bool,
    ) {
        for (index, edge) in self.draft.iter().enumerate() {
            if joined[index] || !chosen(edge.to) {
                continue;
            }
            if let Some(format) = self.formats.get(&edge.from).copied() {
                joined[index] = true;
                self.join(*edge, format, report);
            }
        }
    }

    /// Joins one edge, with conversions where needed.
    fn join(&mut self, edge: DraftEdge, format: StreamFormat, report: &mut Report) {
        let decl = &self.manifest.edges[edge.decl];
        let set = match edge.to {
            Target::Hop { hop, port } => self.hops[hop].inputs[port].format,
            // Fan-in to an output: its format is that of what was joined first.
            Target::Output(_) => self
                .edges
                .iter()
                .find(|joined| joined.to == edge.to)
                .and_then(|joined| self.formats.get(&joined.from).copied()),
        };
        let accepts = set.map_or_else(|| self.accepts(edge.to), |set| Accepts::just(&set));
        if let Some(problem) = self.kind_problem(edge.to, set, format) {
            let message = format!("'{}' gives {format}, and {problem}", decl.from);
            report.error(
                decl.to.at,
                "incompatible",
                message,
                "join what gives that kind, or convert by a node",
            );
            return;
        }
        let chain = match conversions(format, &accepts) {
            Ok(chain) => chain,
            Err(error) => {
                let message = format!(
                    "'{}' gives {format}, '{}' takes {accepts}: {}",
                    decl.from, decl.to, error.message
                );
                report.error(
                    decl.to.at,
                    "incompatible",
                    message,
                    "put a node between them that turns one into the other",
                );
                return;
            }
        };
        let mut from = edge.from;
        let mut format = format;
        for step in chain {
            let Some(inserted) = self.insert(edge, &step, format, report) else {
                return;
            };
            self.push_edge(
                from,
                Target::Hop {
                    hop: inserted,
                    port: 0,
                },
                Queue::default(),
                false,
                edge.decl,
            );
            from = Source::Hop {
                hop: inserted,
                port: 0,
            };
            format = step.output;
        }
        let queue = decl.queue.map(|decl| decl.queue);
        if let Target::Hop { hop, port } = edge.to {
            self.hops[hop].inputs[port].format.get_or_insert(format);
        }
        self.formats.insert(from, format);
        self.push_edge(
            from,
            edge.to,
            queue.unwrap_or_default(),
            queue.is_some(),
            edge.decl,
        );
    }

    /// Why frames of this format do not go to a target whatever is inserted, if so.
    fn kind_problem(
        &self,
        to: Target,
        set: Option<StreamFormat>,
        format: StreamFormat,
    ) -> Option<String> {
        if let Target::Output(output) = to {
            let kind = self.manifest.outputs[output].kind;
            if kind != format.kind() {
                return Some(format!("the output is declared as {kind}"));
            }
        }
        match (set, format) {
            (Some(set), _) if set.kind() != format.kind() => {
                Some(format!("{set} already flows into the same port"))
            }
            (Some(StreamFormat::Video(set)), StreamFormat::Video(video)) if set != video => {
                Some(format!("{} already flows there", set.codec.as_str()))
            }
            _ => None,
        }
    }

    fn push_edge(&mut self, from: Source, to: Target, queue: Queue, explicit: bool, decl: usize) {
        if let Source::Hop { hop, port } = from {
            let format = self.formats.get(&from).copied();
            self.hops[hop].outputs[port].format = format;
        }
        self.edges.push(PlanEdge {
            from,
            to,
            queue,
            explicit,
        });
        self.decls.push(decl);
    }

    /// Inserts a conversion and returns its number.
    fn insert(
        &mut self,
        edge: DraftEdge,
        step: &Conversion,
        format: StreamFormat,
        report: &mut Report,
    ) -> Option<usize> {
        let target = match edge.to {
            Target::Output(output) => format!("{}.in", self.manifest.outputs[output].name.value),
            Target::Hop { hop, port } => {
                let hop = &self.hops[hop];
                match hop.inputs[port].name.as_str() {
                    "" => hop.id.clone(),
                    name => format!("{}.{name}", hop.id),
                }
            }
        };
        let at = self.manifest.edges[edge.decl].to.at;
        let mut id = format!("{target}:{}", step.name);
        let mut count = 1;
        while self.hops.iter().any(|hop| hop.id == id) {
            count += 1;
            id = format!("{target}:{}-{count}", step.name);
        }
        match conversion_hop(self.registry, id, step, format) {
            Ok(hop) => {
                let number = self.hops.len();
                self.hops.push(hop);
                let out = Source::Hop {
                    hop: number,
                    port: 0,
                };
                self.formats.insert(out, step.output);
                Some(number)
            }
            Err(message) => {
                report.error(
                    at,
                    "incompatible",
                    message,
                    "give both ends the same format",
                );
                None
            }
        }
    }
}

/// A hop that does one conversion.
///
/// # Errors
/// The registry lacks the node type, or it does not do what is asked.
pub(super) fn conversion_hop(
    registry: &Registry,
    id: String,
    step: &Conversion,
    format: StreamFormat,
) -> Result<PlanHop, String> {
    let node_type = step.node_type;
    let found: &Arc<dyn NodeType> = registry
        .get(node_type)
        .ok_or_else(|| format!("{format} needs '{node_type}' here, which this build lacks"))?;
    let refused = |error: &dyn std::fmt::Display| {
        format!(
            "'{node_type}' does not turn {format} into {}: {error}",
            step.output
        )
    };
    let ports = found.ports(&step.params).map_err(|e| refused(&e))?;
    let outputs = found
        .outputs(&step.params, &[Some(format)])
        .map_err(|e| refused(&e))?;
    let (Some(input), Some(output), [given]) = (
        ports.inputs.first(),
        ports.outputs.first(),
        outputs.as_slice(),
    ) else {
        return Err(refused(&"it has not one input and one output"));
    };
    if *given != step.output {
        return Err(refused(&format_args!("it gives {given}")));
    }
    Ok(PlanHop {
        id,
        node_type: node_type.to_owned(),
        placement: found.placement(),
        inserted: true,
        params: Arc::new(step.params.clone()),
        inputs: vec![PlanPort {
            name: input.name.clone(),
            format: Some(format),
            accepts: input.accepts.clone(),
        }],
        outputs: vec![PlanPort {
            name: output.name.clone(),
            format: Some(step.output),
            accepts: Accepts::Anything,
        }],
    })
}
