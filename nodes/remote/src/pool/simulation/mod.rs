//! The pool in virtual time, with servers that die, fail in part, stall, lie and return.
//!
//! A world plays one history from a seed: requests arrive, attempts end, checks are made, servers change. After each step the
//! pool is held against what the world itself counted. The seed is printed when a history fails.

mod histories;
mod names;
mod schedule;
mod server;
mod shares;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tidegate_media::Timestamp;
use tidegate_nodes::Code;

use self::schedule::Scheduled;
use self::server::{Mode, Server};
use super::breaker::Admission;
use super::{BreakerState, MemberId, Outcome, Permit, Pick, Pool, PoolConfig, Tried};

const MS: Duration = Duration::from_millis(1);
/// How long an attempt waits for a sign of life.
const PATIENCE: Duration = Duration::from_millis(300);

/// Prints the seed if the history ends in a panic.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the history of seed {} failed", self.0);
        }
    }
}

/// What the histories' requests came to.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    requests: u64,
    served: u64,
    failed: u64,
    cancelled: u64,
    /// Of the failed: no endpoint admitted them.
    exhausted: u64,
    /// Of the failed: the budget refused a retry.
    unpaid: u64,
    retries: u64,
}

#[derive(Debug)]
enum Event {
    Arrive,
    Again(Tried),
    Output(Tried, Permit),
    End(Tried, Permit, Outcome),
    Checked(MemberId, usize, bool),
    Turn(usize, Mode, bool),
}

struct World {
    pool: Pool,
    servers: Vec<Server>,
    now: Timestamp,
    began: Timestamp,
    random: SmallRng,
    tally: Tally,
    /// Between requests.
    pace: Duration,
    /// Requests arrive until then.
    until: Timestamp,
    /// Requests in a hundred whose client goes away.
    fickle: u32,
    events: BinaryHeap<Reverse<Scheduled<Event>>>,
    order: u64,
}

impl World {
    fn new(config: PoolConfig, servers: Vec<Server>, pace: Duration, seed: u64) -> Self {
        let began = Timestamp::ZERO + Duration::from_secs(1);
        Self {
            pool: Pool::new(config, seed),
            servers,
            now: began,
            began,
            random: SmallRng::seed_from_u64(seed ^ 0x5eed),
            tally: Tally::default(),
            pace,
            until: began,
            fickle: 0,
            events: BinaryHeap::new(),
            order: 0,
        }
    }

    fn at(&self, since_start: Duration) -> Timestamp {
        self.began + since_start
    }

    fn schedule(&mut self, at: Timestamp, event: Event) {
        self.order += 1;
        let order = self.order;
        self.events.push(Reverse(Scheduled { at, order, event }));
    }

    fn turn(&mut self, at: Timestamp, server: usize, mode: Mode, lies: bool) {
        self.schedule(at, Event::Turn(server, mode, lies));
    }

    /// Plays until `end`, with requests all the time.
    fn play(&mut self, end: Timestamp) {
        if self.until < end {
            self.until = end;
            self.schedule(self.now, Event::Arrive);
        }
        self.play_on(end);
    }

    fn play_on(&mut self, end: Timestamp) {
        loop {
            let check = self.pool.poll_timeout().filter(|at| *at <= end);
            let next = self.events.peek().map(|Reverse(next)| next.at);
            match (next.filter(|at| *at <= end), check) {
                (Some(at), check) if check.is_none_or(|check| at <= check) => {
                    self.now = self.now.max(at);
                    if let Some(Reverse(next)) = self.events.pop() {
                        self.step(next.event);
                    }
                }
                (_, Some(at)) => {
                    self.now = self.now.max(at);
                    self.check();
                }
                (_, None) => break,
            }
        }
        self.now = end;
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Arrive => {
                self.tally.requests += 1;
                self.attempt(Tried::new());
                let next = self.now + self.pace;
                if next < self.until {
                    self.schedule(next, Event::Arrive);
                }
            }
            Event::Again(tried) => self.attempt(tried),
            Event::Output(tried, mut permit) => {
                let server = self.server(&permit);
                let latency = self.servers[server].latency;
                self.pool.opened(self.now, &mut permit, latency / 2);
                self.pool.observed(self.now, &permit, latency);
                self.proved(&permit);
                // A stream that goes on for a while.
                let more = latency * self.random.random_range(0..3);
                self.schedule(self.now + more, Event::End(tried, permit, Outcome::Ok));
            }
            Event::End(tried, permit, outcome) => self.end(tried, permit, outcome),
            Event::Checked(id, server, passed) => {
                let result = if passed {
                    Ok(self.servers[server].latency)
                } else {
                    Err(Code::Network)
                };
                self.pool.probed(self.now, id, result);
            }
            Event::Turn(server, mode, lies) => {
                self.servers[server].mode = mode;
                self.servers[server].lies = lies;
            }
        }
        self.hold();
    }

    fn attempt(&mut self, mut tried: Tried) {
        let admitting = self.admitting();
        match self.pool.pick(self.now, &mut tried) {
            Pick::Endpoint(permit) => {
                let server = self.server(&permit);
                assert!(
                    admitting[server],
                    "the breaker of {} admits none",
                    permit.endpoint()
                );
                self.take(tried, permit, server);
            }
            Pick::AllTried => {
                assert!(tried.attempts() > 0, "a new request has tried nothing");
                let wait = self.pool.backoff(0);
                tried.clear();
                self.schedule(self.now + wait, Event::Again(tried));
            }
            Pick::Exhausted { .. } => {
                assert!(!admitting.contains(&true), "an endpoint was left out");
                self.tally.exhausted += 1;
                self.tally.failed += 1;
            }
        }
    }

    /// A server takes an attempt.
    fn take(&mut self, tried: Tried, permit: Permit, index: usize) {
        let met = tried.members.iter().filter(|id| **id == permit.id());
        assert_eq!(met.count(), 1, "tried again without a backoff");
        let server = &mut self.servers[index];
        server.attempts += 1;
        server.outstanding += 1;
        server.probes += usize::from(permit.is_probe());
        assert!(server.probes <= 1, "two probes at once");
        if self.random.random_range(0..100) < self.fickle {
            let leaves = self.now + self.random.random_range(0..50) * MS;
            self.schedule(leaves, Event::End(tried, permit, Outcome::Cancelled));
            return;
        }
        let fails = match server.mode {
            Mode::Serves => false,
            Mode::Dead => true,
            Mode::Half => server.attempts.is_multiple_of(2),
            Mode::Flaky(share) => self.random.random_range(0..100) < share,
            Mode::Stalls => {
                self.schedule(
                    self.now + PATIENCE,
                    Event::End(tried, permit, Outcome::Silent),
                );
                return;
            }
        };
        let latency = server.latency;
        if fails {
            let outcome = Outcome::Failed {
                code: Code::Network,
                transient: true,
            };
            self.schedule(self.now + MS, Event::End(tried, permit, outcome));
        } else {
            self.schedule(self.now + latency, Event::Output(tried, permit));
        }
    }

    fn end(&mut self, tried: Tried, permit: Permit, outcome: Outcome) {
        let server = self.server(&permit);
        self.proved(&permit);
        self.servers[server].outstanding -= 1;
        self.servers[server].left += u64::from(outcome == Outcome::Cancelled);
        if outcome == Outcome::Cancelled && self.random.random() {
            drop(permit);
        } else {
            self.pool.finished(self.now, permit, outcome);
        }
        match outcome {
            Outcome::Ok => self.tally.served += 1,
            Outcome::Cancelled => self.tally.cancelled += 1,
            _ if tried.attempts() >= self.pool.config().retry.attempts => self.tally.failed += 1,
            _ if self.pool.may_retry(self.now) => {
                self.tally.retries += 1;
                self.attempt(tried);
            }
            _ => {
                self.tally.unpaid += 1;
                self.tally.failed += 1;
            }
        }
    }

    /// The result of a probe is known.
    fn proved(&mut self, permit: &Permit) {
        if permit.is_probe() {
            let server = self.server(permit);
            self.servers[server].probes = 0;
        }
    }

    fn check(&mut self) {
        while let Some(probe) = self.pool.probe_due(self.now) {
            let index = index(&probe.member.endpoint);
            let server = &mut self.servers[index];
            server.checks += 1;
            let alive = !matches!(server.mode, Mode::Dead | Mode::Stalls);
            let passes = alive != server.lies;
            let took = if passes {
                server.latency
            } else {
                probe.timeout
            };
            self.schedule(self.now + took, Event::Checked(probe.id, index, passes));
        }
    }

    fn server(&self, permit: &Permit) -> usize {
        index(permit.endpoint())
    }

    /// By server: whether its breaker admits a request now.
    fn admitting(&mut self) -> Vec<bool> {
        let now = self.now;
        let admits = |slot: &mut super::member::Slot| {
            !matches!(slot.breaker.admission(now), Admission::No(_))
        };
        self.pool.slots.iter_mut().map(admits).collect()
    }

    /// What must be so at all times.
    fn hold(&self) {
        assert_eq!(self.pool.slots.len(), self.servers.len());
        for (slot, server) in self.pool.slots.iter().zip(&self.servers) {
            assert_eq!(slot.in_flight(), server.outstanding);
            let totals = &slot.totals;
            let ended = totals.ok + totals.failed + totals.silent;
            let attempts = ended + server.left + server.outstanding as u64;
            assert_eq!(totals.attempts, attempts);
        }
        let retry = self.pool.config().retry;
        let elapsed = (self.now - self.began).as_secs_f64();
        let paid =
            f64::from(u32::try_from(self.tally.requests).expect("a short history")) * retry.budget;
        let allowed = paid + retry.floor * (elapsed + 1.0);
        let retries = u32::try_from(self.tally.retries).expect("a short history");
        assert!(
            f64::from(retries) <= allowed + 1e-6,
            "{retries} retries, {allowed} allowed"
        );
    }

    /// Whether every endpoint takes requests as if nothing had ever happened.
    fn is_well(&self) -> bool {
        let states = self.pool.snapshot(self.now);
        states
            .iter()
            .all(|state| state.up && state.breaker == BreakerState::Closed)
    }

    /// Lets all that is on its way come to its end.
    fn settle(&mut self) {
        self.until = self.now;
        self.events
            .retain(|Reverse(next)| !matches!(next.event, Event::Arrive));
        self.play_on(self.now + 5_000 * MS);
        let ended = self.tally.served + self.tally.failed + self.tally.cancelled;
        assert_eq!(ended, self.tally.requests, "a request vanished");
    }
}

fn config(count: usize) -> PoolConfig {
    PoolConfig::new((0..count).map(|n| format!("http://10.0.0.1:{n}")))
}

fn index(endpoint: &str) -> usize {
    let digits = endpoint
        .rsplit(':')
        .next()
        .and_then(|digits| digits.parse().ok());
    digits.expect("an endpoint of this world")
}
