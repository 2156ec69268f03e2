//! Credentials of a hop: a bearer token, a header of any name, and the certificates of TLS.
//!
//! Each value is given inline or lies in a file, which is read again when it has changed, so that whoever renews a token or a
//! certificate tells nobody. [`Auth`] is what the manifest says; `Credential` is what one stream is opened with. When a token ends
//! is read from it where it is a JWT (RFC 7519 §4.1.4); its signature is the worker's affair. References to the environment are
//! resolved where manifests are.
//!
//! No value is ever printed: not by `Debug`, not in an error.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tidegate_media::Timestamp;
use tidegate_nodes::compile::remote;

use crate::config::Secret;
use crate::error::RemoteError;
use crate::trace::TraceContext;

mod files;
mod token;

pub(crate) use files::Files;

/// How often a file is looked at while a stream is open. A token that was renewed has at least some seconds left.
const LOOK: Duration = Duration::from_secs(1);
/// A stream is replaced so long before its token ends: time for some attempts to open another one.
const MARGIN: Duration = Duration::from_secs(30);

/// A stream whose token does not say when it ends is left so long after a newer one was found.
const UNSAID: Duration = Duration::from_secs(20);

/// How a hop proves who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// Sent as `Authorization: Bearer …`.
    pub bearer: Option<AuthValue>,
    /// A header of this name, with this value.
    pub header: Option<(String, AuthValue)>,
    /// Of endpoints that begin with `https`.
    pub tls: AuthTls,
}

/// Whom a hop trusts, and by which certificate it is known itself. All PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthTls {
    /// Authorities that are trusted instead of the system's.
    pub ca: Option<AuthValue>,
    /// The certificate that is shown to workers, with those between it and its authority.
    pub cert: Option<AuthValue>,
    /// Its key.
    pub key: Option<AuthValue>,
}

/// A value, or the file where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthValue {
    /// As the manifest has it.
    Inline(Secret),
    /// The file's text, without white space around it.
    File(PathBuf),
}

impl Auth {
    /// A bearer token given inline.
    #[must_use]
    pub fn bearer(token: impl Into<String>) -> Self {
        Self {
            bearer: Some(AuthValue::Inline(Secret::new(token.into()))),
            ..Self::default()
        }
    }

    /// The values as they are now.
    pub(crate) fn read(&self, files: &Files, now: Timestamp) -> Result<Credential, RemoteError> {
        let mut headers = HeaderMap::new();
        let mut used = Vec::new();
        let mut expires: Option<Timestamp> = None;
        let mut take = |value: &AuthValue, key: &str| -> Result<Arc<str>, RemoteError> {
            let text = get(value, key, files, now)?;
            if let AuthValue::File(path) = value {
                used.push((path.clone(), Arc::clone(&text)));
            }
            if let Some(left) = token::time_left(&text, crate::clock::unix_now()) {
                let at = now + left;
                expires = Some(expires.map_or(at, |known| known.min(at)));
            }
            Ok(text)
        };
        if let Some(bearer) = &self.bearer {
            let token = take(bearer, "auth.bearer")?;
            let value = sensitive(&format!("Bearer {token}"), "auth.bearer")?;
            headers.insert(header::AUTHORIZATION, value);
        }
        if let Some((name, value)) = &self.header {
            let text = take(value, "auth.header.value")?;
            let named = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                RemoteError::Config(format!(
                    "'auth.header.name' is '{}', which no header can be called",
                    name.escape_default()
                ))
            })?;
            headers.insert(named, sensitive(&text, "auth.header.value")?);
        }
        let tls = self.tls.read(files, now)?;
        let margin = expires.map_or(Duration::ZERO, |at| MARGIN.min((at - now) / 10));
        Ok(Credential {
            headers,
            tls,
            expires,
            margin,
            used,
            files: files.clone(),
            look_at: now + LOOK,
        })
    }
}

impl From<&remote::Auth> for Auth {
    /// What a manifest says.
    fn from(auth: &remote::Auth) -> Self {
        let inline = |text: &String| AuthValue::Inline(Secret::new(text.clone()));
        let one = |value: &Option<String>, file: &Option<String>| {
            let file = file.as_ref().map(|path| AuthValue::File(path.into()));
            value.as_ref().map(inline).or(file)
        };
        let pem = |value: &Option<String>| {
            let value = value.as_ref()?;
            Some(if remote::AuthTls::is_inline(value) {
                inline(value)
            } else {
                AuthValue::File(value.into())
            })
        };
        let tls = auth.tls.as_ref();
        Self {
            bearer: one(&auth.bearer, &auth.bearer_file),
            header: auth
                .header
                .as_ref()
                .and_then(|header| Some((header.name.clone(), one(&header.value, &header.file)?))),
            tls: tls.map_or_else(AuthTls::default, |tls| AuthTls {
                ca: pem(&tls.ca),
                cert: pem(&tls.cert),
                key: pem(&tls.key),
            }),
        }
    }
}

impl AuthTls {
    fn read(&self, files: &Files, now: Timestamp) -> Result<Arc<TlsIdentity>, RemoteError> {
        let read = |value: &Option<AuthValue>, key| {
            let value = value.as_ref();
            value.map(|value| get(value, key, files, now)).transpose()
        };
        let identity = TlsIdentity {
            ca: read(&self.ca, "auth.tls.ca")?,
            cert: read(&self.cert, "auth.tls.cert")?,
            key: read(&self.key, "auth.tls.key")?,
        };
        if identity.cert.is_some() != identity.key.is_some() {
            let text = "'auth.tls' has one of 'cert' and 'key': give both, or neither";
            return Err(RemoteError::Config(text.into()));
        }
        Ok(Arc::new(identity))
    }
}

fn get(
    value: &AuthValue,
    key: &str,
    files: &Files,
    now: Timestamp,
) -> Result<Arc<str>, RemoteError> {
    let text = match value {
        AuthValue::Inline(secret) => Arc::from(secret.reveal().trim()),
        AuthValue::File(path) => files.read(path, now).map_err(|error| {
            RemoteError::Config(format!(
                "the file of '{key}', {}, cannot be read: {error}",
                path.display()
            ))
        })?,
    };
    if text.is_empty() {
        return Err(RemoteError::Config(format!("'{key}' is empty")));
    }
    Ok(text)
}

fn sensitive(text: &str, key: &str) -> Result<HeaderValue, RemoteError> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        RemoteError::Config(format!("'{key}' has characters that a header cannot have"))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// What one stream is opened with.
#[derive(Clone)]
pub(crate) struct Credential {
    headers: HeaderMap,
    tls: Arc<TlsIdentity>,
    /// When a token in it ends, as far as it says so.
    expires: Option<Timestamp>,
    margin: Duration,
    /// Files of tokens, and what they held.
    used: Vec<(PathBuf, Arc<str>)>,
    files: Files,
    look_at: Timestamp,
}

impl Credential {
    /// What every request carries.
    pub(crate) const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The same for a request that belongs to a trace.
    pub(crate) fn traced(mut self, trace: Option<&TraceContext>) -> Self {
        if let Some(trace) = trace {
            trace.write(&mut self.headers);
        }
        self
    }

    /// Whom to trust and what to show.
    pub(crate) const fn tls(&self) -> &Arc<TlsIdentity> {
        &self.tls
    }

    /// Whether a stream that was opened with it is to be replaced by one with a newer token: the token's file holds another one, and
    /// the old one is about to end or does not say when it ends. An inline token is never replaced: there is no newer one.
    pub(crate) fn is_due(&mut self, now: Timestamp) -> bool {
        if now < self.look_at || self.used.is_empty() {
            return false;
        }
        self.look_at = now + LOOK;
        if let Some(expires) = self.expires {
            let from = expires.saturating_sub(self.margin);
            if now < from {
                self.look_at = from;
                return false;
            }
        }
        let mut files = self.used.iter();
        files.any(|(path, held)| self.files.has_changed(path, held, now))
    }

    /// By when a stream that is due is to be left even in the middle of something: a little before its token ends.
    pub(crate) fn leave_by(&self, now: Timestamp) -> Timestamp {
        let end = self
            .expires
            .map(|expires| expires.saturating_sub(self.margin / 4));
        end.unwrap_or(now + UNSAID).max(now)
    }

    /// When [`Self::is_due`] is to be asked again.
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        (!self.used.is_empty()).then_some(self.look_at)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Certificates and key as PEM: what connections that may be shared have in common.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct TlsIdentity {
    pub(crate) ca: Option<Arc<str>>,
    pub(crate) cert: Option<Arc<str>>,
    pub(crate) key: Option<Arc<str>>,
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsIdentity { .. }")
    }
}

#[cfg(test)]
mod tests;
