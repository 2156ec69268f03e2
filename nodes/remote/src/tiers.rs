//! Who serves a hop: tiers in order, and what the hop does when one of them fails.

use std::sync::{Arc, Mutex};

use tidegate_nodes::compile::remote::HopMode;

use crate::cache::CacheTier;
use crate::config::{RemoteConfig, Timeouts};
use crate::local::LocalNode;
use crate::pool::{Pool, PoolConfig};
use crate::pools::SharedPool;
use crate::replay::ReplayLimits;

/// A hop with all its tiers.
#[derive(Clone, Debug)]
pub struct HopConfig {
    /// In the order in which they are used; the first one is the primary.
    pub tiers: Vec<Tier>,
    /// A stream for all, or one for each call.
    pub mode: HopMode,
    /// Longest waits; `connect` is each tier's own.
    pub timeouts: Timeouts,
    /// Attempts that one tier gets before the hop gives it up, the first included; 0 counts as 1.
    pub attempts: u32,
    /// Whether equal input gives equal output; `None`: as the worker says.
    pub deterministic: Option<bool>,
    /// What becomes of a half-said utterance when its worker is lost; `None`: [`Partial::Supersede`], but of audio outputs
    /// [`Partial::Hold`], since what was heard cannot be superseded.
    pub partial: Option<Partial>,
    /// What is kept for a replay.
    pub replay: ReplayLimits,
}

/// One tier.
#[derive(Clone, Debug)]
pub enum Tier {
    /// Workers.
    Remote(RemoteTier),
    /// A node of this process.
    Local(LocalNode),
    /// Earlier answers; only of calls.
    Cache(CacheTier),
    /// The text of the error that ends the hop.
    Error(String),
}

/// Workers of one kind behind one pool.
#[derive(Clone, Debug)]
pub struct RemoteTier {
    /// How they are spoken to and what runs there.
    pub config: Arc<RemoteConfig>,
    /// Which of them takes an attempt.
    pub pool: SharedPool,
}

/// What becomes of a half-said utterance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Partial {
    /// It is given out at once, and superseded by a higher revision if it must be said again.
    #[default]
    Supersede,
    /// Nothing of it is given out before it is complete.
    Hold,
}

impl HopConfig {
    /// Attempts that one tier gets unless told otherwise.
    pub const ATTEMPTS: u32 = 4;

    /// Whether its workers are sent an utterance as it comes and answer it as a whole.
    pub(crate) fn hears_utterances(&self) -> bool {
        self.tiers.iter().any(|tier| match tier {
            Tier::Remote(tier) => {
                let foreign = tier.config.foreign.as_ref();
                foreign.is_some_and(|foreign| foreign.protocol.takes_utterances_as_they_come())
            }
            _ => false,
        })
    }

    /// One tier with a pool of its own and defaults for the rest.
    #[must_use]
    pub fn new(config: RemoteConfig) -> Self {
        let pool = PoolConfig::new(config.endpoints.iter().cloned());
        let (mode, timeouts) = (config.mode, config.timeouts);
        let tier = RemoteTier {
            config: Arc::new(config),
            pool: Arc::new(Mutex::new(Pool::new(pool, 0))),
        };
        Self {
            tiers: vec![Tier::Remote(tier)],
            mode,
            timeouts,
            attempts: Self::ATTEMPTS,
            deterministic: None,
            partial: None,
            replay: ReplayLimits::default(),
        }
    }
}
