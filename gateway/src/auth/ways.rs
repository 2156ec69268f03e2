//! The ways to an identity as they are configured: made anew when settings are read again, while requests that are being looked at go on
//! with those that they began with.

use std::sync::Arc;
use std::time::Duration;

use tidegate_media::Timestamp;
use tidegate_nodes::Error;

use super::certificates::{Certificate, Certificates};
use super::jwt::{self, Jwt};
use super::keys::{Claims, ClientKeys};
use super::tokens::Tokens;
use super::twilio::Signatures;
use super::{AuthError, Caller, Grants, Kept, nobody};
use crate::clock::unix_seconds;
use crate::config;

/// All ways.
pub(super) struct Ways {
    /// What a request is without a token, where none is asked for.
    open: Option<Caller>,
    tokens: Tokens,
    certificates: Certificates,
    pub(super) keys: ClientKeys,
    jwt: Option<Jwt>,
    pub(super) twilio: Option<Arc<Signatures>>,
}

impl Ways {
    /// As configured. `before`: those that these take the place of.
    ///
    /// # Errors
    /// A file with a secret cannot be read.
    pub(super) fn new(
        config: &config::Auth,
        kept: &Kept,
        before: Option<&Self>,
    ) -> Result<Self, AuthError> {
        let reloads = &kept.reloads;
        let jwt = before.and_then(|before| before.jwt.as_ref());
        Ok(Self {
            open: (!config.is_on()).then(Caller::anyone),
            tokens: Tokens::load(config, reloads)?,
            certificates: Certificates::new(config),
            keys: ClientKeys::new(&config.client_keys, &kept.own, reloads)?,
            jwt: Jwt::new(&config.jwt, (kept.clock, reloads), jwt)?,
            twilio: Signatures::new(&config.twilio).map(Arc::new),
        })
    }

    /// Whether anybody is asked who they are.
    pub(super) const fn asks(&self) -> bool {
        self.open.is_none()
    }

    /// Asks for published keys; says when to do so again.
    pub(super) async fn refresh(&self) -> Duration {
        let again = match &self.jwt {
            Some(jwt) => jwt.refresh().await,
            None => None,
        };
        again.unwrap_or(jwt::REFRESH)
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// There is none, it is nobody's, or it has expired.
    pub(super) async fn identify(
        &self,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<Caller, Error> {
        if let Some(claims) = token.and_then(|token| self.keys.read(token, now)) {
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
    pub(super) fn by_certificate(&self, shown: &Certificate) -> Result<Caller, Error> {
        let known = self.certificates.find(shown).or_else(|| self.open.clone());
        known.ok_or_else(|| {
            nobody(format!(
                "no bearer token, and the certificate '{}' is none of auth.certificates",
                shown.shown()
            ))
        })
    }

    /// Who opened something with this key, whether or not it has expired since.
    pub(super) fn opener(&self, token: &str, now: Timestamp) -> Option<Caller> {
        let claims = self.keys.read(token, now)?;
        Some(Caller::with_key(claims, Grants::default()))
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
