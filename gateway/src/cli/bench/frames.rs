//! The frames that a session sends: of the kind of the pipeline's first input, with a payload of the wanted size.

use bytes::Bytes;
use serde_json::Value;
use tidegate_media::{Audio, Dtype, Frame, Kind, MediaTime, Payload, Tensor};
use tidegate_proto::PortName;
use tidegate_proto::message::StreamSpec;

use super::BenchError;

/// Makes frames. Payloads are made once; frames share them.
#[derive(Clone, Debug)]
pub(super) struct Maker {
    payload: Payload,
    /// How much media time a frame takes, in microseconds.
    step: i64,
}

impl Maker {
    /// Frames of a kind and size.
    ///
    /// # Errors
    /// Video, which has to be encoded by somebody.
    pub(super) fn new(kind: Kind, size: usize) -> Result<Self, BenchError> {
        let bytes = Bytes::from(vec![0x20; size]);
        let mut step = 20_000;
        let payload = match kind {
            Kind::Audio => {
                let format = StreamSpec::DEFAULT_AUDIO;
                let samples = (size / 2).max(1);
                let audio = Audio::from_s16(format.sample_rate, 1, vec![257; samples]);
                step = i64::from(audio.samples) * 1_000_000 / i64::from(format.sample_rate);
                Payload::Audio(audio)
            }
            Kind::Text => Payload::Text(" ".repeat(size).into()),
            Kind::Json => Payload::Json((&Value::from("x".repeat(size.saturating_sub(2)))).into()),
            Kind::Binary => Payload::Binary(bytes),
            Kind::Tensor => {
                let tensor = Tensor::new(Dtype::U8, &[size as u64], bytes);
                Payload::Tensor(tensor.map_err(|error| BenchError::Session(error.to_string()))?)
            }
            Kind::Video => {
                let text =
                    "video is not made here: name a pipeline whose first input is of another kind";
                return Err(BenchError::Session(text.to_owned()));
            }
        };
        Ok(Self { payload, step })
    }

    /// The frame with this number, from 1.
    pub(super) fn frame(&self, number: u64) -> Frame {
        let at = i64::try_from(number - 1)
            .unwrap_or(i64::MAX)
            .saturating_mul(self.step);
        let mut frame = Frame::new(MediaTime::from_micros(at), self.payload.clone());
        frame.meta.seq = number;
        frame
    }

    /// Payload bytes of each.
    pub(super) fn size(&self) -> usize {
        self.payload.size()
    }
}

/// The inputs of a pipeline as its description lists them.
pub(super) fn inputs(about: &Value) -> Vec<(PortName, Kind)> {
    let listed = about["inputs"].as_array().into_iter().flatten();
    listed
        .filter_map(|input| {
            let name = PortName::new(input["name"].as_str()?).ok()?;
            Some((name, serde_json::from_value(input["kind"].clone()).ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_wanted_size_and_count_by_one() {
        for kind in [
            Kind::Audio,
            Kind::Text,
            Kind::Json,
            Kind::Binary,
            Kind::Tensor,
        ] {
            let maker = Maker::new(kind, 640).expect("a kind that is made here");
            assert_eq!(maker.size(), 640, "{kind}");
            assert_eq!(maker.frame(3).meta.seq, 3);
            assert_eq!(maker.frame(3).meta.media_time.as_micros(), 40_000, "{kind}");
        }
        assert!(Maker::new(Kind::Video, 640).is_err());
    }
}
