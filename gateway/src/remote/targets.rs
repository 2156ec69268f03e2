//! What each pool of a remote hop refers to: where, by which protocol, with which credentials, and what is to run there.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tidegate_nodes::compile::remote::{Endpoint, Protocol, Tier};
use tidegate_nodes::compile::{Pipeline, RemoteParams};
use tidegate_nodes::plan::PlanHop;
use tidegate_nodes::{Code, Error, Manifest, Placement, Plan};
use tidegate_proto::message::Source;
use tidegate_remote::describe::shown;
use tidegate_remote::{Auth, Reference, Target};

use super::fetch::Fetcher;

/// Digits of a digest that are shown.
const DIGEST_SHOWN: usize = 12;

/// One pool of a hop.
#[derive(Clone, Debug)]
pub(crate) struct PoolTarget {
    pub(crate) endpoints: Vec<String>,
    pub(crate) auth: Auth,
    pub(crate) target: Target,
    pub(crate) connect: Duration,
    /// As it is shown; nothing is found yet.
    pub(crate) reference: Reference,
    /// It speaks a protocol of somebody else's, which is not asked what it runs.
    pub(crate) foreign: bool,
}

impl PoolTarget {
    /// Whether it may be no Tidegate, which then describes itself in ways of its own, if at all.
    pub(crate) fn is_foreign(&self) -> bool {
        self.reference.transport == "http"
    }

    /// Whether an endpoint is more than a host: what is asked there is its path's affair.
    pub(crate) fn has_paths(&self) -> bool {
        let mut endpoints = self.endpoints.iter();
        endpoints.any(|endpoint| {
            let rest = endpoint.split_once("://").map_or("", |(_, rest)| rest);
            rest.trim_end_matches('/').contains('/')
        })
    }
}

/// The parameters of a plan's hop.
pub(crate) fn params(hop: &PlanHop) -> Result<RemoteParams, Error> {
    RemoteParams::read(&hop.params).map_err(|problems| {
        let texts: Vec<_> = problems
            .iter()
            .map(|p| format!("'{}': {p}", p.path))
            .collect();
        Error::new(Code::ManifestInvalid, texts.join("; ")).at_hop(&hop.id)
    })
}

/// The remote hops of a plan.
pub(crate) fn remote_hops(plan: &Plan) -> impl Iterator<Item = (usize, &PlanHop)> {
    let hops = plan.hops.iter().enumerate();
    hops.filter(|(_, hop)| hop.placement == Placement::Remote)
}

/// What is to run at the hop's own endpoints; what a URL names is fetched.
///
/// # Errors
/// `manifest_fetch_failed`.
pub(crate) async fn target(
    fetcher: &Fetcher,
    hop: &PlanHop,
    params: &RemoteParams,
) -> Result<Target, Error> {
    if let Some(name) = &params.pipeline {
        return Ok(Target::Pipeline(name.clone()));
    }
    if let Some(manifest) = &params.manifest {
        let text = serde_json::Value::Object(manifest.clone()).to_string();
        return Ok(Target::Manifest(text));
    }
    let Some(url) = &params.manifest_url else {
        return Ok(Target::Endpoint);
    };
    let pin = params.manifest_sha256.as_deref();
    let fetched = fetcher.get(url, pin).await;
    let text = fetched.map_err(|error| error.at_hop(&hop.id))?;
    Ok(Target::Manifest(text.to_string()))
}

/// All pools of a hop, its own first.
pub(crate) fn pools(hop: &PlanHop, params: &RemoteParams, target: &Target) -> Vec<PoolTarget> {
    let own = Tier::Pool {
        endpoints: &params.endpoints,
        transport: params.transport(),
        pipeline: None,
        auth: params.auth.as_ref(),
        balance: params.balance,
    };
    let tiers = params.fallback.iter().map(|tier| tier.tier(params));
    let all = std::iter::once(Some(own)).chain(tiers).zip(0..);
    all.filter_map(|(tier, number)| {
        let Some(Tier::Pool {
            endpoints,
            transport,
            pipeline,
            auth,
            ..
        }) = tier
        else {
            return None;
        };
        let named = pipeline.map(|name| Target::Pipeline(name.to_owned()));
        let fetched = params
            .manifest_url
            .as_deref()
            .filter(|_| pipeline.is_none());
        let target = named.unwrap_or_else(|| target.clone());
        let urls = endpoints.iter().map(|Endpoint { url, .. }| url);
        let reference = Reference {
            hop: hop.id.clone(),
            tier: number,
            transport: match params.protocol {
                Protocol::Tidegate => transport.as_str(),
                foreign => foreign.as_str(),
            }
            .to_owned(),
            endpoints: urls.clone().map(|url| shown(url)).collect(),
            manifest_url: fetched.map(shown).unwrap_or_default(),
            ..named_by(&target)
        };
        Some(PoolTarget {
            endpoints: urls.cloned().collect(),
            auth: auth.map(Auth::from).unwrap_or_default(),
            target,
            connect: params.waits().connect,
            reference,
            foreign: params.protocol.is_foreign(),
        })
    })
    .collect()
}

fn named_by(target: &Target) -> Reference {
    match target {
        Target::Pipeline(name) => Reference {
            pipeline: name.clone(),
            ..Reference::default()
        },
        Target::Manifest(text) => Reference {
            digest: digest(text),
            ..Reference::default()
        },
        Target::Endpoint => Reference::default(),
    }
}

/// Digest of a manifest; empty if it is none.
fn digest(text: &str) -> String {
    Manifest::parse("manifest", text).map_or_else(|_| String::new(), |m| m.digest().to_owned())
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How a pipeline is called where several gateways speak of it: by its name, or, if its manifest was sent, by name and digest, since
/// another may have that name there.
pub(crate) fn step_name(pipeline: &Pipeline, inline: bool) -> String {
    let name = pipeline.name();
    if !inline {
        return name.to_owned();
    }
    let digest: String = pipeline.digest().chars().take(DIGEST_SHOWN).collect();
    format!("{name}@{digest}")
}

/// Where a pipeline comes from, as a request to describe it says.
pub(crate) fn source(pipeline: String, manifest: String) -> Source {
    if manifest.is_empty() {
        Source::Pipeline(pipeline)
    } else {
        Source::Manifest(manifest)
    }
}
