//! How a hop waits, retries, trips, checks and replays. Every default stands here, once.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::{self, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::manifest::units::{Size, Span};

/// One stream for the session, or a call for each utterance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HopMode {
    /// One open stream for the whole session.
    #[default]
    Stream,
    /// A call for each utterance, or for each frame where there are none; the endpoint is chosen anew each time.
    Unary,
}

/// Which endpoint the next stream or call goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest streams and calls open from here, per `weight`.
    LeastConnections,
    /// The better of two chosen at random, by measured latency and load.
    P2cEwma,
    /// In proportion to the endpoints' `weight`, exactly.
    Weighted,
    /// The one with the shortest measured round trip; those within a tenth of it in turn.
    Nearest,
}

impl Balance {
    /// The name that manifests use.
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
}

/// Longest waits for a worker, as written.
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

/// Longest waits by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// Until the connection stands and the pipeline is open. Default 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Span>,
    /// From an utterance's first input to its first output, while nothing is acknowledged. Default: no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_output: Option<Span>,
    /// Between two outputs, counted only while input is unacknowledged. Default: no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Span>,
    /// The whole call: of a unary call from its start to its end, in a stream from an utterance's last input to its final output.
    /// Default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Span>,
}

/// Longest waits with their defaults; `None`: no limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// Until the connection stands and the pipeline is open.
    pub connect: Duration,
    /// From an utterance's first input to its first output.
    pub first_output: Option<Duration>,
    /// Between two outputs while input is unacknowledged.
    pub gap: Option<Duration>,
    /// The whole call.
    pub call: Duration,
}

impl Waits {
    /// Long enough for a lost SYN and its repetition (1 s, RFC 6298 §2) over a slow path, short enough for a caller who waits.
    pub const CONNECT: Duration = Duration::from_secs(5);
    /// What a caller waits at the very most for an answer.
    pub const CALL: Duration = Duration::from_secs(30);

    pub(super) fn of(written: Option<Timeout>) -> Self {
        let each = match written {
            None => Timeouts::default(),
            Some(Timeout::Each(each)) => each,
            Some(Timeout::All(all)) => Timeouts {
                connect: Some(all),
                first_output: Some(all),
                gap: Some(all),
                call: Some(all),
            },
        };
        Self {
            connect: each.connect.map_or(Self::CONNECT, |span| span.0),
            first_output: each.first_output.map(|span| span.0),
            gap: each.gap.map(|span| span.0),
            call: each.call.map_or(Self::CALL, |span| span.0),
        }
    }
}

/// What to try again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Attempts in all, the first one included; 1 means that nothing is tried again.
    pub attempts: u32,
    /// Wait before an endpoint is tried a second time; doubled before each later one, with jitter. An endpoint not yet tried is
    /// tried at once.
    pub backoff: Span,
    /// The wait is never longer than this.
    pub backoff_max: Span,
    /// Retries for each request that the pool serves, on top of ten a second: what keeps retries from becoming the outage.
    pub budget: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 4,
            backoff: Span::from_secs(1),
            backoff_max: Span::from_secs(30),
            budget: 0.2,
        }
    }
}

/// When an endpoint that fails is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Opens after this many failures in a row.
    pub failures: u32,
    /// Opens when less than this share of the window's attempts succeeded, 0 to 1.
    pub success: f64,
    /// Attempts that the share is taken over; before there are so many, only failures in a row count.
    pub window: u32,
    /// How long it stays open before one request is let through; doubled each time that request fails.
    pub open: Span,
    /// It never stays open longer than this.
    pub open_max: Span,
    /// What a success without any output says of an endpoint.
    pub empty: Empty,
}

/// What a success without any output says of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Empty {
    /// A failure if the other endpoints hardly ever do so, else nothing.
    #[default]
    Compare,
    /// Nothing bad: some pipelines rightly have nothing to say.
    Ignore,
    /// A failure, which is tried again elsewhere: there is always something to say.
    Fail,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 5,
            success: 0.6,
            window: 20,
            open: Span::from_secs(1),
            open_max: Span::from_secs(60),
            empty: Empty::default(),
        }
    }
}

/// Active checks, or `off`.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "HealthForm")]
pub enum Health {
    /// None: only the outcomes of streams and calls count.
    Off,
    /// These.
    On(HealthChecks),
}

/// Active checks of each endpoint while the pool is in use: `grpc.health.v1` for gRPC, an HTTP path else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthChecks {
    /// Time from one check to the next.
    pub interval: Span,
    /// A check that takes longer has failed.
    pub timeout: Span,
    /// The path to get, of transports other than gRPC; any 2xx is well. Default `/readyz`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl Default for HealthChecks {
    fn default() -> Self {
        Self {
            interval: Span::from_secs(5),
            timeout: Span::from_secs(1),
            path: None,
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::On(HealthChecks::default())
    }
}

/// The written form.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum HealthForm {
    /// No active checks.
    Off(OffForm),
    /// Active checks.
    On(HealthChecks),
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its schema is used")]
enum OffForm {
    Off,
}

impl Serialize for Health {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::On(checks) => checks.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Health {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Health;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("{interval, timeout, path}, or off")
            }

            /// YAML 1.1 takes `off` for false.
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Health, E> {
                match on {
                    true => Ok(Health::default()),
                    false => Ok(Health::Off),
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Health, E> {
                match text {
                    "off" => Ok(Health::Off),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Health, A::Error> {
                HealthChecks::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(Health::On)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What becomes of an utterance that was half answered when its stream broke, where the worker is not deterministic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Partial {
    /// It is answered again, with higher revisions that replace what was given.
    #[default]
    Supersede,
    /// Nothing of an utterance is given before its final output, so that nothing has to be taken back.
    Hold,
}

/// What is kept to be sent again. More than this is not waited for from clients that cannot wait: it is then a gap, which is
/// counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Replay {
    /// Most frames.
    pub frames: u32,
    /// Most payload bytes.
    pub bytes: Size,
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            frames: 1_024,
            bytes: Size(8 << 20),
        }
    }
}
