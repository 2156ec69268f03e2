//! Client keys: short-lived, for opening sessions of one pipeline, minted by who holds a longer-lived token.
//!
//! A key carries what it grants and a signature (HMAC-SHA256), so that nothing is kept of it, any number can be minted, and gateways
//! that share the secret take each other's keys. Which were taken back is remembered for as long as one can live ([`SECONDS`]), by the
//! gateway that was told ([`super::revoked`]). What is in a key can be read by its holder: nothing is that they may not know.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand::RngCore as _;
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidegate_media::Timestamp;
use tidegate_nodes::{Code, Error};

use super::files::{self, Reloads, Watched};
use crate::config;

/// How long a key may live, in seconds.
pub(crate) const SECONDS: RangeInclusive<u64> = 10..=7_200;
/// And lives unless its minter says otherwise.
pub(crate) const SECONDS_DEFAULT: u64 = 600;
/// Largest session configuration that a key carries, as JSON: a key travels in a header, of which proxies take 8 KiB.
const SESSION_BYTES: usize = 4 << 10;
/// What every key begins with.
const PREFIX: &str = "ek_";

/// The secret's file does not do.
#[derive(Debug, thiserror::Error)]
#[error("auth.client_keys.secret_file {} {problem}", path.display())]
pub(crate) struct SecretError {
    path: PathBuf,
    problem: String,
}

/// Signs keys and knows them again.
pub(super) enum ClientKeys {
    Fixed(hmac::Key),
    File(Watched<hmac::Key>),
}

/// The secret of this process, where none is configured.
pub(super) struct Own([u8; files::SHORTEST]);

impl Own {
    pub(super) fn new() -> Self {
        let mut own = [0; files::SHORTEST];
        rand::rng().fill_bytes(&mut own);
        Self(own)
    }
}

impl fmt::Debug for ClientKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientKeys").finish_non_exhaustive()
    }
}

/// What a key says. Names are short, for keys travel in headers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// Whose token minted it.
    #[serde(rename = "by")]
    pub(super) account: String,
    #[serde(rename = "p")]
    pub(super) pipeline: String,
    /// Seconds since 1970.
    #[serde(rename = "exp")]
    pub(super) expires_at: u64,
    /// Tells keys apart.
    #[serde(rename = "id")]
    pub(super) id: String,
    /// What the session is to be like; its transport knows what it means.
    #[serde(rename = "s", default, skip_serializing_if = "Map::is_empty")]
    pub(super) session: Arc<Map<String, Value>>,
}

/// A new key.
#[derive(Clone, Debug)]
pub(crate) struct Minted {
    pub(crate) key: String,
    /// By which it can be taken back.
    pub(crate) id: String,
    /// Seconds since 1970.
    pub(crate) expires_at: u64,
}

impl ClientKeys {
    /// With the secret that is configured, or `own`, the one of this process.
    ///
    /// # Errors
    /// The secret's file cannot be read.
    pub(super) fn new(
        config: &config::ClientKeys,
        own: &Own,
        reloads: &Reloads,
    ) -> Result<Self, SecretError> {
        let path = &config.secret_file;
        if !config.secret.is_empty() {
            return Ok(Self::Fixed(key(config.secret.as_bytes())));
        }
        if path.as_os_str().is_empty() {
            return Ok(Self::Fixed(key(&own.0)));
        }
        let read = |path: &Path| files::secret(path).map(|text| key(text.as_bytes()));
        match Watched::open(path, read, reloads) {
            Ok(file) => Ok(Self::File(file)),
            Err(problem) => Err(SecretError {
                path: path.clone(),
                problem,
            }),
        }
    }

    /// Does something with the secret.
    fn with<T>(&self, now: Timestamp, work: impl FnOnce(&hmac::Key) -> T) -> T {
        match self {
            Self::Fixed(key) => work(key),
            Self::File(file) => work(&file.get(now)),
        }
    }

    /// A key that lives until so many seconds since 1970.
    ///
    /// # Errors
    /// What it is to carry is too large.
    pub(super) fn mint(
        &self,
        now: Timestamp,
        (account, pipeline): (&str, &str),
        session: Map<String, Value>,
        expires_at: u64,
    ) -> Result<Minted, Error> {
        let claims = Claims {
            account: account.to_owned(),
            pipeline: pipeline.to_owned(),
            expires_at,
            id: format!("{:016x}", rand::rng().next_u64()),
            session: Arc::new(session),
        };
        let text = serde_json::to_string(&claims).unwrap_or_default();
        if text.len() > SESSION_BYTES + 512 {
            let text = format!(
                "session has more than {SESSION_BYTES} bytes as JSON, more than a key carries: send the rest with session.update"
            );
            return Err(Error::new(Code::TooLarge, text));
        }
        let body = BASE64_URL_SAFE_NO_PAD.encode(text);
        let tag = self.with(now, |key| hmac::sign(key, body.as_bytes()));
        let tag = BASE64_URL_SAFE_NO_PAD.encode(tag);
        Ok(Minted {
            key: format!("{PREFIX}{body}.{tag}"),
            id: claims.id,
            expires_at,
        })
    }

    /// What a key says that was signed here; whether it has expired is not looked at. In constant time as far as the signature goes.
    pub(super) fn read(&self, key: &str, now: Timestamp) -> Option<Claims> {
        let (body, tag) = key.strip_prefix(PREFIX)?.split_once('.')?;
        let tag = BASE64_URL_SAFE_NO_PAD.decode(tag).ok()?;
        let verified = |key: &hmac::Key| hmac::verify(key, body.as_bytes(), &tag);
        self.with(now, verified).ok()?;
        let text = BASE64_URL_SAFE_NO_PAD.decode(body).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

fn key(secret: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret)
}

/// All that is wrong with how keys are configured, without a secret in it.
pub(super) fn wrong(config: &config::ClientKeys) -> Vec<String> {
    let mut wrong = Vec::new();
    if config.secret.is_empty() {
        return wrong;
    }
    if !config.secret_file.as_os_str().is_empty() {
        wrong.push("auth.client_keys has two secrets: set secret or secret_file".to_owned());
    }
    let problem = files::short(config.secret.len());
    wrong.extend(problem.map(|problem| format!("auth.client_keys.secret {problem}")));
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secret: &str) -> ClientKeys {
        let config = config::ClientKeys {
            secret: secret.to_owned(),
            ..config::ClientKeys::default()
        };
        ClientKeys::new(&config, &Own::new(), &Reloads::none()).expect("no file")
    }

    const NOW: Timestamp = Timestamp::ZERO;

    fn minted(keys: &ClientKeys) -> String {
        let mut session = Map::new();
        session.insert("voice".to_owned(), "alba".into());
        let minted = keys.mint(NOW, ("kiosk", "echo"), session, 1_000);
        minted.expect("it is small").key
    }

    #[test]
    fn a_key_says_what_it_was_minted_with_to_who_has_the_secret() {
        let key = minted(&keys("one"));
        let claims = keys("one").read(&key, NOW).expect("the same secret");
        assert_eq!((&*claims.account, &*claims.pipeline), ("kiosk", "echo"));
        assert_eq!(
            (claims.expires_at, &claims.session["voice"]),
            (1_000, &"alba".into())
        );
        assert_eq!(keys("two").read(&key, NOW), None, "another secret");
        let own = || keys("");
        assert_eq!(
            own().read(&minted(&own()), NOW),
            None,
            "each process has its own"
        );
    }

    #[test]
    fn no_byte_of_a_key_can_be_changed() {
        let keys = keys("one");
        let key = minted(&keys);
        assert!(keys.read(&key, NOW).is_some());
        for at in 0..key.len() {
            let other = if key.as_bytes()[at] == b'A' { "B" } else { "A" };
            let mut changed = key.clone();
            changed.replace_range(at..=at, other);
            assert_eq!(keys.read(&changed, NOW), None, "{changed}");
        }
        for wrong in [
            "",
            "ek_",
            "ek_.",
            "ek_e30.",
            "ek_e30",
            &key[..key.len() - 1],
            &format!("{key}A"),
        ] {
            assert_eq!(keys.read(wrong, NOW), None, "{wrong}");
        }
    }

    #[test]
    fn a_key_travels_in_a_header_and_in_a_subprotocol() {
        let key = minted(&keys("one"));
        let token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        assert!(key.bytes().all(token), "{key}");
        let mut large = Map::new();
        large.insert(
            "instructions".to_owned(),
            "x".repeat(SESSION_BYTES + 512).into(),
        );
        let refused = keys("one")
            .mint(NOW, ("", "echo"), large, 1)
            .expect_err("refused");
        assert_eq!(refused.code, Code::TooLarge);
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused() {
        let with = |secret: &str, file: &str| {
            wrong(&config::ClientKeys {
                secret: secret.to_owned(),
                secret_file: file.into(),
            })
        };
        assert_eq!(with("", ""), [""; 0]);
        assert_eq!(with(&"x".repeat(32), ""), [""; 0]);
        assert_eq!(with("short", "")[..].len(), 1);
        assert_eq!(with(&"x".repeat(32), "file").len(), 1);
        assert!(!with("short", "")[0].contains("short,"), "it is not shown");
    }
}
