//! Binding: a pipeline, the formats of its clients and the values of its parameters make a plan.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tidegate_media::Kind;

use super::draft::{self, DraftEdge};
use super::formats::Flow;
use super::grants::Grants;
use super::values::{Scope, Values};
use super::{cycles, infer, live, resolve, webrtc};
use crate::manifest::{Manifest, Report};
use crate::plan::{Mode, Placement, Plan, PlanInput, PlanInterrupt, PlanOutput, Queue, Target};
use crate::registry::{Ports, Registry};
use crate::stream::StreamFormat;

/// What one session is bound to. The default is an offline look: nobody there yet, defaults for parameters, all live.
#[derive(Clone, Debug, Default)]
pub struct Binding {
    /// Values of parameters by name.
    pub parameters: Map<String, Value>,
    /// What the client of each input sends, in the pipeline's order; `None` or absent: nobody yet.
    pub inputs: Vec<Option<StreamFormat>>,
    /// The mode of each input's stream, in the pipeline's order; absent: live.
    pub modes: Vec<Mode>,
    /// Ports of remote nodes by node id, as their workers say.
    pub remote_ports: BTreeMap<String, Ports>,
}

/// A plan and where it would make a live input wait.
pub(super) struct Planned {
    pub(super) plan: Plan,
    /// Manifest edges at which a live input would have to wait.
    pub(super) waits: Vec<usize>,
}

/// Plans for these values; everything that is wrong goes to the report. `None` if no plan can be made.
pub(super) fn plan(
    manifest: &Manifest,
    registry: &Registry,
    grants: &Grants,
    values: &Values,
    binding: &Binding,
    report: &mut Report,
) -> Option<Planned> {
    let names = draft::names(manifest, report);
    let scope = Scope {
        manifest,
        values,
        grants,
    };
    let mut nodes = draft::nodes(&scope, &names, registry, &binding.remote_ports, report);
    infer::infer_ports(manifest, &mut nodes);
    let (edges, interrupt, seats) = {
        let resolver = resolve::Resolver {
            manifest,
            names: &names,
            nodes: &nodes,
        };
        let edges = resolver.edges(report);
        let interrupt = manifest.interrupt.as_ref().map(|decl| PlanInterrupt {
            on: decl.on.as_ref().and_then(|on| resolver.source(on, report)),
            flush: resolver.flush(report),
        });
        (edges, interrupt, resolver.seats(report))
    };
    infer::infer_kinds(manifest, &mut nodes, &edges, report);
    webrtc::settle(manifest, &mut nodes, report);
    let on = interrupt.as_ref().and_then(|interrupt| interrupt.on);
    resolve::completeness(manifest, &nodes, &edges, on, report);
    let open = cycles::check(manifest, &nodes, &edges, &names, report);
    let queues = output_queues(manifest, &edges, report);
    if !open {
        return None;
    }
    let mut flow = Flow::new(manifest, registry, &nodes, &edges);
    let inputs = inputs(&mut flow, binding, report);
    flow.run(report);
    if let Some(on) = on {
        flow.listen(on);
    }
    idle_queues(&flow, report);
    let outputs = outputs(&flow, binding, &seats, &queues);
    let decls = std::mem::take(&mut flow.decls);
    let mut plan = Plan {
        pipeline: manifest.name.value.clone(),
        inputs,
        outputs,
        hops: flow.hops,
        edges: flow.edges,
        interrupt,
    };
    let waits = live::settle(&mut plan, &binding.modes);
    let waits = waits.into_iter().map(|edge| decls[edge]).collect();
    Some(Planned { plan, waits })
}

fn inputs(flow: &mut Flow<'_>, binding: &Binding, report: &mut Report) -> Vec<PlanInput> {
    let manifest = flow.manifest;
    manifest
        .inputs
        .iter()
        .enumerate()
        .map(|(index, decl)| {
            let sent = binding.inputs.get(index).copied().flatten();
            if let Some(sent) = sent
                && sent.kind() != decl.kind
            {
                let (name, kind) = (&decl.name.value, decl.kind);
                report.error(
                    decl.name.at,
                    "incompatible",
                    format!("the client sends {sent} to '{name}', which takes {kind}"),
                    format!("send {kind}"),
                );
            }
            let sent = sent.filter(|sent| sent.kind() == decl.kind);
            PlanInput {
                name: decl.name.value.clone(),
                kind: decl.kind,
                format: flow.input(index, sent),
            }
        })
        .collect()
}

fn outputs(
    flow: &Flow<'_>,
    binding: &Binding,
    seats: &[Option<usize>],
    queues: &[Option<Queue>],
) -> Vec<PlanOutput> {
    // An output is listened to in real time unless every stream of the session waits.
    let inputs = 0..flow.manifest.inputs.len().max(1);
    let live = inputs
        .map(|input| binding.modes.get(input).copied().unwrap_or_default())
        .any(|mode| mode == Mode::Live);
    flow.manifest
        .outputs
        .iter()
        .enumerate()
        .map(|(index, decl)| PlanOutput {
            name: decl.name.value.clone(),
            kind: decl.kind,
            format: flow.output(index),
            seat: seats.get(index).copied().flatten(),
            paced: live && decl.paced.unwrap_or(decl.kind == Kind::Audio),
            role: decl.role.as_ref().map(|role| role.value),
            queue: queues.get(index).copied().flatten().unwrap_or_default(),
        })
        .collect()
}

/// The queue that the manifest gives each output. An output has one, so edges into it must not differ.
fn output_queues(
    manifest: &Manifest,
    edges: &[DraftEdge],
    report: &mut Report,
) -> Vec<Option<Queue>> {
    let mut queues: Vec<Option<Queue>> = vec![None; manifest.outputs.len()];
    for edge in edges {
        let Target::Output(output) = edge.to else {
            continue;
        };
        let Some(decl) = manifest.edges[edge.decl].queue else {
            continue;
        };
        match queues[output] {
            Some(first) if first != decl.queue => report.error(
                decl.at,
                "queue",
                format!(
                    "'{}' has another queue already",
                    manifest.outputs[output].name.value
                ),
                "give one edge the queue, or all the same: an output has one",
            ),
            _ => queues[output] = Some(decl.queue),
        }
    }
    queues
}

/// Queues that are asked for where there are none.
fn idle_queues(flow: &Flow<'_>, report: &mut Report) {
    for edge in &flow.edges {
        if let Target::Hop { hop, .. } = edge.to
            && flow.hops[hop].placement == Placement::InPlace
            && edge.explicit
        {
            let decls = flow.manifest.edges.iter();
            let id = flow.hops[hop].id.as_str();
            for queue in decls
                .filter(|decl| decl.to.node == id)
                .filter_map(|decl| decl.queue)
            {
                report.warn(
                    queue.at,
                    "queue",
                    format!("'{id}' is called in place: there is no queue before it"),
                    "remove the queue, or move it to the edge before an offloaded or remote node",
                );
            }
        }
    }
}
