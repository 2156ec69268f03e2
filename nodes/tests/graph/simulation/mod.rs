//! Thousands of random sessions in virtual time: random graphs, clients, networks, threads and workers.
//!
//! Everything that happens follows from a seed. A failure names it; `SEED=n cargo test -p tidegate-nodes --test graph
//! simulation` repeats that one, and `SEEDS=n` runs more than the usual number.
//!
//! | kept true | checked in |
//! | --- | --- |
//! | every frame goes on or is counted as dropped, at every place | `check::conservation` |
//! | on every path frames keep their order | `check::Order`, at each worker and listener |
//! | every listener of an output gets every frame that reaches it | `check::Arrivals` |
//! | numbers run from 1 by 1, for each listener and each port of a worker | `listener`, `worker` |
//! | queues keep their bounds, credit is never exceeded | `check::bounds`, `worker` |
//! | where all clients wait, nothing is thinned out | `check::patience` |
//! | a session whose inputs ended finishes, says so once, and then is silent | `session` |
//! | the graph never asks to be called without end | `session` |
//! | the same seed gives the same session | `every_seed_...` |

mod check;
mod client;
mod listener;
mod nodes;
mod session;
mod shape;
mod summary;
mod worker;

use std::panic::catch_unwind;

/// Seeds of a usual run.
const SEEDS: u64 = 1_000;

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, the same on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn every_seed_keeps_every_promise_and_repeats_itself() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let mut seen = summary::Summary::default();
    for seed in seeds.clone() {
        let run = || catch_unwind(|| session::run(seed));
        let (Ok(first), Ok(second)) = (run(), run()) else {
            panic!("seed {seed} failed: repeat it with SEED={seed}");
        };
        assert_eq!(first.trace, second.trace, "seed {seed} went two ways");
        seen.add(&first);
    }
    if seeds.count() as u64 >= SEEDS {
        seen.assert_varied();
    }
}
