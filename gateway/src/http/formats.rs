//! The formats of a run that is one request: of what comes in, and of what is wanted.

use tidegate_media::{AudioFormat, Frame, Kind, Payload};
use tidegate_nodes::stream::AudioPattern;
use tidegate_nodes::{Accepts, StreamFormat};
use tidegate_proto::PortName;
use tidegate_proto::message::StreamSpec;

/// The format of an input that gets no frames.
pub(crate) fn untouched(kind: Kind) -> Option<StreamFormat> {
    Some(match kind {
        Kind::Audio => StreamFormat::audio(StreamSpec::DEFAULT_AUDIO),
        Kind::Video => return None,
        Kind::Text => StreamFormat::Text,
        Kind::Binary => StreamFormat::Binary,
        Kind::Tensor => StreamFormat::Tensor,
        Kind::Json => StreamFormat::Json,
    })
}

/// What the caller wants of an output of sound: what it named, or else what it sent.
pub(super) fn audio_wish(
    wanted: &[(PortName, StreamSpec)],
    port: &str,
    sent: Option<AudioFormat>,
) -> Accepts {
    let named = wanted.iter().find_map(|(name, spec)| match spec {
        StreamSpec::Audio(format) if name.as_str() == port => Some(*format),
        _ => None,
    });
    let format = named.or(sent).unwrap_or(StreamSpec::DEFAULT_AUDIO);
    Accepts::Audio(AudioPattern {
        codecs: vec![format.codec],
        sample_rates: vec![format.sample_rate],
        channels: vec![format.channels],
        packets: false,
    })
}

/// The format of a frame.
pub(crate) fn format_of(frame: &Frame) -> StreamFormat {
    match &frame.payload {
        Payload::Audio(audio) => StreamFormat::audio(audio.format),
        Payload::Video(video) => StreamFormat::Video(video.format),
        Payload::Text(_) => StreamFormat::Text,
        Payload::Binary(_) => StreamFormat::Binary,
        Payload::Tensor(_) => StreamFormat::Tensor,
        Payload::Json(_) => StreamFormat::Json,
    }
}
