//! What goes to the active stream, and what credit the graph has for it.

use tidegate_media::Timestamp;
use tidegate_nodes::HopEvent;
use tidegate_proto::message::Mode;

use super::attempts::Coming;
use super::{Action, Failover};
use crate::config::Timeouts;
use crate::credit::Room;
use crate::replay::Next;

impl Failover {
    /// Does what has become possible: control messages, frames, another stream, credit.
    pub(super) fn settle(&mut self, now: Timestamp) {
        if self.over {
            return;
        }
        // Here too, for a timer of a hop that always has something to do comes late.
        self.takeover_due(now);
        self.switch_if_good(now);
        self.begin_call(now);
        self.complete_call(now);
        self.transmit();
        if self.setup.unary {
            self.pump_call(now);
        } else {
            self.pump(now);
        }
        self.grant(now);
    }

    /// Control messages of the streams.
    fn transmit(&mut self) {
        let ready = match &mut self.coming {
            Some(Coming::Ready(stream, _)) => Some(stream),
            _ => None,
        };
        for open in self.active.iter_mut().chain(ready) {
            let stream = open.id;
            while let Some(message) = open.exchange.poll_transmit() {
                let place = None;
                self.actions.push_back(Action::Send {
                    stream,
                    message,
                    place,
                });
            }
        }
    }

    /// Frames and ends, in their order.
    fn pump(&mut self, now: Timestamp) {
        let Some(active) = &mut self.active else {
            return;
        };
        while let Some(next) = self
            .ring
            .next(&active.cursor, |port| active.exchange.can_send(port))
        {
            match next {
                Next::Frame(port) => {
                    active.send_frame(now, &mut self.ring, port, &mut self.actions)
                }
                Next::End(port) => {
                    active.cursor.end_sent(port);
                    active.send_end(now, port, &mut self.actions);
                }
            }
        }
        if self.setup.by_utterance {
            active.exchange.look_whether_held(now);
        }
    }

    /// Gives the graph what credit there is.
    fn grant(&mut self, now: Timestamp) {
        if self.setup.unary {
            return self.grant_calls();
        }
        let Some(active) = &self.active else { return };
        if self.gives_way && self.ring.is_empty() {
            self.gives_way = false;
        }
        if self.setup.by_utterance && self.ring.is_full_of_one() {
            // Nothing of it is answered before its end, which would never come.
            self.gives_way = true;
        }
        let bounded = !self.forgets() || self.ring.is_replaying(&active.cursor);
        if bounded && self.ring.is_settled() {
            self.ring.make_room();
        }
        let (mut frames, mut bytes) = self.ring.room();
        let given: u64 = self
            .allowances
            .iter()
            .map(|allowance| allowance.frames())
            .sum();
        frames = frames.saturating_sub(usize::try_from(given).unwrap_or(usize::MAX));
        let share = (self.setup.replay.frames / self.allowances.len().max(1)).max(1);
        // A worker that gives credit shows that it waits for more. Of any other that is only guessed where nothing would tell that it
        // is lost.
        let Timeouts {
            first_output, gap, ..
        } = self.setup.timeouts;
        let wants = active.exchange.counts() || first_output.or(gap).is_none();
        let mut full = false;
        for port in 0..self.allowances.len() {
            if self.ring.has_ended(port) || !active.exchange.is_joined(port) {
                continue;
            }
            let (unsent, unsent_bytes) = self.ring.unsent(&active.cursor, port);
            let mut room = active.exchange.room(port).less(unsent, unsent_bytes);
            let allowance = &mut self.allowances[port];
            if bounded {
                let most = allowance.frames() + frames as u64;
                let kept = Room {
                    frames: most.min(share as u64),
                    bytes: bytes as i128,
                };
                full |= wants
                    && allowance.is_spent()
                    && room.frames > 0
                    && room.bytes > 0
                    && (kept.frames == 0 || kept.bytes <= 0);
                room = room.at_most(kept);
            }
            if let Some(grant) = allowance.grant(room) {
                frames = frames.saturating_sub(grant.frames as usize);
                bytes = bytes.saturating_sub(usize::try_from(grant.bytes).unwrap_or(usize::MAX));
                let (frames, bytes) = (grant.frames, grant.bytes);
                self.events.push_back(HopEvent::Credit {
                    port,
                    frames,
                    bytes,
                });
            }
        }
        self.full_since = full.then(|| self.full_since.unwrap_or(now));
    }

    /// Whether the ring forgets rather than stop the graph: the client cannot be told to wait, or the worker never says what it has
    /// consumed.
    pub(super) fn forgets(&self) -> bool {
        let acks = self
            .active
            .as_ref()
            .is_some_and(|active| active.exchange.acks());
        self.setup.mode == Mode::Live || self.gives_way || !acks
    }
}
