//! The node: makes a block when its time has come.

use std::time::Duration;

use tidegate_media::{Audio, AudioFormat, Frame, MediaTime, Payload, Timestamp};

use super::track::{Believed, Track, to_position};
use crate::node::{Context, Node, NodeError};

pub(super) struct Mixer {
    format: AudioFormat,
    minus_self: bool,
    /// How long a block waits for those that are late; `None`: until they have ended.
    wait: Option<Duration>,
    /// Samples of each channel of a block.
    size: usize,
    tracks: Vec<Track>,
    /// Where the next block begins; `None` before the first sound.
    mixed: Option<i64>,
    /// A block was made.
    begun: bool,
    /// Sums of the block in the making: of all, and of each input.
    parts: Vec<Vec<f32>>,
}

impl Mixer {
    /// How far ahead of the mix a new input's media time may lie and still be believed.
    const NEAR: Duration = Duration::from_secs(1);
    /// Deviations of media time up to this are rounding or drift.
    const SLACK: Duration = Duration::from_millis(10);
    /// Sound of one input that waits for the others at most.
    const AHEAD_MAX: Duration = Duration::from_secs(60);

    pub(super) fn new(
        format: AudioFormat,
        joined: &[bool],
        minus_self: bool,
        frame: Duration,
        wait: Option<Duration>,
    ) -> Self {
        let tracks = joined
            .iter()
            .map(|&joined| Track::new(format.channels, joined));
        Self {
            format,
            minus_self,
            wait,
            size: format.samples_in(frame).max(1) as usize,
            tracks: tracks.collect(),
            mixed: None,
            begun: false,
            parts: vec![Vec::new(); joined.len()],
        }
    }

    fn samples(&self, duration: Duration) -> i64 {
        i64::from(self.format.samples_in(duration))
    }

    /// The own position of a media time, rounded to the nearest sample.
    fn position(&self, at: MediaTime) -> i64 {
        let samples = i128::from(at.as_micros()) * i128::from(self.format.sample_rate);
        let samples = (samples + 500_000).div_euclid(1_000_000);
        i64::try_from(samples).unwrap_or(i64::MAX / 2)
    }

    /// The media time of a position.
    fn media_time(&self, position: i64) -> MediaTime {
        let micros = i128::from(position) * 1_000_000 / i128::from(self.format.sample_rate.max(1));
        MediaTime::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// Makes every block that is due, and sets the timer for the next.
    fn advance(&mut self, cx: &mut Context<'_>) -> Result<(), NodeError> {
        while let Some(from) = self.next_start(cx.now()) {
            let to = from + to_position(self.size);
            let ahead = self.tracks.iter().map(Track::end).max().unwrap_or(from) - from;
            let too_much = ahead > self.samples(Self::AHEAD_MAX);
            let due = match self.wait {
                None if too_much => {
                    return Err(NodeError::new(
                        "audio.mix: one input is a minute ahead of another that has not ended: end it, or set live to true",
                    ));
                }
                None => self.is_here(to, cx.now()),
                Some(_) if too_much || self.is_here(to, cx.now()) => true,
                Some(wait) => {
                    let due = self.due(from, to, wait).unwrap_or(cx.now());
                    if due > cx.now() {
                        cx.set_timer(due);
                        return Ok(());
                    }
                    true
                }
            };
            if !due {
                return Ok(());
            }
            self.make_block(cx, from, to);
        }
        cx.clear_timer();
        Ok(())
    }

    /// Whether all inputs that are waited for have brought everything before a position.
    fn is_here(&self, to: i64, now: Timestamp) -> bool {
        let mut tracks = self.tracks.iter();
        tracks.all(|track| !self.is_awaited(track, now) || track.end() >= to)
    }

    fn is_awaited(&self, track: &Track, now: Timestamp) -> bool {
        match self.wait {
            Some(_) => track.is_awaited(now),
            None => !track.ended,
        }
    }

    /// When a block has waited long enough: from when the first input had all of it, or, if none has, should have had.
    fn due(&self, from: i64, to: i64, wait: Duration) -> Option<Timestamp> {
        let complete = |position| {
            let tracks = self.tracks.iter();
            tracks.filter_map(|track| track.complete_at(position)).min()
        };
        let part = || complete(from + 1).map(|since| since + self.block());
        complete(to).or_else(part).map(|since| since + wait)
    }

    /// Playing time of a block.
    fn block(&self) -> Duration {
        let samples = u32::try_from(self.size).unwrap_or(u32::MAX);
        self.format.duration_of(samples)
    }

    /// Where the mix stands when sound with its own position `own` comes.
    fn start_at(&mut self, own: i64) -> i64 {
        let near = self.samples(Self::NEAR);
        let mixed = match self.mixed {
            None => own,
            // Before the first block the earliest sound decides.
            Some(mixed) if !self.begun && (self.wait.is_none() || mixed - own <= near) => {
                mixed.min(own)
            }
            Some(mixed) => mixed,
        };
        self.mixed = Some(mixed);
        mixed
    }

    /// Where the next block begins: where the mix stands, or after a pause of all where the first sound lies.
    fn next_start(&mut self, now: Timestamp) -> Option<i64> {
        let mixed = self.mixed?;
        let first = self.tracks.iter().filter_map(Track::first).min()?;
        let mut tracks = self.tracks.iter();
        let awaited = tracks.any(|t| t.first().is_none() && self.is_awaited(t, now));
        let paused = !awaited && first - mixed >= to_position(self.size);
        let start = if paused { first } else { mixed };
        self.mixed = Some(start);
        Some(start)
    }

    fn make_block(&mut self, cx: &mut Context<'_>, from: i64, to: i64) {
        let length = self.size * usize::from(self.format.channels);
        let mut all = vec![0.0; length];
        for (track, part) in self.tracks.iter_mut().zip(&mut self.parts) {
            if !self.minus_self {
                track.mix_into(from, to, &mut all);
                continue;
            }
            part.clear();
            part.resize(length, 0.0);
            track.mix_into(from, to, part);
            for (sum, sample) in all.iter_mut().zip(part.iter()) {
                *sum += sample;
            }
        }
        self.mixed = Some(to);
        self.begun = true;
        let at = self.media_time(from);
        if !self.minus_self {
            self.emit(cx, 0, at, all.into_iter());
            return;
        }
        for (port, part) in self.parts.iter().enumerate() {
            let others = all.iter().zip(part).map(|(sum, own)| sum - own);
            self.emit(cx, port, at, others);
        }
    }

    fn emit(
        &self,
        cx: &mut Context<'_>,
        port: usize,
        at: MediaTime,
        samples: impl Iterator<Item = f32>,
    ) {
        let samples = samples.map(|sample| sample.clamp(-1.0, 1.0)).collect();
        let audio = Audio::from_f32(self.format.sample_rate, self.format.channels, samples);
        cx.emit(port, Frame::new(at, Payload::Audio(audio)));
    }
}

impl Node for Mixer {
    fn on_frame(
        &mut self,
        cx: &mut Context<'_>,
        port: usize,
        frame: Frame,
    ) -> Result<(), NodeError> {
        let Payload::Audio(audio) = &frame.payload else {
            return Ok(());
        };
        let own = self.position(frame.meta.media_time);
        let mixed = self.start_at(own);
        let mut others = self.tracks.iter().enumerate().filter(|(at, _)| *at != port);
        let idle = self.tracks[port].first().is_none()
            && others.all(|(_, t)| t.first().is_none() && !t.is_awaited(cx.now()));
        let near = match self.wait {
            // After a pause of all, time has gone on.
            Some(_) if idle => i64::MAX / 4,
            Some(_) => self.samples(Self::NEAR),
            None => self.samples(Self::AHEAD_MAX),
        };
        let slack = self.samples(Self::SLACK);
        let believed = Believed { slack, near };
        self.tracks[port].put(cx.now(), own, &audio.to_f32(), mixed, believed);
        self.advance(cx)
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) -> Result<(), NodeError> {
        self.advance(cx)
    }

    fn on_end(&mut self, cx: &mut Context<'_>, port: usize) -> Result<(), NodeError> {
        self.tracks[port].ended = true;
        self.advance(cx)
    }

    fn on_interrupt(&mut self, cx: &mut Context<'_>) {
        self.tracks.iter_mut().for_each(Track::reset);
        cx.clear_timer();
    }
}
