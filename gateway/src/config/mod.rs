//! Settings: what can be set, the defaults, and what they must be to be safe.
//!
//! Where a value came from is [`layers`]'s affair. Every limit has its reason beside it.

mod auth;
pub(crate) mod layers;
mod standard;
mod traces;
mod units;
mod wrong;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

pub(crate) use auth::{Auth, CertificateConfig, ClientKeys, Jwt, KeyLimits, TokenConfig, Twilio};
pub(crate) use traces::{OtlpProtocol, SamplerName, Tracing};
pub(crate) use units::{Bytes, Span, address};

/// The environment. A value that is not text stays set, if to something else: a token must not count as none.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
    std::env::vars_os()
        .filter_map(move |(name, value)| Some((name.into_string().ok()?, text(value))))
}

/// What is logged: what the operator says, after what is silent unless they name it. A file that a client sent and that is none is
/// the client's error, which it is told; the library that read it calls it an error of its own.
///
/// # Errors
/// It is no filter.
pub(crate) fn log_filter(filter: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(format!("symphonia=off,{filter}"))
}

/// All settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Where HTTP, WebSocket and gRPC are served.
    pub(crate) listen: SocketAddr,
    /// Where all WebRTC media is received; port 0 lets the system choose.
    pub(crate) media: SocketAddr,
    /// Folder of pipelines, beside those that ship; empty: none.
    pub(crate) pipelines: PathBuf,
    /// Serve a non-loopback address without TLS and authentication.
    pub(crate) insecure: bool,
    /// Transport security.
    pub(crate) tls: Tls,
    /// Who may come in.
    pub(crate) auth: Auth,
    /// Origins of pages, besides the gateway's own, that may use it, such as `https://app.example`.
    pub(crate) origins: Vec<String>,
    /// Names, besides addresses and `localhost`, under which the gateway may be addressed (`Host`).
    pub(crate) hosts: Vec<String>,
    /// WebRTC.
    pub(crate) webrtc: Webrtc,
    /// The Wyoming server.
    pub(crate) wyoming: Wyoming,
    /// Bounds.
    pub(crate) limits: Limits,
    /// Folder that `tap` nodes record to; empty: none may.
    pub(crate) recordings: PathBuf,
    /// Endpoints that a client's own manifest may name in remote hops.
    pub(crate) inline_endpoints: Vec<String>,
    /// Hosts, with or without a port, that manifests may be fetched from although they are at private addresses.
    pub(crate) manifest_hosts: Vec<String>,
    /// Whether clients may send manifests of their own.
    pub(crate) inline: bool,
    /// Logging.
    pub(crate) log: Log,
    /// Where spans go.
    pub(crate) tracing: Tracing,
}

/// Transport security.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    /// PEM file with the certificate chain.
    pub(crate) certificate: PathBuf,
    /// PEM file with the private key.
    pub(crate) key: PathBuf,
    /// PEM file with the authorities of clients' certificates; empty: no client is asked for one.
    pub(crate) client_ca: PathBuf,
    /// PEM file with the authorities' lists of certificates that were taken back; empty: none is looked for.
    pub(crate) client_crl: PathBuf,
    /// Whether clients must have one.
    pub(crate) clients: ClientCertificates,
}

/// Whether a client must show a certificate of `client_ca`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientCertificates {
    #[default]
    Required,
    Optional,
}

/// WebRTC.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Webrtc {
    /// Addresses that clients are told to send media to, where they differ from `media` (NAT, `0.0.0.0`).
    pub(crate) advertise: Vec<SocketAddr>,
    /// Servers that clients are told of.
    pub(crate) ice_servers: Vec<IceServerConfig>,
}

/// The Wyoming server, whose protocol has no credentials.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Wyoming {
    /// Where it listens; null: nowhere.
    pub(crate) listen: Option<SocketAddr>,
    /// Pipelines that whoever reaches it may use: names, or beginnings with a `*` behind.
    pub(crate) pipelines: Vec<String>,
}

impl Default for Wyoming {
    fn default() -> Self {
        Self {
            listen: None,
            pipelines: vec!["*".to_owned()],
        }
    }
}

/// A STUN or TURN server for clients.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IceServerConfig {
    /// `stun:` or `turn:` addresses.
    pub(crate) urls: Vec<String>,
    /// One name for everybody.
    pub(crate) username: String,
    /// One password for everybody.
    pub(crate) credential: String,
    /// Or a secret shared with the server, of which each client gets short-lived credentials.
    pub(crate) shared_secret: String,
    /// How long those last.
    pub(crate) lifetime: Span,
}

/// Bounds of what strangers may use.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Sessions at a time.
    pub(crate) sessions: usize,
    /// Clients of one shared session.
    pub(crate) clients: usize,
    /// Largest message or request body.
    pub(crate) message: Bytes,
    /// Largest request body of `execute`.
    pub(crate) body: Bytes,
    /// Longest life of a session; 0: none.
    pub(crate) session: Span,
    /// Longest silence of a session; 0: none.
    pub(crate) idle: Span,
    /// How long a client may take nothing although something waits for it.
    pub(crate) stalled: Span,
    /// How long a shared session without clients waits for the next.
    pub(crate) vacant: Span,
    /// Time from connecting to a complete request head, and from a stream's start to its `open`.
    pub(crate) open: Span,
    /// How long running sessions may go on after SIGTERM.
    pub(crate) grace: Span,
    /// TCP connections at a time.
    pub(crate) connections: usize,
}

/// Logging.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// What is logged: a level, or `target=level` pairs separated by commas.
    pub(crate) filter: String,
    /// `text` or `json`.
    pub(crate) format: LogFormat,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            media: SocketAddr::from(([127, 0, 0, 1], 0)),
            pipelines: PathBuf::new(),
            insecure: false,
            tls: Tls::default(),
            auth: Auth::default(),
            origins: Vec::new(),
            hosts: Vec::new(),
            webrtc: Webrtc::default(),
            wyoming: Wyoming::default(),
            limits: Limits::default(),
            recordings: PathBuf::new(),
            inline_endpoints: Vec::new(),
            manifest_hosts: Vec::new(),
            inline: false,
            log: Log::default(),
            tracing: Tracing::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = |secs| Span(Duration::from_secs(secs));
        Self {
            // At 400 KiB each half a gigabyte, and a core's worth of decoding voices times ten.
            sessions: 1000,
            // A large meeting; each listener may cost an encoder.
            clients: 100,
            // A second of 4K float audio or a batch of log-mel windows fits four times.
            message: Bytes(4 << 20),
            // An hour of Opus, or three minutes of CD audio.
            body: Bytes(32 << 20),
            session: seconds(0),
            idle: seconds(300),
            stalled: seconds(30),
            vacant: seconds(15),
            open: seconds(10),
            grace: seconds(30),
            connections: 4096,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// Settings that may not be together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UnsafeConfig {
    #[error(
        "listen address {0} can be reached from other machines: set tls.certificate, tls.key and auth.token, auth.tokens or auth.jwt (or tls.client_ca), or say --insecure"
    )]
    Exposed(SocketAddr),
    #[error(
        "wyoming.listen address {0} can be reached from other machines, and the protocol has no credentials: listen on loopback, or say --insecure"
    )]
    ExposedWyoming(SocketAddr),
    #[error(
        "wyoming.pipelines has '{0}', which names none: write a name, or a beginning with '*' behind it"
    )]
    WyomingPipeline(String),
    #[error("tls.certificate and tls.key go together: set both or neither")]
    HalfTls,
    #[error("tls.client_ca is of no use without tls.certificate and tls.key: set them too")]
    NoTls,
    #[error("tls.client_crl is of no use without tls.client_ca: set it too")]
    NoOneToRevoke,
    #[error("auth.certificates names certificates that nobody is asked for: set tls.client_ca")]
    NoAuthorities,
    #[error("limits.{0} must be above zero")]
    Zero(&'static str),
    #[error("{0}")]
    Token(String),
}

impl Config {
    /// Whether TLS is on.
    pub(crate) fn has_tls(&self) -> bool {
        !self.tls.certificate.as_os_str().is_empty()
    }

    /// What no single value shows: combinations that would be unsafe or cannot work.
    pub(crate) fn problems(&self) -> Vec<UnsafeConfig> {
        let mut problems = Vec::new();
        if self.has_tls() == self.tls.key.as_os_str().is_empty() {
            problems.push(UnsafeConfig::HalfTls);
        }
        let asked = !self.tls.client_ca.as_os_str().is_empty();
        let known = asked && self.tls.clients == ClientCertificates::Required;
        let guarded = self.has_tls() && (self.auth.is_on() || known);
        if asked && !self.has_tls() {
            problems.push(UnsafeConfig::NoTls);
        }
        if !asked && !self.tls.client_crl.as_os_str().is_empty() {
            problems.push(UnsafeConfig::NoOneToRevoke);
        }
        if !asked && !self.auth.certificates.is_empty() {
            problems.push(UnsafeConfig::NoAuthorities);
        }
        if !self.listen.ip().is_loopback() && !guarded && !self.insecure {
            problems.push(UnsafeConfig::Exposed(self.listen));
        }
        let wyoming = &self.wyoming;
        let exposed = wyoming.listen.filter(|at| !at.ip().is_loopback());
        if let Some(address) = exposed.filter(|_| !self.insecure) {
            problems.push(UnsafeConfig::ExposedWyoming(address));
        }
        let named = wyoming.pipelines.iter();
        let no_names = named.filter(|pattern| !crate::auth::is_pattern(pattern));
        problems.extend(no_names.cloned().map(UnsafeConfig::WyomingPipeline));
        problems.extend(
            crate::auth::wrong(&self.auth)
                .into_iter()
                .map(UnsafeConfig::Token),
        );
        let limits = &self.limits;
        let positive = [
            ("sessions", limits.sessions > 0),
            ("clients", limits.clients > 0),
            ("connections", limits.connections > 0),
            ("message", limits.message.0 > 0),
            ("body", limits.body.0 > 0),
            ("stalled", !limits.stalled.0.is_zero()),
            ("open", !limits.open.0.is_zero()),
        ];
        let zero = positive.iter().filter(|(_, ok)| !ok);
        problems.extend(zero.map(|(name, _)| UnsafeConfig::Zero(name)));
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_safe() {
        assert!(Config::default().problems().is_empty());
    }

    #[test]
    fn wyoming_listens_nowhere_by_default_and_on_loopback_unless_insecure_is_said() {
        let mut config = Config::default();
        assert_eq!(config.wyoming.listen, None);
        config.wyoming.listen = Some(SocketAddr::from(([0, 0, 0, 0], 10_300)));
        let problems = config.problems();
        assert!(matches!(problems[..], [UnsafeConfig::ExposedWyoming(_)]));
        config.insecure = true;
        assert!(config.problems().is_empty(), "said so");
    }

    #[test]
    fn an_address_for_all_needs_tls_and_a_token_or_the_word_insecure() {
        let mut config = Config {
            listen: "0.0.0.0:8080".parse().expect("address"),
            ..Config::default()
        };
        assert!(matches!(config.problems()[..], [UnsafeConfig::Exposed(_)]));
        config.auth.token = "secret".to_owned();
        assert!(matches!(config.problems()[..], [UnsafeConfig::Exposed(_)]));
        config.insecure = true;
        assert!(config.problems().is_empty(), "said so");
    }
}
