//! Settings: what can be set, the defaults, and what they must be to be safe.
//!
//! Where a value came from is [`layers`]'s affair. Every limit has its reason beside it.

pub(crate) mod layers;
mod units;
mod wrong;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

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
}

/// Transport security.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    /// PEM file with the certificate chain.
    pub(crate) certificate: PathBuf,
    /// PEM file with the private key.
    pub(crate) key: PathBuf,
}

/// Who may come in.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Auth {
    /// The bearer token that grants everything; empty, with no `tokens`: none is asked for.
    pub(crate) token: String,
    /// Further tokens, each with a name and what it grants.
    pub(crate) tokens: Vec<TokenConfig>,
    /// Short-lived keys that holders of tokens mint for their clients.
    pub(crate) client_keys: ClientKeys,
    /// Tokens that somebody else's server signs.
    pub(crate) jwt: Jwt,
    /// What each key may open.
    pub(crate) limits: KeyLimits,
}

impl Auth {
    /// Whether anybody is asked who they are.
    pub(crate) fn is_on(&self) -> bool {
        !self.token.is_empty() || !self.tokens.is_empty() || self.jwt.is_on()
    }
}

/// JSON Web Tokens: the keys that they are signed with, and what they must say.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Jwt {
    /// The secret that both have, for HS256, HS384 and HS512.
    pub(crate) secret: String,
    /// Or the file that it lies in.
    pub(crate) secret_file: PathBuf,
    /// File with a set of public keys (JWKS).
    pub(crate) jwks_file: PathBuf,
    /// Address of such a set.
    pub(crate) jwks_url: String,
    /// One of them must be in `aud`; none: it is not looked at.
    pub(crate) audiences: Vec<String>,
    /// `iss` must be one of them; none: it is not looked at.
    pub(crate) issuers: Vec<String>,
    /// How far clocks may differ.
    pub(crate) leeway: Span,
    /// The claim that holds grants.
    pub(crate) claim: String,
    /// Whether a session ends when the token expires that opened it.
    pub(crate) end_sessions: bool,
}

impl Jwt {
    /// Whether there is anything to check them by.
    pub(crate) fn is_on(&self) -> bool {
        let files = [&self.secret_file, &self.jwks_file];
        !self.secret.is_empty()
            || !self.jwks_url.is_empty()
            || files.iter().any(|path| !path.as_os_str().is_empty())
    }
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            secret: String::new(),
            secret_file: PathBuf::new(),
            jwks_file: PathBuf::new(),
            jwks_url: String::new(),
            audiences: Vec::new(),
            issuers: Vec::new(),
            leeway: Span(Duration::from_secs(30)),
            claim: "tidegate".to_owned(),
            end_sessions: false,
        }
    }
}

/// What one key may open, and all keys that it mints together; 0: no limit but the gateway's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct KeyLimits {
    /// Sessions opened or joined in a minute, in the long run.
    pub(crate) opens_per_minute: u32,
    /// Of these at once.
    pub(crate) burst: u32,
    /// Sessions at a time.
    pub(crate) sessions: usize,
}

impl Default for KeyLimits {
    fn default() -> Self {
        Self {
            opens_per_minute: 0,
            // A page that opens a few, and is loaded anew.
            burst: 10,
            sessions: 0,
        }
    }
}

/// What client keys are signed with. Neither: a secret of this process, so that keys end with it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClientKeys {
    /// The secret itself, which gateways behind one name have in common.
    pub(crate) secret: String,
    /// Or the file that it lies in.
    pub(crate) secret_file: PathBuf,
}

/// A bearer token that grants some things. One of `token`, `token_file` and `token_sha256` is set.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TokenConfig {
    /// Tells callers apart.
    pub(crate) name: String,
    /// The token itself.
    pub(crate) token: String,
    /// The file that it lies in.
    pub(crate) token_file: PathBuf,
    /// Its SHA-256 in hexadecimal digits.
    pub(crate) token_sha256: String,
    /// Pipelines that it may use: names, or beginnings with a `*` behind.
    pub(crate) pipelines: Vec<String>,
    /// Whether it may run manifests of its own, where `inline` is on.
    pub(crate) inline: bool,
    /// Whether it may list, inspect and end all sessions.
    pub(crate) sessions: bool,
    /// Whether it may read `/metrics`.
    pub(crate) metrics: bool,
    /// How much it may open, instead of `auth.limits`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limits: Option<KeyLimits>,
}

impl std::fmt::Debug for TokenConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenConfig")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
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
            limits: Limits::default(),
            recordings: PathBuf::new(),
            inline_endpoints: Vec::new(),
            manifest_hosts: Vec::new(),
            inline: false,
            log: Log::default(),
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
        "listen address {0} can be reached from other machines: set tls.certificate, tls.key and auth.token, auth.tokens or auth.jwt, or say --insecure"
    )]
    Exposed(SocketAddr),
    #[error("tls.certificate and tls.key go together: set both or neither")]
    HalfTls,
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
        let guarded = self.has_tls() && self.auth.is_on();
        if !self.listen.ip().is_loopback() && !guarded && !self.insecure {
            problems.push(UnsafeConfig::Exposed(self.listen));
        }
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
