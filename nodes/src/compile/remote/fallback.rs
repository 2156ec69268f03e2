//! What a hop turns to when no endpoint can be used.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::checks::{Problems, check_pool};
use super::{Auth, Balance, Endpoint, HopMode, RemoteParams, Transport};
use crate::manifest::units::Span;

/// Most tiers after the first.
pub(super) const TIERS_MAX: usize = 8;
/// Most answers that a cache may keep.
const CACHE_ENTRIES_MAX: u32 = 100_000;

/// What to turn to: another pool (`endpoints`), a local node (`type`), an earlier answer (`cache`), or an error of your own words
/// (`error`). One of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// Another pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// What carries the protocol to that pool. Default: the node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// The pipeline to open in that pool. Default: what the node opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// Credentials for that pool. Default: the node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// How that pool is balanced. Default: the node's, or `round_robin` where the node's is `weighted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
    /// A local node's type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub node_type: Option<String>,
    /// Its parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Value>,
    /// Answers given before to the same caller for the same input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// The text of the error that ends the hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A cache of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Most answers that are kept; the one used longest ago goes first.
    pub entries: u32,
    /// How long an answer may be given again.
    pub age: Span,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            entries: 1_000,
            age: Span::from_secs(600),
        }
    }
}

/// A tier after the first, as its one alternative.
#[derive(Clone, Debug, PartialEq)]
pub enum Tier<'a> {
    /// Another pool; absent fields are the node's.
    Pool {
        /// Its endpoints.
        endpoints: &'a [Endpoint],
        /// Its protocol.
        transport: Transport,
        /// The pipeline there; `None`: what the node opens.
        pipeline: Option<&'a str>,
        /// Its credentials.
        auth: Option<&'a Auth>,
        /// How it is balanced.
        balance: Balance,
    },
    /// A local node.
    Local {
        /// Its type.
        node_type: &'a str,
        /// Its parameters.
        params: &'a Map<String, Value>,
    },
    /// An earlier answer.
    Cache(Cache),
    /// An error of these words.
    Error(&'a str),
}

impl Fallback {
    /// Which of the alternatives it is, with what the node gives it. `None` if it is none; a checked node has no such.
    #[must_use]
    pub fn tier<'a>(&'a self, node: &'a RemoteParams) -> Option<Tier<'a>> {
        if let Some(node_type) = &self.node_type {
            let params = &self.params;
            return Some(Tier::Local { node_type, params });
        }
        if let Some(cache) = self.cache {
            return Some(Tier::Cache(cache));
        }
        if let Some(text) = &self.error {
            return Some(Tier::Error(text));
        }
        (!self.endpoints.is_empty()).then(|| Tier::Pool {
            endpoints: &self.endpoints,
            transport: self.transport(node),
            pipeline: self.pipeline.as_deref(),
            auth: self.auth.as_ref().or(node.auth.as_ref()),
            balance: self.balance(node),
        })
    }

    fn transport(&self, node: &RemoteParams) -> Transport {
        self.transport.unwrap_or_else(|| node.transport())
    }

    fn balance(&self, node: &RemoteParams) -> Balance {
        self.balance.unwrap_or(match node.balance {
            Balance::Weighted => Balance::RoundRobin,
            other => other,
        })
    }

    fn alternatives(&self) -> Vec<&'static str> {
        let all = [
            ("endpoints", !self.endpoints.is_empty()),
            ("type", self.node_type.is_some()),
            ("cache", self.cache.is_some()),
            ("error", self.error.is_some()),
        ];
        let given = all.into_iter().filter(|(_, given)| *given);
        given.map(|(name, _)| name).collect()
    }

    /// A key that means nothing beside the alternative.
    fn superfluous(&self, alternative: &str) -> Option<&'static str> {
        let of_pool = [
            ("transport", self.transport.is_some()),
            ("pipeline", self.pipeline.is_some()),
            ("auth", self.auth.is_some()),
            ("balance", self.balance.is_some()),
        ];
        let of_local = [("params", !self.params.is_empty())];
        let pool = of_pool.into_iter().filter(|_| alternative != "endpoints");
        let local = of_local.into_iter().filter(|_| alternative != "type");
        pool.chain(local)
            .find_map(|(name, given)| given.then_some(name))
    }
}

/// Checks the chain.
pub(super) fn check(node: &RemoteParams, problems: &mut Problems) {
    let chain = &node.fallback;
    if chain.len() > TIERS_MAX {
        let what = format!("{} fallbacks are listed", chain.len());
        problems.add("fallback", what, format!("keep it to {TIERS_MAX}"));
    }
    for (index, tier) in chain.iter().enumerate() {
        let path = format!("fallback[{index}]");
        match tier.alternatives().as_slice() {
            [] => {
                let what = "it is not said what to turn to";
                problems.add(path, what, "add 'endpoints', 'type', 'cache' or 'error'");
            }
            [one] => {
                if let Some(key) = tier.superfluous(one) {
                    let what = format!("'{key}' has no effect beside '{one}'");
                    problems.add(format!("{path}.{key}"), what, "remove it");
                }
                check_tier(node, tier, &path, problems);
                if *one == "error" && index + 1 < chain.len() {
                    let what = "what follows an error is never reached";
                    problems.add(path, what, "move it to the end");
                }
            }
            several => {
                let names: Vec<_> = several.iter().map(|name| format!("'{name}'")).collect();
                let what = format!("{} exclude each other", names.join(" and "));
                problems.add(path, what, "list one after the other, each in its own {…}");
            }
        }
    }
}

fn check_tier(node: &RemoteParams, tier: &Fallback, path: &str, problems: &mut Problems) {
    match tier.tier(node) {
        Some(Tier::Pool {
            endpoints,
            transport,
            auth,
            balance,
            ..
        }) => {
            let own = tier.auth.as_ref().map(|_| format!("{path}.auth"));
            let place = own.map_or(Cow::Borrowed("auth"), Cow::Owned);
            // The node's own credentials are told of once, at the node.
            let auth = auth.map(|auth| (place, auth));
            let auth = auth.filter(|(_, auth)| tier.auth.is_some() || auth.tls.is_some());
            check_pool(&format!("{path}."), endpoints, transport, balance, problems);
            if let Some((place, auth)) = auth {
                auth.check(&place, endpoints.iter().map(|e| e.url.as_str()), problems);
            }
            let pipeline = tier.pipeline.as_ref().or(node.pipeline.as_ref());
            super::checks::check_transport(path, transport, node.mode(), problems);
            let native = !node.protocol.is_foreign();
            if native && transport == Transport::Grpc && pipeline.is_none() && !node.has_manifest()
            {
                let what = "it is not said what to run there";
                problems.add(path, what, "add 'pipeline'");
            }
        }
        Some(Tier::Local {
            node_type: "remote",
            ..
        }) => {
            let what = "a fallback of type 'remote' is a pool";
            let mend = "write its 'endpoints' here, without 'type' and 'params'";
            problems.add(format!("{path}.type"), what, mend);
        }
        Some(Tier::Cache(cache)) => check_cache(node, cache, path, problems),
        Some(Tier::Error(text)) if text.trim().is_empty() => {
            let what = "the error has no text";
            problems.add(
                format!("{path}.error"),
                what,
                "say what the caller is to read",
            );
        }
        _ => {}
    }
}

fn check_cache(node: &RemoteParams, cache: Cache, path: &str, problems: &mut Problems) {
    if node.mode() != HopMode::Unary {
        let what = "an open stream has no answer that could be kept";
        let mend = "add 'mode: unary' to the node, or remove 'cache'";
        problems.add(format!("{path}.cache"), what, mend);
    }
    if cache.entries == 0 || cache.entries > CACHE_ENTRIES_MAX {
        let what = format!("a cache of {} entries is of no use", cache.entries);
        let mend = format!("write 1 to {CACHE_ENTRIES_MAX}, or remove 'cache'");
        problems.add(format!("{path}.cache.entries"), what, mend);
    }
    if cache.age.0.is_zero() {
        let what = "an age of 0 lets no answer be used again";
        problems.add(
            format!("{path}.cache.age"),
            what,
            "write one such as 10m, or remove 'cache'",
        );
    }
}
