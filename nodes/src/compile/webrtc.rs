//! Ports of remote hops by WebRTC: audio travels there as RTP, so it flows to the hop and from it as Opus packets, and the compiler inserts
//! what the other side of the edge needs.

use tidegate_media::{AudioFormat, Codec, Kind};

use super::draft::{Body, DraftNode};
use crate::manifest::{Manifest, Report};
use crate::stream::{Accepts, AudioPattern, StreamFormat};

/// Settles the audio ports of hops that a WebRTC peer may serve.
pub(super) fn settle(manifest: &Manifest, nodes: &mut [DraftNode], report: &mut Report) {
    for (decl, node) in manifest.nodes.iter().zip(nodes) {
        let Body::Remote(remote) = &mut node.body else {
            continue;
        };
        if !remote.webrtc {
            continue;
        }
        let mut other = Vec::new();
        for port in &mut node.ports.inputs {
            match takes(&port.accepts) {
                None => {}
                Some(true) => port.accepts = packets(),
                Some(false) => other.push(port.name.clone()),
            }
        }
        remote.formats.resize(node.ports.outputs.len(), None);
        for (port, format) in node.ports.outputs.iter().zip(&mut remote.formats) {
            match takes(&port.accepts) {
                None => {}
                Some(true) => {
                    *format = Some(StreamFormat::Audio {
                        format: AudioFormat::WEBRTC_OPUS,
                        packets: true,
                    });
                }
                Some(false) => other.push(port.name.clone()),
            }
        }
        for port in other {
            let id = &decl.id.value;
            report.error(
                decl.id.at,
                "format",
                format!("'{id}.{port}' has a format that transport 'webrtc' does not carry"),
                "leave it out: audio travels as opus/48000/2 there, and is converted",
            );
        }
    }
}

/// Whether a port takes Opus; `None` if it is not for audio.
fn takes(accepts: &Accepts) -> Option<bool> {
    match accepts {
        Accepts::Kind(Kind::Audio) => Some(true),
        Accepts::Audio(pattern) => {
            Some(pattern.codecs.is_empty() || pattern.codecs.contains(&Codec::Opus))
        }
        _ => None,
    }
}

fn packets() -> Accepts {
    Accepts::Audio(AudioPattern {
        codecs: vec![Codec::Opus],
        sample_rates: vec![AudioFormat::WEBRTC_OPUS.sample_rate],
        channels: Vec::new(),
        packets: true,
    })
}
