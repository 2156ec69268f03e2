//! `audio.segment`: each utterance becomes one frame, for services that take whole utterances.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_media::{Audio, AudioFormat, Frame, Kind, Meta, Payload};

use super::params::{Span, millis, show, within_span};
use super::pcm::any_pcm;
use super::slices::slices;
use super::typed::{Inputs, Typed, audio_input};
use crate::node::{Context, DropReason, Hold, Node, NodeError};
use crate::registry::{ParamError, Port, Ports, Replay};
use crate::stream::StreamFormat;

pub(super) struct Segment;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Params {
    /// Longest frame, 100ms to 2m: a longer utterance comes in several, of which the last is final.
    max_length: Span,
    /// Shorter utterances are dropped and counted; at most `max_length`.
    min_length: Span,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            max_length: millis(30_000),
            min_length: millis(0),
        }
    }
}

impl Typed for Segment {
    type Params = Params;

    const NAME: &'static str = "audio.segment";
    const SUMMARY: &'static str = "Collects each utterance, as `audio.vad` marks them, into one frame. Sound without marks is cut at \
                                   the longest length.";
    const COST: &'static str = "2 µs for 20 ms of 48 kHz mono";
    const REPLAY: Replay = Replay::SameInUtterances;

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        within_span("max_length", params.max_length, 100, 120_000)?;
        if params.min_length > params.max_length {
            let most = show(params.max_length.0);
            let message = format!("is longer than max_length: use {most} or less");
            return Err(ParamError::new("min_length", message));
        }
        Ok(())
    }

    fn ports(&self, _: &Params) -> Ports {
        Ports {
            inputs: vec![Port::input("in", any_pcm(), "Sound in utterances.")],
            outputs: vec![Port::output(
                "out",
                Kind::Audio,
                "One frame for each utterance.",
            )],
        }
    }

    fn outputs(&self, _: &Params, inputs: Inputs<'_>) -> Result<Vec<StreamFormat>, ParamError> {
        Ok(vec![StreamFormat::audio(audio_input(inputs, 0)?)])
    }

    fn build(&self, params: Params, inputs: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        let format = audio_input(inputs, 0)?;
        let bytes = |span: Span| {
            let sample = format.codec.sample_bytes().unwrap_or(1) * usize::from(format.channels);
            format.samples_in(span.0) as usize * sample
        };
        Ok(Box::new(Collector {
            format,
            longest: bytes(params.max_length),
            shortest: bytes(params.min_length),
            data: Vec::new(),
            meta: None,
            since: None,
            pieces: 0,
            frames: 0,
        }))
    }
}

struct Collector {
    format: AudioFormat,
    /// Bytes of the longest and the shortest frame.
    longest: usize,
    shortest: usize,
    data: Vec<u8>,
    /// Of the utterance that is collected, with the media time of what is in `data`.
    meta: Option<Meta>,
    /// Where it began; of sound without utterances, where what is in `data` did.
    since: Option<u64>,
    /// Frames that were made of this utterance.
    pieces: u32,
    /// Frames that came of it since.
    frames: u32,
}

impl Collector {
    fn emit(&mut self, cx: &mut Context<'_>, is_final: bool) {
        let Some(meta) = self.meta else { return };
        let data = std::mem::take(&mut self.data);
        let audio = Audio::encoded(self.format, data.into());
        let meta = Meta { is_final, ..meta };
        cx.emit(
            0,
            Frame {
                meta,
                payload: Payload::Audio(audio),
            },
        );
        self.pieces += 1;
        self.frames = 0;
    }

    /// The utterance is over.
    fn close(&mut self, cx: &mut Context<'_>) {
        if self.pieces == 0 && self.data.len() < self.shortest.max(1) {
            cx.drop_frames(DropReason::Condition, self.frames);
        } else {
            self.emit(cx, true);
        }
        self.forget();
    }

    fn forget(&mut self) {
        self.data.clear();
        self.meta = None;
        self.since = None;
        self.pieces = 0;
        self.frames = 0;
    }
}

impl Node for Collector {
    fn on_frame(&mut self, cx: &mut Context<'_>, _: usize, frame: Frame) -> Result<(), NodeError> {
        let Payload::Audio(audio) = &frame.payload else {
            return Ok(());
        };
        if self
            .meta
            .is_some_and(|meta| meta.utterance != frame.meta.utterance)
        {
            self.close(cx);
        }
        self.frames += 1;
        for (media_time, audio) in slices(frame.meta.media_time, audio) {
            if self.data.len() + audio.data.len() > self.longest && !self.data.is_empty() {
                self.emit(cx, false);
            }
            if self.data.is_empty() {
                let meta = frame.meta;
                if self.meta.is_none() || meta.utterance == 0 {
                    self.since = Some(meta.since);
                }
                self.meta = Some(Meta { media_time, ..meta });
            }
            self.data.extend_from_slice(&audio.data);
        }
        if frame.meta.is_final {
            self.close(cx);
        }
        Ok(())
    }

    fn on_end(&mut self, cx: &mut Context<'_>, _: usize) -> Result<(), NodeError> {
        if self.meta.is_some() {
            self.close(cx);
        }
        Ok(())
    }

    fn holds(&self) -> Hold {
        self.since.into()
    }

    fn on_interrupt(&mut self, _: &mut Context<'_>) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{Bench, audio, error, f32_of, micros, pcm};
    use super::*;

    /// 20 ms of an utterance.
    fn piece(ms: i64, utterance: u64, is_final: bool) -> Frame {
        let mut frame = audio(ms, 8_000, 1, vec![0.5; 160]);
        frame.meta.utterance = utterance;
        frame.meta.is_final = is_final;
        frame
    }

    fn bench(params: serde_json::Value) -> Bench {
        Bench::new("audio.segment", params, &[pcm(8_000, 1)])
    }

    #[test]
    fn an_utterance_becomes_one_frame() {
        let mut bench = bench(json!({}));
        let mut made = bench.frame(piece(100, 1, false));
        made.extend(bench.frame(piece(120, 1, true)));
        made.extend(bench.frame(piece(500, 2, false)));
        made.extend(bench.end());
        let told: Vec<_> = made
            .iter()
            .map(|f| {
                (
                    micros(f),
                    f32_of(f).len(),
                    f.meta.utterance,
                    f.meta.is_final,
                )
            })
            .collect();
        assert_eq!(told, [(100_000, 320, 1, true), (500_000, 160, 2, true)]);
    }

    #[test]
    fn a_long_one_comes_in_pieces_even_from_one_frame() {
        let mut bench = bench(json!({"max_length": "100ms"}));
        let mut long = audio(0, 8_000, 1, vec![0.5; 2_000]);
        long.meta.is_final = true;
        long.meta.utterance = 1;
        let made = bench.frame(long);
        let told: Vec<_> = made
            .iter()
            .map(|f| (micros(f), f32_of(f).len(), f.meta.is_final))
            .collect();
        assert_eq!(
            told,
            [(0, 800, false), (100_000, 800, false), (200_000, 400, true)]
        );
    }

    #[test]
    fn a_short_one_is_dropped_and_counted() {
        let mut bench = bench(json!({"min_length": "50ms"}));
        bench.frame(piece(0, 1, false));
        assert!(bench.frame(piece(20, 1, true)).is_empty());
        assert_eq!(bench.drops, [(DropReason::Condition, 2)]);
        bench.frame(piece(100, 2, false));
        bench.frame(piece(120, 2, false));
        assert_eq!(bench.frame(piece(140, 2, true)).len(), 1);
    }

    #[test]
    fn a_new_number_closes_the_one_before_and_an_interrupt_forgets() {
        let mut bench = bench(json!({}));
        bench.frame(piece(0, 1, false));
        let made = bench.frame(piece(20, 2, false));
        assert!(made[0].meta.is_final && made[0].meta.utterance == 1);
        bench.interrupt();
        assert!(bench.end().is_empty());
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        let params = json!({"max_length": "1s", "min_length": "2s"});
        assert_eq!(
            error("audio.segment", params, &[pcm(8_000, 1)]).path,
            "min_length"
        );
    }
}
