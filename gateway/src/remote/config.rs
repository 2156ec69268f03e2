//! From a node's parameters to what runs its hop: tiers with their pools, waits and policy.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tidegate_media::Timestamp;
use tidegate_nodes::compile::RemoteParams;
use tidegate_nodes::compile::remote::{
    self, Empty, Endpoint, Health, HopMode, Protocol, Transport,
};
use tidegate_nodes::plan::{PlanHop, PlanPort};
use tidegate_nodes::{Code, Error, Port, Registry};
use tidegate_remote::pool::{
    Balance, BreakerConfig, EmptyPolicy, EndpointConfig, HealthConfig, PoolConfig, RetryConfig,
};
use tidegate_remote::{
    AnswerCache, Auth, CacheLimits, CacheTier, Checks, Foreign, HopConfig, LocalNode, Memory,
    Partial, PoolKey, PoolSpec, Pools, RemoteConfig, RemoteTier, ReplayLimits, Target, Tier,
    Timeouts,
};

use super::targets::sha256;

/// Which hop of which pipeline, as its pools and answers are known by.
pub(super) struct Place<'a> {
    pub(super) pipeline: String,
    pub(super) hop: &'a PlanHop,
    /// Digest of what runs at the hop's own endpoints, if one of them said.
    pub(super) digest: &'a str,
    /// Name of who opens the session: answers are kept for this caller and no other.
    pub(super) caller: Arc<str>,
}

/// What sessions of a hop share.
pub(super) struct Shared<'a> {
    pub(super) pools: &'a Pools,
    pub(super) answers: &'a Answers,
    pub(super) registry: &'a Registry,
}

/// What a hop is run from. Pools and caches are those that other sessions of the hop use, where they were made from the same.
///
/// # Errors
/// A local node that the hop falls back to cannot take its place.
pub(super) fn hop_config(
    shared: &Shared<'_>,
    now: Timestamp,
    place: &Place<'_>,
    params: &RemoteParams,
    target: &Target,
) -> Result<HopConfig, Error> {
    let further = params.fallback.iter().enumerate();
    let further =
        further.filter_map(|(index, tier)| tier.tier(params).map(|tier| (index + 1, tier)));
    let making = Making {
        shared,
        now,
        place,
        params,
        target,
        foreign: params.protocol.is_foreign().then(|| Foreign {
            protocol: params.protocol,
            options: params.options.clone(),
            memory: Memory::default(),
        }),
    };
    let tiers = std::iter::once(own(params)).chain(further);
    let tiers = tiers.map(|(number, tier)| making.tier(number, &tier));
    let replay = params.replay.unwrap_or_default();
    Ok(HopConfig {
        tiers: tiers.collect::<Result<_, _>>()?,
        mode: exchange(params),
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
    })
}

/// Whether the hop's exchange goes on for the whole session. A request of several tensors has a frame of each input, which a call of its
/// own, of one input's, cannot have.
fn exchange(params: &RemoteParams) -> HopMode {
    let inputs = params.inputs.as_ref().map_or(0, Vec::len);
    match params.protocol {
        Protocol::Kserve if inputs > 1 => HopMode::Stream,
        _ => params.mode(),
    }
}

/// The node's own endpoints, as its first tier.
fn own(params: &RemoteParams) -> (usize, remote::Tier<'_>) {
    let tier = remote::Tier::Pool {
        endpoints: &params.endpoints,
        transport: params.transport(),
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
    shared: &'a Shared<'a>,
    now: Timestamp,
    place: &'a Place<'a>,
    params: &'a RemoteParams,
    target: &'a Target,
    /// One for all tiers, which take over from each other in the midst of a conversation.
    foreign: Option<Foreign>,
}

impl Making<'_> {
    fn tier(&self, number: usize, tier: &remote::Tier<'_>) -> Result<Tier, Error> {
        Ok(match tier {
            remote::Tier::Pool { .. } => Tier::Remote(self.remote(number, tier)),
            remote::Tier::Local { node_type, params } => {
                let local = local(self.shared.registry, self.place.hop, node_type, params);
                Tier::Local(local.map_err(|error| {
                    let text = format!("'fallback[{}]': {}", number - 1, error.message);
                    Error::new(error.code, text).at_hop(&self.place.hop.id)
                })?)
            }
            remote::Tier::Cache(cache) => Tier::Cache(self.cache(number, *cache)),
            remote::Tier::Error(text) => Tier::Error((*text).to_owned()),
        })
    }

    fn key(&self, tier: usize) -> PoolKey {
        PoolKey {
            pipeline: self.place.pipeline.clone(),
            hop: self.place.hop.id.clone(),
            tier,
        }
    }

    /// A pool; a tier that is none has no endpoints.
    fn remote(&self, number: usize, tier: &remote::Tier<'_>) -> RemoteTier {
        let (endpoints, transport, pipeline, auth, balance) = match tier {
            remote::Tier::Pool {
                endpoints,
                transport,
                pipeline,
                auth,
                balance,
            } => (*endpoints, *transport, *pipeline, *auth, *balance),
            _ => (
                &[][..],
                self.params.transport(),
                None,
                None,
                self.params.balance,
            ),
        };
        let auth = auth.map(Auth::from).unwrap_or_default();
        let named = pipeline.map(|name| Target::Pipeline(name.to_owned()));
        let config = RemoteConfig {
            endpoints: endpoints.iter().map(|e| e.url.clone()).collect(),
            transport,
            mode: self.params.mode(),
            target: named.unwrap_or_else(|| self.target.clone()),
            parameters: self.params.parameters.clone(),
            timeouts: timeouts(self.params),
            auth: auth.clone(),
            foreign: self.foreign.clone(),
        };
        let spec = PoolSpec {
            pool: self.pool(endpoints, balance),
            checks: self.checks(&config.target, transport, auth),
        };
        RemoteTier {
            config: Arc::new(config),
            pool: self.shared.pools.get(self.now, self.key(number), spec),
        }
    }

    /// Answers are kept apart by what runs there and by the parameters that it is given.
    fn cache(&self, number: usize, cache: remote::Cache) -> CacheTier {
        let limits = CacheLimits {
            entries: usize::try_from(cache.entries).unwrap_or(usize::MAX),
            age: cache.age.0,
            bytes: CacheLimits::BYTES,
        };
        let parameters = serde_json::Value::Object(self.params.parameters.clone());
        let whole = format!("{} {:?} {parameters}", self.place.digest, self.target);
        CacheTier {
            answers: self.shared.answers.get(self.now, self.key(number), limits),
            digest: sha256(whole.as_bytes()).into(),
            caller: Arc::clone(&self.place.caller),
        }
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
                empty: match breaker.empty {
                    Empty::Compare => EmptyPolicy::Compare,
                    Empty::Ignore => EmptyPolicy::Ignore,
                    Empty::Fail => EmptyPolicy::Fail,
                },
            },
            health: self.health(),
            resolve: self.params.resolves(),
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

    fn checks(&self, target: &Target, transport: Transport, auth: Auth) -> Checks {
        let path = match &self.params.health {
            Health::On(checks) => checks.path.clone(),
            Health::Off => None,
        };
        Checks {
            protocol: self.params.protocol,
            transport,
            path: path.filter(|_| transport != Transport::Grpc),
            usual: self.params.protocol.health_path(),
            model: match (self.params.protocol, target) {
                (Protocol::Kserve, Target::Pipeline(model)) => Some(model.clone()),
                _ => None,
            },
            auth,
        }
    }
}

/// A node of this process in the hop's place. One is made at once, so that what cannot be is known before it is needed.
fn local(
    registry: &Registry,
    hop: &PlanHop,
    node_type: &str,
    params: &Map<String, Value>,
) -> Result<LocalNode, Error> {
    let unfit = |text: String| Error::new(Code::Incompatible, text);
    let found = registry
        .get(node_type)
        .ok_or_else(|| unfit(format!("there is no node type '{node_type}'")))?;
    let params = Value::Object(params.clone());
    let ports = found
        .ports(&params)
        .map_err(|error| unfit(error.to_string()))?;
    let format = |name: &str, alone: bool, side: &[PlanPort]| {
        let joined = || side.iter().filter(|port| port.format.is_some());
        let named = joined().find(|port| port.name == name);
        let only = joined().next().filter(|_| alone && joined().count() == 1);
        named.or(only).and_then(|port| port.format)
    };
    let alone = ports.inputs.len() == 1;
    let inputs: Vec<_> = ports
        .inputs
        .iter()
        .map(|port| format(&port.name, alone, &hop.inputs))
        .collect();
    let given = found
        .outputs(&params, &inputs)
        .map_err(|error| unfit(error.to_string()))?;
    let alone = ports.outputs.len() == 1;
    for (port, given) in ports.outputs.iter().zip(given) {
        let wanted = format(&port.name, alone, &hop.outputs);
        if let Some(wanted) = wanted.filter(|wanted| *wanted != given) {
            return Err(unfit(format!(
                "'{node_type}' gives {given} on '{}' where the hop gives {wanted}: choose another node, or declare the hop's 'outputs' with that format",
                port.name
            )));
        }
    }
    let named = |ports: &[Port]| ports.iter().map(|port| port.name.clone()).collect();
    let (found, node_type) = (Arc::clone(found), node_type.to_owned());
    let local = LocalNode {
        inputs: named(&ports.inputs),
        outputs: named(&ports.outputs),
        make: Arc::new(move || {
            found.build(&params, &inputs).map_err(|error| {
                let text = format!("{node_type} cannot be built: {error}");
                Error::new(Code::NodeFailed, text)
            })
        }),
    };
    (local.make)()?;
    Ok(local)
}

/// Caches of answers, each shared by the sessions of a hop.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<HashMap<PoolKey, (Timestamp, Arc<AnswerCache>)>>);

impl Answers {
    /// Caches that are kept, and payload bytes of all of them, as far as they are over it when another session opens; the one used
    /// longest ago goes first.
    const MOST: usize = 256;
    const BYTES: usize = 4 * CacheLimits::BYTES;

    fn get(&self, now: Timestamp, key: PoolKey, limits: CacheLimits) -> Arc<AnswerCache> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Self::shrink(&mut all, &key);
        if let Some((used, cache)) = all.get_mut(&key)
            && cache.limits() == limits
        {
            *used = now;
            return Arc::clone(cache);
        }
        let cache = Arc::new(AnswerCache::new(limits));
        all.insert(key, (now, Arc::clone(&cache)));
        cache
    }

    /// Lets go of the caches that were used longest ago, this one left out, until another one has room.
    fn shrink(all: &mut HashMap<PoolKey, (Timestamp, Arc<AnswerCache>)>, but: &PoolKey) {
        let mut bytes: usize = all.values().map(|(_, cache)| cache.bytes()).sum();
        while all.len() >= Self::MOST && !all.contains_key(but) || bytes > Self::BYTES {
            let others = all.iter().filter(|(key, _)| *key != but);
            let oldest = others.min_by_key(|(_, (used, _))| *used);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            if let Some((_, cache)) = all.remove(&oldest) {
                bytes -= cache.bytes().min(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_nodes::compile::{Binding, Grants, Pipeline};

    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn names_are_asked_again_as_often_as_the_manifest_says_in_every_tier() {
        let registry = Registry::builtin();
        for (written, millis) in [("", 30_000), (", resolve: 2s", 2_000)] {
            let text = format!(
                "{{version: tidegate/v1, name: p, inputs: [{{name: in, kind: text}}], \
                 outputs: [{{name: out, kind: text}}], \
                 nodes: [{{id: far, type: remote, params: {{endpoints: ['http://first:1'], pipeline: p, \
                 fallback: [{{endpoints: ['http://second:1']}}]{written}}}}}], \
                 edges: [{{from: in, to: far, queue: {{when_full: drop_oldest}}}}, far -> out]}}"
            );
            let grants = Grants::operator([]);
            let pipeline =
                Pipeline::from_text("p", &text, &registry, &grants).expect("it compiles");
            let plan = pipeline.bind(&Binding::default()).expect("it binds");
            let hop = &plan.hops[0];
            let params = RemoteParams::read(&hop.params).expect("they are sound");
            let shared = Shared {
                pools: &Pools::new(1),
                answers: &Answers::default(),
                registry: &registry,
            };
            let place = Place {
                pipeline: "p".to_owned(),
                hop,
                digest: "",
                caller: Arc::from(""),
            };
            let target = Target::Pipeline("p".to_owned());
            let config = hop_config(&shared, at(0), &place, &params, &target).expect("two pools");
            assert_eq!(config.tiers.len(), 2);
            for tier in &config.tiers {
                let Tier::Remote(tier) = tier else {
                    panic!("{tier:?}")
                };
                let mut pool = tier.pool.lock().expect("nobody panicked");
                let asked = pool.resolve_due(at(0)).expect("a name");
                let address = "10.0.0.1:1".parse().expect("an address");
                pool.resolved(at(0), asked.endpoint, vec![address]);
                assert!(pool.resolve_due(at(millis - 1)).is_none());
                assert!(pool.resolve_due(at(millis)).is_some());
            }
        }
    }
}
