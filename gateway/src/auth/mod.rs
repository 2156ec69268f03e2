//! Who a request is from, and what they may do: the one check that every way in passes.
//!
//! `http/guard.rs` takes the token from a request, asks [`Auth::identify`] and puts the [`Caller`] into the request; whoever opens,
//! lists or ends something asks the caller's [`Grants`]. Nothing here knows a transport, so that another kind of key needs nothing but a
//! way to an [`Identity`]. What has no caller is refused: a route that is not behind the guard can do nothing.

mod caller;
mod certificates;
mod files;
mod grants;
mod jwt;
mod keys;
pub(crate) mod limits;
mod revoked;
mod tokens;
pub(crate) mod twilio;
mod ways;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::{Map, Value};
use tidegate_media::Timestamp;
use tidegate_nodes::{Code, Error};
use tokio::sync::Notify;

pub(crate) use self::caller::{Caller, Identity, caller};
use self::caller::{KEY_HOLDER, key_holder};
pub(crate) use self::certificates::Certificate;
use self::files::Reloads;
pub(crate) use self::grants::{Grants, is_pattern};
use self::jwt::JwtError;
pub(crate) use self::keys::{Minted, SECONDS, SECONDS_DEFAULT, SecretError};
use self::revoked::Revoked;
pub(crate) use self::tokens::TokenError;
use self::twilio::Signatures;
use self::ways::Ways;
use crate::clock::{Clock, unix_seconds};
use crate::config;
use crate::metrics::Metrics;

/// The name that `auth.token` has as a caller. No name of `auth.tokens` has a dot.
const THE_TOKEN: &str = "auth.token";

/// All who may come in.
pub(crate) struct Auth {
    /// By what is configured now.
    ways: ArcSwap<Ways>,
    /// Told when that has changed.
    changed: Notify,
    kept: Kept,
}

/// What stays when settings are read again.
struct Kept {
    clock: Clock,
    reloads: Reloads,
    own: keys::Own,
    revoked: Revoked,
}

/// Why nobody can be let in.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum AuthError {
    Token(#[from] TokenError),
    Secret(#[from] SecretError),
    Jwt(#[from] JwtError),
    #[error(
        "auth lets in everybody, and did not when the gateway started: to mean it, start it again"
    )]
    Off,
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
    pub(crate) fn new(
        config: &config::Auth,
        clock: Clock,
        metrics: &Metrics,
    ) -> Result<Self, AuthError> {
        let kept = Kept {
            clock,
            reloads: Reloads::new(metrics),
            own: keys::Own::new(),
            revoked: Revoked::default(),
        };
        Ok(Self {
            ways: ArcSwap::from_pointee(Ways::new(config, &kept, None)?),
            changed: Notify::new(),
            kept,
        })
    }

    /// Takes other settings, all of them or none. What is open goes on, and what each key has opened is remembered.
    ///
    /// # Errors
    /// A file with a secret cannot be read, or everybody would be let in; those that there were stay.
    pub(crate) fn reload(&self, config: &config::Auth) -> Result<(), AuthError> {
        let before = self.ways.load_full();
        let after = if before.asks() && !config.is_on() {
            Err(AuthError::Off)
        } else {
            Ways::new(config, &self.kept, Some(&before))
        };
        let after = after.inspect_err(|_| self.reload_refused())?;
        self.ways.store(Arc::new(after));
        self.kept.reloads.taken.increment(1);
        self.changed.notify_one();
        Ok(())
    }

    /// Counts settings that could not be read again.
    pub(crate) fn reload_refused(&self) {
        self.kept.reloads.refused.increment(1);
    }

    /// Asks for the published keys of tokens for as long as it is polled.
    pub(crate) async fn keep(&self) {
        loop {
            let again = self.ways.load_full().refresh().await;
            tokio::select! {
                () = tokio::time::sleep(again) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// There is none, it is nobody's, it has expired, or it was taken back.
    pub(crate) async fn identify(
        &self,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<Caller, Error> {
        let caller = self.ways.load_full().identify(token, now).await?;
        self.check(&caller)?;
        Ok(caller)
    }

    /// Whether a key is still good: that of a caller who began some time ago.
    ///
    /// # Errors
    /// It was taken back.
    pub(crate) fn check(&self, caller: &Identity) -> Result<(), Error> {
        let revoked = &self.kept.revoked;
        match &caller.key {
            Some(key) if revoked.has(&key.id, &caller.account) => {
                Err(nobody("the client key was taken back: have another minted"))
            }
            _ => Ok(()),
        }
    }

    /// Who signs Twilio's calls, where they must be signed.
    pub(crate) fn twilio(&self) -> Option<Arc<Signatures>> {
        self.ways.load().twilio.clone()
    }

    /// Whose certificate this is, of a request without a token.
    ///
    /// # Errors
    /// It is nobody's, where anybody is asked who they are.
    pub(crate) fn by_certificate(&self, shown: &Certificate) -> Result<Caller, Error> {
        self.ways.load().by_certificate(shown)
    }

    /// Who opened something with this key, whether or not it has expired since: somebody who is granted nothing, by the same name.
    pub(crate) fn opener(&self, token: &str) -> Option<Caller> {
        let now = self.kept.clock.now();
        self.ways.load().opener(token, now)
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
        let now = self.kept.clock.now();
        let ways = self.ways.load();
        ways.keys
            .mint(now, (&minter.account, pipeline), session, expires_at)
    }

    /// Takes back the key with this id: one's own, or anybody's by who administers sessions. The names under which its holder may have
    /// opened something; `None`: whoever the account is.
    ///
    /// # Errors
    /// They mint no keys themselves, it is no id, or too many are taken back.
    pub(crate) fn revoke(&self, by: &Caller, id: &str) -> Result<Taken, Error> {
        if by.key.is_some() {
            let text = "a client key takes no keys back: ask with the token of a server";
            return Err(Error::new(Code::PermissionDenied, text));
        }
        let of = match by.grants.may_administer() {
            Ok(()) => None,
            Err(_) => {
                by.grants.may_open()?;
                Some(Arc::clone(&by.account))
            }
        };
        self.kept.revoked.add(id, of.clone(), unix_seconds())?;
        Ok(Taken {
            id: id.to_owned(),
            of,
        })
    }
}

/// A key that was taken back.
pub(crate) struct Taken {
    id: String,
    /// Whose keys are meant; `None`: anybody's.
    of: Option<Arc<str>>,
}

impl Taken {
    /// Whether its holder is the one with this name.
    pub(crate) fn is(&self, name: &str) -> bool {
        match &self.of {
            Some(account) => name == key_holder(account, &self.id),
            None => name
                .strip_prefix(KEY_HOLDER)
                .and_then(|rest| rest.strip_suffix(&*self.id))
                .is_some_and(|rest| rest.ends_with(':')),
        }
    }
}

/// All that is wrong with who may come in, as it is configured, in words for the operator and without a secret in them.
pub(crate) fn wrong(config: &config::Auth) -> Vec<String> {
    let mut wrong = tokens::wrong(config);
    wrong.extend(certificates::wrong(config));
    wrong.extend(keys::wrong(&config.client_keys));
    wrong.extend(jwt::wrong(&config.jwt));
    wrong.extend(twilio::wrong(&config.twilio));
    wrong.extend(limits::wrong(config));
    wrong
}

fn nobody(text: impl Into<String>) -> Error {
    Error::new(Code::Unauthenticated, text)
}
