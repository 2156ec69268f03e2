//! Settings that say which spans are made, and where they go.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where spans go. Each setting has the standard's variable too.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tracing {
    /// A collector that takes OTLP; empty: no spans are made.
    pub(crate) endpoint: String,
    /// How they are sent to it.
    pub(crate) protocol: OtlpProtocol,
    /// PEM file with the authorities of its certificate; empty: the system's.
    pub(crate) ca: PathBuf,
    /// Which traces are recorded.
    pub(crate) sampler: SamplerName,
    /// Share of traces, for the samplers that go by one: 0 to 1.
    pub(crate) ratio: f64,
    /// What the gateway is called in traces.
    pub(crate) service: String,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            protocol: OtlpProtocol::default(),
            ca: PathBuf::new(),
            sampler: SamplerName::default(),
            ratio: 1.0,
            service: "tidegate".to_owned(),
        }
    }
}

/// How spans are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OtlpProtocol {
    #[default]
    #[serde(rename = "grpc")]
    Grpc,
    #[serde(rename = "http/protobuf")]
    Http,
}

/// Which traces are recorded, by the names that OpenTelemetry has for it. Those that begin with `parentbased_` decide of traces that
/// begin here; whoever brings one has decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SamplerName {
    AlwaysOn,
    AlwaysOff,
    Traceidratio,
    ParentbasedAlwaysOn,
    ParentbasedAlwaysOff,
    #[default]
    ParentbasedTraceidratio,
}
