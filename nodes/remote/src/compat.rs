//! Whether what runs at the worker fits the hop here.

use tidegate_media::Kind;
use tidegate_nodes::StreamFormat;
use tidegate_proto::message::{Direction, Opened, Port, StreamSpec};

use crate::config::HopPorts;
use crate::error::RemoteError;

/// Gives the one port of a side that the manifest does not name the name that it has at the worker, if the worker has one there.
pub(crate) fn resolve(mut ports: HopPorts, opened: &Opened) -> HopPorts {
    let sides = [
        (Direction::Input, &mut ports.inputs),
        (Direction::Output, &mut ports.outputs),
    ];
    for (direction, ours) in sides {
        let [(name, _)] = ours.as_mut_slice() else {
            continue;
        };
        let mut theirs = opened.ports.iter().filter(|p| p.direction == direction);
        if let (true, Some(only), None) = (name.is_empty(), theirs.next(), theirs.next()) {
            only.name.as_str().clone_into(name);
        }
    }
    ports
}

/// Checks each joined port of the hop against the ports that the worker lists.
///
/// # Errors
/// A port is missing there, or its kind or format is another; both sides are named.
pub(crate) fn check(ports: &HopPorts, opened: &Opened) -> Result<(), RemoteError> {
    let pipeline = &opened.pipeline;
    let sides = [
        (Direction::Input, &ports.inputs),
        (Direction::Output, &ports.outputs),
    ];
    for (direction, ours) in sides {
        let joined = ours
            .iter()
            .filter_map(|(name, f)| Some((name, f.as_ref()?)));
        for (name, format) in joined {
            check_port(pipeline, direction, name, format, &opened.ports)?;
        }
    }
    Ok(())
}

fn check_port(
    pipeline: &str,
    direction: Direction,
    name: &str,
    format: &StreamFormat,
    theirs: &[Port],
) -> Result<(), RemoteError> {
    let side = word(direction);
    let same_side = || theirs.iter().filter(|port| port.direction == direction);
    let Some(port) = same_side().find(|port| port.name.as_str() == name) else {
        let there: Vec<_> = same_side()
            .map(|p| format!("{} ({})", p.name, p.kind))
            .collect();
        let there = if there.is_empty() {
            "none".to_owned()
        } else {
            there.join(", ")
        };
        return Err(RemoteError::Incompatible(format!(
            "the manifest joins {side} '{name}', which the worker's pipeline '{pipeline}' lacks; its {side}s: {there}"
        )));
    };
    if port.kind != format.kind() {
        return Err(RemoteError::Incompatible(format!(
            "{side} '{name}' carries {} here, but {} at the worker's pipeline '{pipeline}'",
            format.kind(),
            port.kind
        )));
    }
    match port.format {
        Some(theirs) if !same(format, theirs) => Err(RemoteError::Incompatible(format!(
            "{side} '{name}' carries {format} here, but {} at the worker's pipeline '{pipeline}'",
            show(theirs)
        ))),
        _ => Ok(()),
    }
}

const fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Input => "input",
        Direction::Output => "output",
    }
}

/// Opus packets say themselves how many channels they have.
fn same(ours: &StreamFormat, theirs: StreamSpec) -> bool {
    match (ours, theirs) {
        (StreamFormat::Audio { format, .. }, StreamSpec::Audio(other)) => {
            *format == other
                || (format.codec == other.codec && format.codec == tidegate_media::Codec::Opus)
        }
        (StreamFormat::Video(format), StreamSpec::Video(other)) => *format == other,
        _ => false,
    }
}

fn show(spec: StreamSpec) -> String {
    match spec {
        StreamSpec::Audio(format) => format.to_string(),
        StreamSpec::Video(format) => format.codec.as_str().to_owned(),
    }
}

/// The format to name for a port in `open`, where its kind has one.
pub(crate) fn spec(format: &StreamFormat) -> Option<StreamSpec> {
    match format {
        StreamFormat::Audio { format, .. } => Some(StreamSpec::Audio(*format)),
        StreamFormat::Video(format) => Some(StreamSpec::Video(*format)),
        _ => None,
    }
}

/// Whether a frame of a kind may come on a port, and audio only in the port's format.
pub(crate) fn admits(
    format: Option<&StreamFormat>,
    kind: Kind,
    frame: &tidegate_media::Frame,
) -> bool {
    use tidegate_media::Payload;
    if frame.kind() != kind {
        return false;
    }
    match (format, &frame.payload) {
        (Some(StreamFormat::Audio { .. }), Payload::Audio(audio)) => {
            format.is_some_and(|ours| same(ours, StreamSpec::Audio(audio.format)))
        }
        (Some(StreamFormat::Video(ours)), Payload::Video(video)) => video.format == *ours,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use tidegate_media::AudioFormat;
    use tidegate_proto::PortName;

    use super::*;

    fn opened(ports: &[(&str, Direction, Kind, Option<AudioFormat>)]) -> Opened {
        let port = |&(name, direction, kind, format): &(&str, Direction, Kind, _)| Port {
            name: PortName::new(name).expect("a name"),
            direction,
            kind,
            format: Option::map(format, StreamSpec::Audio),
        };
        Opened {
            pipeline: "stt".into(),
            ports: ports.iter().map(port).collect(),
            ..Opened::default()
        }
    }

    fn refusal(opened: &Opened) -> String {
        let mic = StreamFormat::audio(AudioFormat::pcm_s16(16_000, 1));
        let ports = HopPorts {
            hop: "stt".into(),
            inputs: vec![("mic".into(), Some(mic)), ("unjoined".into(), None)],
            outputs: vec![("words".into(), Some(StreamFormat::Text))],
        };
        check(&ports, opened)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn an_unnamed_port_is_the_only_one_that_the_worker_has() {
        let ports = || HopPorts {
            hop: "stt".into(),
            inputs: vec![(String::new(), None)],
            outputs: vec![(String::new(), None)],
        };
        let mic = ("mic", Direction::Input, Kind::Audio, None);
        let words = |name| (name, Direction::Output, Kind::Text, None);
        let resolved = resolve(ports(), &opened(&[mic, words("a"), words("b")]));
        assert_eq!(resolved.inputs[0].0, "mic");
        assert_eq!(resolved.outputs[0].0, "");
    }

    #[test]
    fn both_sides_are_named_where_they_differ() {
        use Direction::{Input, Output};
        let right = ("words", Output, Kind::Text, None);
        let s16 = Some(AudioFormat::pcm_s16(16_000, 1));
        let cases: [(&[_], &str); 5] = [
            (&[("mic", Input, Kind::Audio, s16), right], ""),
            (&[("mic", Input, Kind::Audio, None), right], ""),
            (
                &[("audio", Input, Kind::Audio, None), right],
                "the manifest joins input 'mic', which the worker's pipeline 'stt' lacks; its inputs: audio (audio)",
            ),
            (
                &[("mic", Input, Kind::Text, None), right],
                "input 'mic' carries audio here, but text at the worker's pipeline 'stt'",
            ),
            (
                &[
                    (
                        "mic",
                        Input,
                        Kind::Audio,
                        Some(AudioFormat::pcm_f32(48_000, 1)),
                    ),
                    right,
                ],
                "input 'mic' carries pcm_s16/16000/1 here, but pcm_f32/48000/1 at the worker's pipeline 'stt'",
            ),
        ];
        for (ports, expected) in cases {
            assert_eq!(refusal(&opened(ports)), expected);
        }
        assert_eq!(
            refusal(&opened(&[("mic", Input, Kind::Audio, None)])),
            "the manifest joins output 'words', which the worker's pipeline 'stt' lacks; its outputs: none"
        );
    }
}
