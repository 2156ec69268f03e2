//! Who a request is from, and what they may do: the one check that every way in passes.
//!
//! `http/guard.rs` takes the token from a request, asks [`Auth::identify`] and puts the [`Caller`] into the request; whoever opens,
//! lists or ends something asks the caller's [`Grants`]. Nothing here knows a transport, so that another kind of key needs nothing but a
//! way to an [`Identity`]. What has no caller is refused: a route that is not behind the guard can do nothing.

mod grants;
mod tokens;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use tidegate_media::Timestamp;
use tidegate_nodes::{Code, Error};

pub(crate) use self::grants::Grants;
use self::tokens::Tokens;
pub(crate) use self::tokens::{TokenError, wrong};
use crate::config;
use crate::errors::HttpError;

/// Who somebody is, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Tells callers apart, in memory and nowhere else; empty where nobody is asked who they are.
    pub(crate) name: Arc<str>,
    pub(crate) grants: Grants,
}

/// The identity behind a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Arc<Identity>);

impl Caller {
    /// Somebody who may do all: whoever runs the program, or anybody where no token is asked for.
    pub(crate) fn anyone() -> Self {
        Self::new("", Grants::all())
    }

    fn new(name: &str, grants: Grants) -> Self {
        let name = Arc::from(name);
        Self(Arc::new(Identity { name, grants }))
    }
}

impl Deref for Caller {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.0
    }
}

/// The name that `auth.token` has as a caller. No name of `auth.tokens` has a dot.
const THE_TOKEN: &str = "auth.token";

/// All who may come in.
pub(crate) struct Auth {
    /// What a request is without a token, where none is asked for.
    open: Option<Caller>,
    tokens: Tokens,
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
    /// A token's file cannot be read.
    pub(crate) fn new(config: &config::Auth) -> Result<Self, TokenError> {
        let asked = !config.token.is_empty() || !config.tokens.is_empty();
        Ok(Self {
            open: (!asked).then(Caller::anyone),
            tokens: Tokens::load(config)?,
        })
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// There is none, or it is nobody's.
    pub(crate) fn identify(&self, token: Option<&str>, now: Timestamp) -> Result<Caller, Error> {
        if let Some(anyone) = &self.open {
            return Ok(anyone.clone());
        }
        let Some(token) = token else {
            let text = "no bearer token: send 'Authorization: Bearer <token>'";
            return Err(Error::new(Code::Unauthenticated, text));
        };
        self.tokens
            .find(token, now)
            .ok_or_else(|| Error::new(Code::Unauthenticated, "the bearer token is wrong"))
    }
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
