//! When a frame of a paced output may leave: by media time, as a listener plays it.
//!
//! An anchor ties media time to the clock: a frame is played at `base + media time` and may leave [`LEAD`] before that. What this
//! keeps true:
//! - the first frame, and the first after silence, leaves at once;
//! - a frame that comes later than it is played leaves at once, and the anchor moves so that the next ones follow it at their
//!   proper distance;
//! - frames that come as they are played, each from a new input, leave at once as long as they jitter by less than [`LEAD`]. After
//!   a longer stall the delay that the anchor took from it is given back within [`WINDOW`];
//! - what a full queue lost is not waited for: what follows takes its place in time ([`Pacer::bring_forward`]);
//! - a media time that goes back or leaps by more than [`LEAP`] starts a new line, right after what was scheduled before.

use std::time::Duration;

use tidegate_media::{Frame, Kind, Timestamp};

/// How long before it is played a frame may leave: three packets of 20 ms, less than a listener's buffer holds.
pub const LEAD: Duration = Duration::from_millis(60);

/// A leap in media time beyond this is another time line rather than silence to be waited for.
pub const LEAP: Duration = Duration::from_secs(2);

/// How long all frames of a live stream must come early before the anchor follows them.
pub const WINDOW: Duration = Duration::from_secs(1);

const NANOS_PER_MICRO: i128 = 1_000;

#[derive(Debug, Default)]
pub(super) struct Pacer {
    anchor: Option<Anchor>,
}

#[derive(Debug)]
struct Anchor {
    /// Clock minus media time, in nanoseconds.
    base: i128,
    /// Media time at which the newest frame starts, and at which it ends.
    start: i128,
    end: i128,
    window: Window,
}

/// How early the frames of the last while came.
#[derive(Debug)]
struct Window {
    since: Timestamp,
    frames: u32,
    /// Frames that came from another input than the one before.
    fresh: u32,
    cause: u64,
    /// The shortest wait that a frame was given.
    least: i128,
    /// The listener's queue was full: frames came as it drained, not as they were played.
    held_back: bool,
}

impl Pacer {
    /// Forgets the time line: the next frame leaves at once.
    pub(super) fn reset(&mut self) {
        self.anchor = None;
    }

    /// Frames that were scheduled are lost: what comes is due earlier by the time that they would have taken.
    pub(super) fn bring_forward(&mut self, by: Duration) {
        if let Some(anchor) = &mut self.anchor {
            anchor.base -= nanos(by);
            // A sender that is too fast is not one whose delay can be given back.
            anchor.window.held_back = true;
        }
    }

    /// When a frame that came at `now` may leave. `held_back` says that its producer had to wait for room.
    pub(super) fn due(&mut self, now: Timestamp, frame: &Frame, held_back: bool) -> Timestamp {
        let clock = i128::from(now.as_nanos());
        let start = i128::from(frame.meta.media_time.as_micros()) * NANOS_PER_MICRO;
        let end = start + nanos(frame.duration());
        let Some(anchor) = &mut self.anchor else {
            self.anchor = Some(Anchor {
                base: clock - start,
                start,
                end,
                window: Window::new(now, frame.meta.caused_by),
            });
            return now;
        };
        let follows = (anchor.base + anchor.end).max(clock);
        let back = frame.kind() == Kind::Audio && start < anchor.start;
        if back || anchor.base + start > follows + nanos(LEAP) {
            anchor.base = follows - start;
            anchor.start = start;
            anchor.end = end;
        } else {
            anchor.base = anchor.base.max(clock - start);
            anchor.start = anchor.start.max(start);
            anchor.end = anchor.end.max(end);
        }
        let wait = anchor.base + start - nanos(LEAD) - clock;
        let early = anchor
            .window
            .note(now, frame.meta.caused_by, wait, held_back);
        anchor.base -= early;
        let due = (anchor.base + start - nanos(LEAD)).max(clock);
        u64::try_from(due).map_or(now, Timestamp::from_nanos)
    }
}

impl Window {
    const fn new(now: Timestamp, cause: u64) -> Self {
        Self {
            since: now,
            frames: 0,
            fresh: 0,
            cause,
            least: i128::MAX,
            held_back: false,
        }
    }

    /// Notes a frame; when the window is over, gives by how much the anchor is to move earlier.
    fn note(&mut self, now: Timestamp, cause: u64, wait: i128, held_back: bool) -> i128 {
        self.frames += 1;
        self.fresh += u32::from(cause != self.cause);
        self.cause = cause;
        self.least = self.least.min(wait.max(0));
        self.held_back |= held_back;
        if now.saturating_since(self.since) < WINDOW {
            return 0;
        }
        let live = self.fresh * 4 >= self.frames * 3 && self.frames >= 4 && !self.held_back;
        let early = if live { self.least } else { 0 };
        *self = Self::new(now, cause);
        early
    }
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX / 4)
}

#[cfg(test)]
mod tests {
    use tidegate_media::{Audio, MediaTime, Payload};

    use super::*;

    fn frame(media_ms: u64, cause: u64) -> Frame {
        let audio = Audio::from_s16(8_000, 1, vec![0; 160]);
        let mut frame = Frame::new(
            MediaTime::from_micros(i64::try_from(media_ms * 1_000).expect("small")),
            Payload::Audio(audio),
        );
        frame.meta.caused_by = cause;
        frame
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    fn wait(pacer: &mut Pacer, now: u64, media: u64, cause: u64) -> u128 {
        let due = pacer.due(at(now), &frame(media, cause), false);
        due.saturating_since(at(now)).as_millis()
    }

    #[test]
    fn a_burst_is_spread_over_its_playing_time() {
        let mut pacer = Pacer::default();
        let waits: Vec<_> = (0..6).map(|n| wait(&mut pacer, 5, n * 20, 1)).collect();
        assert_eq!(waits, [0, 0, 0, 0, 20, 40]);
    }

    #[test]
    fn jitter_below_the_lead_never_delays() {
        let mut pacer = Pacer::default();
        for n in 0..500 {
            let jitter = [0, 59, 13, 30, 7][usize::try_from(n % 5).expect("small")];
            assert_eq!(wait(&mut pacer, 100 + n * 20 + jitter, n * 20, n), 0);
        }
    }

    #[test]
    fn after_a_stall_the_delay_is_given_back() {
        let mut pacer = Pacer::default();
        for n in 0..200_u64 {
            let stalled = (50..75).contains(&n);
            let now = 100 + if stalled { 75 * 20 } else { n * 20 };
            let waited = wait(&mut pacer, now, n * 20, n);
            assert!(n < 180 || waited == 0, "frame {n} waits {waited} ms");
        }
    }

    #[test]
    fn speech_made_faster_than_it_plays_is_never_hurried() {
        let mut pacer = Pacer::default();
        let mut last = 0;
        for n in 0..500 {
            let now = 100 + n * 2;
            let due = now + u64::try_from(wait(&mut pacer, now, n * 20, 1)).expect("small");
            assert!(n < 5 || due == last + 20, "frame {n}");
            last = due;
        }
    }

    #[test]
    fn the_first_frame_after_silence_leaves_at_once_and_the_rest_follows_it() {
        let mut pacer = Pacer::default();
        assert_eq!(wait(&mut pacer, 0, 0, 1), 0);
        let waits: Vec<_> = (1..7).map(|n| wait(&mut pacer, 9_000, n * 20, 2)).collect();
        assert_eq!(waits, [0, 0, 0, 0, 20, 40]);
    }

    #[test]
    fn a_new_time_line_follows_what_was_scheduled() {
        let mut pacer = Pacer::default();
        for n in 0..50 {
            wait(&mut pacer, 0, n * 20, 1);
        }
        assert_eq!(wait(&mut pacer, 0, 0, 2), 940);
        assert_eq!(wait(&mut pacer, 0, 3_600_000, 3), 960);
    }
}
