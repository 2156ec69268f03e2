//! Client keys: short-lived, for opening sessions of one pipeline, minted by who holds a longer-lived token.
//!
//! A key carries what it grants and a signature (HMAC-SHA256), so that nothing is kept of it, any number can be minted, and gateways
//! that share the secret take each other's keys. Its price is that a single key cannot be taken back; what minted it can, and lives
//! are short ([`SECONDS`]). What is in a key can be read by its holder: nothing is that they may not know.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand::RngCore as _;
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidegate_nodes::{Code, Error};

use super::files;
use crate::config;

/// How long a key may live, in seconds.
pub(crate) const SECONDS: RangeInclusive<u64> = 10..=7_200;
/// And lives unless its minter says otherwise.
pub(crate) const SECONDS_DEFAULT: u64 = 600;
/// Largest session configuration that a key carries, as JSON: a key travels in a header, of which proxies take 8 KiB.
const SESSION_BYTES: usize = 4 << 10;
/// What every key begins with.
const PREFIX: &str = "ek_";
/// Shortest secret: what HMAC-SHA256 uses of one.
const SECRET_BYTES: usize = 32;

/// The secret's file does not do.
#[derive(Debug, thiserror::Error)]
#[error("auth.client_keys.secret_file {} {problem}", path.display())]
pub(crate) struct SecretError {
    path: PathBuf,
    problem: String,
}

/// Signs keys and knows them again.
pub(super) struct ClientKeys(hmac::Key);

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
    /// Seconds since 1970.
    pub(crate) expires_at: u64,
}

impl ClientKeys {
    /// With the secret that is configured, or one of this process.
    ///
    /// # Errors
    /// The secret's file cannot be read.
    pub(super) fn new(config: &config::ClientKeys) -> Result<Self, SecretError> {
        let path = &config.secret_file;
        let secret = if !config.secret.is_empty() {
            config.secret.clone().into_bytes()
        } else if !path.as_os_str().is_empty() {
            let secret = files::read(path, files::SECRET_BYTES);
            let long = secret.and_then(|text| match short(text.trim().len()) {
                Some(problem) => Err(problem),
                None => Ok(text.trim().as_bytes().to_vec()),
            });
            long.map_err(|problem| SecretError {
                path: path.clone(),
                problem,
            })?
        } else {
            let mut own = vec![0; SECRET_BYTES];
            rand::rng().fill_bytes(&mut own);
            own
        };
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &secret)))
    }

    /// A key that lives for so many `seconds` from `now`, both since 1970.
    ///
    /// # Errors
    /// What it is to carry is too large.
    pub(super) fn mint(
        &self,
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
        let tag = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, body.as_bytes()));
        Ok(Minted {
            key: format!("{PREFIX}{body}.{tag}"),
            expires_at,
        })
    }

    /// What a key says that was signed here; whether it has expired is not looked at. In constant time as far as the signature goes.
    pub(super) fn read(&self, key: &str) -> Option<Claims> {
        let (body, tag) = key.strip_prefix(PREFIX)?.split_once('.')?;
        let tag = BASE64_URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.0, body.as_bytes(), &tag).ok()?;
        let text = BASE64_URL_SAFE_NO_PAD.decode(body).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

fn short(bytes: usize) -> Option<String> {
    (bytes < SECRET_BYTES).then(|| {
        format!(
            "has fewer than {SECRET_BYTES} characters: write what `openssl rand -hex 32` prints"
        )
    })
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
    let problem = short(config.secret.len());
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
        ClientKeys::new(&config).expect("no file")
    }

    fn minted(keys: &ClientKeys) -> String {
        let mut session = Map::new();
        session.insert("voice".to_owned(), "alba".into());
        let minted = keys.mint(("kiosk", "echo"), session, 1_000);
        minted.expect("it is small").key
    }

    #[test]
    fn a_key_says_what_it_was_minted_with_to_who_has_the_secret() {
        let key = minted(&keys("one"));
        let claims = keys("one").read(&key).expect("the same secret");
        assert_eq!((&*claims.account, &*claims.pipeline), ("kiosk", "echo"));
        assert_eq!(
            (claims.expires_at, &claims.session["voice"]),
            (1_000, &"alba".into())
        );
        assert_eq!(keys("two").read(&key), None, "another secret");
        let own = || ClientKeys::new(&config::ClientKeys::default()).expect("no file");
        assert_eq!(
            own().read(&minted(&own())),
            None,
            "each process has its own"
        );
    }

    #[test]
    fn no_byte_of_a_key_can_be_changed() {
        let keys = keys("one");
        let key = minted(&keys);
        assert!(keys.read(&key).is_some());
        for at in 0..key.len() {
            let other = if key.as_bytes()[at] == b'A' { "B" } else { "A" };
            let mut changed = key.clone();
            changed.replace_range(at..=at, other);
            assert_eq!(keys.read(&changed), None, "{changed}");
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
            assert_eq!(keys.read(wrong), None, "{wrong}");
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
            .mint(("", "echo"), large, 1)
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
