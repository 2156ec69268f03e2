//! The retry budget: what keeps retries from becoming the outage.
//!
//! Two token buckets. One takes in a share of a token with each request and holds at most [`BURST`]; the other fills with time and
//! holds one second's worth. So over any stretch of time, retries are at most
//! `ratio · requests + floor · seconds + BURST + floor`, and from a fresh pool on, without the `BURST`.
//!
//! `tower::retry::budget::TpsBudget` does nearly this, but it reads the clock itself, so it cannot run in virtual time, and it
//! withdraws under a shared lock of its own; that is why it is not used.

use tidegate_media::Timestamp;

/// Retries that saved-up requests can pay for at once.
pub(super) const BURST: f64 = 100.0;

/// A hair, so that five fifths make a token.
const EPSILON: f64 = 1e-9;

#[derive(Debug)]
pub(super) struct Budget {
    ratio: f64,
    saved: f64,
    per_second: f64,
    free: f64,
    /// When `free` was last brought up to date; `None`: never.
    at: Option<Timestamp>,
}

impl Budget {
    pub(super) fn new(ratio: f64, per_second: f64) -> Self {
        let per_second = per_second.max(0.0);
        Self {
            ratio: ratio.max(0.0),
            saved: 0.0,
            per_second,
            free: per_second,
            at: None,
        }
    }

    /// A request was made that is no retry.
    pub(super) fn request(&mut self) {
        self.saved = (self.saved + self.ratio).min(BURST);
    }

    /// Takes a token if there is one.
    pub(super) fn withdraw(&mut self, now: Timestamp) -> bool {
        let since = self.at.map_or(0.0, |at| (now - at).as_secs_f64());
        self.at = Some(self.at.map_or(now, |at| at.max(now)));
        self.free = (self.free + since * self.per_second).min(self.per_second.max(1.0));
        let bucket = if self.saved + EPSILON >= 1.0 {
            &mut self.saved
        } else {
            &mut self.free
        };
        let paid = *bucket + EPSILON >= 1.0;
        if paid {
            *bucket = (*bucket - 1.0).max(0.0);
        }
        paid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(millis)
    }

    fn withdrawn(budget: &mut Budget, now: Timestamp) -> usize {
        (0..1_000).filter(|_| budget.withdraw(now)).count()
    }

    #[test]
    fn five_requests_pay_for_one_retry() {
        let mut budget = Budget::new(0.2, 0.0);
        for _ in 0..50 {
            budget.request();
        }
        assert_eq!(withdrawn(&mut budget, at(0)), 10);
        assert!(!budget.withdraw(at(60_000)));
    }

    #[test]
    fn the_floor_fills_with_time_and_holds_one_second() {
        let mut budget = Budget::new(0.2, 10.0);
        assert_eq!(withdrawn(&mut budget, at(0)), 10);
        assert_eq!(withdrawn(&mut budget, at(99)), 0);
        assert_eq!(withdrawn(&mut budget, at(300)), 3);
        assert_eq!(withdrawn(&mut budget, at(90_000)), 10);
    }

    #[test]
    fn saved_requests_are_bounded() {
        let mut budget = Budget::new(0.2, 0.0);
        for _ in 0..100_000 {
            budget.request();
        }
        assert_eq!(withdrawn(&mut budget, at(0)), 100);
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing_twice() {
        let mut budget = Budget::new(0.0, 10.0);
        assert_eq!(withdrawn(&mut budget, at(1_000)), 10);
        assert_eq!(withdrawn(&mut budget, at(500)), 0);
        assert_eq!(withdrawn(&mut budget, at(1_000)), 0);
    }
}
