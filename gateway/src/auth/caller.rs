//! The identity behind a request: who somebody is, what they may do, and which trace they are in.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;
use serde_json::{Map, Value};
use tidegate_nodes::{Code, Error};
use tidegate_remote::TraceContext;

use super::grants::Grants;
use super::keys::Claims;
use crate::clock::unix_seconds;
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
    pub(super) ends_sessions: bool,
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
    /// Tells it from others of who minted it.
    pub(super) id: String,
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

    pub(super) fn new(name: &str, grants: Grants) -> Self {
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

    pub(super) fn with_limits(self, limits: Option<config::KeyLimits>) -> Self {
        Self::from(Identity {
            limits,
            ..(*self.identity).clone()
        })
    }

    /// Whoever holds a client key.
    pub(super) fn with_key(claims: Claims, grants: Grants) -> Self {
        let name = key_holder(&claims.account, &claims.id);
        Self::from(Identity {
            name: Arc::from(name),
            account: Arc::from(claims.account),
            grants,
            expires_at: Some(claims.expires_at),
            ends_sessions: false,
            limits: None,
            key: Some(MintedFor {
                id: claims.id,
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

/// What the name of whoever holds a client key begins with; no name of `auth.tokens` has a colon.
pub(super) const KEY_HOLDER: &str = "key:";

/// The name of whoever holds the key with this id.
pub(super) fn key_holder(account: &str, id: &str) -> String {
    format!("{KEY_HOLDER}{account}:{id}")
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
