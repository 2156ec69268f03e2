//! The pool of a remote hop: which endpoint takes the next attempt, and what every attempt's end says about the one it was at.
//!
//! A state machine without I/O, clock or tasks: time is an argument, randomness comes from the seed, and equal calls give equal
//! answers. One pool stands for one (pipeline, hop, tier) and is shared by sessions behind a mutex ;
//! every call is short and bounded by the number of members.
//!
//! ```text
//! pick ─► Permit ─► opened ─► observed … ─► finished(outcome)          probe_due ─► Probe ─► probed
//!   │ AllTried: wait backoff(), clear Tried, if may_retry()            resolve_due ─► Resolve ─► resolved
//!   └ Exhausted: next tier, or wait until retry_at
//! ```
//!
//! An endpoint is *usable* if its breaker admits a request (what requests met there) and checks say that it is up. If checks
//! alone call every endpoint with an admitting breaker down, they are disbelieved and requests go there all the same: a wrong
//! health check must not be an outage ("panic mode"). A request that has failed at all usable ones is tried at those that checks call
//! down, too: they look at intervals.
//!
//! Kept true: exactly one request is admitted by a half-open breaker until its result is in or its permit is gone; a member that left
//! its name gets nothing new; memory is bounded by members, and members by endpoints times addresses plus attempts in flight.
//!
//! Absent: connections, resolution and checks themselves, replay, fallback tiers.

mod backoff;
mod balance;
mod breaker;
mod budget;
mod config;
mod health;
mod latency;
mod member;
mod names;
mod pick;
mod state;
mod upkeep;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tidegate_media::Timestamp;
use tidegate_nodes::{Code, Fault};

pub use breaker::BreakerState;
pub use config::{
    Balance, BreakerConfig, EmptyPolicy, EndpointConfig, HealthConfig, PoolConfig, RetryConfig,
};
pub use member::{Member, MemberId, Permit};
pub use names::Name;
pub use pick::{Pick, Tried};
pub use state::{EndpointState, Totals};
pub use upkeep::{Probe, Resolve};

use breaker::Verdict;
use budget::Budget;
use latency::PeakEwma;
use member::Slot;
use names::Schedule;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In order, with output if there was input.
    Ok,
    /// With an error. Only codes that are the worker's fault, or say that it wants fewer requests, count against the endpoint; being
    /// transient does not matter here.
    Failed {
        /// What went wrong.
        code: Code,
        /// Whether the same request can succeed elsewhere or later.
        transient: bool,
    },
    /// With its word that what it was asked for cannot be had, which says nothing about the endpoint: who asks for nonsense shuts it off for nobody.
    Refused,
    /// With no sign of life in time: no opening, no first output, or a gap.
    Silent,
    /// In order and without any output, though there was input.
    Empty,
    /// By whoever asked. Same as dropping the permit.
    Cancelled,
}

/// What became of the wish to try again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    /// The budget paid for these.
    pub granted: u64,
    /// And not for these.
    pub refused: u64,
}

/// A pool of endpoints. See the module.
#[derive(Debug)]
pub struct Pool {
    config: PoolConfig,
    slots: Vec<Slot>,
    /// By endpoint of the configuration.
    names: Vec<Option<Schedule>>,
    budget: Budget,
    retries: Retries,
    random: SmallRng,
    last: Option<MemberId>,
    next_id: u64,
}

impl Pool {
    /// A pool of which nothing is known: all endpoints count as usable, each name as one member until it is resolved.
    #[must_use]
    pub fn new(config: PoolConfig, seed: u64) -> Self {
        let name = |endpoint: &EndpointConfig| Name::of(&endpoint.address).map(Schedule::new);
        let names = config.endpoints.iter().map(name).collect();
        let retry = config.retry;
        let mut pool = Self {
            slots: Vec::new(),
            names,
            budget: Budget::new(retry.budget, retry.floor),
            retries: Retries::default(),
            random: SmallRng::seed_from_u64(seed),
            last: None,
            next_id: 0,
            config,
        };
        for endpoint in 0..pool.config.endpoints.len() {
            pool.join(endpoint, None);
        }
        pool
    }

    /// As it was configured.
    #[must_use]
    pub const fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// The endpoint took the attempt, after this long from connecting to its answer.
    pub fn opened(&mut self, now: Timestamp, permit: &mut Permit, took: Duration) {
        let checked = self.config.health.is_some();
        let Some(slot) = slot(&mut self.slots, permit.id) else {
            return;
        };
        slot.breaker.opened(now, &mut permit.pass);
        sample(&mut slot.openings, now, took);
        if !checked {
            slot.health.measured(took);
        }
    }

    /// An output came this long after the input that caused it. The first one is also what closes a half-open breaker.
    pub fn observed(&mut self, now: Timestamp, permit: &Permit, latency: Duration) {
        if let Some(slot) = slot(&mut self.slots, permit.id) {
            slot.breaker.answered(now, &permit.pass);
            slot.tell(now, Verdict::Success);
            sample(&mut slot.outputs, now, latency);
        }
    }

    /// The worker said that it is shutting down: nothing new is sent there for a while. The attempt itself goes on.
    pub fn draining(&mut self, now: Timestamp, permit: &Permit) {
        if let Some(slot) = slot(&mut self.slots, permit.id) {
            let random = &mut self.random;
            slot.breaker
                .record(now, &permit.pass, Verdict::Leave, random);
            slot.tell(now, Verdict::Leave);
        }
    }

    /// An attempt is over. Exactly once per permit; a dropped permit counts as [`Outcome::Cancelled`].
    pub fn finished(&mut self, now: Timestamp, permit: Permit, outcome: Outcome) {
        let opened = permit.pass.opened.is_some();
        let connection = matches!(
            outcome,
            Outcome::Silent
                | Outcome::Failed {
                    code: Code::Network | Code::Timeout,
                    ..
                }
        );
        let unusual = self.empty_is_unusual(permit.id);
        let Some(slot) = slot(&mut self.slots, permit.id) else {
            return;
        };
        let totals = &mut slot.totals;
        let verdict = match outcome {
            Outcome::Ok => {
                totals.ok += 1;
                slot.empties.push(false);
                Some(Verdict::Success)
            }
            Outcome::Failed { code, .. } => {
                let verdict = blames(code);
                totals.failed += u64::from(verdict.is_some());
                totals.refused += u64::from(verdict.is_none());
                verdict
            }
            Outcome::Refused => {
                totals.refused += 1;
                // It answered, which is what a probe asks for.
                slot.breaker.answered(now, &permit.pass);
                slot.tell(now, Verdict::Success);
                None
            }
            Outcome::Silent => {
                totals.silent += 1;
                Some(Verdict::Failure)
            }
            Outcome::Empty => {
                totals.empty += 1;
                slot.empties.push(true);
                match self.config.breaker.empty {
                    EmptyPolicy::Ignore => Some(Verdict::Success),
                    EmptyPolicy::Fail => Some(Verdict::Lacking),
                    EmptyPolicy::Compare if unusual => Some(Verdict::Lacking),
                    EmptyPolicy::Compare => {
                        // It answered, which is what a probe asks for.
                        slot.breaker.answered(now, &permit.pass);
                        slot.tell(now, Verdict::Success);
                        None
                    }
                }
            }
            Outcome::Cancelled => None,
        };
        let Some(verdict) = verdict else {
            return;
        };
        let shut = slot
            .breaker
            .record(now, &permit.pass, verdict, &mut self.random);
        if shut {
            slot.health.hurry(now);
        }
        slot.tell(now, verdict);
        let endpoint = slot.endpoint;
        if connection
            && !opened
            && let Some(name) = &mut self.names[endpoint]
        {
            name.hurry(now);
        }
    }

    /// Whether the retry budget admits one more repeat; takes it if so. Asked once, where [`Pool::has_untried`], before each attempt after the first of a request.
    pub fn may_retry(&mut self, now: Timestamp) -> bool {
        let granted = self.budget.withdraw(now);
        let count = if granted {
            &mut self.retries.granted
        } else {
            &mut self.retries.refused
        };
        *count += 1;
        granted
    }

    /// What became of the wish to retry so far.
    #[must_use]
    pub const fn retries(&self) -> Retries {
        self.retries
    }

    /// How long to wait before repeat number `repeat` (0: the first): exponential, jittered, bounded.
    pub fn backoff(&mut self, repeat: u32) -> Duration {
        let retry = self.config.retry;
        backoff::backoff(retry.backoff, retry.backoff_max, repeat, &mut self.random)
    }

    /// Every member as it stands, in the order in which they joined.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> Vec<EndpointState> {
        self.slots.iter().map(|slot| slot.state(now)).collect()
    }

    /// Whether other endpoints' answers are hardly ever empty.
    fn empty_is_unusual(&self, id: MemberId) -> bool {
        let others = self
            .slots
            .iter()
            .filter(|slot| slot.id != id && !slot.draining);
        let (empty, all) = others
            .map(|slot| slot.empties.counts())
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        all > 0 && empty * 10 < all
    }
}

fn slot(slots: &mut [Slot], id: MemberId) -> Option<&mut Slot> {
    // Ascending: members join at the end.
    let index = slots.binary_search_by_key(&id, |slot| slot.id).ok()?;
    slots.get_mut(index)
}

fn sample(ewma: &mut Option<PeakEwma>, now: Timestamp, sample: Duration) {
    match ewma {
        Some(ewma) => ewma.observe(now, sample),
        None => *ewma = Some(PeakEwma::new(now, sample)),
    }
}

/// What a code says about the endpoint; `None`: nothing, it did what it was asked to.
fn blames(code: Code) -> Option<Verdict> {
    match code {
        Code::Draining => Some(Verdict::Leave),
        Code::Overloaded | Code::RateLimited => Some(Verdict::Failure),
        code => (code.fault() == Fault::Worker).then_some(Verdict::Failure),
    }
}
