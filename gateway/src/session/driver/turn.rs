//! How long a session may keep its thread.
//!
//! In-place nodes are called where the driver stands, and most frames cost them microseconds. A client may send minutes of sound in
//! one message, though, which a denoiser works on for a second: meanwhile the other sessions and requests of that thread go on
//! elsewhere. Many shorter frames end the poll instead, after which others get their turn.

use std::time::Duration;

use tidegate_media::{Payload, Timestamp};
use tidegate_nodes::HopEvent;
use tidegate_nodes::graph::{Graph, Input};

use crate::clock::Clock;
use crate::tasks;

/// How long one poll goes on before others get their turn. A healthy poll takes tens of microseconds.
const TURN: Duration = Duration::from_millis(2);
/// Sound from which a frame may take longer than a turn: a denoiser needs about a hundredth of what it plays.
const LONG: Duration = Duration::from_millis(500);
/// Bytes from which another frame may: a cast of a tensor takes a millisecond a MiB, to parse JSON ten.
const LARGE: usize = 128 << 10;

/// Events between two looks at the clock: a look costs as much as what a cheap node does with a frame.
const LOOK: u32 = 8;
/// Bytes of a frame from which it is looked at at once: 20 ms of sound in any format are less.
const HEAVY: usize = 8 << 10;

/// When to look whether a turn is over.
#[derive(Debug)]
pub(super) struct Looks {
    left: u32,
}

impl Looks {
    pub(super) const fn new() -> Self {
        Self { left: LOOK }
    }

    /// Whether one more event, which brought this frame, ends a turn that began at `began`.
    pub(super) fn end(&mut self, clock: Clock, began: Timestamp, bytes: usize) -> bool {
        self.left = self.left.saturating_sub(1);
        if self.left > 0 && bytes < HEAVY {
            return false;
        }
        self.left = LOOK;
        is_over(clock.now(), began)
    }
}

/// Whether a turn that began at `began` is over.
pub(super) fn is_over(now: Timestamp, began: Timestamp) -> bool {
    now.saturating_since(began) >= TURN
}

/// Gives the graph what happened; where that may take long, the thread's other tasks go on elsewhere.
pub(super) fn feed(graph: &mut Graph, now: Timestamp, input: Input) {
    let long = match &input {
        Input::Frame { frame, .. } => is_long(&frame.payload),
        Input::Hop {
            event: HopEvent::Frame { frame, .. },
            ..
        } => is_long(&frame.payload),
        _ => false,
    };
    if long {
        tasks::in_place(|| graph.handle_input(now, input));
    } else {
        graph.handle_input(now, input);
    }
}

fn is_long(payload: &Payload) -> bool {
    match payload {
        Payload::Audio(audio) => audio.duration() >= LONG,
        other => other.size() >= LARGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::standing;

    #[test]
    fn the_clock_is_read_every_few_events_and_after_each_large_one() {
        let clock = Clock::standing();
        let began = Timestamp::ZERO;
        standing::set(Some(began + TURN));
        let looks = |bytes: usize| {
            let mut looks = Looks::new();
            (1..).find(|_| looks.end(clock, began, bytes))
        };
        assert_eq!(looks(640), Some(LOOK));
        assert_eq!(looks(HEAVY), Some(1));
        standing::set(Some(began));
        let mut looks = Looks::new();
        assert!(!(0..3 * LOOK).any(|_| looks.end(clock, began, HEAVY)));
    }
}
