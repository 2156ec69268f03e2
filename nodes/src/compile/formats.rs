//! Formats flow from the inputs through the nodes; where one does not fit, conversions are inserted.
//!
//! Nodes are visited in topological order. A cycle (which goes through an offloaded or remote hop) is entered where formats
//! are known already. Each port has one exact format: the first edge into it sets the format, and what
//! the others bring is converted to that.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_media::{AudioFormat, Kind, VideoCodec, VideoFormat};

use super::conversions::{Conversion, conversions};
use super::draft::{Body, DraftEdge, DraftNode};
use super::params::report_error;
use crate::manifest::{Manifest, Report};
use crate::plan::{Placement, PlanEdge, PlanHop, PlanPort, Queue, Source, Target};
use crate::registry::{NodeType, Port, Registry};
use crate::stream::{Accepts, StreamFormat};

/// What a remote hop gives where nobody says otherwise.
const REMOTE_AUDIO: AudioFormat = AudioFormat::pcm_f32(48_000, 1);

/// The format that clients send of each kind where nobody says otherwise: what WebRTC carries.
pub(super) const fn usual(kind: Kind) -> StreamFormat {
    match kind {
        Kind::Audio => StreamFormat::Audio {
            format: AudioFormat::WEBRTC_OPUS,
            packets: true,
        },
        Kind::Video => StreamFormat::Video(VideoFormat {
            codec: VideoCodec::Vp8,
        }),
        Kind::Text => StreamFormat::Text,
        Kind::Binary => StreamFormat::Binary,
        Kind::Tensor => StreamFormat::Tensor,
        Kind::Json => StreamFormat::Json,
    }
}

/// The plan's hops and edges, with what flows where.
pub(super) struct Flow<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) registry: &'a Registry,
    pub(super) nodes: &'a [DraftNode],
    pub(super) draft: &'a [DraftEdge],
    pub(super) hops: Vec<PlanHop>,
    pub(super) edges: Vec<PlanEdge>,
    /// For each plan edge, the edge of the manifest that it belongs to.
    pub(super) decls: Vec<usize>,
    formats: HashMap<Source, StreamFormat>,
}

impl<'a> Flow<'a> {
    pub(super) fn new(
        manifest: &'a Manifest,
        registry: &'a Registry,
        nodes: &'a [DraftNode],
        draft: &'a [DraftEdge],
    ) -> Self {
        let ports = |ports: &[Port]| {
            let port = |port: &Port| PlanPort {
                name: port.name.clone(),
                format: None,
                accepts: port.accepts.clone(),
            };
            ports.iter().map(port).collect()
        };
        let hops = manifest
            .nodes
            .iter()
            .zip(nodes)
            .map(|(decl, node)| PlanHop {
                id: decl.id.value.clone(),
                node_type: match &node.body {
                    Body::Local(node_type) => node_type.name().to_owned(),
                    Body::Remote(_) | Body::Broken => super::draft::REMOTE.to_owned(),
                },
                placement: node.placement,
                inserted: false,
                params: Arc::clone(&node.params),
                inputs: ports(&node.ports.inputs),
                outputs: ports(&node.ports.outputs),
            })
            .collect();
        Self {
            manifest,
            registry,
            nodes,
            draft,
            hops,
            edges: Vec::new(),
            decls: Vec::new(),
            formats: HashMap::new(),
        }
    }

    /// Decides what flows from an input, given what its client sends.
    pub(super) fn input(&mut self, index: usize, sent: Option<StreamFormat>) -> StreamFormat {
        let decl = &self.manifest.inputs[index];
        let sent = sent.unwrap_or_else(|| usual(decl.kind));
        let format = decl.format.unwrap_or_else(|| self.interior(index, sent));
        self.formats.insert(Source::Input(index), format);
        format
    }

    /// What the client sends if every consumer takes it; else the best that one of them asks for, so that nobody gets less
    /// than it asked for.
    fn interior(&self, index: usize, sent: StreamFormat) -> StreamFormat {
        let wanted: Vec<Accepts> = self
            .draft
            .iter()
            .filter(|edge| edge.from == Source::Input(index))
            .map(|edge| self.accepts(edge.to))
            .collect();
        if wanted.iter().all(|accepts| accepts.admits(&sent)) {
            return sent;
        }
        let quality = |format: &StreamFormat| {
            format
                .audio_format()
                .map_or((0, 0), |audio| (audio.sample_rate, audio.channels))
        };
        let mut best: Option<StreamFormat> = None;
        for accepts in &wanted {
            let steady = match accepts {
                Accepts::Anything => &Accepts::Kind(sent.kind()),
                other => other,
            };
            if let Ok(chain) = conversions(sent, steady) {
                let end = chain.last().map_or(sent, |step| step.output);
                if best.is_none_or(|best| quality(&end) > quality(&best)) {
                    best = Some(end);
                }
            }
        }
        best.unwrap_or(sent)
    }

    /// What may flow into a target.
    fn accepts(&self, to: Target) -> Accepts {
        match to {
            Target::Hop { hop, port } => self.hops[hop].inputs[port].accepts.clone(),
            Target::Output(output) => self.manifest.outputs[output]
                .format
                .map_or(Accepts::Anything, |format| Accepts::just(&format)),
        }
    }

    /// Carries formats through all nodes and joins all edges.
    pub(super) fn run(&mut self, report: &mut Report) {
        let between: Vec<(usize, usize)> = self
            .draft
            .iter()
            .filter_map(|edge| match (edge.from, edge.to) {
                (Source::Hop { hop: from, .. }, Target::Hop { hop: to, .. }) => Some((from, to)),
                _ => None,
            })
            .collect();
        let mut waits_for = vec![0_usize; self.nodes.len()];
        for (_, to) in &between {
            waits_for[*to] += 1;
        }
        let mut visited = vec![false; self.nodes.len()];
        let mut joined = vec![false; self.draft.len()];
        while let Some(node) = self.next(&visited, &waits_for) {
            visited[node] = true;
            for (_, to) in between.iter().filter(|(from, _)| *from == node) {
                waits_for[*to] -= 1;
            }
            self.join_where(
                &mut joined,
                report,
                |to| matches!(to, Target::Hop { hop, .. } if hop == node),
            );
            self.outputs_of(node, &visited, report);
        }
        // What closes a cycle, and the pipeline's outputs.
        self.join_where(&mut joined, report, |_| true);
    }

    /// The next node all of whose sources are visited; in a cycle, one of which each port has a visited source, else one that
    /// stands behind a queue.
    fn next(&self, visited: &[bool], waits_for: &[usize]) -> Option<usize> {
        let open = || (0..visited.len()).filter(|node| !visited[*node]);
        open()
            .find(|node| waits_for[*node] == 0)
            .or_else(|| open().find(|node| self.reached_on_each_port(*node, visited)))
            .or_else(|| open().find(|node| self.nodes[*node].placement != Placement::InPlace))
            .or_else(|| open().next())
    }

    fn reached_on_each_port(&self, node: usize, visited: &[bool]) -> bool {
        (0..self.nodes[node].ports.inputs.len()).all(|port| {
            let target = Target::Hop { hop: node, port };
            let mut edges = self
                .draft
                .iter()
                .filter(|edge| edge.to == target)
                .peekable();
            edges.peek().is_none()
                || edges.any(|edge| match edge.from {
                    Source::Input(_) => true,
                    Source::Hop { hop, .. } => visited[hop],
                })
        })
    }

    /// Joins the edges into the chosen targets whose source's format is known.
    fn join_where(
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

    /// Asks a node what it gives for the formats that reach it.
    fn outputs_of(&mut self, node: usize, visited: &[bool], report: &mut Report) {
        let draft = &self.nodes[node];
        let decl = &self.manifest.nodes[node];
        let given: Vec<Option<StreamFormat>> = match &draft.body {
            Body::Broken => return,
            Body::Remote(remote) => (0..draft.ports.outputs.len())
                .map(|port| {
                    let declared = remote.formats.get(port).copied().flatten();
                    declared.or_else(|| remote_output(&draft.ports.outputs[port].accepts))
                })
                .collect(),
            Body::Local(node_type) => {
                let inputs: Vec<_> = self.hops[node].inputs.iter().map(|p| p.format).collect();
                if self.lacks_source(node, visited) {
                    return;
                }
                match node_type.outputs(&draft.params, &inputs) {
                    Ok(outputs) => outputs.into_iter().map(Some).collect(),
                    Err(error) => {
                        report_error(decl, node_type.name(), &error, report);
                        return;
                    }
                }
            }
        };
        for (port, format) in given.into_iter().enumerate() {
            if let Some(format) = format {
                self.formats.insert(Source::Hop { hop: node, port }, format);
            }
        }
    }

    /// Whether a port has no format because of an error that is already reported. A port into which a cycle leads has none
    /// yet, which is no error.
    fn lacks_source(&self, node: usize, visited: &[bool]) -> bool {
        let ports = self.hops[node].inputs.iter().enumerate();
        ports
            .filter(|(_, input)| input.format.is_none())
            .any(|(port, _)| {
                let target = Target::Hop { hop: node, port };
                let mut edges = self
                    .draft
                    .iter()
                    .filter(|edge| edge.to == target)
                    .peekable();
                let joined = edges.peek().is_some();
                let later = |source| matches!(source, Source::Hop { hop, .. } if !visited[hop]);
                if joined {
                    !edges.any(|edge| later(edge.from))
                } else {
                    self.nodes[node].ports.inputs[port].required
                }
            })
    }

    /// The format that reaches an output.
    pub(super) fn output(&self, index: usize) -> StreamFormat {
        let decl = &self.manifest.outputs[index];
        self.edges
            .iter()
            .find(|edge| edge.to == Target::Output(index))
            .and_then(|edge| self.formats.get(&edge.from).copied())
            .or(decl.format)
            .unwrap_or_else(|| match decl.kind {
                Kind::Audio => StreamFormat::audio(REMOTE_AUDIO),
                kind => usual(kind),
            })
    }

    /// Notes the format of a port that only `interrupt` listens to.
    pub(super) fn listen(&mut self, on: Source) {
        if let Source::Hop { hop, port } = on {
            self.hops[hop].outputs[port].format = self.formats.get(&on).copied();
        }
    }
}

/// What a remote hop gives on a port that is described so.
fn remote_output(accepts: &Accepts) -> Option<StreamFormat> {
    match accepts {
        Accepts::Anything => None,
        Accepts::Kind(Kind::Audio) => Some(StreamFormat::audio(REMOTE_AUDIO)),
        Accepts::Kind(kind) => Some(usual(*kind)),
        Accepts::Audio(pattern) => Some(StreamFormat::audio(AudioFormat {
            codec: *pattern.codecs.first().unwrap_or(&REMOTE_AUDIO.codec),
            sample_rate: *pattern
                .sample_rates
                .first()
                .unwrap_or(&REMOTE_AUDIO.sample_rate),
            channels: *pattern.channels.first().unwrap_or(&REMOTE_AUDIO.channels),
        })),
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
