//! What a remote hop is told: where the worker is, what runs there, how long to wait, and which ports are joined.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};
use tidegate_media::Timestamp;
use tidegate_nodes::StreamFormat;
use tidegate_nodes::compile::remote::{HopMode, Protocol};
use tidegate_nodes::plan::PlanHop;
use tidegate_proto::message::Mode;

use crate::auth::Auth;
use crate::memory::Memory;
use crate::trace::TraceContext;
use crate::transport::Transport;

/// How deep remote hops may nest: a session passes through at most so many gateways beside its own. A pipeline that needs more
/// refers to itself, or nobody knows any more what it does.
pub const HOP_COUNT_MAX: u32 = 10;

/// One remote hop, as its manifest declares it with all references resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteConfig {
    /// Addresses as configured, `http://host:port` or `https://host:port`, in the order in which they are tried.
    pub endpoints: Vec<String>,
    /// How they are spoken to.
    pub transport: Transport,
    /// One stream for the whole session, or a call for each utterance.
    pub mode: HopMode,
    /// What runs there.
    pub target: Target,
    /// Values for the parameters of what runs there.
    pub parameters: Map<String, Value>,
    /// Longest waits.
    pub timeouts: Timeouts,
    /// How the hop proves who asks.
    pub auth: Auth,
    /// What is spoken there, if it is not Tidegate's own protocol.
    pub foreign: Option<Foreign>,
}

/// A protocol of servers that know nothing of Tidegate, as one session speaks it. The model is the [`Target`], its parameters are
/// [`RemoteConfig::parameters`].
#[derive(Clone, Debug, PartialEq)]
pub struct Foreign {
    /// Which.
    pub protocol: Protocol,
    /// How it is spoken.
    pub options: Map<String, Value>,
    /// What was said so far, for those that are told of it with each call. Clones share it: it outlives a stream that breaks.
    pub memory: Memory,
}

/// What runs at the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A pipeline that it has, by name.
    Pipeline(String),
    /// A manifest's text, YAML or JSON.
    Manifest(String),
    /// Whatever the endpoint's own path leads to: a worker that is one thing only.
    Endpoint,
}

/// Longest waits for a worker; `None`: as long as the session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until one endpoint's connection stands and the pipeline is open there.
    pub connect: Duration,
    /// From input to the first output of the hop or of the utterance, while nothing is acknowledged.
    pub first_output: Option<Duration>,
    /// Between two outputs, or an output and later input, while input is unanswered.
    pub gap: Option<Duration>,
    /// The whole life of the hop.
    pub call: Option<Duration>,
}

impl Timeouts {
    /// Long enough for a lost SYN and its repetition (1 s, RFC 6298 §2) over a slow path, short enough for a caller who waits.
    pub const CONNECT: Duration = Duration::from_secs(5);
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Self::CONNECT,
            first_output: None,
            gap: None,
            call: None,
        }
    }
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

/// What the session that opens a hop passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenContext<'a> {
    /// Now, on the driver's clock.
    pub now: Timestamp,
    /// Gateways before this one, as the session's own client said.
    pub hop_count: u32,
    /// Whether the session's client can be told to wait.
    pub mode: Mode,
    /// When the session ends at the latest.
    pub deadline: Option<Timestamp>,
    /// The trace that the hop belongs to, and its span there.
    pub trace: Option<&'a TraceContext>,
}

/// Ports of a hop in the graph's numbering. The format is what flows there, or `None` if nothing is joined to the port. An empty
/// name means the only port that the worker has on that side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HopPorts {
    /// The hop's id, for errors.
    pub hop: String,
    /// Towards the worker.
    pub inputs: Vec<(String, Option<StreamFormat>)>,
    /// From the worker.
    pub outputs: Vec<(String, Option<StreamFormat>)>,
}

impl From<&PlanHop> for HopPorts {
    fn from(hop: &PlanHop) -> Self {
        let side = |ports: &[tidegate_nodes::plan::PlanPort]| {
            let one = |port: &tidegate_nodes::plan::PlanPort| (port.name.clone(), port.format);
            ports.iter().map(one).collect()
        };
        Self {
            hop: hop.id.clone(),
            inputs: side(&hop.inputs),
            outputs: side(&hop.outputs),
        }
    }
}
