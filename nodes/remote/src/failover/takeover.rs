//! Leaving a stream that still stands: back to an earlier tier, away from a worker that drains, or to one with a newer credential.
//!
//! The other stream is opened first. It takes over when nothing has to be sent again; of a deterministic worker, whose repetitions are
//! recognised, also when something has to; and at the latest when the one that stands is about to go anyway, or, where an earlier tier
//! came back, after a while: what is then unanswered is sent again, as after a failure.

use std::sync::Arc;
use std::time::Duration;

use tidegate_media::Timestamp;

use super::attempts::Coming;
use super::stream::{Place, StreamId};
use super::{Action, Failover, Way, lock};
use crate::pool::{Outcome, Permit, Pick, Tried};

/// How often an earlier tier is looked at, at most.
const LOOK: Duration = Duration::from_secs(1);
/// How long it is left alone after it failed again.
const REST: Duration = Duration::from_secs(5);
/// A deterministic worker is replaced after this long even if it is never idle.
const IDLE_WAIT: Duration = Duration::from_millis(500);
/// An earlier tier that came back takes over after this long even if there is never a pause.
const RECOVERY_WAIT: Duration = Duration::from_secs(10);
/// Why the active stream is to be left, and how far that has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Takeover {
    reason: Reason,
    /// When the next attempt is made.
    at: Timestamp,
    /// By then whatever is open takes over.
    until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// An earlier tier may be well again.
    Recover,
    /// Its worker is about to leave.
    Draining,
    /// Its credential is about to end.
    Expiring,
}

impl Takeover {
    /// How long a stream that is ready waits for a good moment, if that has an end.
    fn patience(&self, alike: bool) -> Option<Duration> {
        if alike {
            return Some(IDLE_WAIT);
        }
        (self.reason == Reason::Recover).then_some(RECOVERY_WAIT)
    }
}

impl Failover {
    /// The worker leaves after this time.
    pub(super) fn draining(&mut self, now: Timestamp, deadline: Duration) {
        let Some(active) = &self.active else { return };
        if let (Some(permit), Some(Way::Pool(pool))) =
            (&active.place.permit, self.ways.get(active.place.tier))
        {
            lock(pool).draining(now, permit);
        }
        self.leave(Reason::Draining, now, now + deadline.mul_f64(0.9));
    }

    /// The credential of a stream is about to end, and there is a newer one: the stream is to be left by then. May be said often.
    pub(crate) fn expiring(&mut self, now: Timestamp, id: StreamId, by: Timestamp) {
        let leaves = self
            .takeover
            .is_some_and(|takeover| takeover.reason != Reason::Recover);
        if !leaves && self.active.as_ref().is_some_and(|active| active.id == id) {
            self.leave(Reason::Expiring, now, by);
            self.settle(now);
        }
    }

    fn leave(&mut self, reason: Reason, now: Timestamp, until: Timestamp) {
        if self.setup.unary {
            return;
        }
        self.takeover = Some(Takeover {
            reason,
            at: now,
            until: Some(until),
        });
        self.takeover_due(now);
    }

    /// A stream was activated: if it is of a later tier, an earlier one is looked at now and then.
    pub(super) fn plan_recovery(&mut self, now: Timestamp, tier: usize) {
        let earlier = self.ways.iter().take(tier);
        let any = earlier.into_iter().any(|way| matches!(way, Way::Pool(_)));
        self.takeover = (any && !self.setup.unary).then_some(Takeover {
            reason: Reason::Recover,
            at: now + LOOK,
            until: None,
        });
    }

    /// When [`Self::takeover_due`] has something to do.
    pub(super) fn takeover_at(&self) -> Option<Timestamp> {
        let takeover = self.takeover?;
        match (&self.coming, &self.active) {
            (Some(Coming::Ready(stream, since)), Some(active)) => {
                let alike = stream.deterministic && active.deterministic;
                let patience = takeover.patience(alike).map(|wait| *since + wait);
                patience.into_iter().chain(takeover.until).min()
            }
            (None, Some(_)) => Some(takeover.at),
            _ => None,
        }
    }

    /// Opens what is to take over.
    pub(super) fn takeover_due(&mut self, now: Timestamp) {
        let Some(takeover) = self.takeover else {
            return;
        };
        if takeover.at > now || self.coming.is_some() || self.over {
            return;
        }
        let Some(active) = &self.active else { return };
        let here = active.place.tier;
        let mut at = now + LOOK;
        let mut found: Option<(usize, Permit)> = None;
        for (tier, way) in self.ways.iter().enumerate() {
            let Way::Pool(pool) = way else { continue };
            let mut pool = lock(pool);
            let mut tried = Tried::new();
            match takeover.reason {
                Reason::Recover => {
                    if tier >= here {
                        break;
                    }
                    let ready = pool.ready_at(now);
                    if ready.is_none_or(|ready| ready > now) {
                        at = ready.map_or(at, |ready| at.max(ready));
                        continue;
                    }
                }
                Reason::Draining => {
                    if let (Some(permit), true) = (&active.place.permit, tier == here) {
                        tried = Tried::elsewhere(permit);
                    }
                }
                Reason::Expiring if tier != here => continue,
                Reason::Expiring => {}
            }
            if let Pick::Endpoint(permit) = pool.pick(now, &mut tried) {
                found = Some((tier, permit));
                break;
            }
        }
        match found {
            Some((tier, permit)) => {
                let endpoint = Arc::clone(&permit.member().endpoint);
                let permit = Some(permit);
                self.open(
                    now,
                    Place {
                        tier,
                        permit,
                        endpoint,
                    },
                );
            }
            None => self.look_again(at),
        }
    }

    fn look_again(&mut self, at: Timestamp) {
        if let Some(takeover) = &mut self.takeover {
            takeover.at = at;
        }
    }

    /// What was to take over could not be opened, or broke before it did.
    pub(super) fn takeover_failed(&mut self, now: Timestamp) {
        let recovers = self
            .takeover
            .is_some_and(|takeover| takeover.reason == Reason::Recover);
        self.look_again(now + if recovers { REST } else { LOOK });
    }

    /// Lets a stream that is ready take over, if this is a good moment.
    pub(super) fn switch_if_good(&mut self, now: Timestamp) {
        let (Some(Coming::Ready(next, since)), Some(active)) = (&self.coming, &self.active) else {
            return;
        };
        let settled = self.ring.is_settled();
        let alike = next.deterministic && active.deterministic;
        let takeover = self.takeover;
        let until = takeover.and_then(|takeover| takeover.until);
        let forced = until.is_some_and(|until| until <= now);
        // Who does not acknowledge may have more to say of the last frame, which stays in the ring and is sent again.
        let idle = self.ring.is_empty() || settled && (alike || !active.exchange.acks());
        let patience = takeover.and_then(|takeover| takeover.patience(alike));
        let waited = patience.is_some_and(|wait| *since + wait <= now);
        if !(idle || forced || waited) {
            return;
        }
        let Some(Coming::Ready(next, _)) = self.coming.take() else {
            return;
        };
        if let Some(mut old) = self.active.take() {
            self.actions.push_back(Action::Close { stream: old.id });
            self.due = old.exchange.calls();
            self.finished(now, &mut old.place, Outcome::Ok);
        }
        self.activate(now, next);
    }
}
