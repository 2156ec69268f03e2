//! Parameters of a `remote` node, typed in full.
//!
//! The compiler checks them, and whoever runs the hop reads the same struct from [`PlanHop::params`]. What is typed here but
//! not served by this version is named by [`RemoteParams::unsupported`]; it is refused, never ignored.
//!
//! [`PlanHop::params`]: crate::plan::PlanHop::params

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use tidegate_media::Kind;

use crate::manifest::formats;
use crate::manifest::read::is_id;
use crate::manifest::units::Span;
use crate::registry::ParamError;
use crate::stream::StreamFormat;

/// Most endpoints of a pool.
const ENDPOINTS_MAX: usize = 64;
/// Longest endpoint, in bytes.
const ENDPOINT_BYTES_MAX: usize = 2_048;
/// Most ports on one side.
const PORTS_MAX: usize = 64;

/// Parameters of a node of type `remote`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteParams {
    /// The protocol that the worker speaks.
    #[serde(default)]
    pub transport: Transport,
    /// Where the worker is: `http://host:port` or `https://host:port`. The first that opens serves the session.
    pub endpoints: Vec<String>,
    /// The pipeline to open there, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// The pipeline to open there, given in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Map<String, Value>>,
    /// The pipeline to open there, to be fetched from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_url: Option<String>,
    /// How long to wait: one time for each wait, or one for each by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,
    /// Input ports, if they are not to be inferred from the edges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Vec<RemotePort>>,
    /// Output ports, if they are not to be inferred from the edges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Vec<RemotePort>>,
    /// How to prove who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Parameters for the pipeline there.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// What to try again, and how often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// What to turn to, in this order, when every endpoint has failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<Fallback>,
}

/// The protocol that a worker speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// The native stream over gRPC.
    #[default]
    Grpc,
    /// HTTP calls.
    Http,
    /// The native stream over WebSocket.
    Websocket,
    /// WebRTC.
    Webrtc,
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

/// Longest waits for a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Timeout {
    /// The same for each wait.
    All(Span),
    /// Each by its name.
    Each(Timeouts),
}

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Timeout;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as 30s, or {connect, first_output, gap, call}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timeout, E> {
                Span::deserialize(text.into_deserializer()).map(Timeout::All)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Timeout, A::Error> {
                Timeouts::deserialize(de::value::MapAccessDeserializer::new(map)).map(Timeout::Each)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Longest waits by name; what is absent has the gateway's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// Until the connection stands and the pipeline is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Span>,
    /// From an utterance's input to its first output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_output: Option<Span>,
    /// Between two outputs while input is unanswered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Span>,
    /// The whole call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Span>,
}

impl RemoteParams {
    /// The waits by name: one time for all is the time of each.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        match self.timeout {
            None => Timeouts::default(),
            Some(Timeout::Each(each)) => each,
            Some(Timeout::All(all)) => Timeouts {
                connect: Some(all),
                first_output: Some(all),
                gap: Some(all),
                call: None,
            },
        }
    }
}

/// A declared port of a remote hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemotePort {
    /// Its name at the worker.
    pub name: String,
    /// Its kind.
    #[schemars(with = "KindName")]
    pub kind: Kind,
    /// Its format, as `codec/rate/channels` for audio or the codec for video.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

impl RemotePort {
    /// The declared format.
    ///
    /// # Errors
    /// It is malformed, or the kind has none.
    pub fn stream_format(&self) -> Result<Option<StreamFormat>, ParamError> {
        self.format
            .as_deref()
            .map(|text| formats::parse(text, self.kind))
            .transpose()
            .map_err(|(message, mend)| ParamError::new("format", format!("{message}: {mend}")))
    }
}

/// The kinds' names, for the schema.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its schema is used")]
enum KindName {
    Audio,
    Video,
    Text,
    Binary,
    Tensor,
    Json,
}

/// How to prove who asks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Sent as `Authorization: Bearer …`.
    pub bearer: String,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth { bearer: <hidden> }")
    }
}

/// What to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, the first one included.
    pub attempts: u32,
    /// Wait before the second attempt; doubled before each later one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Span>,
}

/// What to turn to when every endpoint has failed: another pool, or a local node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// Another pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// A local node's type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub node_type: Option<String>,
    /// Its parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Value>,
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
        let problems = read.problems();
        if problems.is_empty() {
            Ok(read)
        } else {
            Err(problems)
        }
    }

    fn problems(&self) -> Vec<ParamError> {
        let mut problems = Vec::new();
        if self.endpoints.is_empty() || self.endpoints.len() > ENDPOINTS_MAX {
            let message = format!(
                "{} endpoints are listed: list 1 to {ENDPOINTS_MAX}",
                self.endpoints.len()
            );
            problems.push(ParamError::new("endpoints", message));
        }
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            if let Err(message) = check_endpoint(endpoint) {
                problems.push(ParamError::new(format!("endpoints[{index}]"), message));
            }
        }
        let named = [
            self.pipeline.is_some(),
            self.manifest.is_some(),
            self.manifest_url.is_some(),
        ];
        match named.into_iter().filter(|named| *named).count() {
            1 => {}
            0 if self.transport != Transport::Grpc => {}
            0 => problems.push(ParamError::new(
                "",
                "it is not said what to run there: add 'pipeline', 'manifest' or 'manifest_url'",
            )),
            _ => problems.push(ParamError::new(
                "",
                "'pipeline', 'manifest' and 'manifest_url' exclude each other: keep one",
            )),
        }
        check_ports("inputs", self.inputs.as_deref(), &mut problems);
        check_ports("outputs", self.outputs.as_deref(), &mut problems);
        if self
            .auth
            .as_ref()
            .is_some_and(|auth| auth.bearer.is_empty())
        {
            problems.push(ParamError::new(
                "auth.bearer",
                "the token is empty: give one",
            ));
        }
        problems
    }

    /// What is written but not served by this version: path and name of each.
    #[must_use]
    pub fn unsupported(&self) -> Vec<(&'static str, Cow<'static, str>)> {
        let mut found = Vec::new();
        if self.transport != Transport::Grpc {
            let name = format!("transport '{}'", self.transport.as_str());
            found.push(("transport", name.into()));
        }
        if self.manifest_url.is_some() {
            found.push(("manifest_url", "'manifest_url'".into()));
        }
        if self.retry.is_some() {
            found.push(("retry", "'retry'".into()));
        }
        if !self.fallback.is_empty() {
            found.push(("fallback", "'fallback'".into()));
        }
        found
    }
}

fn check_endpoint(endpoint: &str) -> Result<(), String> {
    let shown = crate::manifest::diagnostic::shown(endpoint);
    let host = endpoint
        .strip_prefix("http://")
        .or_else(|| endpoint.strip_prefix("https://"));
    let Some(host) = host else {
        return Err(format!(
            "endpoint '{shown}' has no scheme: write http://host:port or https://host:port"
        ));
    };
    let authority = host.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err(
            "an endpoint holds credentials: move them to 'auth', which is kept secret".to_owned(),
        );
    }
    let bad = authority.is_empty()
        || authority.starts_with(':')
        || endpoint.len() > ENDPOINT_BYTES_MAX
        || endpoint
            .chars()
            .any(|c| c.is_whitespace() || c.is_control());
    if bad {
        return Err(format!(
            "endpoint '{shown}' names no host: write http://host:port or https://host:port"
        ));
    }
    Ok(())
}

fn check_ports(side: &str, ports: Option<&[RemotePort]>, problems: &mut Vec<ParamError>) {
    let ports = ports.unwrap_or_default();
    if ports.len() > PORTS_MAX {
        let message = format!("{} ports are declared: keep it to {PORTS_MAX}", ports.len());
        problems.push(ParamError::new(side, message));
    }
    for (index, port) in ports.iter().enumerate() {
        if !is_id(&port.name) {
            problems.push(ParamError::new(
                format!("{side}[{index}].name"),
                format!(
                    "'{}' is not usable as a port's name: start with a to z, go on with a to z, 0 to 9, _ or -",
                    crate::manifest::diagnostic::shown(&port.name)
                ),
            ));
        }
        if ports[..index].iter().any(|other| other.name == port.name) {
            problems.push(ParamError::new(
                format!("{side}[{index}].name"),
                format!("port '{}' is declared twice: rename one", port.name),
            ));
        }
        if let Err(error) = port.stream_format() {
            problems.push(ParamError::new(
                format!("{side}[{index}].format"),
                error.message,
            ));
        }
    }
}
