//! Manifests by URL: fetched within limits, kept, and never from where a stranger's address may lead by accident or by intent.
//!
//! An address is resolved first and what it resolves to is looked at: loopback, private, link-local and other special addresses are
//! left out unless the configuration names the host (`manifest_hosts`), at every redirect anew. The connection goes to an address that
//! was looked at, so that a name which changes its mind in between (rebinding) gains nothing.
//!
//! Bounds: [`BYTES`] a manifest, [`TIME`] in all, [`REDIRECTS`] redirects, [`ENTRIES`] manifests kept. What is kept is taken as it is for
//! [`FRESH`], or for as long as the server's `Cache-Control` says; then the server is asked whether it still holds, and while it cannot
//! be asked, what is kept goes on to serve for [`STALE`]. A pinned manifest (`manifest_sha256`) is what it is: it is never asked for again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use tidegate_media::Timestamp;
use tidegate_nodes::{Code, Error, Manifest};
use tidegate_remote::describe::shown;

use super::download::{Allowed, Client, Download};
use super::targets::sha256;
use crate::clock::Clock;

/// The largest manifest.
const BYTES: usize = 256 << 10;
/// Longest time for one, redirects included.
const TIME: Duration = Duration::from_secs(5);
/// Redirects that are followed.
const REDIRECTS: usize = 3;
/// Manifests that are kept; a quarter of a gigabyte is the most they hold.
const ENTRIES: usize = 1_024;
/// Kept ones are taken as they are for so long.
const FRESH: Duration = Duration::from_secs(60);
/// And while the server cannot be asked for so long.
const STALE: Duration = Duration::from_secs(3_600);

/// Fetches manifests and keeps them. Clones share what is kept.
#[derive(Clone)]
pub(crate) struct Fetcher(Arc<Inner>);

struct Inner {
    client: Client,
    clock: Clock,
    kept: Mutex<HashMap<String, Kept>>,
}

#[derive(Clone)]
struct Kept {
    text: Arc<str>,
    sha256: String,
    etag: Option<http::HeaderValue>,
    /// It is taken as it is for so long.
    fresh: Duration,
    /// When the server said last that it holds.
    at: Timestamp,
    used: Timestamp,
}

impl Fetcher {
    /// A fetcher that reaches hosts of these names wherever they are, and others at public addresses.
    pub(crate) fn new(hosts: &[String], clock: Clock) -> Self {
        Self(Arc::new(Inner {
            client: Client::new(Allowed::new(hosts)),
            clock,
            kept: Mutex::default(),
        }))
    }

    /// The text of the manifest at an address, which has this SHA-256 if one is given. Cancel safe.
    ///
    /// # Errors
    /// `manifest_fetch_failed`: it cannot be reached within the limits, may not be reached, is not what was pinned or is no manifest.
    pub(crate) async fn get(&self, url: &str, pin: Option<&str>) -> Result<Arc<str>, Error> {
        let now = self.0.clock.now();
        let pin = pin.map(str::to_ascii_lowercase);
        let kept = self.kept(url, now);
        if let Some(kept) = &kept {
            let pinned = pin.as_ref().is_some_and(|pin| *pin == kept.sha256);
            if pinned || pin.is_none() && now - kept.at < kept.fresh {
                return Ok(Arc::clone(&kept.text));
            }
        }
        let etag = kept.as_ref().and_then(|kept| kept.etag.clone());
        let etag = etag.filter(|_| pin.is_none());
        let fetched = tokio::time::timeout(TIME, self.fetch(url, etag)).await;
        let fetched = fetched.unwrap_or_else(|_| Err(format!("took longer than {TIME:?}: give it from a server that is nearer, or write the manifest in place")));
        let fetched = match (fetched, kept) {
            (Ok(Some(fetched)), _) => fetched,
            (Ok(None), Some(kept)) => {
                let text = Arc::clone(&kept.text);
                self.keep(url, Kept { at: now, ..kept });
                return Ok(text);
            }
            (Err(problem), Some(kept)) if pin.is_none() && now - kept.at < STALE => {
                tracing::warn!(
                    url = shown(url),
                    problem,
                    "manifest cannot be asked for again; the kept one serves on"
                );
                return Ok(Arc::clone(&kept.text));
            }
            (Err(problem), _) => return Err(failed(url, &problem)),
            (Ok(None), None) => {
                return Err(failed(
                    url,
                    "server says that it has not changed, though it was never fetched",
                ));
            }
        };
        self.judge(url, pin, fetched, now)
    }

    /// Keeps what was fetched if it is what it should be.
    fn judge(
        &self,
        url: &str,
        pin: Option<String>,
        fetched: Download,
        now: Timestamp,
    ) -> Result<Arc<str>, Error> {
        let sha256 = sha256(&fetched.body);
        if let Some(pin) = pin.filter(|pin| *pin != sha256) {
            let problem = format!(
                "has SHA-256 {sha256}, but 'manifest_sha256' is {pin}: look at what changed, then pin the new one"
            );
            return Err(failed(url, &problem));
        }
        let text = std::str::from_utf8(&fetched.body)
            .map_err(|_| failed(url, "is no text: give YAML or JSON in UTF-8"))?;
        Manifest::parse("manifest", text)
            .map_err(|all| failed(url, &format!("is no manifest: {all}")))?;
        let text: Arc<str> = text.into();
        let kept = Kept {
            text: Arc::clone(&text),
            sha256,
            etag: fetched.etag,
            fresh: fetched.max_age.map_or(FRESH, |age| age.min(STALE)),
            at: now,
            used: now,
        };
        self.keep(url, kept);
        Ok(text)
    }

    /// Follows redirects. `None`: it is still what the tag says.
    async fn fetch(
        &self,
        url: &str,
        etag: Option<http::HeaderValue>,
    ) -> Result<Option<Download>, String> {
        let mut uri: Uri = url
            .parse()
            .map_err(|error| format!("is no address: {error}"))?;
        for _ in 0..=REDIRECTS {
            let answer = self.0.client.get(&uri, etag.clone(), BYTES).await?;
            if answer.status == http::StatusCode::NOT_MODIFIED {
                return Ok(None);
            }
            if answer.status.is_success() {
                return Ok(Some(answer));
            }
            let Some(next) = answer.redirect(&uri)? else {
                let status = answer.status;
                return Err(format!("was answered with {status}: look at the server"));
            };
            uri = next;
        }
        Err(format!(
            "leads through more than {REDIRECTS} redirects: write the address where they end"
        ))
    }

    fn kept(&self, url: &str, now: Timestamp) -> Option<Kept> {
        let mut all = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.get_mut(url)?;
        kept.used = now;
        Some(kept.clone())
    }

    fn keep(&self, url: &str, kept: Kept) {
        let mut all = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ENTRIES && !all.contains_key(url) {
            let oldest = all.iter().min_by_key(|(_, kept)| kept.used);
            if let Some(oldest) = oldest.map(|(url, _)| url.clone()) {
                all.remove(&oldest);
            }
        }
        all.insert(url.to_owned(), kept);
    }
}

fn failed(url: &str, problem: &str) -> Error {
    let text = format!("manifest at {} {problem}", shown(url));
    Error::new(Code::ManifestFetchFailed, text)
}
