//! One input of the mix: where its sound lies on the mix's time line, and how long it has waited there.
//!
//! Positions are samples of each channel since media time 0.

use std::collections::VecDeque;
use std::time::Duration;

use tidegate_media::Timestamp;

/// Which media times are believed, in samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Believed {
    /// Deviation from where the last piece ended.
    pub(super) slack: i64,
    /// Distance ahead of the mix.
    pub(super) near: i64,
}

/// The sound of one input that has not been mixed yet.
#[derive(Debug)]
pub(super) struct Track {
    channels: usize,
    /// Position of the first sample in `samples`.
    start: i64,
    /// Interleaved.
    samples: VecDeque<f32>,
    /// Ends of the pieces, and when each came.
    arrivals: VecDeque<(i64, Timestamp)>,
    /// What is added to its own positions to get the mix's; `None` before it begins.
    offset: Option<i64>,
    /// Blocks in a row that were made without it.
    missed: u32,
    /// When the newest piece came.
    newest: Timestamp,
    /// Nothing more will come.
    pub(super) ended: bool,
}

impl Track {
    /// Blocks after which it is not waited for.
    const MISSED_MAX: u32 = 3;
    /// Time after which it is not waited for.
    const QUIET_MAX: Duration = Duration::from_secs(1);

    pub(super) fn new(channels: u8, joined: bool) -> Self {
        Self {
            channels: usize::from(channels),
            start: 0,
            samples: VecDeque::new(),
            arrivals: VecDeque::new(),
            offset: None,
            missed: 0,
            newest: Timestamp::ZERO,
            ended: !joined,
        }
    }

    /// Position after the last sample.
    pub(super) fn end(&self) -> i64 {
        self.start + to_position(self.samples.len() / self.channels)
    }

    /// Position of the first sample, if there is one.
    pub(super) fn first(&self) -> Option<i64> {
        (!self.samples.is_empty()).then_some(self.start)
    }

    /// Whether a live block waits for it.
    pub(super) fn is_awaited(&self, now: Timestamp) -> bool {
        let quiet = now.saturating_since(self.newest) > Self::QUIET_MAX;
        !self.ended && !quiet && self.offset.is_some() && self.missed < Self::MISSED_MAX
    }

    /// When it had brought everything before a position; `None` if it has not.
    pub(super) fn complete_at(&self, position: i64) -> Option<Timestamp> {
        let arrival = self.arrivals.iter().find(|(end, _)| *end >= position);
        arrival.map(|(_, at)| *at)
    }

    /// Puts sound that starts at its own position `own` into the mix that stands at `mixed`. Times up to `slack` off are
    /// rounding or drift; up to `near` ahead of the mix they are believed.
    pub(super) fn put(
        &mut self,
        now: Timestamp,
        own: i64,
        sound: &[f32],
        mixed: i64,
        Believed { slack, near }: Believed,
    ) {
        let ahead = if self.samples.is_empty() {
            mixed
        } else {
            self.end()
        };
        let wanted = own.saturating_add(self.offset.unwrap_or(0));
        let known = self.offset.is_some() && self.missed < Self::MISSED_MAX;
        let at = if known && wanted.saturating_sub(ahead).abs() <= slack {
            ahead
        } else {
            let believed = (ahead..=mixed.saturating_add(near)).contains(&wanted);
            let at = if believed { wanted } else { ahead };
            self.offset = Some(at - own);
            at
        };
        if self.samples.is_empty() {
            self.start = at;
        }
        let gap = usize::try_from(at - self.end()).unwrap_or(0);
        self.samples
            .extend(std::iter::repeat_n(0.0, gap * self.channels));
        self.samples.extend(sound);
        self.arrivals.push_back((self.end(), now));
        self.newest = now;
        self.missed = 0;
    }

    /// Adds its part of the block from `from` to `to`, and forgets it.
    pub(super) fn mix_into(&mut self, from: i64, to: i64, sum: &mut [f32]) {
        if self.end() < to && !self.ended {
            self.missed = self.missed.saturating_add(1);
        }
        self.arrivals.retain(|(end, _)| *end > to);
        let skip = usize::try_from(self.start - from).unwrap_or(0) * self.channels;
        let Some(room) = sum.get_mut(skip..) else {
            return;
        };
        let count = room.len().min(self.samples.len());
        for (to, sample) in room.iter_mut().zip(self.samples.drain(..count)) {
            *to += if sample.is_finite() { sample } else { 0.0 };
        }
        self.start += to_position(count / self.channels);
    }

    /// Forgets its sound and its place.
    pub(super) fn reset(&mut self) {
        self.samples.clear();
        self.arrivals.clear();
        self.offset = None;
        self.missed = 0;
    }
}

pub(super) fn to_position(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
