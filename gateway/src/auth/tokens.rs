//! Static tokens: each with a name and its grants, given as text, as a file, or as its SHA-256.
//!
//! Only digests are kept, and all of them are compared each time, so that how long it takes says neither how much of a token is right
//! nor whose it may be. A file is looked at again now and then; one that is gone or empty lets nobody in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tidegate_media::Timestamp;

use super::files::{self, Reloads, SECRET_BYTES, Watched};
use super::grants::is_pattern;
use super::{Caller, Grants, THE_TOKEN};
use crate::config::{Auth, TokenConfig};

/// Longest name of a token.
const NAME: usize = 64;

type Fingerprint = [u8; 32];

/// A token's file that does not do.
#[derive(Debug, thiserror::Error)]
#[error("token_file {} of auth.tokens '{name}' {problem}", path.display())]
pub(crate) struct TokenError {
    name: String,
    path: PathBuf,
    problem: String,
}

/// All static tokens.
pub(super) struct Tokens(Vec<Entry>);

struct Entry {
    caller: Caller,
    secret: Secret,
}

enum Secret {
    Fixed(Fingerprint),
    File(Box<Watched<Option<Fingerprint>>>),
}

impl Tokens {
    /// As configured; what [`wrong`] finds has been refused before.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn load(config: &Auth, reloads: &Reloads) -> Result<Self, TokenError> {
        let mut entries = Vec::new();
        if !config.token.is_empty() {
            entries.push(Entry {
                caller: Caller::new(THE_TOKEN, Grants::all()),
                secret: Secret::Fixed(fingerprint(&config.token)),
            });
        }
        for token in &config.tokens {
            let grants = Grants::new(
                token.pipelines.clone(),
                token.inline,
                token.sessions,
                token.metrics,
            );
            let secret = match digest(token) {
                Some(digest) => Secret::Fixed(digest),
                None => open(token, reloads)?,
            };
            entries.push(Entry {
                caller: Caller::new(&token.name, grants).with_limits(token.limits.clone()),
                secret,
            });
        }
        Ok(Self(entries))
    }

    /// Whose token this is.
    pub(super) fn find(&self, token: &str, now: Timestamp) -> Option<Caller> {
        let given = fingerprint(token);
        let mut found = None;
        for entry in &self.0 {
            let expected = match &entry.secret {
                Secret::Fixed(digest) => Some(*digest),
                Secret::File(file) => *file.get(now),
            };
            let same = expected.is_some_and(|expected| bool::from(expected.ct_eq(&given)));
            if same && found.is_none() {
                found = Some(entry.caller.clone());
            }
        }
        found
    }

    /// Who has this name.
    pub(super) fn named(&self, name: &str) -> Option<Caller> {
        let mut callers = self.0.iter().map(|entry| &entry.caller);
        callers.find(|caller| &*caller.name == name).cloned()
    }
}

/// The token in a file; `None` where it was taken back, by emptying the file or removing it.
fn of_file(path: &Path) -> Result<Option<Fingerprint>, String> {
    let text = match path.try_exists() {
        Ok(false) => String::new(),
        _ => files::read(path, SECRET_BYTES)?,
    };
    let token = text.trim();
    if token.is_empty() {
        let path = path.display();
        tracing::warn!(%path, "a token's file is empty or gone: nobody is let in by it");
        return Ok(None);
    }
    if !can_be_sent(token) {
        return Err("holds more than one token's text: write one, on one line".to_owned());
    }
    Ok(Some(fingerprint(token)))
}

fn open(token: &TokenConfig, reloads: &Reloads) -> Result<Secret, TokenError> {
    let path = &token.token_file;
    let opened = Watched::open(path, of_file, reloads);
    let opened = opened.and_then(|file| match *file.get(Timestamp::ZERO) {
        Some(_) => Ok(Secret::File(Box::new(file))),
        None => Err("cannot be read: write the token into it".to_owned()),
    });
    opened.map_err(|problem| TokenError {
        name: token.name.clone(),
        path: path.clone(),
        problem,
    })
}

fn fingerprint(token: &str) -> Fingerprint {
    Sha256::digest(token.as_bytes()).into()
}

/// The digest of a token that is not in a file.
fn digest(token: &TokenConfig) -> Option<Fingerprint> {
    if token.token.is_empty() {
        return hex(&token.token_sha256);
    }
    Some(fingerprint(&token.token))
}

fn hex(text: &str) -> Option<Fingerprint> {
    let mut digest = Fingerprint::default();
    let digits = text.len() == 2 * digest.len() && text.bytes().all(|b| b.is_ascii_hexdigit());
    for (index, byte) in digest.iter_mut().enumerate().filter(|_| digits) {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    digits.then_some(digest)
}

/// Whether a header can carry it as a bearer token.
fn can_be_sent(token: &str) -> bool {
    token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// All that is wrong with the tokens as they are configured, in words for the operator and without a token in them.
pub(super) fn wrong(config: &Auth) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut names = BTreeMap::new();
    let mut digests = BTreeMap::new();
    if !config.token.is_empty() {
        digests.insert(fingerprint(&config.token), THE_TOKEN.to_owned());
    }
    for (index, token) in config.tokens.iter().enumerate() {
        let place = format!("auth.tokens[{index}]");
        wrong.extend(
            wrong_with(token)
                .into_iter()
                .map(|why| format!("{place} {why}")),
        );
        if let Some(first) = names.insert(&token.name, place.clone()) {
            wrong.push(format!(
                "{place} has the name of {first}, '{}': give each its own",
                token.name
            ));
        }
        if let Some(digest) = digest(token)
            && let Some(first) = digests.insert(digest, place.clone())
        {
            wrong.push(format!(
                "{place} has the token of {first}: give each its own"
            ));
        }
    }
    wrong
}

fn wrong_with(token: &TokenConfig) -> Vec<String> {
    let mut wrong = Vec::new();
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if token.name.is_empty() || token.name.len() > NAME || !token.name.chars().all(fine) {
        let text =
            format!("has no name that does: set name to 1 to {NAME} letters, digits, '-' or '_'");
        wrong.push(text);
    }
    let given = [
        !token.token.is_empty(),
        !token.token_file.as_os_str().is_empty(),
        !token.token_sha256.is_empty(),
    ];
    match given.iter().filter(|&&given| given).count() {
        0 => wrong.push("has no token: set token_file, token_sha256 or token".to_owned()),
        1 => {}
        _ => wrong
            .push("has several tokens: set one of token_file, token_sha256 and token".to_owned()),
    }
    if !can_be_sent(&token.token) {
        wrong.push("has a token that no header carries: letters, digits and signs do, white space does not".to_owned());
    }
    if given[2] && hex(&token.token_sha256).is_none() {
        let text = "has a token_sha256 that is none: 64 hexadecimal digits, as \
                    `printf %s \"$TOKEN\" | sha256sum` prints them";
        wrong.push(text.to_owned());
    }
    let patterns = token
        .pipelines
        .iter()
        .filter(|pattern| !is_pattern(pattern));
    wrong.extend(patterns.map(|pattern| {
        format!("grants pipeline '{pattern}', which names none: write a name, or a beginning with '*' behind it")
    }));
    wrong
}

#[cfg(test)]
mod tests;
