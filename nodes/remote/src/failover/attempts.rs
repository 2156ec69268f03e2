//! Opening streams: the first one, the next one after a failure, and what replaces one that still stands.

use std::sync::Arc;
use std::time::Duration;

use tidegate_media::Timestamp;
use tidegate_nodes::{Code, DropReason, HopEvent, HopNote, Phase};
use tidegate_proto::message::{Mode, Opened};

use super::episode::Step;
use super::faults::{fault, outcome};
use super::stream::{Place, Stream, StreamId};
use super::{Action, Episode, Failover, Way, lock};
use crate::error::RemoteError;
use crate::exchange::Exchange;
use crate::pool::Outcome;

/// A stream that stood for so long was a good one, even if nothing was asked of it.
const PROVEN_AFTER: Duration = Duration::from_secs(10);

/// Said where a call was larger than what is kept of it.
const CUT: &str = ": this call or utterance is larger than 'replay.frames' or 'replay.bytes' allow to send again: raise them, or send shorter utterances";

/// What is to become the active stream.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each hop, and it becomes the active stream, which lies in place too"
)]
pub(super) enum Coming {
    /// The driver opens it.
    Opening {
        id: StreamId,
        place: Place,
        since: Timestamp,
        until: Timestamp,
    },
    /// It is open and waits for a good moment.
    Ready(Stream, Timestamp),
    /// The next attempt is made then.
    Waiting(Timestamp),
}

impl Coming {
    pub(super) fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Waiting(until) | Self::Opening { until, .. } => Some(*until),
            Self::Ready(..) => None,
        }
    }

    /// How long it may take to open.
    pub(super) fn opening_until(&mut self) -> Option<&mut Timestamp> {
        match self {
            Self::Opening { until, .. } => Some(until),
            Self::Waiting(_) | Self::Ready(..) => None,
        }
    }

    pub(super) fn stream(&self) -> Option<StreamId> {
        match self {
            Self::Opening { id, .. } => Some(*id),
            Self::Ready(stream, _) => Some(stream.id),
            Self::Waiting(_) => None,
        }
    }
}

impl Failover {
    /// Makes the next attempt of the episode, or waits for it, or gives up.
    pub(super) fn attempt(&mut self, now: Timestamp) {
        let unary = self.setup.unary;
        match self
            .episode
            .next(now, &self.ways, self.setup.attempts, unary)
        {
            Step::Try(place) => self.open(now, place),
            Step::Wait(until) => self.coming = Some(Coming::Waiting(until)),
            Step::GiveUp(text) => self.give_up(now, |error| {
                if let Some(text) = text {
                    error.code = Code::AllEndpointsFailed;
                    error.message = text;
                }
            }),
        }
    }

    /// Ends the hop with what the attempts met.
    fn give_up(&mut self, now: Timestamp, word: impl FnOnce(&mut tidegate_nodes::Error)) {
        let (mut error, endpoint) = self.episode.error(now);
        if let Some(endpoint) = endpoint {
            error
                .endpoint
                .get_or_insert_with(|| endpoint.as_ref().to_owned());
        }
        word(&mut error);
        self.end(Some(HopEvent::Failed(error)));
    }

    pub(super) fn open(&mut self, now: Timestamp, place: Place) {
        self.streams += 1;
        let id = StreamId(self.streams);
        self.actions.push_back(Action::Open {
            stream: id,
            tier: place.tier,
            member: place.permit.as_ref().map(|permit| permit.member().clone()),
        });
        self.coming = Some(Coming::Opening {
            id,
            place,
            since: now,
            until: now + self.setup.timeouts.connect,
        });
    }

    /// An attempt's time has come.
    pub(super) fn coming_due(&mut self, now: Timestamp) {
        match &self.coming {
            Some(Coming::Waiting(until)) if *until <= now => {
                self.coming = None;
                self.attempt(now);
            }
            Some(Coming::Opening { until, .. }) if *until <= now => {
                let (phase, limit) = (Phase::Connect, self.setup.timeouts.connect);
                self.abandon(now, RemoteError::Timeout { phase, limit });
            }
            _ => {}
        }
    }

    /// Whether the ring no longer has all of an utterance that a worker would have to hear whole.
    fn is_utterance_cut(&self) -> bool {
        self.setup.by_utterance && self.ring.gap() > 0
    }

    /// Gives the opening up that is under way, or the wait for one.
    pub(super) fn abandon(&mut self, now: Timestamp, error: RemoteError) {
        match &self.coming {
            Some(Coming::Opening { id, .. }) => {
                let id = *id;
                self.answered(now, id, Err(error));
            }
            Some(Coming::Waiting(_)) => {
                self.coming = None;
                self.attempt(now);
            }
            _ => {}
        }
    }

    /// A call that has taken as long as it may asks no worker again.
    fn close_late_pools(&mut self) {
        if self.call.as_ref().is_some_and(|call| call.late) {
            self.episode.close_pools(&self.ways);
        }
    }

    /// What became of an attempt.
    pub(super) fn answered(
        &mut self,
        now: Timestamp,
        id: StreamId,
        opened: Result<&Opened, RemoteError>,
    ) {
        let (mut place, since) = match self.coming.take() {
            Some(Coming::Opening {
                id: ours,
                place,
                since,
                ..
            }) if ours == id => (place, since),
            other => {
                self.coming = other;
                return;
            }
        };
        let took = now.saturating_since(since);
        let begun = opened
            .and_then(|opened| Exchange::begin(&self.setup.ports, opened, self.setup.timeouts));
        match begun {
            Ok(mut exchange) => {
                if self.setup.by_utterance {
                    exchange.by_utterance();
                }
                if let (Some(permit), Some(Way::Pool(pool))) =
                    (&mut place.permit, self.ways.get(place.tier))
                {
                    lock(pool).opened(now, permit, took);
                }
                self.note(HopNote::Attempt {
                    endpoint: Arc::clone(&place.endpoint),
                    outcome: None,
                    took,
                });
                let stream = Stream::new(now, id, place, exchange, self.setup.deterministic);
                if self.active.is_some() {
                    self.coming = Some(Coming::Ready(stream, now));
                } else {
                    self.activate(now, stream);
                }
            }
            Err(error) => {
                self.actions.push_back(Action::Close { stream: id });
                self.note(HopNote::Attempt {
                    endpoint: Arc::clone(&place.endpoint),
                    outcome: Some(error.code()),
                    took,
                });
                let outcome = match &error {
                    RemoteError::Timeout {
                        phase: Phase::Connect,
                        ..
                    } => Outcome::Silent,
                    error => outcome(error, true),
                };
                self.finished(now, &mut place, outcome);
                if self.active.is_some() {
                    self.takeover_failed(now);
                } else {
                    self.episode.failed(&place, error);
                    self.attempt(now);
                }
            }
        }
    }

    /// Lets a stream take over: what the ring still has is sent to it first.
    pub(super) fn activate(&mut self, now: Timestamp, mut stream: Stream) {
        self.forget_answer();
        self.ledger.begin(stream.deterministic, &mut self.ring);
        let whole = !stream.deterministic && !self.setup.unary;
        self.ring.keep_whole_utterances(whole);
        let gap = self.ring.gap();
        if gap > 0 {
            self.ring.gap_reported();
            let (reason, frames) = (DropReason::Gap, u32::try_from(gap).unwrap_or(u32::MAX));
            self.events.push_back(HopEvent::Dropped { reason, frames });
            self.note(HopNote::Gap(gap));
        }
        stream.cursor = self.ring.start();
        stream.exchange.inherit(std::mem::take(&mut self.due));
        let from = std::mem::replace(&mut self.endpoint, Arc::clone(&stream.place.endpoint));
        let again = self.ring.sent() > 0 || !self.setup.unary;
        if std::mem::replace(&mut self.begun, true) && again {
            let replayed = self.ring.sent();
            let to = Arc::clone(&self.endpoint);
            tracing::info!(hop = %self.setup.ports.hop, %from, %to, replayed, gap, "remote hop failed over");
            self.note(HopNote::Failover { from, to, replayed });
        }
        let tier = stream.place.tier;
        if self.tier.replace(tier) != Some(tier) {
            self.note(HopNote::Tier(tier));
        }
        self.plan_recovery(now, tier);
        if !self.setup.unary && self.ring.is_empty() {
            self.episode.waits_for_nothing();
        }
        self.active = Some(stream);
    }

    /// The active stream is of no use any more.
    pub(super) fn broke(&mut self, now: Timestamp, error: RemoteError) {
        let Some(mut stream) = self.active.take() else {
            return;
        };
        self.full_since = None;
        self.actions.push_back(Action::Close { stream: stream.id });
        self.note(HopNote::Attempt {
            endpoint: Arc::clone(&stream.place.endpoint),
            outcome: Some(error.code()),
            took: now.saturating_since(stream.opened),
        });
        let before = outcome(&error, stream.outputs > 0);
        let lived = now.saturating_since(stream.opened) >= PROVEN_AFTER;
        let waits = stream.exchange.waited_since(&error).unwrap_or(now);
        if stream.proven || lived {
            let attempts = self.setup.attempts;
            let next = Episode::after(waits, self.ways.len(), &stream.place, attempts);
            let before = std::mem::replace(&mut self.episode, next);
            if self.setup.unary {
                // It is the same call.
                self.episode.inherit(&before);
            }
            self.close_late_pools();
        }
        self.episode.waits_since(waits);
        let late = matches!(
            error,
            RemoteError::Timeout {
                phase: Phase::Call,
                ..
            }
        );
        if !self.setup.unary {
            self.due = stream.exchange.calls();
            if late {
                // No other worker could be in time; what is not one has its own.
                self.due.clear();
                self.episode.close_pools(&self.ways);
                let coming = self.coming.take().and_then(|coming| coming.stream());
                self.actions
                    .extend(coming.map(|stream| Action::Close { stream }));
            }
        }
        tracing::warn!(hop = %self.setup.ports.hop, endpoint = %stream.place.endpoint, %error, fault = ?fault(&error), "stream of a remote hop broke");
        self.finished(now, &mut stream.place, before);
        self.takeover = None;
        self.episode.empties += u32::from(error == RemoteError::Empty);
        self.episode.failed(&stream.place, error);
        if self.setup.mode == Mode::Waits && (self.is_call_cut() || self.is_utterance_cut()) {
            // A part of it would be answered as if it were all.
            return self.give_up(now, |error| error.message.push_str(CUT));
        }
        match self.coming.take() {
            Some(Coming::Ready(next, _)) => self.activate(now, next),
            Some(opening @ Coming::Opening { .. }) => self.coming = Some(opening),
            _ => self.attempt(now),
        }
    }

    /// Tells the pool how an attempt ended.
    pub(super) fn finished(&mut self, now: Timestamp, place: &mut Place, outcome: Outcome) {
        if let (Some(permit), Some(Way::Pool(pool))) =
            (place.permit.take(), self.ways.get(place.tier))
        {
            lock(pool).finished(now, permit, outcome);
        }
    }
}
