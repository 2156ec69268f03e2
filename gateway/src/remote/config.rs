//! From a node's parameters to what runs its hop: tiers with their pools, waits and policy.

use std::sync::Arc;
use std::time::Duration;

use tidegate_media::Timestamp;
use tidegate_nodes::compile::RemoteParams;
use tidegate_nodes::compile::remote::{self, Endpoint, Health, Transport};
use tidegate_remote::pool::{
    Balance, BreakerConfig, EndpointConfig, HealthConfig, PoolConfig, RetryConfig,
};
use tidegate_remote::{
    Auth, Checks, HopConfig, Partial, PoolKey, PoolSpec, Pools, RemoteConfig, RemoteTier,
    ReplayLimits, Target, Tier, Timeouts,
};

/// Which hop of which pipeline, as its pools are known by.
pub(super) struct Place {
    pub(super) pipeline: String,
    pub(super) hop: String,
}

/// What a hop is run from. Pools are those that other sessions of the hop use, where they were made from the same.
pub(super) fn hop_config(
    pools: &Pools,
    now: Timestamp,
    place: &Place,
    params: &RemoteParams,
    target: &Target,
) -> HopConfig {
    let tiers = std::iter::once(own(params)).chain(params.fallback.iter().enumerate().filter_map(
        |(index, tier)| {
            let tier = tier.tier(params)?;
            Some((index + 1, tier))
        },
    ));
    let remote = Making {
        pools,
        now,
        place,
        params,
        target,
    };
    let replay = params.replay.unwrap_or_default();
    HopConfig {
        tiers: tiers
            .filter_map(|(number, tier)| remote.tier(number, &tier))
            .collect(),
        mode: params.mode(),
        timeouts: timeouts(params),
        attempts: params.retry.attempts,
        deterministic: params.deterministic,
        partial: params.partial.map(|partial| match partial {
            remote::Partial::Supersede => Partial::Supersede,
            remote::Partial::Hold => Partial::Hold,
        }),
        replay: ReplayLimits {
            frames: usize::try_from(replay.frames).unwrap_or(usize::MAX),
            bytes: usize::try_from(replay.bytes.0).unwrap_or(usize::MAX),
        },
    }
}

/// The node's own endpoints, as its first tier.
fn own(params: &RemoteParams) -> (usize, remote::Tier<'_>) {
    let tier = remote::Tier::Pool {
        endpoints: &params.endpoints,
        transport: params.transport,
        pipeline: None,
        auth: params.auth.as_ref(),
        balance: params.balance,
    };
    (0, tier)
}

fn timeouts(params: &RemoteParams) -> Timeouts {
    let waits = params.waits();
    Timeouts {
        connect: waits.connect,
        first_output: waits.first_output,
        gap: waits.gap,
        call: Some(waits.call),
    }
}

/// What all tiers of a hop have in common.
struct Making<'a> {
    pools: &'a Pools,
    now: Timestamp,
    place: &'a Place,
    params: &'a RemoteParams,
    target: &'a Target,
}

impl Making<'_> {
    fn tier(&self, number: usize, tier: &remote::Tier<'_>) -> Option<Tier> {
        let remote::Tier::Pool {
            endpoints,
            transport,
            pipeline,
            auth,
            balance,
        } = tier
        else {
            return None;
        };
        let auth = auth.map(Auth::from).unwrap_or_default();
        let target = match pipeline {
            Some(name) => Target::Pipeline((*name).to_owned()),
            None => self.target.clone(),
        };
        let config = RemoteConfig {
            endpoints: endpoints.iter().map(|e| e.url.clone()).collect(),
            transport: *transport,
            mode: self.params.mode(),
            target,
            parameters: self.params.parameters.clone(),
            timeouts: timeouts(self.params),
            auth: auth.clone(),
        };
        let key = PoolKey {
            pipeline: self.place.pipeline.clone(),
            hop: self.place.hop.clone(),
            tier: number,
        };
        let spec = PoolSpec {
            pool: self.pool(endpoints, *balance),
            checks: self.checks(*transport, auth),
        };
        Some(Tier::Remote(RemoteTier {
            config: Arc::new(config),
            pool: self.pools.get(self.now, key, spec),
        }))
    }

    fn pool(&self, endpoints: &[Endpoint], balance: remote::Balance) -> PoolConfig {
        let (retry, breaker) = (self.params.retry, self.params.breaker);
        let endpoint = |endpoint: &Endpoint| EndpointConfig {
            address: endpoint.url.clone(),
            weight: endpoint.weight.unwrap_or(1),
        };
        PoolConfig {
            endpoints: endpoints.iter().map(endpoint).collect(),
            balance: match balance {
                remote::Balance::RoundRobin => Balance::RoundRobin,
                remote::Balance::LeastConnections => Balance::LeastConnections,
                remote::Balance::P2cEwma => Balance::P2cEwma,
                remote::Balance::Weighted => Balance::Weighted,
                remote::Balance::Nearest => Balance::Nearest,
            },
            retry: RetryConfig {
                attempts: retry.attempts,
                backoff: retry.backoff.0,
                backoff_max: retry.backoff_max.0,
                budget: retry.budget,
                ..RetryConfig::default()
            },
            breaker: BreakerConfig {
                failures: breaker.failures,
                success: breaker.success,
                window: usize::try_from(breaker.window).unwrap_or(usize::MAX),
                open: breaker.open.0,
                open_max: breaker.open_max.0,
                ..BreakerConfig::default()
            },
            health: self.health(),
            resolve: PoolConfig::RESOLVE,
        }
    }

    fn health(&self) -> Option<HealthConfig> {
        let Health::On(checks) = &self.params.health else {
            return None;
        };
        Some(HealthConfig {
            interval: checks.interval.0,
            timeout: checks.timeout.0.min(Duration::from_secs(3_600)),
            ..HealthConfig::default()
        })
    }

    fn checks(&self, transport: Transport, auth: Auth) -> Checks {
        let path = match &self.params.health {
            Health::On(checks) => checks.path.clone(),
            Health::Off => None,
        };
        Checks {
            transport,
            path: path.filter(|_| transport != Transport::Grpc),
            auth,
        }
    }
}
