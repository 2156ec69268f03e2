//! The Open Inference Protocol's side of a session: requests become frames of a pipeline's inputs, what its outputs give becomes
//! responses. docs/kserve.md has the mapping.
//!
//! [`request`] and [`answer`] are what one request means, whatever carries it; [`stream`] is the link of `ModelStreamInfer`, with
//! [`translate`] as its part without I/O.

pub(crate) mod answer;
pub(crate) mod model;
pub(crate) mod request;
pub(crate) mod statistics;
pub(crate) mod stream;
mod translate;
pub(crate) mod unserved;

use tidegate_media::{Codec, Kind};
use tidegate_nodes::stream::AudioPattern;
use tidegate_nodes::{Accepts, Code, Error};

use crate::session::ports::PortFacts;

/// How a client of the protocol hears an output, if it wants it: sound as float PCM with the rate and the channels that it has.
fn heard(port: &PortFacts, wanted: &[String]) -> Option<Accepts> {
    if !wanted.is_empty() && !wanted.contains(&port.name) {
        return None;
    }
    match port.kind {
        Kind::Video => None,
        Kind::Audio => Some(Accepts::Audio(AudioPattern {
            codecs: vec![Codec::PcmF32],
            ..AudioPattern::default()
        })),
        kind => Some(Accepts::Kind(kind)),
    }
}

fn bad(text: impl Into<String>) -> Error {
    Error::new(Code::BadRequest, text)
}
