//! The pools of the process, shared by sessions, and the one task that keeps them.
//!
//! A pool belongs to a (pipeline, hop, tier). Sessions that open the hop while its configuration stands share it, across reloads as
//! well; a changed configuration makes a new one, and sessions that run keep the old one, which is kept up until the last of
//! them ends.
//!
//! Kept true: at most [`POOLS_MAX`] pools are remembered, those without a session for [`IDLE`] are not, and nothing is asked of an
//! endpoint that no session might use. Where a pipeline changed or is gone, its pools are forgotten with their last session, so that
//! endpoints that are in no manifest any more are told of nowhere.
//!
//! Absent: a task. [`Pools::run`] is a future that whoever owns the tasks spawns.

mod run;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_media::Timestamp;
use tidegate_nodes::compile::remote::Protocol;
use tokio::sync::Notify;

use crate::auth::Auth;
use crate::pool::{EndpointState, Pool, PoolConfig, Retries};
use crate::transport::Transport;

/// Pools that are remembered. Beyond it, sessions get pools of their own, which nobody checks.
pub const POOLS_MAX: usize = 1_024;
/// How long a pool is remembered after its last session ended.
pub const IDLE: Duration = Duration::from_secs(600);

/// A pool as its sessions hold it. Locked for the length of a call, never across an await.
pub type SharedPool = Arc<Mutex<Pool>>;

/// Which pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolKey {
    /// The pipeline's label in metrics.
    pub pipeline: String,
    /// The hop's id.
    pub hop: String,
    /// 0: the hop's own endpoints; from 1 on: its fallbacks in order.
    pub tier: usize,
}

/// What a pool is made from. Equal ones give the same pool.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSpec {
    /// How it decides.
    pub pool: PoolConfig,
    /// How its endpoints are checked.
    pub checks: Checks,
}

/// How endpoints are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// What the hop speaks there,
    pub protocol: Protocol,
    /// and what carries it.
    pub transport: Transport,
    /// The path that answers with success while the endpoint is well; `None`: `/readyz`, and an endpoint that has no such page is well.
    /// Without effect on `grpc`, where `grpc.health.v1` is asked.
    pub path: Option<String>,
    /// The page that is asked where none is configured, of servers that have another one than Tidegate.
    pub usual: Option<&'static str>,
    /// The model that is asked for, of servers that speak the Open Inference Protocol.
    pub model: Option<String>,
    /// Whom to trust and what to show.
    pub auth: Auth,
}

/// One pool as metrics, the admin API and the page show it.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolState {
    /// Which.
    pub key: PoolKey,
    /// Name of the strategy.
    pub balance: &'static str,
    /// Sessions that hold it.
    pub holders: usize,
    /// What its retry budget paid for.
    pub retries: Retries,
    /// Its members; [`EndpointState::by_endpoint`] takes those of one name together.
    pub endpoints: Vec<EndpointState>,
}

/// The registry. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Pools {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Mutex<Registry>,
    /// A pool joined, so something may be due.
    joined: Notify,
}

#[derive(Debug)]
struct Registry {
    current: HashMap<PoolKey, Entry>,
    /// Replaced while sessions held them.
    retired: Vec<(PoolKey, Entry)>,
    seed: u64,
}

#[derive(Debug)]
struct Entry {
    spec: Arc<PoolSpec>,
    pool: SharedPool,
    used: Timestamp,
    /// The pipeline has changed since; nobody may ask for it any more.
    outdated: bool,
}

impl Entry {
    fn holders(&self) -> usize {
        // The registry itself is one.
        Arc::strong_count(&self.pool) - 1
    }
}

impl Pools {
    /// A registry without pools. Pools draw from the seed what they leave to chance.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            inner: Arc::new(Inner {
                registry: Mutex::new(Registry {
                    current: HashMap::new(),
                    retired: Vec::new(),
                    seed,
                }),
                joined: Notify::new(),
            }),
        }
    }

    /// The pool of a hop's tier, as it stands if it was made from the same, else a new one.
    #[must_use]
    pub fn get(&self, now: Timestamp, key: PoolKey, spec: PoolSpec) -> SharedPool {
        let pool = self.lock().get(now, key, spec);
        self.inner.joined.notify_one();
        pool
    }

    /// A pipeline has changed or is gone. Sessions that still use its pools, or find them as they want them, keep them.
    pub fn outdate(&self, pipeline: &str) {
        let mut registry = self.lock();
        let all = registry.current.iter_mut();
        for (_, entry) in all.filter(|(key, _)| key.pipeline == pipeline) {
            entry.outdated = true;
        }
    }

    /// Every pool that is remembered, in the order of their keys; replaced ones only while sessions hold them, after their successors.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> Vec<PoolState> {
        let registry = self.lock();
        let current = registry.current.iter();
        let retired = registry.retired.iter().map(|(key, entry)| (key, entry));
        let mut states: Vec<_> = current
            .chain(retired)
            .map(|(key, entry)| {
                let holders = entry.holders();
                let pool = entry.pool.lock().unwrap_or_else(PoisonError::into_inner);
                PoolState {
                    key: key.clone(),
                    balance: pool.config().balance.as_str(),
                    holders,
                    retries: pool.retries(),
                    endpoints: pool.snapshot(now),
                }
            })
            .collect();
        states.sort_by(|a, b| a.key.cmp(&b.key));
        states
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        let registry = &self.inner.registry;
        registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    fn get(&mut self, now: Timestamp, key: PoolKey, spec: PoolSpec) -> SharedPool {
        if self.len() >= POOLS_MAX {
            self.sweep(now);
            self.make_room();
        }
        let full = self.len() >= POOLS_MAX;
        self.seed = self.seed.wrapping_add(1);
        let made = |spec: PoolSpec, seed| Entry {
            pool: Arc::new(Mutex::new(Pool::new(spec.pool.clone(), seed))),
            spec: Arc::new(spec),
            used: now,
            outdated: false,
        };
        match self.current.entry(key) {
            MapEntry::Occupied(mut known) if *known.get().spec == spec => {
                let known = known.get_mut();
                (known.used, known.outdated) = (now, false);
                Arc::clone(&known.pool)
            }
            MapEntry::Occupied(mut known) => {
                let entry = made(spec, self.seed);
                let pool = Arc::clone(&entry.pool);
                let old = known.insert(entry);
                if old.holders() > 0 {
                    self.retired.push((known.key().clone(), old));
                }
                pool
            }
            MapEntry::Vacant(place) if full => {
                tracing::warn!(key = ?place.key(), "too many pools: this session's is its own and unchecked");
                made(spec, self.seed).pool
            }
            MapEntry::Vacant(place) => Arc::clone(&place.insert(made(spec, self.seed)).pool),
        }
    }

    fn len(&self) -> usize {
        self.current.len() + self.retired.len()
    }

    /// Notes who is in use, and forgets who was not for long.
    fn sweep(&mut self, now: Timestamp) {
        self.retired.retain(|(_, entry)| entry.holders() > 0);
        self.current.retain(|_, entry| {
            if entry.holders() > 0 {
                entry.used = now;
            }
            entry.holders() > 0 || !entry.outdated && now - entry.used < IDLE
        });
    }

    /// Forgets the one that nobody holds and that was used longest ago.
    fn make_room(&mut self) {
        let idle = self
            .current
            .iter()
            .filter(|(_, entry)| entry.holders() == 0);
        let oldest = idle.min_by_key(|(_, entry)| entry.used);
        if self.len() >= POOLS_MAX
            && let Some(key) = oldest.map(|(key, _)| key.clone())
        {
            self.current.remove(&key);
        }
    }

    /// Pools that sessions hold.
    fn in_use(&self) -> impl Iterator<Item = &Entry> {
        let retired = self.retired.iter().map(|(_, entry)| entry);
        let all = self.current.values().chain(retired);
        all.filter(|entry| entry.holders() > 0)
    }
}
