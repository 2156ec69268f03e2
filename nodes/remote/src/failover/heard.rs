//! What the streams say, and what of it the graph hears.

use tidegate_media::{Frame, Timestamp};
use tidegate_nodes::{DropReason, Hold, HopEvent};

use super::attempts::Coming;
use super::faults::outcome;
use super::stream::Stream;
use super::{Action, Failover, Way, lock};
use crate::error::RemoteError;
use crate::exchange::{Cause, Said};
use crate::pool::Outcome;
use crate::replay::Verdict;

impl Failover {
    /// Listens to the active stream until it has said all, or is no longer it.
    pub(super) fn hear(&mut self, now: Timestamp) {
        self.hear_ready(now);
        while !self.over {
            let Some(said) = self
                .active
                .as_mut()
                .and_then(|active| active.exchange.poll_said())
            else {
                return;
            };
            self.heard(now, said);
        }
    }

    /// A stream that waits to take over has nothing to say, but may break.
    fn hear_ready(&mut self, now: Timestamp) {
        while let Some(Coming::Ready(stream, _)) = &mut self.coming {
            let Some(said) = stream.exchange.poll_said() else {
                return;
            };
            if let Said::Failed(_) | Said::Over | Said::Draining { .. } = said
                && let Some(Coming::Ready(mut stream, _)) = self.coming.take()
            {
                self.actions.push_back(Action::Close { stream: stream.id });
                let outcome = match said {
                    Said::Failed(error) => outcome(&error, true),
                    _ => Outcome::Cancelled,
                };
                self.finished(now, &mut stream.place, outcome);
                self.takeover_failed(now);
            }
        }
    }

    fn heard(&mut self, now: Timestamp, said: Said) {
        match said {
            Said::Frame { port, cause, frame } => self.output(now, port, cause, frame),
            Said::Acknowledged { seq, .. } if self.setup.unary => self.call_consumed(seq),
            Said::ReplayFrom { .. } | Said::Ended { .. } if self.setup.unary => {}
            Said::Over if self.setup.unary => self.call_ended(now),
            Said::Acknowledged { port, seq } => {
                let progress = self.ring.acknowledge(port, seq);
                self.prove(progress);
                if self.ring.is_empty() {
                    // Nothing more comes of what was sent.
                    self.ledger.release_all(&mut self.events);
                }
                self.tell_holds();
                self.events.push_back(HopEvent::Acknowledged { port, seq });
            }
            Said::ReplayFrom { port, seq } => {
                self.ring.replay_from(port, seq);
                self.tell_holds();
            }
            Said::Dropped { reason, frames } => {
                self.events.push_back(HopEvent::Dropped { reason, frames });
            }
            Said::Ended { port } => {
                self.end_output(port);
                if !self.ended.is_empty() && self.ended.iter().all(|ended| *ended) {
                    self.finish(now);
                }
            }
            Said::Draining { deadline } => {
                tracing::info!(hop = %self.setup.ports.hop, endpoint = %self.endpoint, ?deadline, "worker of a remote hop is draining");
                self.draining(now, deadline);
            }
            Said::Over => self.worker_ended(now),
            Said::Failed(error) => self.broke(now, error),
        }
    }

    fn output(&mut self, now: Timestamp, port: usize, cause: Option<Cause>, frame: Frame) {
        let progress = cause.is_none_or(|cause| self.ring.caused(cause));
        self.prove(progress);
        let Some(active) = &mut self.active else {
            return;
        };
        active.outputs += 1;
        let (acks, newest) = (active.exchange.acks(), active.exchange.newest());
        if active.is_observed(now) {
            observe(
                now,
                active,
                &self.ways,
                cause.and_then(|cause| self.ring.sent_at(cause)),
            );
        }
        if self.call.is_some() {
            self.remember(port, cause, &frame);
        }
        match self
            .ledger
            .output(&mut self.ring, port, cause, frame, &mut self.events)
        {
            Verdict::New | Verdict::Repeated => {}
            Verdict::Void => {
                let reason = DropReason::Interrupted;
                self.events
                    .push_back(HopEvent::Dropped { reason, frames: 1 });
            }
        }
        if !acks
            && !self.setup.unary
            && let Some(cause) = cause.or(newest)
        {
            // Nothing else says what it has consumed.
            self.ring.answered(cause);
            let Cause { port, seq } = cause;
            self.events.push_back(HopEvent::Acknowledged { port, seq });
        }
    }

    /// Whoever replays the whole pipeline must begin no later than a replay of this hop would.
    fn tell_holds(&mut self) {
        let holds = Hold::from(self.ring.holds());
        if holds != self.holds {
            self.holds = holds;
            self.events.push_back(HopEvent::Holds(holds));
        }
    }

    /// The present stream has come further than those before it: what breaks now is a failure of its own. An input on which
    /// every worker breaks proves nothing.
    fn prove(&mut self, progress: bool) {
        if let (true, Some(active)) = (progress, &mut self.active) {
            active.proven = true;
        }
    }

    pub(super) fn end_output(&mut self, port: usize) {
        self.ledger.release(port, &mut self.events);
        if let Some(ended) = self.ended.get_mut(port)
            && !std::mem::replace(ended, true)
        {
            self.events.push_back(HopEvent::Ended { port });
        }
    }

    /// The worker ended the session in order.
    fn worker_ended(&mut self, now: Timestamp) {
        let joined = (0..self.allowances.len()).filter(|&port| self.is_joined(port));
        let all_sent = self.ring.all_ended(joined);
        let answered = self.active.as_ref().is_some_and(|active| {
            if active.exchange.acks() {
                self.ring.is_settled()
            } else {
                active.outputs > 0 || active.sent == 0
            }
        });
        if !all_sent || !answered {
            // What two of them do alike is no failure.
            if self.episode.empties == 0 {
                self.broke(now, RemoteError::Empty);
                return;
            }
        }
        for port in 0..self.ended.len() {
            self.end_output(port);
        }
        self.finish(now);
    }

    /// All is done.
    fn finish(&mut self, now: Timestamp) {
        if let Some(mut active) = self.active.take() {
            let outcome = if active.outputs == 0 && active.sent > 0 {
                Outcome::Empty
            } else {
                Outcome::Ok
            };
            self.finished(now, &mut active.place, outcome);
            self.active = Some(active);
        }
        self.end(None);
    }
}

/// Tells the pool how long an output took.
fn observe(now: Timestamp, active: &Stream, ways: &[Way], sent: Option<Timestamp>) {
    let (Some(permit), Some(Way::Pool(pool))) = (&active.place.permit, ways.get(active.place.tier))
    else {
        return;
    };
    if let Some(sent) = sent {
        lock(pool).observed(now, permit, now.saturating_since(sent));
    }
}
