//! One run of attempts: from the first need of a stream until one has proved itself.

use std::sync::Arc;
use std::time::Duration;

use tidegate_media::Timestamp;

use super::faults::{Fault, fault};
use super::stream::Place;
use crate::error::{Attempt, RemoteError};
use crate::pool::{Permit, Pick, Tried};
use crate::pools::SharedPool;

/// Failures that are named in the last error; of more, the newest.
const NAMED_MAX: usize = 8;
/// A wait for an endpoint whose breaker is open is no longer than this.
const BREAKER_WAIT_MAX: Duration = Duration::from_secs(30);

/// What a place in this process is called where endpoints are.
const NOWHERE: &str = "local";
/// Said where nothing else has failed.
const SPENT: &str =
    "too many attempts fail just now, so that no more are made: the retry budget is spent";

/// Who may be asked, in order.
#[derive(Debug)]
pub(crate) enum Way {
    /// Endpoints behind a pool.
    Pool(SharedPool),
    /// A node in this process.
    Local,
    /// An earlier answer.
    Cache,
    /// Nobody: this is what is said then.
    Error(String),
}

impl Way {
    const fn is_pool(&self) -> bool {
        matches!(self, Self::Pool(_))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Episode {
    /// Since when a caller waits for what the attempts are to bring; `None`: nobody does.
    waits: Option<Timestamp>,
    tiers: Vec<TierState>,
    /// Waits before repeats so far.
    repeats: u32,
    attempts: u32,
    failures: Vec<Attempt>,
    /// It is about a stream that stood and worked.
    stood: bool,
    /// Somebody may do better at the second time.
    may_repeat: bool,
    last: Option<RemoteError>,
    last_endpoint: Option<Arc<str>>,
    /// Answers without output, or ends before their time.
    pub(super) empties: u32,
}

#[derive(Debug, Default)]
struct TierState {
    tried: Tried,
    attempts: u32,
    /// It was asked for something that none of its endpoints can do.
    closed: bool,
    /// One that was not tried yet would have been, but for the budget: it is still to be preferred to those that were.
    spared: bool,
}

/// What to do next.
#[derive(Debug)]
pub(super) enum Step {
    /// Try this one.
    Try(Place),
    /// Wait, then ask again.
    Wait(Timestamp),
    /// There is nobody left, and this is to be said.
    GiveUp(Option<String>),
}

impl Episode {
    pub(super) fn new(now: Timestamp, tiers: usize) -> Self {
        Self {
            waits: Some(now),
            tiers: (0..tiers).map(|_| TierState::default()).collect(),
            repeats: 0,
            attempts: 0,
            failures: Vec::new(),
            stood: false,
            may_repeat: false,
            last: None,
            last_endpoint: None,
            empties: 0,
        }
    }

    /// One that begins because a stream that stood and worked has broken: in the pool's terms a new request, which goes elsewhere.
    pub(super) fn after(waits: Timestamp, tiers: usize, broken: &Place, limit: u32) -> Self {
        let mut this = Self::new(waits, tiers);
        // It did well once.
        (this.stood, this.may_repeat) = (true, true);
        if let (Some(permit), Some(tier)) = (&broken.permit, this.tiers.get_mut(broken.tier)) {
            tier.tried = Tried::elsewhere(permit);
            // Who wants no retries wants no second stream either.
            tier.attempts = u32::from(limit <= 1);
        }
        this
    }

    /// Nobody waits for anything: a stream stands, and nothing was said on it.
    pub(super) const fn waits_for_nothing(&mut self) {
        self.waits = None;
    }

    /// It is about what another was about: who waited goes on waiting.
    pub(super) fn inherit(&mut self, before: &Self) {
        if let Some(since) = before.waits {
            self.waits_since(since);
        }
    }

    /// A caller has waited since then, or longer.
    pub(super) fn waits_since(&mut self, since: Timestamp) {
        self.waits = Some(self.waits.map_or(since, |waits| waits.min(since)));
    }

    /// No worker is to be asked again.
    pub(super) fn close_pools(&mut self, ways: &[Way]) {
        for (tier, way) in self.tiers.iter_mut().zip(ways) {
            tier.closed |= way.is_pool();
        }
    }

    /// An attempt, or the stream before all attempts, failed.
    pub(super) fn failed(&mut self, place: &Place, error: RemoteError) {
        match (fault(&error), self.tiers.get_mut(place.tier)) {
            (Fault::Transient, _) => self.may_repeat = true,
            (Fault::Request, Some(tier)) => tier.closed = true,
            _ => {}
        }
        if self.failures.len() == NAMED_MAX {
            self.failures.remove(0);
        }
        self.failures.push(Attempt {
            endpoint: Arc::clone(&place.endpoint),
            said: error.to_string(),
        });
        self.last_endpoint = Some(Arc::clone(&place.endpoint));
        self.last = Some(error);
    }

    /// Who is asked next. An endpoint that was not tried yet, of whichever tier, is asked at once, and in a stream a local node after
    /// them; a repeat waits. What the retry budget refuses is given up at once, but not a session whose stream has stood: it waits for
    /// its turn. What is left of the chain comes when no repeat is left, or none would find anybody.
    pub(super) fn next(&mut self, now: Timestamp, ways: &[Way], limit: u32, unary: bool) -> Step {
        if self
            .last
            .as_ref()
            .is_some_and(|error| fault(error) == Fault::Ours)
        {
            return Step::GiveUp(None);
        }
        let limit = limit.max(1);
        let (mut repeatable, mut retry_at, mut refused) = (None, None::<Timestamp>, false);
        for (tier, way) in ways.iter().enumerate() {
            let Some(state) = self.tiers.get_mut(tier) else {
                continue;
            };
            if state.closed || state.attempts >= limit {
                continue;
            }
            let pool = match way {
                Way::Pool(pool) => pool,
                Way::Local if !unary => return Step::Try(self.take(tier, None)),
                Way::Local | Way::Cache | Way::Error(_) => continue,
            };
            let mut locked = super::lock(pool);
            if self.attempts > 0
                && locked.has_untried(now, &mut state.tried)
                && !locked.may_retry(now)
            {
                drop(locked);
                self.last.get_or_insert(RemoteError::Network(SPENT.into()));
                refused = true;
                if self.stood && !unary {
                    // What is asked for is counted, or waiting would have no end.
                    state.attempts += 1;
                    state.spared = true;
                    repeatable.get_or_insert(pool);
                }
                continue;
            }
            match locked.pick(now, &mut state.tried) {
                Pick::Endpoint(permit) => {
                    drop(locked);
                    return Step::Try(self.take(tier, Some(permit)));
                }
                Pick::AllTried => {
                    repeatable.get_or_insert(pool);
                }
                Pick::Exhausted { retry_at: at } => {
                    retry_at = retry_at.into_iter().chain(at).min();
                }
            }
        }
        if refused && repeatable.is_none() {
            return self.last_resort(ways).unwrap_or(Step::GiveUp(None));
        }
        if let (Some(pool), true) = (repeatable, self.may_repeat) {
            let wait = super::lock(pool).backoff(self.repeats);
            return self.wait(now + wait);
        }
        self.last_resort(ways).unwrap_or_else(|| match retry_at {
            Some(at) if self.repeats < limit && at.saturating_since(now) <= BREAKER_WAIT_MAX => {
                self.wait(at)
            }
            _ => Step::GiveUp(None),
        })
    }

    /// What the chain has beside workers.
    fn last_resort(&mut self, ways: &[Way]) -> Option<Step> {
        let open = |(tier, _): &(usize, &Way)| {
            let state = self.tiers.get(*tier);
            state.is_some_and(|state| !state.closed && state.attempts == 0)
        };
        let mut ways = ways.iter().enumerate().filter(|(_, way)| !way.is_pool());
        let (tier, way) = ways.find(open)?;
        Some(match way {
            Way::Error(text) => Step::GiveUp(Some(text.clone())),
            _ => Step::Try(self.take(tier, None)),
        })
    }

    fn wait(&mut self, until: Timestamp) -> Step {
        self.repeats += 1;
        for tier in &mut self.tiers {
            if !std::mem::take(&mut tier.spared) {
                tier.tried.clear();
            }
        }
        Step::Wait(until)
    }

    fn take(&mut self, tier: usize, permit: Option<Permit>) -> Place {
        self.attempts += 1;
        self.tiers[tier].attempts += 1;
        let endpoint = permit.as_ref().map(|permit| &permit.member().endpoint);
        Place {
            tier,
            endpoint: endpoint.map_or_else(|| Arc::from(NOWHERE), Arc::clone),
            permit,
        }
    }

    /// Why nobody is left: the one error, or all of them where several endpoints were asked.
    pub(super) fn error(&mut self, now: Timestamp) -> (tidegate_nodes::Error, Option<Arc<str>>) {
        let last = self.last.take().unwrap_or(RemoteError::NoEndpoint);
        let first = self
            .failures
            .first()
            .map(|failure| Arc::clone(&failure.endpoint));
        let several = self
            .failures
            .iter()
            .any(|failure| Some(&failure.endpoint) != first.as_ref());
        let error = if several {
            RemoteError::All(std::mem::take(&mut self.failures))
        } else {
            last
        };
        let mut error = tidegate_nodes::Error::from(error);
        error.attempt = Some(self.attempts.max(1));
        error.elapsed = Some(
            self.waits
                .map_or(Duration::ZERO, |since| now.saturating_since(since)),
        );
        (error, self.last_endpoint.take())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::pool::{Pool, PoolConfig, RetryConfig};

    const ATTEMPTS: u32 = 4;

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(millis)
    }

    /// Two endpoints, and so many retries a second.
    fn ways(floor: f64) -> Vec<Way> {
        let retry = RetryConfig {
            budget: 0.0,
            floor,
            ..RetryConfig::default()
        };
        let config = PoolConfig {
            retry,
            health: None,
            ..PoolConfig::new(["http://a:1", "http://b:1"])
        };
        vec![Way::Pool(Arc::new(Mutex::new(Pool::new(config, 1))))]
    }

    fn tries(step: Step) -> Place {
        match step {
            Step::Try(place) => place,
            other => panic!("no attempt: {other:?}"),
        }
    }

    fn waits(step: Step) -> Timestamp {
        match step {
            Step::Wait(until) => until,
            other => panic!("no wait: {other:?}"),
        }
    }

    /// The attempt's endpoint refuses.
    fn refused(episode: &mut Episode, ways: &[Way], now: Timestamp, mut place: Place) {
        let error = RemoteError::Network("refused".into());
        if let (Way::Pool(pool), Some(permit)) = (&ways[0], place.permit.take()) {
            let outcome = super::super::faults::outcome(&error, true);
            super::super::lock(pool).finished(now, permit, outcome);
        }
        episode.failed(&place, error);
    }

    #[test]
    fn an_endpoint_that_the_budget_left_untried_comes_before_one_that_was_tried() {
        // Half a retry a second: the first can be paid for after a second.
        let ways = ways(0.5);
        let mut episode = Episode::new(at(0), 1);
        episode.stood = true;
        let first = tries(episode.next(at(0), &ways, ATTEMPTS, false));
        assert_eq!(&*first.endpoint, "http://a:1");
        refused(&mut episode, &ways, at(0), first);
        // Another one is there, and would be asked at once, but may not.
        let until = waits(episode.next(at(0), &ways, ATTEMPTS, false));
        assert!(until > at(0) && until <= at(1_000));
        let second = tries(episode.next(at(1_000), &ways, ATTEMPTS, false));
        assert_eq!(&*second.endpoint, "http://b:1", "not the one that failed");
    }

    #[test]
    fn attempts_that_the_budget_refuses_count_so_that_waiting_has_an_end() {
        let ways = ways(0.0);
        let mut episode = Episode::new(at(0), 1);
        episode.stood = true;
        let first = tries(episode.next(at(0), &ways, ATTEMPTS, false));
        refused(&mut episode, &ways, at(0), first);
        let mut now = at(0);
        for _ in 1..ATTEMPTS {
            now = waits(episode.next(now, &ways, ATTEMPTS, false));
        }
        let last = episode.next(now, &ways, ATTEMPTS, false);
        assert!(matches!(last, Step::GiveUp(None)), "{last:?}");
        let (error, endpoint) = episode.error(now);
        assert_eq!(error.attempt, Some(1), "one was made");
        assert_eq!(endpoint.as_deref(), Some("http://a:1"));
    }

    #[test]
    fn beyond_the_budget_a_request_fails_at_once_with_what_the_first_attempt_met() {
        let ways = ways(0.0);
        for unary in [false, true] {
            let mut episode = Episode::new(at(0), 1);
            let first = tries(episode.next(at(0), &ways, ATTEMPTS, unary));
            refused(&mut episode, &ways, at(0), first);
            let step = episode.next(at(0), &ways, ATTEMPTS, unary);
            assert!(matches!(step, Step::GiveUp(None)), "{step:?}");
            let (error, _) = episode.error(at(0));
            assert!(error.message.contains("refused"), "{error}");
        }
    }

    #[test]
    fn what_the_budget_refuses_takes_no_endpoints_turn() {
        let ways = ways(0.0);
        let mut turns = Vec::new();
        for _ in 0..4 {
            let mut episode = Episode::new(at(0), 1);
            let first = tries(episode.next(at(0), &ways, ATTEMPTS, false));
            turns.push(first.endpoint.to_string());
            refused(&mut episode, &ways, at(0), first);
            let step = episode.next(at(0), &ways, ATTEMPTS, false);
            assert!(matches!(step, Step::GiveUp(None)), "{step:?}");
        }
        // Neither of them is passed over.
        assert_eq!(
            turns,
            ["http://a:1", "http://b:1", "http://a:1", "http://b:1"]
        );
        let Way::Pool(pool) = &ways[0] else {
            unreachable!("it has a pool")
        };
        let pool = super::super::lock(pool);
        let counted: Vec<_> = pool.snapshot(at(0)).iter().map(|end| end.totals).collect();
        let each = |total: &crate::pool::Totals| (total.attempts, total.cancelled);
        assert_eq!(
            counted.iter().map(each).collect::<Vec<_>>(),
            [(2, 0), (2, 0)]
        );
    }
}
