//! Where in media time a run of samples lies.
//!
//! Counting samples from an anchor keeps times exact: rounding to microseconds never adds up. What arrives a little off
//! (a sender that rounds, or whose clock drifts) moves the anchor; a hole is reported, so that the caller can end what it
//! has and begin anew.

use std::time::Duration;

use crate::time::MediaTime;

/// How a chunk of samples joins those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joint {
    /// It is the first.
    Start,
    /// It goes on where the last one ended, within [`Timeline::SLACK`].
    Seamless,
    /// Its time leaps: there is a hole, or it goes back.
    Leap,
}

/// A position that advances by samples.
#[derive(Clone, Copy, Debug)]
pub struct Timeline {
    rate: u32,
    anchor: Option<MediaTime>,
    samples: u64,
}

impl Timeline {
    /// Deviations up to this are clock error, not holes. Half of the shortest packet in use, 20 ms.
    pub const SLACK: Duration = Duration::from_millis(10);
    /// Deviations up to this are rounding and change nothing.
    const ROUNDING_MICROS: u64 = 50;

    /// A time line of samples at `rate` Hz that has not begun.
    #[must_use]
    pub const fn new(rate: u32) -> Self {
        Self {
            rate,
            anchor: None,
            samples: 0,
        }
    }

    /// Where it began, as far as is known by now; zero before the start.
    #[must_use]
    pub fn start(&self) -> MediaTime {
        self.anchor.unwrap_or_default()
    }

    /// The position reached; zero before the start.
    #[must_use]
    pub fn position(&self) -> MediaTime {
        self.ahead(0)
    }

    /// The position `samples` after the one reached.
    #[must_use]
    pub fn ahead(&self, samples: u64) -> MediaTime {
        let elapsed = MediaTime::from_samples(self.samples + samples, self.rate);
        self.anchor.unwrap_or_default() + elapsed.saturating_since(MediaTime::ZERO)
    }

    /// Says how a chunk at `at` joins, with `pending` samples counted neither as passed nor as part of it. After
    /// [`Joint::Leap`] nothing has changed: call [`Self::restart`] when what is pending has been dealt with.
    pub fn join(&mut self, at: MediaTime, pending: u64) -> Joint {
        let Some(anchor) = self.anchor else {
            self.restart(at);
            return Joint::Start;
        };
        let off = at
            .as_micros()
            .saturating_sub(self.ahead(pending).as_micros());
        if u128::from(off.unsigned_abs()) > Self::SLACK.as_micros() {
            return Joint::Leap;
        }
        if off.unsigned_abs() > Self::ROUNDING_MICROS {
            self.anchor = Some(MediaTime::from_micros(
                anchor.as_micros().saturating_add(off),
            ));
        }
        Joint::Seamless
    }

    /// Begins anew at `at`.
    pub const fn restart(&mut self, at: MediaTime) {
        self.anchor = Some(at);
        self.samples = 0;
    }

    /// Back to before the start.
    pub const fn reset(&mut self) {
        self.anchor = None;
        self.samples = 0;
    }

    /// Moves on by `samples`.
    pub const fn advance(&mut self, samples: u64) {
        self.samples += samples;
    }

    /// Samples passed since it began.
    #[must_use]
    pub const fn samples(&self) -> u64 {
        self.samples
    }

    /// Whether it has begun.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.anchor.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_never_adds_up() {
        let mut line = Timeline::new(44_100);
        assert_eq!(line.join(MediaTime::ZERO, 0), Joint::Start);
        for _ in 0..100_000 {
            line.advance(441);
        }
        assert_eq!(line.position().as_micros(), 1_000_000_000);
    }

    #[test]
    fn small_errors_move_the_anchor_and_large_ones_are_leaps() {
        let mut line = Timeline::new(48_000);
        let _start = line.join(MediaTime::from_micros(500), 0);
        line.advance(480);
        assert_eq!(
            line.join(MediaTime::from_micros(13_000), 0),
            Joint::Seamless
        );
        assert_eq!(line.position().as_micros(), 13_000);
        assert_eq!(line.join(MediaTime::from_micros(40_000), 0), Joint::Leap);
        assert_eq!(line.position().as_micros(), 13_000);
        assert_eq!(
            line.join(MediaTime::from_micros(23_020), 480),
            Joint::Seamless
        );
        assert_eq!(line.position().as_micros(), 13_000);
    }
}
