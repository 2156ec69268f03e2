//! Settings that say who may come in, and what they may do.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Span;

/// Who may come in.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Auth {
    /// The bearer token that grants everything; empty, with no `tokens`: none is asked for.
    pub(crate) token: String,
    /// Further tokens, each with a name and what it grants.
    pub(crate) tokens: Vec<TokenConfig>,
    /// Names in clients' certificates, with what they grant.
    pub(crate) certificates: Vec<CertificateConfig>,
    /// Short-lived keys that holders of tokens mint for their clients.
    pub(crate) client_keys: ClientKeys,
    /// Tokens that somebody else's server signs.
    pub(crate) jwt: Jwt,
    /// Calls that Twilio has signed.
    pub(crate) twilio: Twilio,
    /// What each key may open.
    pub(crate) limits: KeyLimits,
}

impl Auth {
    /// Whether anybody is asked who they are.
    pub(crate) fn is_on(&self) -> bool {
        let named = !self.tokens.is_empty() || !self.certificates.is_empty();
        named || !self.token.is_empty() || self.jwt.is_on()
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
    /// PEM file with the authorities of its certificate; empty: the system's.
    pub(crate) jwks_ca: PathBuf,
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
            jwks_ca: PathBuf::new(),
            audiences: Vec::new(),
            issuers: Vec::new(),
            leeway: Span(Duration::from_secs(30)),
            claim: "tidegate".to_owned(),
            end_sessions: false,
        }
    }
}

/// Twilio's signatures. They say who calls, on the path that takes its calls and on no other, so that they are not among what
/// [`Auth::is_on`] looks at.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Twilio {
    /// Auth tokens of the accounts that call; none: no signature is asked for.
    pub(crate) auth_tokens: Vec<String>,
    /// What stands before `/v1/` in the address that the TwiML names; empty: `wss://` and the request's `Host`.
    pub(crate) public_url: String,
    /// Pipelines that a signed call may use: names, or beginnings with a `*` behind.
    pub(crate) pipelines: Vec<String>,
}

impl Default for Twilio {
    fn default() -> Self {
        Self {
            auth_tokens: Vec::new(),
            public_url: String::new(),
            pipelines: vec!["*".to_owned()],
        }
    }
}

impl std::fmt::Debug for Twilio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Twilio")
            .field("public_url", &self.public_url)
            .finish_non_exhaustive()
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

/// A client's certificate that grants some things. One of `san` and `common_name` is set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CertificateConfig {
    /// Tells callers apart.
    pub(crate) name: String,
    /// A host name, address, URI or mail address among the certificate's alternative names.
    pub(crate) san: String,
    /// The common name of its subject.
    pub(crate) common_name: String,
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
