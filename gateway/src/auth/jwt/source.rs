//! Where the public keys come from that are published at an address: it is asked now and then, and sooner where a token names a key
//! that is not known.
//!
//! Bounds: [`BYTES`] a set, [`TIME`] an answer, one question at a time and one in [`AGAIN`]. While the address cannot be asked, the last
//! good set goes on to serve; the log says so.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Uri;
use tidegate_media::Timestamp;

use super::keys::KeySet;
use crate::auth::files::{self, Reloads};
use crate::clock::Clock;
use crate::remote::download::{Allowed, Client};

/// Largest set.
const BYTES: usize = 256 << 10;
/// Longest time for one.
const TIME: Duration = Duration::from_secs(5);
/// The address is asked anew so often: a key that was taken out of the set is bad from then on.
pub(in crate::auth) const REFRESH: Duration = Duration::from_secs(300);
/// And so often while it does not answer.
const RETRY: Duration = Duration::from_secs(15);
/// And no sooner than this after it was asked last, whatever tokens name.
const AGAIN: Duration = Duration::from_secs(10);

/// The keys in a file.
///
/// # Errors
/// What is wrong with it, after its name.
pub(super) fn of_file(path: &Path) -> Result<KeySet, String> {
    KeySet::parse(&files::read(path, BYTES as u64)?)
}

/// An address that gives a set of keys.
pub(super) struct Remote {
    client: Client,
    url: String,
    set: ArcSwap<KeySet>,
    /// Whoever holds it asks.
    turn: tokio::sync::Mutex<Asked>,
    clock: Clock,
    reloads: Reloads,
}

/// What became of the last question.
#[derive(Default)]
struct Asked {
    at: Option<Timestamp>,
    answered: bool,
}

impl Remote {
    /// Trusts the authorities of the file `ca`, or the system's where it is none. Until it is asked it has the keys that are `known`.
    ///
    /// # Errors
    /// What is wrong with the file, after its name.
    pub(super) fn new(
        (url, ca): (&str, &Path),
        (clock, reloads): (Clock, &Reloads),
        known: Arc<KeySet>,
    ) -> Result<Self, String> {
        // The operator wrote this host, so that it may be at any address; where it redirects to may not.
        let uri = url.parse::<Uri>().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let mut client = Client::new(Allowed::new(&[host.to_owned()]));
        if !ca.as_os_str().is_empty() {
            client = client.trusting(ca)?;
        }
        Ok(Self {
            client,
            url: url.to_owned(),
            set: ArcSwap::new(known),
            turn: tokio::sync::Mutex::default(),
            clock,
            reloads: reloads.clone(),
        })
    }

    /// Where they are published.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// What it gave last.
    pub(super) fn set(&self) -> Arc<KeySet> {
        self.set.load_full()
    }

    /// What it gives now, if it was not asked just before. `missing`: the key that somebody waits for; once it is there nobody asks.
    pub(super) async fn ask(&self, missing: Option<&str>) -> Arc<KeySet> {
        let mut asked = self.turn.lock().await;
        if !missing.is_some_and(|id| self.set().knows(id)) {
            self.question(&mut asked).await;
        }
        self.set()
    }

    /// Asks, if it was not asked just before; says when to do so again.
    pub(super) async fn refresh(&self) -> Duration {
        let mut asked = self.turn.lock().await;
        self.question(&mut asked).await;
        if asked.answered { REFRESH } else { RETRY }
    }

    async fn question(&self, asked: &mut Asked) {
        let now = self.clock.now();
        if asked.at.is_some_and(|at| now.saturating_since(at) < AGAIN) {
            return;
        }
        asked.at = Some(now);
        let fetched = self.client.follow(&self.url, None, BYTES);
        let fetched = tokio::time::timeout(TIME, fetched).await;
        let fetched = fetched.unwrap_or_else(|_| Err(format!("took longer than {TIME:?}")));
        let set = fetched.and_then(|answer| {
            let body = answer.map(|answer| answer.body).unwrap_or_default();
            let text = std::str::from_utf8(&body).map_err(|_| "is no text".to_owned())?;
            KeySet::parse(text)
        });
        asked.answered = set.is_ok();
        match set {
            Ok(set) => {
                self.reloads.taken.increment(1);
                self.set.store(Arc::new(set));
            }
            Err(problem) => {
                self.reloads.refused.increment(1);
                let url = &self.url;
                tracing::warn!(
                    url,
                    problem,
                    "auth.jwt.jwks_url; the keys that it gave last are kept"
                );
            }
        }
    }
}
