//! Settings of a pool, with the defaults that the manifest's reference promises.
//!
//! Plain data: two pools with equal settings are interchangeable, which is how a reload finds out what it may keep.

use std::time::Duration;

/// Everything that a pool is told.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolConfig {
    /// Endpoints in the manifest's order.
    pub endpoints: Vec<EndpointConfig>,
    /// How one of several is chosen.
    pub balance: Balance,
    /// How often and when a request is tried again.
    pub retry: RetryConfig,
    /// When an endpoint is shut off for what requests met there.
    pub breaker: BreakerConfig,
    /// Active checks; `None`: none are made and every endpoint counts as healthy.
    pub health: Option<HealthConfig>,
    /// How often a name is resolved again.
    pub resolve: Duration,
}

impl PoolConfig {
    /// How often a name is resolved again unless told otherwise.
    pub const RESOLVE: Duration = Duration::from_secs(30);

    /// Defaults for endpoints of equal weight.
    pub fn new<S: Into<String>>(endpoints: impl IntoIterator<Item = S>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(EndpointConfig::new).collect(),
            balance: Balance::default(),
            retry: RetryConfig::default(),
            breaker: BreakerConfig::default(),
            health: Some(HealthConfig::default()),
            resolve: Self::RESOLVE,
        }
    }
}

/// One endpoint as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointConfig {
    /// The address as configured; also the label in metrics.
    pub address: String,
    /// Its share relative to others; 0 counts as 1. Without effect on `round_robin` and `nearest`.
    pub weight: u32,
}

impl EndpointConfig {
    /// An endpoint of weight 1.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            weight: 1,
        }
    }
}

/// How one of several endpoints is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// In turn, exactly.
    #[default]
    RoundRobin,
    /// Where the fewest requests per weight are in flight; ties in turn.
    LeastConnections,
    /// The cheaper of two drawn at random, by peak latency times requests in flight per weight.
    P2cEwma,
    /// By weight, exactly over each run of as many requests as the weights' sum, and spread evenly within it.
    Weighted,
    /// Where the measured round trip is shortest; those within a tenth of it in turn.
    Nearest,
}

impl Balance {
    /// The name in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastConnections => "least_connections",
            Self::P2cEwma => "p2c_ewma",
            Self::Weighted => "weighted",
            Self::Nearest => "nearest",
        }
    }

    /// The strategy with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [
            Self::RoundRobin,
            Self::LeastConnections,
            Self::P2cEwma,
            Self::Weighted,
            Self::Nearest,
        ];
        all.into_iter().find(|balance| balance.as_str() == name)
    }
}

/// How often and when a request is tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryConfig {
    /// Attempts in all, the first included. The pool does not count them; whoever picks does.
    pub attempts: u32,
    /// Longest wait before the first repeat; doubles with each further one.
    pub backoff: Duration,
    /// Longest wait before any repeat.
    pub backoff_max: Duration,
    /// Retries that one request pays for.
    pub budget: f64,
    /// Retries a second that are free.
    pub floor: f64,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            attempts: 4,
            backoff: Duration::from_secs(1),
            backoff_max: Duration::from_secs(30),
            budget: 0.2,
            floor: 10.0,
        }
    }
}

/// When an endpoint is shut off, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerConfig {
    /// Failures in a row that open it; 0 counts as 1.
    pub failures: u32,
    /// The least share of successes over the window, 0 to 1.
    pub success: f64,
    /// How many recent attempts that share is taken over; 0 turns the share off.
    pub window: usize,
    /// How long it stays open the first time; doubles each time that follows without proof of health in between.
    pub open: Duration,
    /// Longest time that it stays open.
    pub open_max: Duration,
    /// What an answer without any output says about an endpoint.
    pub empty: EmptyPolicy,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failures: 5,
            success: 0.6,
            window: 20,
            open: Duration::from_secs(1),
            open_max: Duration::from_secs(60),
            empty: EmptyPolicy::default(),
        }
    }
}

/// What an answer without any output says about an endpoint.
///
/// Some pipelines rightly have nothing to say (silence was sent to a recogniser), so nothing follows from one such answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmptyPolicy {
    /// A success like any other.
    Ignore,
    /// A failure within the window if fewer than a tenth of the other endpoints' recent answers were empty; otherwise, and where
    /// there is nothing to compare with, it counts as nothing.
    #[default]
    Compare,
    /// A failure within the window.
    Fail,
}

/// Active checks of one pool's endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// Time between two checks of an endpoint; varies by a tenth, so that gateways do not check in step.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// Failed checks in a row that take an endpoint down. After the first of them, checks follow five times as fast.
    pub fall: u32,
    /// Passed checks in a row that bring it up again. After the first of them, checks follow five times as fast.
    pub rise: u32,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            fall: 3,
            rise: 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strategy_is_found_by_its_name() {
        for name in [
            "round_robin",
            "least_connections",
            "p2c_ewma",
            "weighted",
            "nearest",
        ] {
            assert_eq!(Balance::from_name(name).map(Balance::as_str), Some(name));
        }
        assert_eq!(Balance::from_name("random"), None);
        assert_eq!(Balance::default(), Balance::RoundRobin);
    }
}
