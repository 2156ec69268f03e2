//! The node: keeps what may turn out to be speech, and tells what it finds.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::json;
use tidegate_media::{Audio, AudioFormat, Frame, Json, MediaTime, Payload, Reframer, Resampler};

use super::super::slices::{mono, slices};
use super::detector::{Detector, RATE, Verdict, WINDOW};
use super::endpoint::{Change, Endpointer};
use super::{Params, WINDOW_SPAN};
use crate::node::{Context, Hold, Node, NodeError};
use crate::registry::ParamError;

/// Output ports.
pub(super) const AUDIO: usize = 0;
pub(super) const SPEECH: usize = 1;
pub(super) const START: usize = 2;
pub(super) const STOP: usize = 3;
pub(super) const PROBABILITY: usize = 4;

/// From frames to verdicts on windows.
struct Ear {
    resampler: Resampler,
    reframer: Reframer,
    detector: Detector,
}

impl Ear {
    fn hear(&mut self, at: MediaTime, audio: &Audio, verdicts: &mut Vec<(MediaTime, Verdict)>) {
        let (reframer, detector) = (&mut self.reframer, &mut self.detector);
        self.resampler.push(at, &mono(audio), |at, samples| {
            reframer.push(at, &samples, |at, window| {
                verdicts.push((at, detector.hear(window)));
            });
        });
    }

    fn reset(&mut self) {
        self.resampler.reset();
        self.reframer.reset();
        self.detector.reset();
    }
}

pub(super) struct Listener {
    format: AudioFormat,
    params: Params,
    ear: Ear,
    endpointer: Endpointer,
    /// The newest frames while nobody speaks: `kept` of playing time, and no more than [`Self::RECENT_MAX`] frames.
    recent: VecDeque<Frame>,
    kept: Duration,
    /// Number of the newest utterance.
    utterance: u64,
    /// The input that it began with.
    since: Option<u64>,
    /// Where it began.
    onset: MediaTime,
    /// Where the newest frame ended.
    end: Option<MediaTime>,
    verdicts: Vec<(MediaTime, Verdict)>,
}

impl Listener {
    /// A listener for parameters that were checked.
    pub(super) fn new(params: Params, format: AudioFormat) -> Result<Self, ParamError> {
        let resampler = Resampler::new(format.sample_rate, RATE, 1)
            .map_err(|error| ParamError::new("", error.to_string()))?;
        let rules = params.rules();
        // What may turn out to be speech, and what the detector lags behind.
        let kept =
            params.pre_roll.0 + rules.min_speech.max(20) * WINDOW_SPAN + Duration::from_millis(60);
        Ok(Self {
            format,
            ear: Ear {
                resampler,
                reframer: Reframer::new(RATE, 1, WINDOW),
                detector: Detector::new(),
            },
            endpointer: Endpointer::new(rules),
            kept,
            params,
            recent: VecDeque::new(),
            utterance: 0,
            since: None,
            onset: MediaTime::ZERO,
            end: None,
            verdicts: Vec::new(),
        })
    }

    /// Frames kept at most, however short they are.
    const RECENT_MAX: usize = 4_096;

    fn slice(&mut self, cx: &mut Context<'_>, frame: &Frame, audio: &Audio) {
        let mut speech = self.endpointer.is_speech().then(|| vec![frame.clone()]);
        if speech.is_none() {
            self.remember(frame.clone());
        }
        let mut stopped = None;
        let mut verdicts = std::mem::take(&mut self.verdicts);
        self.ear.hear(frame.meta.media_time, audio, &mut verdicts);
        for (at, verdict) in verdicts.drain(..) {
            if self.params.probability {
                let verdict =
                    json!({"media_time": at.as_micros(), "probability": verdict.probability});
                cx.emit(
                    PROBABILITY,
                    Frame::new(at, Payload::Json(Json::from(&verdict))),
                );
            }
            let past = at + WINDOW_SPAN;
            match self.endpointer.step(verdict) {
                Some(Change::Start {
                    windows,
                    probability,
                }) => {
                    self.start(cx, back(past, windows), probability);
                    let recalled = self.recall();
                    self.since = recalled.first().or(Some(frame)).map(|f| f.meta.since);
                    speech = Some(recalled);
                }
                Some(Change::Stop {
                    windows,
                    probability,
                }) => {
                    stopped = Some((back(past, windows), probability));
                }
                None => {}
            }
        }
        self.verdicts = verdicts;
        let mut speech = speech.unwrap_or_default();
        if let (Some(last), Some((at, probability))) = (speech.last_mut(), stopped) {
            last.meta.is_final = true;
            // Before what comes of it: who hears both knows what it is that is answered.
            self.stop(cx, at, probability);
        }
        for mut frame in speech {
            frame.meta.utterance = self.utterance;
            cx.emit(SPEECH, frame);
        }
    }

    fn start(&mut self, cx: &mut Context<'_>, onset: MediaTime, probability: f32) {
        self.utterance += 1;
        self.onset = onset;
        let event = json!({
            "type": "speech_start",
            "utterance": self.utterance,
            "media_time": onset.as_micros(),
            "probability": probability,
        });
        self.emit_event(cx, START, onset, &event);
    }

    fn stop(&mut self, cx: &mut Context<'_>, at: MediaTime, probability: f32) {
        let at = at.max(self.onset);
        let duration = at.saturating_since(self.onset).as_micros();
        let event = json!({
            "type": "speech_stop",
            "utterance": self.utterance,
            "media_time": at.as_micros(),
            "duration": u64::try_from(duration).unwrap_or(u64::MAX),
            "probability": probability,
        });
        self.since = None;
        self.emit_event(cx, STOP, at, &event);
    }

    fn emit_event(
        &self,
        cx: &mut Context<'_>,
        port: usize,
        at: MediaTime,
        event: &serde_json::Value,
    ) {
        let mut frame = Frame::new(at, Payload::Json(Json::from(event)));
        frame.meta.utterance = self.utterance;
        cx.emit(port, frame);
    }

    /// Ends what was begun where the input ended or leapt, with a frame without samples.
    fn close(&mut self, cx: &mut Context<'_>) {
        if self.endpointer.is_speech() {
            let at = self.end.unwrap_or_default();
            let audio = Audio::encoded(self.format, bytes::Bytes::new());
            let mut last = Frame::new(at, Payload::Audio(audio));
            last.meta.utterance = self.utterance;
            last.meta.is_final = true;
            self.stop(cx, at, self.endpointer.mean());
            cx.emit(SPEECH, last);
        }
        self.forget();
    }

    fn forget(&mut self) {
        self.ear.reset();
        self.endpointer.reset();
        self.recent.clear();
        self.since = None;
        self.end = None;
    }

    fn remember(&mut self, frame: Frame) {
        let end = frame.meta.media_time + frame.duration();
        self.recent.push_back(frame);
        while let Some(first) = self.recent.front() {
            let age = end.saturating_since(first.meta.media_time + first.duration());
            if age <= self.kept && self.recent.len() <= Self::RECENT_MAX {
                break;
            }
            self.recent.pop_front();
        }
    }

    /// The frames that belong to the utterance that has just begun.
    fn recall(&mut self) -> Vec<Frame> {
        let from = self.onset.as_micros() - micros(self.params.pre_roll.0);
        self.recent
            .drain(..)
            .filter(|frame| (frame.meta.media_time + frame.duration()).as_micros() > from)
            .collect()
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The position that many windows before.
fn back(at: MediaTime, windows: u32) -> MediaTime {
    MediaTime::from_micros(at.as_micros() - micros(windows * WINDOW_SPAN))
}

impl Node for Listener {
    fn on_frame(&mut self, cx: &mut Context<'_>, _: usize, frame: Frame) -> Result<(), NodeError> {
        let Payload::Audio(audio) = &frame.payload else {
            return Ok(());
        };
        let at = frame.meta.media_time;
        let off = self
            .end
            .map_or(0, |end| at.as_micros().abs_diff(end.as_micros()));
        if u128::from(off) > self.params.hangover.0.as_micros() {
            self.close(cx);
        }
        for (at, audio) in slices(at, audio) {
            let mut part = Frame::new(at, Payload::Audio(audio.clone()));
            part.meta.deadline = frame.meta.deadline;
            part.meta.since = frame.meta.since;
            self.slice(cx, &part, &audio);
        }
        self.end = Some(at + frame.duration());
        let is_final = frame.meta.is_final;
        cx.emit(AUDIO, frame);
        if is_final {
            // Whoever feeds it says that nothing more belongs to what was said: no hangover is to be waited for.
            self.close(cx);
        }
        Ok(())
    }

    fn on_end(&mut self, cx: &mut Context<'_>, _: usize) -> Result<(), NodeError> {
        self.close(cx);
        Ok(())
    }

    fn holds(&self) -> Hold {
        // What may turn out to be speech.
        let recent = self.recent.front().map(|frame| frame.meta.since);
        self.since.or(recent).into()
    }

    fn on_interrupt(&mut self, _: &mut Context<'_>) {
        self.forget();
    }
}
