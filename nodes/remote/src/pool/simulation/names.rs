//! Names whose addresses come and go at random while requests are on their way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::*;

/// What the world knows of one history.
struct Names {
    pool: Pool,
    random: SmallRng,
    now: Timestamp,
    /// What the name says.
    current: BTreeSet<SocketAddr>,
    held: Vec<Permit>,
}

impl Names {
    fn new(seed: u64) -> Self {
        Self {
            pool: Pool::new(PoolConfig::new(["http://tts:1"]), seed),
            random: SmallRng::seed_from_u64(seed),
            now: Timestamp::ZERO,
            current: BTreeSet::new(),
            held: Vec::new(),
        }
    }

    fn step(&mut self) {
        self.now += self.random.random_range(0..2_000) * MS;
        match self.random.random_range(0..8) {
            0 | 1 => {
                self.resolve();
                self.bound();
            }
            2..=4 => {
                self.request();
                self.bound();
            }
            _ if self.held.is_empty() => {}
            _ => {
                let index = self.random.random_range(0..self.held.len());
                let permit = self.held.swap_remove(index);
                match self.random.random_range(0..4) {
                    0 => drop(permit),
                    1 => self.pool.finished(self.now, permit, Outcome::Silent),
                    _ => self.pool.finished(self.now, permit, Outcome::Ok),
                }
            }
        }
        self.hold();
    }

    fn resolve(&mut self) {
        let count = self.random.random_range(0..6);
        let address =
            |random: &mut SmallRng| SocketAddr::from(([10, 0, 0, random.random_range(1..10)], 1));
        let answer: Vec<_> = (0..count).map(|_| address(&mut self.random)).collect();
        if !answer.is_empty() {
            self.current = answer.iter().copied().collect();
        }
        self.pool.resolved(self.now, 0, answer);
    }

    fn request(&mut self) {
        if let Pick::Endpoint(permit) = self.pool.pick(self.now, &mut Tried::new()) {
            let address = permit.member().address;
            let belongs = address.map_or(self.current.is_empty(), |a| self.current.contains(&a));
            assert!(belongs, "{address:?} is not of {:?}", self.current);
            self.held.push(permit);
        }
    }

    /// What left its name is kept for what is in flight there, and forgotten at the next occasion.
    fn bound(&self) {
        let busy: BTreeSet<_> = self.held.iter().map(Permit::id).collect();
        assert!(self.pool.slots.len() <= self.current.len().max(1) + busy.len());
    }

    fn hold(&self) {
        let mut in_flight = BTreeMap::<_, usize>::new();
        for permit in &self.held {
            *in_flight.entry(permit.id()).or_default() += 1;
        }
        for slot in &self.pool.slots {
            let here = in_flight.get(&slot.id).copied().unwrap_or_default();
            assert_eq!(slot.in_flight(), here);
            let listed = slot
                .member
                .address
                .is_none_or(|a| self.current.contains(&a));
            assert!(listed || slot.draining);
        }
    }
}

#[test]
fn members_follow_their_name_and_none_is_kept_for_nothing() {
    for seed in 0..1_000 {
        let _printed = Seed(seed);
        let mut names = Names::new(seed);
        for _ in 0..100 {
            names.step();
        }
        names.held.clear();
        names.request();
        let left: BTreeSet<_> = names
            .pool
            .slots
            .iter()
            .filter_map(|slot| slot.member.address)
            .collect();
        assert_eq!(left, names.current);
        assert_eq!(names.pool.slots.len(), names.current.len().max(1));
    }
}
