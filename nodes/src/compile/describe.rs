//! The description of a pipeline: what is listed and drawn before any client is there.
//!
//! It is the plan for what WebRTC carries, and the conversions that such clients need at inputs and outputs. Parameters of
//! nodes are not in it: they may hold secrets.

use serde::Serialize;
use serde_json::Value;
use tidegate_media::{AudioFormat, Kind};

use super::conversions::{Conversion, conversions};
use super::formats::usual;
use super::joins::conversion_hop;
use crate::manifest::Manifest;
use crate::plan::{
    OutputRole, Placement, Plan, PlanEdge, PlanHop, PlanPort, Source, Target, WhenFull,
};
use crate::registry::Registry;
use crate::stream::{Accepts, StreamFormat};

/// A pipeline as it is listed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// One sentence for people; may be empty.
    pub description: String,
    /// SHA-256 of the manifest's canonical form, in hexadecimal.
    pub digest: String,
    /// Parameters by name.
    pub parameters: indexmap::IndexMap<String, ParameterDescription>,
    /// What a client may send to.
    pub inputs: Vec<PortDescription>,
    /// What a client may listen to.
    pub outputs: Vec<PortDescription>,
    /// Nodes and conversions.
    pub hops: Vec<HopDescription>,
    /// What is joined to what.
    pub edges: Vec<EdgeDescription>,
    /// What ends the listener's audio.
    pub interrupt: Option<InterruptDescription>,
}

/// A parameter as it is listed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParameterDescription {
    /// `string`, `integer`, `number` or `boolean`.
    #[serde(rename = "type")]
    pub value_type: &'static str,
    /// Its value unless the client gives one; null: the client must.
    pub default: Option<Value>,
    /// One sentence for people; may be empty.
    pub description: String,
    /// The values that it may have, if they are listed.
    #[serde(rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Value>,
    /// Its least value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Its greatest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// A port as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PortDescription {
    /// Its name; empty for the only port of a remote hop that declares none.
    pub name: String,
    /// Its kind; null where nothing is joined.
    pub kind: Option<Kind>,
    /// Its format as text; null where nothing is joined.
    pub format: Option<String>,
    /// Of an output: the input whose client is meant to hear it.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub seat: Option<String>,
    /// Of an output: its part in a conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<OutputRole>,
}

/// A hop as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HopDescription {
    /// Its id; of a conversion for a client, `<input or output>:<conversion>`.
    pub id: String,
    /// Its node type.
    #[serde(rename = "type")]
    pub node_type: String,
    /// Where its work is done.
    pub placement: Placement,
    /// Inserted by the compiler.
    pub inserted: bool,
    /// Input ports.
    pub inputs: Vec<PortDescription>,
    /// Output ports.
    pub outputs: Vec<PortDescription>,
}

/// An edge as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EdgeDescription {
    /// Where it begins.
    pub from: EndDescription,
    /// Where it ends.
    pub to: EndDescription,
    /// Its queue; null before a node that is called in place.
    pub queue: Option<QueueDescription>,
}

/// One end of an edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndDescription {
    /// A hop's id, or the name of an input or output of the pipeline.
    pub node: String,
    /// The hop's port; empty for an input or output of the pipeline.
    pub port: String,
}

/// A queue as it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct QueueDescription {
    /// Most frames.
    pub frames: u32,
    /// Most payload bytes.
    pub bytes: u64,
    /// Longest wait in milliseconds; null for none.
    pub age_ms: Option<u64>,
    /// What happens when it is full.
    pub when_full: WhenFull,
}

/// What ends the listener's audio, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InterruptDescription {
    /// The port that interrupts, such as `vad.speech_start`.
    pub on: Option<String>,
    /// Hops that forget what they hold.
    pub flush: Vec<String>,
}

/// Describes a plan, with the conversions of clients that speak WebRTC.
pub(super) fn describe(manifest: &Manifest, registry: &Registry, plan: &Plan) -> Description {
    let mut shown = Shown {
        plan,
        hops: plan.hops.iter().map(hop).collect(),
        edges: Vec::new(),
    };
    let entries = shown.input_chains(registry);
    let exits = shown.output_chains(registry);
    for edge in &plan.edges {
        shown.edge(edge, &entries, &exits);
    }
    Description {
        name: manifest.name.value.clone(),
        description: manifest.description.clone(),
        digest: manifest.digest.clone(),
        parameters: parameters(manifest),
        inputs: plan
            .inputs
            .iter()
            .map(|input| port(&input.name, Some(input.format)))
            .collect(),
        outputs: plan
            .outputs
            .iter()
            .map(|output| PortDescription {
                seat: output.seat.map(|seat| plan.inputs[seat].name.clone()),
                role: output.role,
                ..port(&output.name, Some(output.format))
            })
            .collect(),
        interrupt: plan
            .interrupt
            .as_ref()
            .map(|interrupt| InterruptDescription {
                on: interrupt.on.map(|on| match shown.source(on) {
                    EndDescription { node, port } if port.is_empty() => node,
                    EndDescription { node, port } => format!("{node}.{port}"),
                }),
                flush: interrupt
                    .flush
                    .iter()
                    .map(|hop| plan.hops[*hop].id.clone())
                    .collect(),
            }),
        hops: shown.hops,
        edges: shown.edges,
    }
}

fn parameters(manifest: &Manifest) -> indexmap::IndexMap<String, ParameterDescription> {
    manifest
        .parameters
        .iter()
        .map(|parameter| {
            let described = ParameterDescription {
                value_type: parameter.kind.as_str(),
                default: parameter.default.clone(),
                description: parameter.description.clone(),
                choices: parameter.choices.clone(),
                min: parameter.min,
                max: parameter.max,
            };
            (parameter.name.value.clone(), described)
        })
        .collect()
}

fn port(name: &str, format: Option<StreamFormat>) -> PortDescription {
    PortDescription {
        name: name.to_owned(),
        kind: format.map(|format| format.kind()),
        format: format.map(|format| format.to_string()),
        seat: None,
        role: None,
    }
}

fn hop(hop: &PlanHop) -> HopDescription {
    let ports = |ports: &[PlanPort]| {
        ports
            .iter()
            .map(|p| PortDescription {
                kind: p.format.map(|f| f.kind()).or_else(|| p.accepts.kind()),
                ..port(&p.name, p.format)
            })
            .collect()
    };
    HopDescription {
        id: hop.id.clone(),
        node_type: hop.node_type.clone(),
        placement: hop.placement,
        inserted: hop.inserted,
        inputs: ports(&hop.inputs),
        outputs: ports(&hop.outputs),
    }
}

/// What is shown so far.
struct Shown<'a> {
    plan: &'a Plan,
    hops: Vec<HopDescription>,
    edges: Vec<EdgeDescription>,
}

impl Shown<'_> {
    /// Conversions of what WebRTC brings to each input; the end from which the pipeline takes it, where there are any.
    fn input_chains(&mut self, registry: &Registry) -> Vec<Option<EndDescription>> {
        let plan = self.plan;
        plan.inputs
            .iter()
            .map(|input| {
                let from = usual(input.kind);
                let chain = conversions(from, &Accepts::just(&input.format)).ok()?;
                let start = end(&input.name, "");
                let (first, last) = self.chain(registry, &input.name, from, &chain)?;
                self.join(start, first, None);
                Some(last)
            })
            .collect()
    }

    /// Conversions to what a WebRTC listener takes from each output; the end to which the pipeline gives it.
    fn output_chains(&mut self, registry: &Registry) -> Vec<Option<EndDescription>> {
        let plan = self.plan;
        plan.outputs
            .iter()
            .map(|output| {
                if output.kind != Kind::Audio {
                    return None;
                }
                let from = output.format;
                let to = match from {
                    // Packets that pass through are sent on as they are.
                    StreamFormat::Audio { packets: true, .. } => Accepts::Anything,
                    _ => Accepts::exactly(AudioFormat::WEBRTC_OPUS),
                };
                let chain = conversions(from, &to).ok()?;
                let (first, last) = self.chain(registry, &output.name, from, &chain)?;
                let queue = (
                    output.queue.frames,
                    output.queue.bytes,
                    output.queue.age,
                    output.queue.when_full,
                );
                self.join(last, end(&output.name, ""), Some(described(queue)));
                Some(first)
            })
            .collect()
    }

    /// Adds a chain's hops; its first input and last output. `None` if it has none, or the registry cannot do it.
    fn chain(
        &mut self,
        registry: &Registry,
        name: &str,
        from: StreamFormat,
        chain: &[Conversion],
    ) -> Option<(EndDescription, EndDescription)> {
        let mut format = from;
        let mut made = Vec::new();
        for step in chain {
            let id = format!("{name}:{}", step.name);
            made.push(hop(&conversion_hop(registry, id, step, format).ok()?));
            format = step.output;
        }
        let ends = |hop: &HopDescription| {
            (
                end(&hop.id, &hop.inputs[0].name),
                end(&hop.id, &hop.outputs[0].name),
            )
        };
        let (first, _) = ends(made.first()?);
        let (_, last) = ends(made.last()?);
        for pair in made.windows(2) {
            let (_, from) = ends(&pair[0]);
            let (to, _) = ends(&pair[1]);
            self.join(from, to, None);
        }
        self.hops.extend(made);
        Some((first, last))
    }

    fn join(&mut self, from: EndDescription, to: EndDescription, queue: Option<QueueDescription>) {
        self.edges.push(EdgeDescription { from, to, queue });
    }

    /// Adds an edge of the plan, led through the conversions of clients.
    fn edge(
        &mut self,
        edge: &PlanEdge,
        entries: &[Option<EndDescription>],
        exits: &[Option<EndDescription>],
    ) {
        let from = match edge.from {
            Source::Input(input) => entries[input].clone(),
            Source::Hop { .. } => None,
        };
        let from = from.unwrap_or_else(|| self.source(edge.from));
        let queue = (
            edge.queue.frames,
            edge.queue.bytes,
            edge.queue.age,
            edge.queue.when_full,
        );
        let (to, queue) = match edge.to {
            Target::Hop { hop, port } => {
                let hop = &self.plan.hops[hop];
                let queued = hop.placement != Placement::InPlace;
                let to = end(&hop.id, &hop.inputs[port].name);
                (to, queued.then(|| described(queue)))
            }
            Target::Output(output) => match &exits[output] {
                Some(exit) => (exit.clone(), None),
                None => {
                    let to = end(&self.plan.outputs[output].name, "");
                    (to, Some(described(queue)))
                }
            },
        };
        self.join(from, to, queue);
    }

    fn source(&self, source: Source) -> EndDescription {
        match source {
            Source::Input(input) => end(&self.plan.inputs[input].name, ""),
            Source::Hop { hop, port } => {
                let hop = &self.plan.hops[hop];
                end(&hop.id, &hop.outputs[port].name)
            }
        }
    }
}

fn end(node: &str, port: &str) -> EndDescription {
    EndDescription {
        node: node.to_owned(),
        port: port.to_owned(),
    }
}

fn described(
    (frames, bytes, age, when_full): (u32, u64, Option<std::time::Duration>, WhenFull),
) -> QueueDescription {
    QueueDescription {
        frames,
        bytes,
        age_ms: age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        when_full,
    }
}
