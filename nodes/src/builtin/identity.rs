//! `identity`: frames of any kind, passed on as they are.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_media::Frame;

use super::typed::{Inputs, Typed};
use crate::node::{Context, Node, NodeError};
use crate::registry::{ParamError, Port, Ports, Replay};
use crate::stream::{Accepts, StreamFormat};

pub(super) struct Identity;

/// It has no parameters.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {}

impl Typed for Identity {
    type Params = Params;

    const NAME: &'static str = "identity";
    const SUMMARY: &'static str = "Passes frames of any kind on as they are, RTP packets included.";
    const COST: &'static str = "34 ns";
    const REPLAY: Replay = Replay::Same;

    fn ports(&self, _: &Params) -> Ports {
        any_ports("The same frames.")
    }

    fn outputs(&self, _: &Params, inputs: Inputs<'_>) -> Result<Vec<StreamFormat>, ParamError> {
        same_as_input(inputs)
    }

    fn build(&self, _: Params, _: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        Ok(Box::new(Pass))
    }
}

/// One input for frames of any kind, and one output for the same.
pub(super) fn any_ports(doc: &'static str) -> Ports {
    let mut output = Port::input("out", Accepts::Anything, doc);
    output.required = false;
    Ports {
        inputs: vec![Port::input("in", Accepts::Anything, "Frames of any kind.")],
        outputs: vec![output],
    }
}

/// The one output's format where it is the one input's.
pub(super) fn same_as_input(inputs: Inputs<'_>) -> Result<Vec<StreamFormat>, ParamError> {
    let format = inputs.first().copied().flatten();
    let format = format.ok_or_else(|| ParamError::new("", "needs an edge to its input"))?;
    Ok(vec![format])
}

/// The node that does nothing: also what other types build where there is nothing to do.
pub(super) struct Pass;

impl Node for Pass {
    fn on_frame(&mut self, cx: &mut Context<'_>, _: usize, frame: Frame) -> Result<(), NodeError> {
        cx.emit(0, frame);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;
    use tidegate_media::{Audio, AudioFormat, MediaTime, Payload, Rtp};

    use super::super::testing::{Bench, error};
    use super::*;

    #[test]
    fn packets_pass_unopened() {
        let packets = StreamFormat::Audio {
            format: AudioFormat::WEBRTC_OPUS,
            packets: true,
        };
        let mut bench = Bench::new("identity", json!({}), &[packets]);
        assert_eq!(bench.formats, [packets]);
        let mut audio = Audio::encoded(AudioFormat::WEBRTC_OPUS, Bytes::from_static(b"\xfcpacket"));
        audio.rtp = Some(Rtp {
            sequence: 9,
            timestamp: 960,
            marker: true,
        });
        let mut frame = Frame::new(MediaTime::from_micros(7), Payload::Audio(audio));
        frame.meta.utterance = 3;
        assert_eq!(bench.frame(frame.clone()), [frame]);
    }

    #[test]
    fn an_unknown_parameter_is_named() {
        let error = error("identity", json!({"loud": true}), &[StreamFormat::Text]);
        assert_eq!(error.path, "loud");
        assert!(error.message.contains("unknown field"), "{error}");
    }
}
