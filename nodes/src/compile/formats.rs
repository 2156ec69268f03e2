//! Formats flow from the inputs through the nodes; where one does not fit, conversions are inserted.
//!
//! Nodes are visited in topological order. A cycle (which goes through an offloaded or remote hop) is entered where formats
//! are known already. Each port has one exact format: the first edge into it sets the format, and what
//! the others bring is converted to that.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_media::{AudioFormat, Kind, VideoCodec, VideoFormat};

use super::conversions::conversions;
use super::draft::{Body, DraftEdge, DraftNode};
use crate::manifest::Manifest;
use crate::plan::{PlanEdge, PlanHop, PlanPort, Source, Target};
use crate::registry::{Port, Registry};
use crate::stream::{Accepts, StreamFormat};

/// What a remote hop gives where nobody says otherwise and no client sends audio.
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

/// The PCM that is nearest to a format.
const fn uncompressed(format: AudioFormat) -> AudioFormat {
    if format.codec.is_pcm() {
        format
    } else {
        // Opus says two channels whatever it carries (RFC 7587 §4.1), which is one almost always.
        AudioFormat::pcm_f32(format.sample_rate, 1)
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
    pub(super) formats: HashMap<Source, StreamFormat>,
    /// What remote hops give of audio where nobody says otherwise: what the first client to send audio sends, which is what it hears
    /// too, so that nothing is resampled there and back. Never compressed, or the nodes behind would have to decode it.
    pub(super) remote_audio: AudioFormat,
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
            remote_audio: REMOTE_AUDIO,
        }
    }

    /// Decides what flows from an input, given what its client sends.
    pub(super) fn input(&mut self, index: usize, sent: Option<StreamFormat>) -> StreamFormat {
        let decl = &self.manifest.inputs[index];
        let sent = sent.unwrap_or_else(|| usual(decl.kind));
        let first = self.manifest.inputs[..index]
            .iter()
            .all(|input| input.kind != Kind::Audio);
        if let (Some(audio), true) = (sent.audio_format(), first) {
            self.remote_audio = uncompressed(audio);
        }
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
    pub(super) fn accepts(&self, to: Target) -> Accepts {
        match to {
            Target::Hop { hop, port } => self.hops[hop].inputs[port].accepts.clone(),
            Target::Output(output) => self.manifest.outputs[output]
                .format
                .map_or(Accepts::Anything, |format| Accepts::just(&format)),
        }
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
                Kind::Audio => StreamFormat::audio(self.remote_audio),
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
