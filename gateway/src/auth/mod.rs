//! Who a request is from, and what they may do: the one check that every way in passes.
//!
//! `http/guard.rs` takes the token from a request, asks [`Auth::identify`] and puts the [`Caller`] into the request; whoever opens,
//! lists or ends something asks the caller's [`Grants`]. Nothing here knows a transport, so that another kind of key needs nothing but a
//! way to an [`Identity`]. What has no caller is refused: a route that is not behind the guard can do nothing.

mod certificates;
mod files;
mod grants;
mod jwt;
mod keys;
pub(crate) mod limits;
mod tokens;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;
use serde_json::{Map, Value};
use tidegate_media::Timestamp;
use tidegate_nodes::{Code, Error};
use tidegate_remote::TraceContext;

pub(crate) use self::certificates::Certificate;
use self::certificates::Certificates;
pub(crate) use self::grants::{Grants, is_pattern};
use self::jwt::{Jwt, JwtError};
use self::keys::{Claims, ClientKeys};
pub(crate) use self::keys::{Minted, SECONDS, SECONDS_DEFAULT, SecretError};
pub(crate) use self::tokens::TokenError;
use self::tokens::Tokens;
use crate::clock::{Clock, unix_seconds};
use crate::config;
use crate::errors::HttpError;

/// Who somebody is, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Tells callers apart, in memory and nowhere else; empty where nobody is asked who they are.
    pub(crate) name: Arc<str>,
    /// Who answers for them: themselves, or whose token minted their key.
    pub(crate) account: Arc<str>,
    pub(crate) grants: Grants,
    /// When what they have shown expires, in seconds since 1970.
    pub(crate) expires_at: Option<u64>,
    /// Whether what they open ends then too.
    ends_sessions: bool,
    /// How much they may open, where it is not what everybody may.
    pub(crate) limits: Option<config::KeyLimits>,
    /// Of a client key: what it was minted for.
    pub(crate) key: Option<MintedFor>,
}

impl Identity {
    /// How long what they open now may go on, by what they have shown.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let end = self.expires_at.filter(|_| self.ends_sessions)?;
        Some(Duration::from_secs(end.saturating_sub(unix_seconds())))
    }
}

/// What a client key was minted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MintedFor {
    /// The one pipeline that it opens.
    pub(crate) pipeline: String,
    /// What its minter wants of the session, as given to `POST /v1/realtime/client_secrets`; empty where nothing is said.
    pub(crate) session: Arc<Map<String, Value>>,
}

/// The identity behind a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    identity: Arc<Identity>,
    /// The trace that its request belongs to.
    trace: Option<TraceContext>,
}

impl Caller {
    /// Somebody who may do all: whoever runs the program, or anybody where no token is asked for.
    pub(crate) fn anyone() -> Self {
        Self::new("", Grants::all())
    }

    /// Anybody who comes by a listener whose protocol has no credentials: they may use the pipelines that it is there for.
    pub(crate) fn of_listener(name: &str, pipelines: &[String]) -> Self {
        Self::new(name, Grants::new(pipelines.to_vec(), false, false, false))
    }

    fn new(name: &str, grants: Grants) -> Self {
        let name: Arc<str> = Arc::from(name);
        Self::from(Identity {
            account: Arc::clone(&name),
            name,
            grants,
            expires_at: None,
            ends_sessions: false,
            limits: None,
            key: None,
        })
    }

    fn with_limits(self, limits: Option<config::KeyLimits>) -> Self {
        Self::from(Identity {
            limits,
            ..(*self.identity).clone()
        })
    }

    /// Whoever holds a client key.
    fn with_key(claims: Claims, grants: Grants) -> Self {
        let name = format!("key:{}:{}", claims.account, claims.id);
        Self::from(Identity {
            name: Arc::from(name),
            account: Arc::from(claims.account),
            grants,
            expires_at: Some(claims.expires_at),
            ends_sessions: false,
            limits: None,
            key: Some(MintedFor {
                pipeline: claims.pipeline,
                session: claims.session,
            }),
        })
    }

    /// The same, in the trace that its request's headers name.
    pub(crate) fn traced(mut self, headers: &HeaderMap) -> Self {
        self.trace = TraceContext::of(headers);
        self
    }

    /// The trace that its request belongs to.
    pub(crate) const fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
    }
}

impl From<Identity> for Caller {
    fn from(identity: Identity) -> Self {
        Self {
            identity: Arc::new(identity),
            trace: None,
        }
    }
}

impl Deref for Caller {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.identity
    }
}

/// The name that `auth.token` has as a caller. No name of `auth.tokens` has a dot.
const THE_TOKEN: &str = "auth.token";

/// All who may come in.
pub(crate) struct Auth {
    /// What a request is without a token, where none is asked for.
    open: Option<Caller>,
    tokens: Tokens,
    certificates: Certificates,
    keys: ClientKeys,
    jwt: Option<Jwt>,
}

/// Why nobody can be let in.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum AuthError {
    Token(#[from] TokenError),
    Secret(#[from] SecretError),
    Jwt(#[from] JwtError),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

impl Auth {
    /// As configured.
    ///
    /// # Errors
    /// A file with a secret cannot be read.
    pub(crate) fn new(config: &config::Auth, clock: Clock) -> Result<Self, AuthError> {
        Ok(Self {
            open: (!config.is_on()).then(Caller::anyone),
            tokens: Tokens::load(config)?,
            certificates: Certificates::new(config),
            keys: ClientKeys::new(&config.client_keys)?,
            jwt: Jwt::new(&config.jwt, clock)?,
        })
    }

    /// Asks for the keys of tokens for as long as it is polled; returns at once where there is nobody to ask.
    pub(crate) async fn keep(&self) {
        if let Some(jwt) = &self.jwt {
            jwt.keep().await;
        }
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// There is none, it is nobody's, or it has expired.
    pub(crate) async fn identify(
        &self,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<Caller, Error> {
        if let Some(claims) = token.and_then(|token| self.keys.read(token)) {
            return self.holder(claims, unix_seconds());
        }
        if let Some(anyone) = &self.open {
            return Ok(anyone.clone());
        }
        let Some(token) = token else {
            let text = "no bearer token: send 'Authorization: Bearer <token>'";
            return Err(nobody(text));
        };
        if let Some(caller) = self.tokens.find(token, now) {
            return Ok(caller);
        }
        if let Some(jwt) = &self.jwt
            && let Some(found) = jwt.identify(token, now).await
        {
            return found;
        }
        Err(nobody("the bearer token is wrong"))
    }

    /// Whose certificate this is, of a request without a token.
    ///
    /// # Errors
    /// It is nobody's, where anybody is asked who they are.
    pub(crate) fn by_certificate(&self, shown: &Certificate) -> Result<Caller, Error> {
        let known = self.certificates.find(shown).or_else(|| self.open.clone());
        known.ok_or_else(|| {
            nobody(format!(
                "no bearer token, and the certificate '{}' is none of auth.certificates",
                shown.shown()
            ))
        })
    }

    /// Who opened something with this key, whether or not it has expired since: somebody who is granted nothing, by the same name.
    pub(crate) fn opener(&self, token: &str) -> Option<Caller> {
        let claims = self.keys.read(token)?;
        Some(Caller::with_key(claims, Grants::default()))
    }

    /// A key for a pipeline, by somebody who may use that. It lives for so long, and no longer than what the minter has shown.
    ///
    /// # Errors
    /// The minter holds a client key, or what the key is to carry is too large.
    pub(crate) fn mint(
        &self,
        minter: &Caller,
        pipeline: &str,
        session: Map<String, Value>,
        seconds: u64,
    ) -> Result<Minted, Error> {
        minter.grants.may_use(pipeline)?;
        if minter.key.is_some() {
            let text = "a client key mints no keys: ask with the token of a server";
            return Err(Error::new(Code::PermissionDenied, text));
        }
        let wanted = unix_seconds() + seconds;
        let expires_at = minter.expires_at.map_or(wanted, |end| end.min(wanted));
        self.keys
            .mint((&minter.account, pipeline), session, expires_at)
    }

    /// Who holds a key that was signed here: nobody once it has expired, or once who minted it could not do so any more.
    fn holder(&self, claims: Claims, now: u64) -> Result<Caller, Error> {
        if claims.expires_at <= now {
            let ago = now - claims.expires_at;
            let text = format!("the client key expired {ago} s ago: have another minted");
            return Err(nobody(text));
        }
        let grants = Grants::new(vec![claims.pipeline.clone()], false, false, false);
        let minter = match &*claims.account {
            "" => self.open.clone(),
            name => {
                let minter = self.tokens.named(name);
                minter.or_else(|| self.certificates.named(name))
            }
        };
        // Of whom a JWT named nothing is kept: their keys end with their token.
        let elsewhere = claims.account.starts_with(jwt::NAMED) && self.jwt.is_some();
        let still = elsewhere
            || minter
                .as_ref()
                .is_some_and(|minter| minter.grants.covers(&claims.pipeline));
        if !still {
            let text = format!(
                "who minted the client key may not use pipeline '{}' here: have one minted by who may",
                claims.pipeline
            );
            return Err(nobody(text));
        }
        let limits = minter.and_then(|minter| minter.limits.clone());
        Ok(Caller::with_key(claims, grants).with_limits(limits))
    }
}

/// All that is wrong with who may come in, as it is configured, in words for the operator and without a secret in them.
pub(crate) fn wrong(config: &config::Auth) -> Vec<String> {
    let mut wrong = tokens::wrong(config);
    wrong.extend(certificates::wrong(config));
    wrong.extend(keys::wrong(&config.client_keys));
    wrong.extend(jwt::wrong(&config.jwt));
    wrong.extend(limits::wrong(config));
    wrong
}

fn nobody(text: impl Into<String>) -> Error {
    Error::new(Code::Unauthenticated, text)
}

/// The caller among the things that came with a request.
///
/// # Errors
/// It did not pass the guard.
pub(crate) fn caller(extensions: &http::Extensions) -> Result<Caller, Error> {
    let caller = extensions.get::<Caller>().cloned();
    caller.ok_or_else(|| Error::new(Code::Unauthenticated, "nobody has asked who this is"))
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpError> {
        caller(&parts.extensions).map_err(HttpError::from)
    }
}
