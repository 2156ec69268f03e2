//! Remote hops of a session: what the manifest says becomes open streams to workers.
//!
//! Before a session is planned, workers are asked what runs there ([`survey`]): ports that a manifest does not declare come from
//! them, circles are found ([`circles`]), and what does not fit is refused. What a worker says on opening is checked all the same.

mod addresses;
mod circles;
mod config;
pub(crate) mod download;
pub(crate) mod exchange;
mod fetch;
pub(crate) mod state;
mod survey;
pub(crate) mod targets;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tidegate_nodes::compile::{Binding, Pipeline, RemoteParams};
use tidegate_nodes::graph::Mode;
use tidegate_nodes::plan::PlanHop;
use tidegate_nodes::{Code, Error, Plan};
use tidegate_proto::message::{self, Source};
use tidegate_remote::{
    Connector, ConnectorConfig, Described as Found, HopPorts, OpenContext, Pools, Reference,
    RemoteHop, Step, SystemResolver, Target,
};

use self::config::{Answers, Place, Shared};
use self::fetch::Fetcher;
use self::survey::{PoolSurvey, Surveyor};
use self::targets::{params, remote_hops};
use crate::auth::Caller;
use crate::clock::Clock;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::session::hops::Hop;
use crate::session::notes::{CountedHop, Notes};
use crate::session::open::Prepared;
use crate::tasks::Tasks;
use crate::trace::HopTrace;

/// What a description waits for workers that do not answer.
const TOLD: Duration = Duration::from_secs(2);

/// What all sessions share of remote hops.
pub(crate) struct Remotes {
    connector: Connector,
    pools: Pools,
    answers: Answers,
    surveyor: Surveyor,
    fetcher: Fetcher,
}

impl Remotes {
    pub(crate) fn new(config: &Config, clock: Clock, tasks: &Tasks) -> Self {
        let defaults = ConnectorConfig::default();
        let connector = Connector::new(ConnectorConfig {
            message_bytes: config.limits.message.0.max(defaults.message_bytes),
            ..defaults
        });
        Self {
            surveyor: Surveyor::new(connector.clone(), clock, tasks.clone()),
            fetcher: Fetcher::new(&config.manifest_hosts, clock),
            // What is left to chance is to differ between gateways.
            pools: Pools::new(rand::random()),
            answers: Answers::default(),
            connector,
        }
    }

    /// How the endpoints are doing.
    pub(crate) const fn pools(&self) -> &Pools {
        &self.pools
    }
}

/// A session's plan, and what is to run at its remote hops.
pub(crate) struct Bound {
    pub(crate) plan: Arc<Plan>,
    hops: BTreeMap<String, BoundHop>,
}

/// What is to run at a remote hop.
struct BoundHop {
    /// What a stream there asks for: the manifest that was looked at, also if its address gives another by now.
    target: Target,
    /// Digest of what runs there, as far as it is known.
    digest: String,
    /// What its workers say, if they could be asked.
    found: Option<Arc<Found>>,
}

impl Bound {
    fn new(plan: Plan) -> Self {
        Self {
            plan: Arc::new(plan),
            hops: BTreeMap::new(),
        }
    }
}

/// A remote hop of a plan with what is to run there.
struct Referring<'a> {
    hop: &'a PlanHop,
    params: RemoteParams,
    target: Result<Target, Error>,
}

/// A pipeline as another gateway, or a client, is told of it.
pub(crate) struct Described {
    pub(crate) pipeline: Arc<Pipeline>,
    /// How it is called where several gateways speak of it.
    pub(crate) name: String,
    pub(crate) references: Vec<Reference>,
}

impl Gateway {
    /// Binds a session's plan, asking workers for what they run.
    pub(crate) async fn bind(
        &self,
        prepared: &Prepared,
        mut binding: Binding,
    ) -> Result<Bound, Error> {
        let plan = prepared.pipeline.bind(&binding)?;
        if remote_hops(&plan).next().is_none() {
            return Ok(Bound::new(plan));
        }
        let hops = self.remote_hops(&plan, prepared).await?;
        let ports = hops.iter().filter_map(|(id, hop)| {
            let found = hop.found.as_ref()?;
            Some((id.clone(), found.ports.clone()))
        });
        binding.remote_ports = ports.collect();
        if binding.remote_ports.is_empty() {
            let plan = Arc::new(plan);
            return Ok(Bound { plan, hops });
        }
        let bound = prepared.pipeline.bind(&binding);
        let plan = Arc::new(bound.map_err(|error| at_remote(error, &plan))?);
        Ok(Bound { plan, hops })
    }

    /// What runs at the remote hops, as far as their workers could be asked.
    async fn remote_hops(
        &self,
        plan: &Plan,
        prepared: &Prepared,
    ) -> Result<BTreeMap<String, BoundHop>, Error> {
        let path = [Step {
            gateway_id: self.id.clone(),
            pipeline: targets::step_name(&prepared.pipeline, prepared.inline),
            endpoint: String::new(),
        }];
        let referring = self.referring(plan).await?;
        let patience = Duration::MAX;
        let surveys = self
            .survey(&prepared.pipeline, &referring, &path, patience)
            .await;
        let mut hops = BTreeMap::new();
        let mut references = Vec::new();
        for (referring, surveys) in referring.into_iter().zip(surveys) {
            let id = &referring.hop.id;
            let target = referring.target.map_err(|error| error.at_hop(id))?;
            if let Some(circle) = surveys.iter().find_map(PoolSurvey::circle) {
                return Err(circle.clone().at_hop(id));
            }
            let own = surveys.first();
            let found = own.and_then(PoolSurvey::described).map(Arc::clone);
            if found.is_none()
                && referring.params.fallback.is_empty()
                && let Some(error) = own.and_then(refusal)
            {
                return Err(error.through_hop(id));
            }
            let digest = own.map_or_else(String::new, |own| own.digest.clone());
            let hop = BoundHop {
                target,
                digest,
                found,
            };
            hops.insert(id.clone(), hop);
            references.extend(surveys.into_iter().map(PoolSurvey::into_reference));
        }
        circles::check_references(&path, &references)?;
        Ok(hops)
    }

    /// What a pipeline refers to, for whoever asks: `path` are the pipelines that lead here, `endpoint` is how the last of them does.
    ///
    /// # Errors
    /// The pipeline is unknown or has errors, or another gateway asks and there is a circle.
    pub(crate) async fn describe(
        &self,
        caller: &Caller,
        source: &Source,
        mut path: Vec<Step>,
        endpoint: String,
    ) -> Result<Described, Error> {
        let (pipeline, inline) = self.pipeline(caller, source)?;
        let name = targets::step_name(&pipeline, inline);
        let nested = !path.is_empty();
        path.push(Step {
            gateway_id: self.id.clone(),
            pipeline: name.clone(),
            endpoint,
        });
        circles::check_last(&path)?;
        let plan = pipeline.outline();
        let mut references = Vec::new();
        if remote_hops(plan).next().is_some() {
            circles::check_depth(&path)?;
            let referring = self.referring(plan).await.unwrap_or_default();
            let surveys = self.survey(&pipeline, &referring, &path, TOLD).await;
            for survey in surveys.into_iter().flatten() {
                if let Some(circle) = survey.circle().filter(|_| nested) {
                    return Err(circle.clone());
                }
                references.push(survey.into_reference());
            }
            if nested {
                circles::check_references(&path, &references)?;
            }
        }
        Ok(Described {
            pipeline,
            name,
            references,
        })
    }

    async fn referring<'a>(&self, plan: &'a Plan) -> Result<Vec<Referring<'a>>, Error> {
        let hops = remote_hops(plan).map(|(_, hop)| async move {
            let params = params(hop)?;
            let target = targets::target(&self.remotes.fetcher, hop, &params).await;
            Ok(Referring {
                hop,
                params,
                target,
            })
        });
        join_all(hops).await.into_iter().collect()
    }

    /// What the pools of each hop say.
    async fn survey(
        &self,
        pipeline: &Pipeline,
        referring: &[Referring<'_>],
        path: &[Step],
        patience: Duration,
    ) -> Vec<Vec<PoolSurvey>> {
        let hops = referring.iter().map(|referring| {
            // What cannot be fetched cannot be asked about.
            let unknown = &Target::Endpoint;
            let target = referring.target.as_ref().unwrap_or(unknown);
            let pools = targets::pools(referring.hop, &referring.params, target);
            let asked = pools.into_iter().map(|mut pool| {
                pool.connect = pool.connect.min(patience);
                let surveyor = &self.remotes.surveyor;
                surveyor.pool(pipeline.digest(), pool, path)
            });
            join_all(asked)
        });
        join_all(hops).await
    }

    /// Makes the checks of endpoints and asks their names, for as long as it is polled.
    pub(crate) async fn keep_pools(&self) {
        let remotes = &self.remotes;
        let clock = || self.clock.now();
        let resolver = &SystemResolver;
        remotes.pools.run(&remotes.connector, resolver, clock).await;
    }

    /// Opens every remote hop of a plan.
    pub(crate) async fn open_remotes(
        &self,
        bound: &Bound,
        prepared: &Prepared,
        hops: &mut Vec<(usize, Box<dyn Hop>)>,
    ) -> Result<(), Error> {
        for (index, hop) in remote_hops(&bound.plan) {
            let params = params(hop)?;
            let there = bound.hops.get(&hop.id).ok_or_else(|| {
                let text = "a hop of the plan was not looked at before it is opened";
                Error::new(Code::Internal, text).at_hop(&hop.id)
            })?;
            let place = Place {
                pipeline: targets::step_name(&prepared.pipeline, prepared.inline),
                hop,
                digest: &there.digest,
                caller: Arc::clone(&prepared.caller),
            };
            let shared = Shared {
                pools: &self.remotes.pools,
                answers: &self.remotes.answers,
                registry: self.pipelines.registry(),
            };
            let config =
                config::hop_config(&shared, self.clock.now(), &place, &params, &there.target)?;
            let now = self.clock.now();
            let trace = prepared.trace.as_ref();
            let trace = trace.map(|trace| HopTrace::new(trace, &hop.id, now));
            let context = OpenContext {
                now,
                hop_count: prepared.hop_count,
                mode: match prepared.mode {
                    Mode::Live => message::Mode::Live,
                    Mode::Waits => message::Mode::Waits,
                },
                deadline: prepared.deadline,
                trace: trace.as_ref().map(HopTrace::context),
            };
            let ports = HopPorts::from(hop);
            let (pipeline, id) = prepared.labels(hop);
            let connector = &self.remotes.connector;
            let clock = || self.clock.now();
            let opened = RemoteHop::open(connector, &config, &ports, context, clock).await;
            let mut notes = Notes::new(Arc::clone(&self.metrics), pipeline, id, trace);
            match opened {
                Ok(hop) => hops.push((index, Box::new(CountedHop::new(hop, notes, &config)))),
                Err(refused) => {
                    let now = self.clock.now();
                    refused.notes.iter().for_each(|note| notes.count(now, note));
                    if let Some(trace) = notes.take_trace() {
                        trace.end(now, Vec::new(), Some(refused.error.to_string()));
                    }
                    return Err(refused.error);
                }
            }
        }
        Ok(())
    }
}

/// Why a hop's endpoints cannot run what it wants, if all of them say so.
fn refusal(survey: &PoolSurvey) -> Option<Error> {
    let (endpoint, error) = survey.answers.iter().find_map(|(endpoint, answer)| {
        let error = answer.as_ref().err()?;
        Some((endpoint, error))
    })?;
    let errors = || {
        survey
            .answers
            .iter()
            .filter_map(|(_, answer)| answer.as_ref().err())
    };
    let foreign = survey.reference.transport == "http";
    let whole = survey.answers.len() == survey.reference.endpoints.len();
    let sent = survey.reference.pipeline.is_empty();
    // Who cannot describe may still serve; whether it fits is then seen on opening.
    let untold = |error: &Error| {
        survey::is_passing(error)
            || error.code == Code::Incompatible
            || sent && error.code == Code::UnknownPipeline
    };
    if foreign || !whole || errors().any(untold) {
        return None;
    }
    if sent && error.code == Code::ManifestInvalid {
        let text = format!(
            "the manifest of the hop cannot run at its worker: {}; change the manifest, or upgrade the worker",
            error.message
        );
        return Some(Error::new(Code::Incompatible, text).at_endpoint(endpoint));
    }
    Some(error.clone())
}

/// Says of which remote hop an error speaks that came with what its worker has: the compiler names it in the text.
fn at_remote(error: Error, plan: &Plan) -> Error {
    let mut hops = remote_hops(plan).map(|(_, hop)| hop);
    let Some(hop) = hops.find(|hop| error.message.contains(&format!("'{}'", hop.id))) else {
        return error;
    };
    let endpoint = hop.params["endpoints"][0].as_str().map(str::to_owned);
    let error = error.at_hop(&hop.id);
    match endpoint {
        Some(endpoint) => error.at_endpoint(endpoint),
        None => error,
    }
}
