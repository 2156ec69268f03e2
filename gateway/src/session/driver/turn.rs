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

/// Whether a turn that began at `began` is over.
pub(super) fn is_over(clock: Clock, began: Timestamp) -> bool {
    clock.now().saturating_since(began) >= TURN
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
