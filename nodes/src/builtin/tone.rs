//! `audio.tone`: a sine or silence from nowhere, or in answer to something.
//!
//! Without a trigger it sounds on its own, paced by the node's timer against the graph's clock; frames that were missed
//! because the timer came late are made up for, so that it keeps time. With a trigger each frame that comes in starts one beep.

use std::f64::consts::TAU;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_media::{
    Audio, AudioFormat, Frame, Kind, MediaTime, Payload, SAMPLE_RATES, Timestamp,
};

use super::params::{Span, millis, within, within_span};
use super::typed::{Inputs, Typed};
use crate::node::{Context, DropReason, Node, NodeError};
use crate::registry::{ParamError, Port, Ports};
use crate::stream::{Accepts, StreamFormat};

/// Fades at the ends, so that a beep does not click.
const FADE: Duration = Duration::from_millis(5);

/// How far behind it makes up for what was missed; beyond it there is a gap.
const LATE_MAX: Duration = Duration::from_secs(1);

pub(super) struct Tone;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Params {
    /// Pitch in Hz; 0 is silence.
    frequency: f64,
    /// Level in decibels below full scale, -120 to 0.
    level_db: f64,
    /// Sample rate in Hz; 4000 to 384000.
    sample_rate: u32,
    /// Channels, all alike; 1 to 8.
    channels: u8,
    /// Length of a frame; 5ms to 100ms.
    frame: Span,
    /// How long it sounds, and then its output ends; without it for ever, or 200ms for each trigger.
    duration: Option<Span>,
    /// Has an input `trigger`; each frame there, of any kind, starts one beep.
    triggered: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            frequency: 440.0,
            level_db: -12.0,
            sample_rate: 48_000,
            channels: 1,
            frame: millis(20),
            duration: None,
            triggered: false,
        }
    }
}

impl Typed for Tone {
    type Params = Params;

    const NAME: &'static str = "audio.tone";
    const EXAMPLE: &'static str = r#"{"triggered": true}"#;
    const SUMMARY: &'static str = "Makes a tone or silence: on its own in real time, or a beep for each frame on its trigger.";
    const COST: &'static str = "12 µs for 20 ms of 48 kHz";

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        within("sample_rate", params.sample_rate, SAMPLE_RATES)?;
        within(
            "frequency",
            params.frequency,
            0.0..=f64::from(params.sample_rate) / 2.0,
        )?;
        within("level_db", params.level_db, -120.0..=0.0)?;
        within("channels", params.channels, 1..=8)?;
        within_span("frame", params.frame, 5, 100)?;
        let longest = if params.triggered { 60_000 } else { 3_600_000 };
        params
            .duration
            .map_or(Ok(()), |span| within_span("duration", span, 5, longest))
    }

    fn ports(&self, params: &Params) -> Ports {
        let trigger = Port::input("trigger", Accepts::Anything, "Each frame starts one beep.");
        Ports {
            inputs: params.triggered.then_some(trigger).into_iter().collect(),
            outputs: vec![Port::output("out", Kind::Audio, "The tone.")],
        }
    }

    fn outputs(&self, params: &Params, _: Inputs<'_>) -> Result<Vec<StreamFormat>, ParamError> {
        let format = AudioFormat::pcm_f32(params.sample_rate, params.channels);
        Ok(vec![StreamFormat::audio(format)])
    }

    fn build(&self, params: Params, _: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        let format = AudioFormat::pcm_f32(params.sample_rate, params.channels);
        let endless = !params.triggered;
        let beep = params.duration.or((!endless).then_some(millis(200)));
        let size = format.samples_in(params.frame.0);
        Ok(Box::new(Generator {
            amplitude: 10_f64.powf(params.level_db / 20.0),
            length: beep.map(|span| u64::from(format.samples_in(span.0))),
            triggered: params.triggered,
            params,
            size,
            running: None,
            made: 0,
            utterance: 0,
        }))
    }
}

struct Generator {
    params: Params,
    amplitude: f64,
    /// Samples of each channel of one beep; `None`: for ever.
    length: Option<u64>,
    /// Samples of each channel of a frame.
    size: u32,
    triggered: bool,
    /// When the run began, and the media time of its first sample.
    running: Option<(Timestamp, MediaTime)>,
    /// Samples made in this run.
    made: u64,
    utterance: u64,
}

impl Generator {
    /// Makes the frame that is next, or nothing after the end.
    fn next(&mut self) -> Option<Frame> {
        let (_, start) = self.running?;
        let left = self.length.map_or(u64::from(self.size), |length| {
            length.saturating_sub(self.made)
        });
        let count = u64::from(self.size).min(left);
        if count == 0 {
            return None;
        }
        let channels = usize::from(self.params.channels);
        let rate = self.params.sample_rate;
        let mut samples = Vec::with_capacity(usize::try_from(count).unwrap_or(0) * channels);
        for index in self.made..self.made + count {
            samples.extend(std::iter::repeat_n(self.sample(index), channels));
        }
        let passed = MediaTime::from_samples(self.made, rate);
        self.made += count;
        let audio = Audio::from_f32(rate, self.params.channels, samples);
        let at = start + passed.saturating_since(MediaTime::ZERO);
        let mut frame = Frame::new(at, Payload::Audio(audio));
        if self.triggered {
            frame.meta.utterance = self.utterance;
            frame.meta.is_final = self.length == Some(self.made);
        }
        Some(frame)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "samples are f32, and an hour of samples is far below 2^52"
    )]
    fn sample(&self, index: u64) -> f32 {
        let rate = f64::from(self.params.sample_rate);
        let cycles = (index as f64 * self.params.frequency / rate).fract();
        let fade = FADE.as_secs_f64() * rate;
        let left = self.length.map_or(fade, |length| (length - index) as f64);
        let swell = (index as f64).min(left).min(fade) / fade;
        (self.amplitude * swell * (TAU * cycles).sin()) as f32
    }

    /// Emits the frame that is due, if one is, and sets the timer for the next.
    fn advance(&mut self, cx: &mut Context<'_>) {
        let Some((began, start)) = self.running else {
            return;
        };
        let passed = MediaTime::from_samples(self.made, self.params.sample_rate);
        let due = began + passed.saturating_since(MediaTime::ZERO);
        let late = cx.now().saturating_since(due);
        if late > LATE_MAX {
            self.running = Some((began + late, start + late));
        }
        if due <= cx.now() {
            let Some(frame) = self.next() else {
                self.running = None;
                return;
            };
            cx.emit(0, frame);
            if !self.triggered && self.length == Some(self.made) {
                self.running = None;
                cx.end_outputs();
                return;
            }
        }
        let passed = MediaTime::from_samples(self.made, self.params.sample_rate);
        let began = self.running.map_or(began, |(began, _)| began);
        cx.set_timer(began + passed.saturating_since(MediaTime::ZERO));
    }
}

impl Node for Generator {
    fn on_frame(&mut self, cx: &mut Context<'_>, _: usize, frame: Frame) -> Result<(), NodeError> {
        if self.running.is_some() {
            cx.drop_frame(DropReason::Condition);
            return Ok(());
        }
        self.running = Some((cx.now(), frame.meta.media_time));
        self.made = 0;
        self.utterance += 1;
        self.advance(cx);
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) -> Result<(), NodeError> {
        if self.running.is_none() && !self.triggered && self.made == 0 {
            self.running = Some((cx.now(), MediaTime::ZERO));
        }
        self.advance(cx);
        Ok(())
    }

    fn on_interrupt(&mut self, cx: &mut Context<'_>) {
        if self.triggered {
            self.running = None;
            cx.clear_timer();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{Bench, error, f32_of, micros, power_at};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn sound(frames: &[(usize, Frame)]) -> Vec<f32> {
        frames.iter().flat_map(|(_, frame)| f32_of(frame)).collect()
    }

    #[test]
    fn it_sounds_on_its_own_in_real_time_and_makes_up_for_late_calls() {
        let mut bench = Bench::new(
            "audio.tone",
            json!({"frequency": 1000, "level_db": -6.0206}),
            &[],
        );
        bench.timer = Some(bench.now);
        let start = bench.now;
        let mut made = bench.run_until(start + Duration::from_millis(333));
        made.extend(bench.run_until(start + SECOND));
        assert_eq!(made.len(), 51, "one each 20 ms, both ends included");
        for (index, (_, frame)) in (0..).zip(&made) {
            assert_eq!(micros(frame), index * 20_000);
        }
        let power = power_at(1_000.0, 48_000, &sound(&made)[480..48_000]);
        assert!((power - 0.125).abs() < 1e-3, "{power}");
    }

    #[test]
    fn a_driver_that_slept_for_long_hears_a_gap_and_not_a_flood() {
        let mut bench = Bench::new("audio.tone", json!({}), &[]);
        bench.timer = Some(bench.now);
        let start = bench.now;
        bench.run_until(start);
        bench.now = start + 60 * SECOND;
        let made = bench.run_until(start + 60 * SECOND);
        assert_eq!(made.len(), 1);
        assert_eq!(micros(&made[0].1), 60_000_000);
    }

    #[test]
    fn a_trigger_starts_one_beep_that_ends_final_and_without_a_click() {
        let params = json!({"triggered": true, "duration": "50ms", "sample_rate": 16_000});
        let mut bench = Bench::new("audio.tone", params, &[StreamFormat::Text]);
        let text = Frame::new(MediaTime::from_micros(5_000), Payload::Text("go".into()));
        let mut made = bench.on(0, text.clone());
        assert!(bench.on(0, text.clone()).is_empty(), "it sounds already");
        assert_eq!(bench.drops, [(DropReason::Condition, 1)]);
        made.extend(bench.run_until(bench.now + SECOND));
        let samples = sound(&made);
        assert_eq!(samples.len(), 800);
        assert!(samples[0].abs() < 1e-6 && samples[799].abs() < 0.01);
        let finals: Vec<_> = made.iter().map(|(_, f)| f.meta.is_final).collect();
        assert_eq!(finals, [false, false, true]);
        assert_eq!(micros(&made[0].1), 5_000);
        assert!(bench.on(0, text).iter().all(|(_, f)| f.meta.utterance == 2));
    }

    #[test]
    fn without_a_trigger_the_output_ends_with_the_last_frame() {
        let mut bench = Bench::new("audio.tone", json!({"duration": "50ms"}), &[]);
        bench.timer = Some(bench.now);
        let start = bench.now;
        assert_eq!(bench.run_until(start + Duration::from_millis(39)).len(), 2);
        assert!(!bench.ended);
        let last = bench.run_until(start + SECOND);
        assert_eq!((last.len(), sound(&last).len()), (1, 480));
        assert!(bench.ended && bench.timer.is_none());
    }

    #[test]
    fn silence_is_silent_and_a_pitch_beyond_the_rate_is_refused() {
        let mut bench = Bench::new("audio.tone", json!({"frequency": 0}), &[]);
        bench.timer = Some(bench.now);
        let made = bench.run_until(bench.now + SECOND);
        assert!(!made.is_empty() && sound(&made).iter().all(|&s| s == 0.0));
        let refused = error(
            "audio.tone",
            json!({"frequency": 5_000, "sample_rate": 8_000}),
            &[],
        );
        assert_eq!(refused.path, "frequency");
    }
}
