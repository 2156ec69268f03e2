//! The order in which nodes are visited, and what each gives for the formats that reach it.

use tidegate_media::{AudioFormat, Kind};

use super::draft::Body;
use super::formats::{Flow, usual};
use super::params::report_error;
use crate::manifest::Report;
use crate::plan::{Placement, Source, Target};
use crate::stream::{Accepts, StreamFormat};

impl Flow<'_> {
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

    /// Asks a node what it gives for the formats that reach it.
    fn outputs_of(&mut self, node: usize, visited: &[bool], report: &mut Report) {
        let draft = &self.nodes[node];
        let decl = &self.manifest.nodes[node];
        let given: Vec<Option<StreamFormat>> = match &draft.body {
            Body::Broken => return,
            Body::Remote(remote) => {
                let usual = self.remote_audio;
                (0..draft.ports.outputs.len())
                    .map(|port| {
                        let declared = remote.formats.get(port).copied().flatten();
                        let accepts = &draft.ports.outputs[port].accepts;
                        declared.or_else(|| remote_output(accepts, usual))
                    })
                    .collect()
            }
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
}

/// What a remote hop gives on a port that is described so; `usual_audio` is what it gives of audio where nobody says otherwise.
fn remote_output(accepts: &Accepts, usual_audio: AudioFormat) -> Option<StreamFormat> {
    match accepts {
        Accepts::Anything => None,
        Accepts::Kind(Kind::Audio) => Some(StreamFormat::audio(usual_audio)),
        Accepts::Kind(kind) => Some(usual(*kind)),
        Accepts::Audio(pattern) => Some(StreamFormat::audio(AudioFormat {
            codec: *pattern.codecs.first().unwrap_or(&usual_audio.codec),
            sample_rate: *pattern
                .sample_rates
                .first()
                .unwrap_or(&usual_audio.sample_rate),
            channels: *pattern.channels.first().unwrap_or(&usual_audio.channels),
        })),
    }
}
