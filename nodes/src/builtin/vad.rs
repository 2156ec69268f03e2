//! `audio.vad`: where in a stream somebody speaks.
//!
//! Frames pass through unchanged; a second output has only the speech, cut into utterances, with what was said before the
//! detector could be sure. Detection is by [`detector`] on 16 kHz mono, decision by [`endpoint`].
//!
//! It keeps true: every utterance that began on `speech` is closed there by one final frame, also when the input ends, leaps
//! or pauses, or a frame of it is final; only an interrupt leaves one open, for whoever interrupts knows. What waits for a decision is bounded by the
//! pre-roll and the least length of speech.

mod detector;
mod endpoint;
mod listener;

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_media::Kind;

use self::endpoint::Rules;
use self::listener::Listener;
use super::params::{Span, millis, within, within_span};
use super::pcm::any_pcm;
use super::typed::{Inputs, Typed, audio_input};
use crate::node::Node;
use crate::registry::{ParamError, Port, Ports};
use crate::stream::StreamFormat;

/// Length of a window.
const WINDOW_SPAN: Duration = Duration::from_millis(16);

pub(super) struct Vad;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Params {
    /// Probability from which speech is likely, 0.05 to 0.99: higher misses more, lower hears more that is none.
    threshold: f32,
    /// Probability below which speech is unlikely; by default 0.15 below the threshold.
    release: Option<f32>,
    /// How long speech must last to be believed, 16ms to 2s. It delays `speech_start` by as much.
    min_speech: Span,
    /// How long it must be quiet until speech has ended, 100ms to 10s. It delays `speech_stop` by as much.
    hangover: Span,
    /// How much of what came before the start belongs to the utterance, up to 3s.
    pre_roll: Span,
    /// Has a fifth output, `probability`, with the verdict on each 16 ms.
    probability: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            release: None,
            min_speech: millis(80),
            hangover: millis(500),
            pre_roll: millis(300),
            probability: false,
        }
    }
}

impl Params {
    fn rules(&self) -> Rules {
        let windows = |span: Span| {
            let count = span.0.as_micros().div_ceil(WINDOW_SPAN.as_micros());
            u32::try_from(count).unwrap_or(u32::MAX).max(1)
        };
        Rules {
            threshold: self.threshold,
            release: self.release.unwrap_or(self.threshold - 0.15).max(0.01),
            min_speech: windows(self.min_speech),
            hangover: windows(self.hangover),
        }
    }
}

impl Typed for Vad {
    type Params = Params;

    const NAME: &'static str = "audio.vad";
    const EXAMPLE: &'static str = r#"{"probability": true}"#;
    const SUMMARY: &'static str = "Finds speech by a neural network, says when it starts and stops, and cuts it into utterances.";
    const COST: &'static str = "30 µs for 20 ms of 48 kHz mono, 45 µs while somebody speaks";

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        within("threshold", params.threshold, 0.05..=0.99)?;
        if let Some(release) = params.release {
            within("release", release, 0.01..=params.threshold)?;
        }
        let times = [
            ("min_speech", params.min_speech, 16, 2_000),
            ("hangover", params.hangover, 100, 10_000),
            ("pre_roll", params.pre_roll, 0, 3_000),
        ];
        times
            .into_iter()
            .try_for_each(|(path, span, from, to)| within_span(path, span, from, to))
    }

    fn ports(&self, params: &Params) -> Ports {
        let mut outputs = vec![
            Port::output("audio", Kind::Audio, "All that came in, unchanged."),
            Port::output(
                "speech",
                Kind::Audio,
                "Only speech with its pre-roll, in numbered utterances; the last frame of each is final.",
            ),
            Port::output(
                "speech_start",
                Kind::Json,
                "`{type: \"speech_start\", utterance, media_time, probability}` when speech is sure; the media time, in µs, is that of its first sound.",
            ),
            Port::output(
                "speech_stop",
                Kind::Json,
                "`{type: \"speech_stop\", utterance, media_time, duration, probability}` after the hangover; media time and duration, in µs, are those of the speech.",
            ),
        ];
        if params.probability {
            outputs.push(Port::output(
                "probability",
                Kind::Json,
                "`{media_time, probability}` of each 16 ms.",
            ));
        }
        Ports {
            inputs: vec![Port::input("in", any_pcm(), "Sound at any rate.")],
            outputs,
        }
    }

    fn outputs(
        &self,
        params: &Params,
        inputs: Inputs<'_>,
    ) -> Result<Vec<StreamFormat>, ParamError> {
        let sound = StreamFormat::audio(audio_input(inputs, 0)?);
        let mut outputs = vec![sound, sound, StreamFormat::Json, StreamFormat::Json];
        outputs.extend(params.probability.then_some(StreamFormat::Json));
        Ok(outputs)
    }

    fn build(&self, params: Params, inputs: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        let format = audio_input(inputs, 0)?;
        Ok(Box::new(Listener::new(params, format)?))
    }
}

#[cfg(test)]
mod tests;
