//! One endpoint's circuit breaker: a gate that is open to all, shut, or admits exactly one request to see.
//!
//! It opens after so many failures in a row, or when too few of the last attempts succeeded. It stays open for a time that doubles
//! whenever it opens again before the endpoint has proven itself, which takes a full window of mostly successful attempts or
//! `open_max` without reopening: an endpoint that fails every second request passes many a single probe.
//!
//! What a request met counts only if it was admitted since the breaker last opened, or had reached the endpoint: attempts
//! that began before an outage and time out after it say nothing about now.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rand::Rng;
use tidegate_media::Timestamp;

use super::backoff::doubled;
use super::config::BreakerConfig;

/// A probe whose stream has stood this long without failing has proven the endpoint, even if there was nothing to answer yet.
const SETTLED: Duration = Duration::from_secs(10);

/// How far below its length a time of being open may fall, so that gateways do not probe in step.
const JITTER: std::ops::RangeInclusive<f64> = 0.9..=1.0;

/// A breaker as seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests pass.
    Closed,
    /// None passes until this instant.
    Open {
        /// When one will be admitted.
        until: Timestamp,
    },
    /// One is admitted, or on its way.
    HalfOpen,
}

impl BreakerState {
    /// The value of the `state` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Whether a request may pass now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Yes,
    /// Exactly one, as a probe.
    Probe,
    /// Not before this instant, or while a probe is on its way, when to ask again.
    No(Timestamp),
}

/// What an attempt says about the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Success,
    Failure,
    /// A failure that counts within the window only.
    Lacking,
    /// A failure that says to stay away at once.
    Leave,
}

/// What the breaker remembers of an attempt that it admitted.
#[derive(Debug)]
pub(super) struct Pass {
    generation: u64,
    /// The one half-open request; while it lives, no other is admitted.
    probe: Option<Arc<()>>,
    /// When the endpoint took it.
    pub(super) opened: Option<Timestamp>,
}

impl Pass {
    pub(super) const fn is_probe(&self) -> bool {
        self.probe.is_some()
    }
}

#[derive(Debug)]
enum State {
    Closed {
        since: Timestamp,
    },
    Open {
        until: Timestamp,
    },
    HalfOpen {
        probe: Weak<()>,
        opened: Option<Timestamp>,
    },
}

#[derive(Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    state: State,
    /// How often it has opened; distinguishes what was admitted before and after.
    generation: u64,
    /// Openings since the endpoint was last proven.
    level: u32,
    in_a_row: u32,
    window: VecDeque<bool>,
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            state: State::Closed {
                since: Timestamp::ZERO,
            },
            generation: 0,
            level: 0,
            in_a_row: 0,
            window: VecDeque::new(),
        }
    }

    pub(super) fn state(&self, now: Timestamp) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until } if now < until => BreakerState::Open { until },
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Failures in a row up to now.
    pub(super) const fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    pub(super) fn admission(&mut self, now: Timestamp) -> Admission {
        match &self.state {
            State::Closed { .. } => Admission::Yes,
            State::Open { until } if now < *until => Admission::No(*until),
            State::Open { .. } => Admission::Probe,
            // Given back without a result: whoever held it was cancelled.
            State::HalfOpen { probe, .. } if probe.strong_count() == 0 => Admission::Probe,
            State::HalfOpen {
                opened: Some(opened),
                ..
            } if now - *opened >= SETTLED => {
                self.close(now);
                Admission::Yes
            }
            State::HalfOpen { .. } => Admission::No(now + self.config.open / 2),
        }
    }

    /// Notes one request as admitted. The caller has asked [`Breaker::admission`] at the same instant.
    pub(super) fn admit(&mut self, now: Timestamp) -> Pass {
        let probe = (self.admission(now) == Admission::Probe).then(|| {
            let token = Arc::new(());
            self.state = State::HalfOpen {
                probe: Arc::downgrade(&token),
                opened: None,
            };
            token
        });
        Pass {
            generation: self.generation,
            probe,
            opened: None,
        }
    }

    /// The endpoint took the request.
    pub(super) fn opened(&mut self, now: Timestamp, pass: &mut Pass) {
        pass.opened = Some(now);
        if self.awaits(pass)
            && let State::HalfOpen { opened, .. } = &mut self.state
        {
            *opened = Some(now);
        }
    }

    /// The endpoint gave an output: proof enough for a probe, whose stream may live for hours.
    pub(super) fn answered(&mut self, now: Timestamp, pass: &Pass) {
        if self.awaits(pass) {
            self.close(now);
        }
    }

    /// An attempt is over. Returns whether this opened the breaker.
    pub(super) fn record(
        &mut self,
        now: Timestamp,
        pass: &Pass,
        verdict: Verdict,
        random: &mut impl Rng,
    ) -> bool {
        if self.awaits(pass) {
            match verdict {
                Verdict::Success => self.close(now),
                _ => self.open(now, random),
            }
            return verdict != Verdict::Success;
        }
        let current = pass.generation == self.generation || pass.opened.is_some();
        if !current || !matches!(self.state, State::Closed { .. }) {
            return false;
        }
        match verdict {
            Verdict::Success => self.in_a_row = 0,
            Verdict::Failure => self.in_a_row += 1,
            Verdict::Lacking | Verdict::Leave => {}
        }
        let poor = self.remember(verdict == Verdict::Success);
        let open =
            poor || verdict == Verdict::Leave || self.in_a_row >= self.config.failures.max(1);
        if open {
            self.open(now, random);
        }
        open
    }

    /// What shut the endpoint off seems mended: the next request may see. The doubling goes on where it was.
    pub(super) fn hurry(&mut self, now: Timestamp) {
        if let State::Open { until } = &mut self.state {
            *until = (*until).min(now);
        }
    }

    /// Whether this is the request whose result the half-open breaker waits for.
    fn awaits(&self, pass: &Pass) -> bool {
        match (&self.state, &pass.probe) {
            (State::HalfOpen { probe, .. }, Some(token)) => {
                std::ptr::eq(probe.as_ptr(), Arc::as_ptr(token))
            }
            _ => false,
        }
    }

    /// Returns whether too few of the last attempts succeeded.
    fn remember(&mut self, success: bool) -> bool {
        if self.config.window == 0 {
            return false;
        }
        if self.window.len() == self.config.window {
            self.window.pop_front();
        }
        self.window.push_back(success);
        if self.window.len() < self.config.window {
            return false;
        }
        let good = self.window.iter().filter(|good| **good).count();
        let needed = self.config.success * as_f64(self.config.window);
        let poor = as_f64(good) + 1e-9 < needed;
        if !poor {
            self.level = 0;
        }
        poor
    }

    fn open(&mut self, now: Timestamp, random: &mut impl Rng) {
        if let State::Closed { since } = self.state
            && now - since >= self.config.open_max
        {
            self.level = 0;
        }
        let span = doubled(self.config.open, self.config.open_max, self.level);
        self.level = self.level.saturating_add(1);
        self.generation += 1;
        self.forget();
        self.state = State::Open {
            until: now + span.mul_f64(random.random_range(JITTER)),
        };
    }

    fn close(&mut self, now: Timestamp) {
        self.forget();
        self.state = State::Closed { since: now };
    }

    fn forget(&mut self) {
        self.in_a_row = 0;
        self.window.clear();
    }
}

fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests;
