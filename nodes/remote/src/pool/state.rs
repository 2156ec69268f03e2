//! What is told of a pool's members: to metrics, the admin API and the page.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidegate_media::Timestamp;

use super::breaker::BreakerState;
use super::member::Slot;

/// How attempts at a member ended, since it joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Permits given.
    pub attempts: u64,
    /// Of these, half-open probes.
    pub probes: u64,
    /// Ended well.
    pub ok: u64,
    /// Failed through the endpoint's fault, or that of the way there.
    pub failed: u64,
    /// Failed through the fault of who asked.
    pub refused: u64,
    /// Gave no sign in time.
    pub silent: u64,
    /// Ended well without any output.
    pub empty: u64,
    /// Given up by who asked.
    pub cancelled: u64,
}

/// One member as metrics, the admin API and the page show it.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointState {
    /// The endpoint as configured.
    pub endpoint: Arc<str>,
    /// The address behind its name, if it was resolved.
    pub address: Option<SocketAddr>,
    /// As configured.
    pub weight: u32,
    /// What active checks say; `true` without checks.
    pub up: bool,
    /// What requests met there.
    pub breaker: BreakerState,
    /// Gone from its name: nothing new is sent there.
    pub draining: bool,
    /// Attempts that are on their way.
    pub in_flight: usize,
    /// Peak moving average of the latency of outputs.
    pub latency: Option<Duration>,
    /// Smoothed round trip of checks, or of openings where no checks are made.
    pub round_trip: Option<Duration>,
    /// Failures in a row.
    pub failures_in_a_row: u32,
    /// Attempts by how they ended.
    pub totals: Totals,
}

impl EndpointState {
    /// One state for each configured endpoint: where a name stands for several members, they are taken together, since metrics know
    /// endpoints by their label only. It is up, and its breaker closed, if that is so of one of them; latency is the worst one's, the
    /// round trip the nearest one's; counts are summed.
    #[must_use]
    pub fn by_endpoint(members: &[Self]) -> Vec<Self> {
        let mut merged: Vec<Self> = Vec::new();
        for member in members {
            match merged
                .iter_mut()
                .find(|one| one.endpoint == member.endpoint)
            {
                Some(one) => one.merge(member),
                None => merged.push(member.clone()),
            }
        }
        merged
    }

    fn merge(&mut self, other: &Self) {
        self.address = None;
        if self.draining != other.draining {
            // What leaves says nothing about what stays.
            let stays = if self.draining { other } else { &*self };
            (self.up, self.breaker) = (stays.up, stays.breaker);
            self.draining = false;
        } else {
            self.up |= other.up;
            self.breaker = better(self.breaker, other.breaker);
        }
        self.in_flight += other.in_flight;
        self.latency = self.latency.max(other.latency);
        let round_trips = self.round_trip.into_iter().chain(other.round_trip);
        self.round_trip = round_trips.min();
        self.failures_in_a_row = self.failures_in_a_row.max(other.failures_in_a_row);
        self.totals.add(&other.totals);
    }
}

fn better(a: BreakerState, b: BreakerState) -> BreakerState {
    use BreakerState::{Closed, HalfOpen, Open};
    match (a, b) {
        (Closed, _) | (_, Closed) => Closed,
        (HalfOpen, _) | (_, HalfOpen) => HalfOpen,
        (Open { until: a }, Open { until: b }) => Open { until: a.min(b) },
    }
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.probes += other.probes;
        self.ok += other.ok;
        self.failed += other.failed;
        self.refused += other.refused;
        self.silent += other.silent;
        self.empty += other.empty;
        self.cancelled += other.cancelled;
    }
}

impl Slot {
    pub(super) fn state(&self, now: Timestamp) -> EndpointState {
        let in_flight = self.in_flight();
        let mut totals = self.totals;
        let settled = totals.ok + totals.failed + totals.refused + totals.silent + totals.empty;
        totals.cancelled = totals
            .attempts
            .saturating_sub(settled)
            .saturating_sub(in_flight as u64);
        EndpointState {
            endpoint: Arc::clone(&self.member.endpoint),
            address: self.member.address,
            weight: self.weight,
            up: self.health.is_up(),
            breaker: self.breaker.state(now),
            draining: self.draining,
            in_flight,
            latency: self.outputs.map(|ewma| ewma.value()),
            round_trip: self.health.round_trip(),
            failures_in_a_row: self.breaker.in_a_row(),
            totals,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{Pool, PoolConfig};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    fn member(attempts: u64) -> EndpointState {
        let pool = Pool::new(PoolConfig::new(["http://tts:1"]), 1);
        let mut state = pool.snapshot(at(0)).remove(0);
        state.totals.attempts = attempts;
        state
    }

    #[test]
    fn members_of_one_name_are_told_as_one_endpoint() {
        let (mut a, mut b) = (member(3), member(4));
        a.address = "10.0.0.1:1".parse().ok();
        (a.up, a.in_flight) = (false, 2);
        a.breaker = BreakerState::Open { until: at(9) };
        a.latency = Some(Duration::from_secs(1));
        b.breaker = BreakerState::Open { until: at(5) };
        b.round_trip = Some(Duration::from_millis(7));
        let mut other = member(1);
        other.endpoint = "http://b:1".into();
        let told = EndpointState::by_endpoint(&[a, b, other]);
        assert_eq!(told.len(), 2);
        let one = &told[0];
        assert_eq!((one.address, one.up, one.in_flight), (None, true, 2));
        assert_eq!(one.breaker, BreakerState::Open { until: at(5) });
        assert_eq!(one.totals.attempts, 7);
        assert_eq!(one.latency, Some(Duration::from_secs(1)));
        assert_eq!(one.round_trip, Some(Duration::from_millis(7)));
    }

    #[test]
    fn a_member_that_leaves_does_not_speak_for_its_name() {
        let (mut gone, mut stays) = (member(1), member(1));
        gone.draining = true;
        stays.up = false;
        let told = EndpointState::by_endpoint(&[gone, stays]);
        assert!(!told[0].up && !told[0].draining);
    }
}
