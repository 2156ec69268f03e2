//! Where the public keys come from: a file that is read again when it changes, or an address that is asked now and then, and sooner
//! where a token names a key that is not known.
//!
//! Bounds: [`BYTES`] a set, [`TIME`] an answer, one question at a time and one in [`AGAIN`]. While the address cannot be asked, or the file
//! cannot be read, the last good set goes on to serve; the log says so.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Uri;
use tidegate_media::Timestamp;

use super::keys::KeySet;
use crate::auth::files::{self, LOOK, Stamp};
use crate::clock::Clock;
use crate::remote::download::{Allowed, Client};

/// Largest set.
const BYTES: usize = 256 << 10;
/// Longest time for one.
const TIME: Duration = Duration::from_secs(5);
/// The address is asked anew so often: a key that was taken out of the set is bad from then on.
const REFRESH: Duration = Duration::from_secs(300);
/// And no sooner than this after it was asked last, whatever tokens name.
const AGAIN: Duration = Duration::from_secs(10);

/// A file with a set of keys.
pub(super) struct File {
    path: PathBuf,
    held: Mutex<Held>,
}

struct Held {
    set: Arc<KeySet>,
    stamp: Option<Stamp>,
    looked: Option<Timestamp>,
}

impl File {
    /// # Errors
    /// It cannot be read, or holds no keys.
    pub(super) fn open(path: PathBuf) -> Result<Self, String> {
        let stamp = files::stamp(&path)?;
        let set = KeySet::parse(&files::read(&path, BYTES as u64)?)?;
        let held = Held {
            set: Arc::new(set),
            stamp: Some(stamp),
            looked: None,
        };
        Ok(Self {
            path,
            held: Mutex::new(held),
        })
    }

    /// What the file holds, or held when it could be read last.
    pub(super) fn set(&self, now: Timestamp) -> Arc<KeySet> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |looked| now.saturating_since(looked) < LOOK;
        if held.looked.is_some_and(recent) {
            return Arc::clone(&held.set);
        }
        held.looked = Some(now);
        let stamp = files::stamp(&self.path).ok();
        if stamp != held.stamp {
            held.stamp = stamp;
            let read = files::read(&self.path, BYTES as u64);
            let path = self.path.display();
            match read.and_then(|text| KeySet::parse(&text)) {
                Ok(set) => {
                    held.set = Arc::new(set);
                    tracing::info!(%path, "keys of tokens read again");
                }
                Err(problem) => {
                    tracing::error!(%path, problem, "keys of tokens not read again; the old ones are kept");
                }
            }
        }
        Arc::clone(&held.set)
    }
}

/// An address that gives a set of keys.
pub(super) struct Remote {
    client: Client,
    url: String,
    set: ArcSwap<KeySet>,
    /// Whoever holds it asks; in it is when was asked last.
    turn: tokio::sync::Mutex<Option<Timestamp>>,
    clock: Clock,
}

impl Remote {
    /// It has no keys until it is asked.
    pub(super) fn new(url: String, clock: Clock) -> Self {
        // The operator wrote this host, so that it may be at any address; where it redirects to may not.
        let uri = url.parse::<Uri>().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Self {
            client: Client::new(Allowed::new(&[host.to_owned()])),
            url,
            set: ArcSwap::default(),
            turn: tokio::sync::Mutex::default(),
            clock,
        }
    }

    /// What it gave last.
    pub(super) fn set(&self) -> Arc<KeySet> {
        self.set.load_full()
    }

    /// What it gives now, if it was not asked just before. `missing`: the key that somebody waits for; once it is there nobody asks.
    pub(super) async fn ask(&self, missing: Option<&str>) -> Arc<KeySet> {
        let mut asked = self.turn.lock().await;
        let now = self.clock.now();
        let recent = |at| now.saturating_since(at) < AGAIN;
        if missing.is_some_and(|id| self.set().knows(id)) || asked.is_some_and(recent) {
            return self.set();
        }
        *asked = Some(now);
        let fetched = tokio::time::timeout(TIME, self.client.follow(&self.url, None, BYTES)).await;
        let fetched = fetched.unwrap_or_else(|_| Err(format!("took longer than {TIME:?}")));
        let set = fetched.and_then(|answer| {
            let body = answer.map(|answer| answer.body).unwrap_or_default();
            let text = std::str::from_utf8(&body).map_err(|_| "is no text".to_owned())?;
            KeySet::parse(text)
        });
        match set {
            Ok(set) => self.set.store(Arc::new(set)),
            Err(problem) => {
                let url = &self.url;
                tracing::warn!(
                    url,
                    problem,
                    "auth.jwt.jwks_url; the keys that it gave last are kept"
                );
            }
        }
        self.set()
    }

    /// Asks for as long as it is polled.
    pub(super) async fn keep(&self) {
        let mut ticks = tokio::time::interval(REFRESH);
        loop {
            ticks.tick().await;
            self.ask(None).await;
        }
    }
}
