//! Timers: the nodes' own, and the instants at which paced frames are due.

use std::time::Duration;

use tidegate_media::Timestamp;

use super::state::Egress;
use super::{Graph, State};

/// Calls of one node's timer in one [`Graph::handle_timeout`]. A generator that fell behind by that many frames catches up at once.
pub const TIMER_CALLS_MAX: u32 = 64;

/// How long a timer rests that is still due after that many calls, so that a node that never gets ahead takes no more than its
/// share.
pub const TIMER_REST: Duration = Duration::from_millis(1);

impl Graph {
    /// When [`Graph::handle_timeout`] is to be called, if nothing happens before. May lie in the past: then at once.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        if self.state != State::Running {
            return None;
        }
        let timer = self.next_timer().map_or(Timestamp::MAX, |(_, at)| at);
        let egresses = self.egresses.iter().flatten();
        let due = egresses.filter_map(|egress| egress.next_due()).min();
        let next = timer.min(due.unwrap_or(Timestamp::MAX));
        (next != Timestamp::MAX).then_some(next)
    }

    /// Does what is due by `now`: timers in the order of their instants, then paced frames.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let now = self.advance(now);
        for slot in &mut self.nodes {
            slot.timer_calls = 0;
        }
        while let Some((node, _)) = self.next_timer().filter(|(_, at)| *at <= now) {
            let calls = &mut self.nodes[node].timer_calls;
            if *calls == TIMER_CALLS_MAX {
                self.timers[node] = now + TIMER_REST;
                continue;
            }
            *calls += 1;
            self.timers[node] = Timestamp::MAX;
            self.call(now, node, |node, cx| node.on_timer(cx));
            self.run(now);
            if self.state != State::Running {
                return;
            }
        }
        for index in 0..self.egresses.len() {
            let egress = self.egresses[index].as_ref();
            if egress
                .and_then(Egress::next_due)
                .is_some_and(|due| due <= now)
            {
                self.pump_egress(now, index);
            }
        }
        self.finish();
    }

    /// The node whose timer is the earliest, the first of several, and when. Nodes before a full gate are left out.
    fn next_timer(&self) -> Option<(usize, Timestamp)> {
        let timers = self.timers.iter().enumerate();
        let timers = timers.filter(|(_, at)| **at != Timestamp::MAX);
        let timers = timers.filter(|(node, _)| !self.full.any(&self.nodes[*node].gates));
        timers
            .map(|(node, at)| (node, *at))
            .min_by_key(|(_, at)| *at)
    }
}
