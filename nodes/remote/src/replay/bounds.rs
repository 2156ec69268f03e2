//! What a ring forgets to keep its bounds.

use super::lane::{Entry, Lane};
use super::ring::Ring;

impl Ring {
    /// Forgets what makes it too large, oldest first: what was acknowledged and only a replay would want; then, if `all`, what was
    /// sent. What was not sent to anyone stays.
    pub(crate) fn shrink(&mut self, all: bool) {
        while self.is_over() {
            let front = |acked_only: bool| {
                let lanes = self.lanes.iter().enumerate();
                let fronts =
                    lanes.filter_map(|(port, lane)| Some((port, lane, lane.entries.front()?)));
                let may_go = fronts.filter(|(_, lane, entry)| {
                    entry.frame.meta.seq <= if acked_only { lane.acked } else { lane.sent }
                });
                may_go
                    .min_by_key(|(_, _, entry)| entry.position)
                    .map(|(port, ..)| port)
            };
            let Some(port) = front(true).or_else(|| if all { front(false) } else { None }) else {
                return;
            };
            self.pop(port);
        }
    }

    /// Forgets of what a port was sent, oldest first, until so much is left of it.
    pub(crate) fn forget_to(&mut self, port: usize, frames: u64, bytes: usize) {
        let (mut left, mut size) = self.queued(port);
        while left > frames || size > bytes {
            let Some(lane) = self.lanes.get(port) else {
                return;
            };
            let sent = |entry: &&Entry| entry.frame.meta.seq <= lane.sent;
            let Some(entry) = lane.entries.front().filter(sent) else {
                return;
            };
            left -= 1;
            size -= entry.size();
            self.pop(port);
        }
    }

    /// Makes room by forgetting what was acknowledged and only a replay would want: what it waits for to be released may be in what
    /// there is no room for.
    pub(crate) fn make_room(&mut self) {
        while self.room().0 == 0 || self.room().1 == 0 {
            let lanes = self.lanes.iter().enumerate();
            let fronts = lanes.filter_map(|(port, lane)| Some((port, lane, lane.entries.front()?)));
            let kept = fronts.filter(|(_, lane, entry)| entry.frame.meta.seq <= lane.acked);
            let oldest = kept
                .min_by_key(|(_, _, entry)| entry.position)
                .map(|(port, ..)| port);
            let Some(port) = oldest else { return };
            self.pop(port);
        }
    }

    fn pop(&mut self, port: usize) {
        if let Some(entry) = self.lanes[port].entries.pop_front() {
            self.frames -= 1;
            self.bytes -= entry.size();
        }
    }

    fn is_over(&self) -> bool {
        self.frames > self.limits.frames || self.bytes > self.limits.bytes && self.frames > 1
    }

    /// Whether there is no room, for one utterance that has not ended.
    pub(crate) fn is_full_of_one(&self) -> bool {
        let one = |lane: &Lane| match (lane.entries.front(), lane.entries.back()) {
            (Some(first), Some(last)) => {
                let (first, last) = (first.frame.meta, last.frame.meta);
                first.utterance == last.utterance && !last.is_final && lane.ended.is_none()
            }
            _ => true,
        };
        let (frames, bytes) = self.room();
        (frames == 0 || bytes == 0) && self.lanes.iter().all(one)
    }

    /// Frames and bytes that may still be pushed.
    pub(crate) fn room(&self) -> (usize, usize) {
        let frames = self.limits.frames.saturating_sub(self.frames);
        let bytes = self.limits.bytes.saturating_sub(self.bytes);
        (frames, bytes)
    }
}
