//! Parameters of a `remote` node, typed in full.
//!
//! The compiler checks them, and whoever runs the hop reads the same struct from [`PlanHop::params`]. Defaults are written once:
//! here. A parameter that would have no effect beside another is an error, never ignored.
//!
//! | file | has |
//! | --- | --- |
//! | `address` | endpoints and the schemes that each transport takes |
//! | `auth` | credentials |
//! | `fallback` | what comes after the endpoints |
//! | `policy` | waits, retries, breakers, health checks, replay |
//! | `protocol` | what workers speak, and what follows from it |
//! | `options` | how a foreign protocol is spoken |
//! | `ports` | declared ports |
//! | `checks` | what goes together, and what does not |
//!
//! [`PlanHop::params`]: crate::plan::PlanHop::params

mod address;
mod auth;
mod checks;
mod fallback;
mod options;
mod policy;
mod ports;
mod protocol;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::address::Endpoint;
pub use self::auth::{Auth, AuthHeader, AuthTls};
pub use self::fallback::{Cache, Fallback, Tier};
pub use self::options::{
    ChatOptions, KserveDialect, KserveOptions, NoOptions, TranscriptionOptions, WebsocketSttOptions,
};
pub use self::policy::{
    Balance, Breaker, Empty, Health, HealthChecks, HopMode, Partial, Replay, Retry, Timeout,
    Timeouts, Waits,
};
pub use self::ports::RemotePort;
pub use self::protocol::Protocol;
use crate::manifest::units::Span;
use crate::registry::ParamError;

/// Parameters of a node of type `remote`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteParams {
    /// What the workers speak: Tidegate's own protocol, or that of a server which knows nothing of it.
    #[serde(default, skip_serializing_if = "is_native")]
    pub protocol: Protocol,
    /// How a foreign protocol is spoken.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
    /// What carries the protocol. Default: `grpc`; a foreign protocol has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// `stream`: one open stream for the whole session. `unary`: a call of its own for each utterance. Default: `stream`; with
    /// `transport: http` of Tidegate's own protocol, which has no open streams, `unary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<HopMode>,
    /// Where the workers are: `http://host:port` or `https://host:port`, or `{url, weight}`. A name with several addresses counts
    /// as several endpoints.
    pub endpoints: Vec<Endpoint>,
    /// The pipeline to open there, by its name; of a foreign server, the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// The pipeline to open there, given in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Map<String, Value>>,
    /// The pipeline to open there, to be fetched from here by the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_url: Option<String>,
    /// SHA-256 of what `manifest_url` must give, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_sha256: Option<String>,
    /// Parameters for the pipeline, or the model, there.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// Input ports, if they are not to be asked of the worker or inferred from the edges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Vec<RemotePort>>,
    /// Output ports, if they are not to be asked of the worker or inferred from the edges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Vec<RemotePort>>,
    /// Which endpoint the next stream or call goes to.
    #[serde(default)]
    pub balance: Balance,
    /// How long to wait: one time for each wait, or one for each by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,
    /// What to try again, and how often.
    #[serde(default)]
    pub retry: Retry,
    /// When an endpoint that fails is left alone.
    #[serde(default)]
    pub breaker: Breaker,
    /// Active checks of the endpoints, or `off`.
    #[serde(default)]
    pub health: Health,
    /// How often the names among the endpoints are asked for their addresses again. Default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve: Option<Span>,
    /// What to turn to, in this order, when no endpoint can be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<Fallback>,
    /// How to prove who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Whether the pipeline there gives the same outputs for the same inputs. Default: what the worker says, else false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deterministic: Option<bool>,
    /// What becomes of an utterance that was half answered when its stream broke. Default: `hold` where the hop gives audio,
    /// else `supersede`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<Partial>,
    /// What is kept to be sent again when a stream breaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
}

/// What carries the exchange with a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// The native stream over gRPC.
    #[default]
    Grpc,
    /// HTTP: a POST for each utterance, whose answer is read as it comes.
    Http,
    /// The native stream over WebSocket.
    Websocket,
    /// WebRTC: audio and encoded video as media, all other kinds on a data channel.
    Webrtc,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_native(protocol: &Protocol) -> bool {
    !protocol.is_foreign()
}

impl Transport {
    /// The name that manifests use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Websocket => "websocket",
            Self::Webrtc => "webrtc",
        }
    }
}

impl RemoteParams {
    /// Reads and checks parameters whose references are resolved.
    ///
    /// # Errors
    /// Everything that is wrong, each with the parameter's path; one finding only where the form is wrong.
    pub fn read(params: &Value) -> Result<Self, Vec<ParamError>> {
        let read: Self = serde_path_to_error::deserialize(params).map_err(|error| {
            let path = error.path().to_string();
            let path = if path == "." { String::new() } else { path };
            vec![ParamError::new(path, error.into_inner().to_string())]
        })?;
        let problems = checks::problems(&read);
        if problems.is_empty() {
            Ok(read)
        } else {
            Err(problems)
        }
    }

    /// One stream for the session, or a call for each utterance.
    #[must_use]
    pub fn mode(&self) -> HopMode {
        let usual = || self.protocol.mode(self.transport());
        self.mode.unwrap_or_else(usual)
    }

    /// What carries the protocol.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport.unwrap_or_else(|| self.protocol.transport())
    }

    /// With the ports that its protocol has, where none are declared.
    #[must_use]
    pub fn with_ports_of_protocol(mut self) -> Self {
        if let Some([input, output]) = self.protocol.ports() {
            self.inputs.get_or_insert_with(|| vec![input]);
            self.outputs.get_or_insert_with(|| vec![output]);
        }
        self
    }

    /// The waits with their defaults; one time for all is the time of each.
    #[must_use]
    pub fn waits(&self) -> Waits {
        Waits::of(self.timeout)
    }

    /// How often names are asked for their addresses again: often enough that a worker that has moved is found before people ask
    /// why, and seldom enough that a resolver does not notice.
    #[must_use]
    pub fn resolves(&self) -> Duration {
        self.resolve.map_or(Duration::from_secs(30), |span| span.0)
    }

    /// Whether the pipeline is given, not named.
    #[must_use]
    pub const fn has_manifest(&self) -> bool {
        self.manifest.is_some() || self.manifest_url.is_some()
    }

    /// Whether the hop or one of those that it falls back to uses a transport.
    #[must_use]
    pub fn may_use(&self, transport: Transport) -> bool {
        let mut tiers = self.fallback.iter();
        self.transport() == transport || tiers.any(|tier| tier.transport == Some(transport))
    }

    /// Parameters whose value is a file of the gateway's: path of each.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        let tiers = self.fallback.iter().enumerate();
        let tiers = tiers.map(|(index, tier)| (format!("fallback[{index}].auth"), &tier.auth));
        std::iter::once(("auth".to_owned(), &self.auth))
            .chain(tiers)
            .flat_map(|(path, auth)| {
                let files = auth.iter().flat_map(Auth::files);
                files.map(move |file| format!("{path}.{file}"))
            })
            .collect()
    }

    /// All endpoints, those of the fallback's pools included, each with its path.
    pub fn all_endpoints(&self) -> impl Iterator<Item = (String, &Endpoint)> {
        let own = (String::new(), self.endpoints.as_slice());
        let tiers = self.fallback.iter().enumerate();
        let tiers =
            tiers.map(|(index, tier)| (format!("fallback[{index}]."), tier.endpoints.as_slice()));
        std::iter::once(own)
            .chain(tiers)
            .flat_map(|(prefix, list)| {
                let place =
                    move |(index, endpoint)| (format!("{prefix}endpoints[{index}]"), endpoint);
                list.iter().enumerate().map(place)
            })
    }
}
