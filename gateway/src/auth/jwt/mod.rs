//! JSON Web Tokens (RFC 7519): who somebody is and what they may do, as somebody else's server says and signs.
//!
//! A key binds its algorithm: a shared secret is HMAC's and a public key that of its kind, so that no token can choose to be checked
//! by another. `exp` must be there. Grants come from one claim, with the words of `auth.tokens`. Absent: how a token arrives.

mod crypto;
mod keys;
mod source;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Header, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tidegate_media::Timestamp;
use tidegate_nodes::{Code, Error};

pub(super) use self::source::REFRESH;
use self::source::Remote;
use super::files::{self, Reloads, Watched};
use super::grants::{Grants, is_pattern};
use super::{Caller, Identity, nobody};
use crate::clock::Clock;
use crate::config;

/// What the name of whoever shows a JWT begins with; no name of `auth.tokens` has a colon.
pub(super) const NAMED: &str = "jwt:";

/// A file of `auth.jwt` that does not do.
#[derive(Debug, thiserror::Error)]
#[error("auth.jwt.{setting} {} {problem}", path.display())]
pub(crate) struct JwtError {
    setting: &'static str,
    path: PathBuf,
    problem: String,
}

/// What HMAC is checked by.
enum Secret {
    Fixed(DecodingKey),
    File(Box<Watched<DecodingKey>>),
}

/// Checks tokens.
pub(super) struct Jwt {
    secret: Option<Secret>,
    file: Option<Watched<keys::KeySet>>,
    remote: Option<Remote>,
    /// Of which the algorithm is set for each token.
    validation: Validation,
    claim: String,
    ends_sessions: bool,
}

/// What is read of a token, beside the claim with its grants.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    #[serde(default)]
    iss: String,
    exp: f64,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// The claim with grants.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Granted {
    pipelines: Vec<String>,
    inline: bool,
    sessions: bool,
    metrics: bool,
}

impl Jwt {
    /// As configured; `None` where it is not. What an address gave `before` is known.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn new(
        config: &config::Jwt,
        (clock, reloads): (Clock, &Reloads),
        before: Option<&Self>,
    ) -> Result<Option<Self>, JwtError> {
        if !config.is_on() {
            return Ok(None);
        }
        crypto::install();
        let wrong = |setting: &'static str, path: &Path, problem| JwtError {
            setting,
            path: path.to_owned(),
            problem,
        };
        let secret = if config.secret_file.as_os_str().is_empty() {
            (!config.secret.is_empty()).then(|| Secret::Fixed(signer(&config.secret)))
        } else {
            let path = &config.secret_file;
            let read = |path: &Path| files::secret(path).map(|secret| signer(&secret));
            let file = Watched::open(path, read, reloads);
            let file = file.map_err(|problem| wrong("secret_file", path, problem))?;
            Some(Secret::File(Box::new(file)))
        };
        let path = &config.jwks_file;
        let file = (!path.as_os_str().is_empty())
            .then(|| Watched::open(path, source::of_file, reloads))
            .transpose()
            .map_err(|problem| wrong("jwks_file", path, problem))?;
        let before = before.and_then(|before| before.remote.as_ref());
        let before = before.filter(|remote| remote.url() == config.jwks_url);
        let known = before.map(Remote::set).unwrap_or_default();
        let place = (&*config.jwks_url, &*config.jwks_ca);
        let remote = (!config.jwks_url.is_empty())
            .then(|| Remote::new(place, (clock, reloads), known))
            .transpose()
            .map_err(|problem| wrong("jwks_ca", &config.jwks_ca, problem))?;
        Ok(Some(Self {
            secret,
            file,
            remote,
            validation: validation(config),
            claim: config.claim.clone(),
            ends_sessions: config.end_sessions,
        }))
    }

    /// Whose token this is; `None` if it is no JWT.
    pub(super) async fn identify(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Option<Result<Caller, Error>> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        if header.crit.is_some() {
            // RFC 7515 §4.1.11: what it asks for is not known here.
            return Some(Err(nobody(
                "the token's header has 'crit', which is not taken",
            )));
        }
        let keys = self.keys(&header, now).await;
        if keys.is_empty() {
            return Some(Err(nobody(self.unknown_key(&header))));
        }
        let mut validation = self.validation.clone();
        validation.algorithms = vec![header.alg];
        let mut last = None;
        for key in &keys {
            match jsonwebtoken::decode::<Claims>(token, key, &validation) {
                Ok(read) => return Some(self.caller(read.claims)),
                Err(error) => last = Some(error),
            }
        }
        last.map(|error| Err(nobody(self.refusal(error.kind()))))
    }

    /// Asks for published keys; says when to do so again, `None` where they come from no address.
    pub(super) async fn refresh(&self) -> Option<Duration> {
        match &self.remote {
            Some(remote) => Some(remote.refresh().await),
            None => None,
        }
    }

    /// The keys that a token may be signed with.
    async fn keys(&self, header: &Header, now: Timestamp) -> Vec<DecodingKey> {
        if header.alg.family() == AlgorithmFamily::Hmac {
            let held = |secret: &Secret| match secret {
                Secret::Fixed(key) => key.clone(),
                Secret::File(file) => DecodingKey::clone(&file.get(now)),
            };
            return self.secret.iter().map(held).collect();
        }
        let id = header.kid.as_deref();
        let find = |set: Arc<keys::KeySet>| set.find(id, header.alg);
        let mut found = self.file.as_ref().map(|file| find(file.get(now)));
        if found.as_ref().is_none_or(Vec::is_empty)
            && let Some(remote) = &self.remote
        {
            let mut keys = find(remote.set());
            if keys.is_empty() {
                keys = find(remote.ask(id).await);
            }
            found = Some(keys);
        }
        found.unwrap_or_default()
    }

    fn caller(&self, claims: Claims) -> Result<Caller, Error> {
        let sub = claims.sub.filter(|sub| !sub.is_empty());
        let sub = sub.ok_or_else(|| nobody("the token has no 'sub': it must say who it is for"))?;
        let granted = match claims.others.get(&self.claim) {
            None | Some(Value::Null) => Granted::default(),
            Some(claim) => Granted::deserialize(claim).map_err(|error| self.misread(&error))?,
        };
        if let Some(odd) = granted.pipelines.iter().find(|name| !is_pattern(name)) {
            return Err(self.misread(&format_args!("pipeline '{}' names none", clip(odd))));
        }
        // Of a fixed size, and no address of a person in memory, keys and caches.
        let mut digest = Sha256::new();
        digest.update(claims.iss.as_bytes());
        digest.update([0]);
        digest.update(sub.as_bytes());
        let digest: String = digest.finalize()[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let name: Arc<str> = Arc::from(format!("{NAMED}{digest}"));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "seconds since 1970 that are in the future"
        )]
        let expires_at = claims.exp as u64;
        Ok(Caller::from(Identity {
            account: Arc::clone(&name),
            name,
            grants: Grants::new(
                granted.pipelines,
                granted.inline,
                granted.sessions,
                granted.metrics,
            ),
            expires_at: Some(expires_at),
            ends_sessions: self.ends_sessions,
            limits: None,
            key: None,
        }))
    }

    fn misread(&self, problem: &dyn std::fmt::Display) -> Error {
        let text = format!(
            "the token's claim '{}' does not do: {problem}; it holds pipelines, inline, sessions and metrics, as auth.tokens",
            self.claim
        );
        Error::new(Code::Unauthenticated, text)
    }

    fn unknown_key(&self, header: &Header) -> String {
        let remote = self.remote.as_ref();
        let silent = remote.is_some_and(|remote| remote.set().is_empty());
        let Some(id) = &header.kid else {
            return format!(
                "the token is signed by {:?}, for which auth.jwt has no key",
                header.alg
            );
        };
        let which = format!(
            "the token is signed by {:?} with key '{}'",
            header.alg,
            clip(id)
        );
        if silent && header.alg.family() != AlgorithmFamily::Hmac {
            return format!(
                "{which}, and keys could not be had from auth.jwt.jwks_url yet: try again in a moment"
            );
        }
        format!("{which}, which auth.jwt does not have")
    }

    fn refusal(&self, kind: &ErrorKind) -> String {
        match kind {
            ErrorKind::ExpiredSignature => "the token has expired: get another".to_owned(),
            ErrorKind::ImmatureSignature => {
                "the token is not good yet: look at its 'nbf', and at the clocks".to_owned()
            }
            ErrorKind::InvalidAudience => {
                "the token is for somebody else: its 'aud' is none of auth.jwt.audiences".to_owned()
            }
            ErrorKind::InvalidIssuer => {
                "the token is from somebody else: its 'iss' is none of auth.jwt.issuers".to_owned()
            }
            ErrorKind::MissingRequiredClaim(claim) => {
                format!("the token has no '{}', which it must have", clip(claim))
            }
            ErrorKind::InvalidSignature => "the token's signature is wrong".to_owned(),
            _ => "the token cannot be read: it must be a JWT with 'sub' and 'exp'".to_owned(),
        }
    }
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

fn validation(config: &config::Jwt) -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = config.leeway.0.as_secs();
    validation.validate_nbf = true;
    let mut required = vec!["exp", "sub"];
    if config.audiences.is_empty() {
        validation.validate_aud = false;
    } else {
        validation.set_audience(&config.audiences);
        required.push("aud");
    }
    if !config.issuers.is_empty() {
        validation.set_issuer(&config.issuers);
        required.push("iss");
    }
    validation.set_required_spec_claims(&required);
    validation
}

fn signer(secret: &str) -> DecodingKey {
    DecodingKey::from_secret(secret.as_bytes())
}

/// All that is wrong with how JWTs are configured, without a secret in it.
pub(super) fn wrong(config: &config::Jwt) -> Vec<String> {
    let mut wrong = Vec::new();
    let has_file = !config.secret_file.as_os_str().is_empty();
    if !config.secret.is_empty() {
        if has_file {
            wrong.push("auth.jwt has two secrets: set secret or secret_file".to_owned());
        }
        let problem = files::short(config.secret.len());
        wrong.extend(problem.map(|problem| format!("auth.jwt.secret {problem}")));
    }
    if !config.jwks_url.is_empty()
        && let Some(problem) = no_url(&config.jwks_url)
    {
        wrong.push(format!("auth.jwt.jwks_url {problem}"));
    }
    if config.jwks_url.is_empty() && !config.jwks_ca.as_os_str().is_empty() {
        wrong.push("auth.jwt.jwks_ca is of no use without auth.jwt.jwks_url".to_owned());
    }
    if config.claim.is_empty() {
        wrong.push("auth.jwt.claim is empty: name the claim that holds grants".to_owned());
    }
    let others = !config.audiences.is_empty() || !config.issuers.is_empty();
    if others && !config.is_on() {
        let text =
            "auth.jwt has audiences or issuers and no key: set secret_file, jwks_file or jwks_url";
        wrong.push(text.to_owned());
    }
    wrong
}

/// Why keys cannot come from an address. In clear text anybody on the way could put in their own.
fn no_url(url: &str) -> Option<String> {
    let Ok(uri) = url.parse::<http::Uri>() else {
        return Some("is no address: write https://host/path".to_owned());
    };
    let host = uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let near = bare == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        _ if host.is_empty() => Some("names no host: write https://host/path".to_owned()),
        Some("https") => None,
        Some("http") if near => None,
        _ => Some("does not begin with https://, without which anybody on the way can put in keys of their own; fetch it to a jwks_file instead".to_owned()),
    }
}
