//! Manifests by URL: fetched within limits, kept, and never from where a stranger's address may lead by accident or by intent.
//!
//! An address is resolved first and what it resolves to is looked at: loopback, private, link-local and other special addresses are
//! left out unless the configuration names the host (`manifest_hosts`), at every redirect anew. The connection goes to an address that
//! was looked at, so that a name which changes its mind in between (rebinding) gains nothing.
//!
//! Bounds: [`BYTES`] a manifest, [`TIME`] in all, a few redirects, [`ENTRIES`] manifests kept. What is kept is taken as it is for
//! [`FRESH`], or for as long as the server's `Cache-Control` says; then the server is asked whether it still holds, and while it cannot
//! be asked, what is kept goes on to serve for [`STALE`]. A pinned manifest (`manifest_sha256`) is what it is: it is never asked for again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
/// Manifests that are kept; a quarter of a gigabyte is the most they hold.
const ENTRIES: usize = 1_024;
/// Kept ones are taken as they are for so long.
const FRESH: Duration = Duration::from_secs(60);
/// And while the server cannot be asked for so long.
const STALE: Duration = Duration::from_secs(3_600);
/// After it could not be asked it is left alone for so long, where a kept one serves on, and where none does.
const AGAIN: Duration = Duration::from_secs(10);
const AGAIN_WITHOUT: Duration = Duration::from_secs(2);

/// Fetches manifests and keeps them. Clones share what is kept.
#[derive(Clone)]
pub(crate) struct Fetcher(Arc<Inner>);

struct Inner {
    client: Client,
    clock: Clock,
    kept: Mutex<HashMap<String, Kept>>,
    turns: Mutex<HashMap<String, Turn>>,
}

/// Whoever holds it asks the server; in it is when it could not be asked last, and why.
type Turn = Arc<tokio::sync::Mutex<Option<(Timestamp, Error)>>>;

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
            turns: Mutex::default(),
        }))
    }

    /// The text of the manifest at an address, which has this SHA-256 if one is given. Cancel safe.
    ///
    /// # Errors
    /// `manifest_fetch_failed`: it cannot be reached within the limits, may not be reached, is not what was pinned or is no manifest.
    pub(crate) async fn get(&self, url: &str, pin: Option<&str>) -> Result<Arc<str>, Error> {
        let pin = pin.map(str::to_ascii_lowercase);
        if let Some(text) = self.ready(url, pin.as_deref()) {
            return Ok(text);
        }
        // One session asks at a time: the others would wait as long, for the same.
        let turn = self.turn(url, pin.as_deref());
        let mut last = match turn.try_lock() {
            Ok(last) => last,
            Err(_) => match self.stale(url, pin.as_deref()) {
                Some(text) => return Ok(text),
                None => turn.lock().await,
            },
        };
        if let Some(text) = self.ready(url, pin.as_deref()) {
            return Ok(text);
        }
        let now = self.0.clock.now();
        let stale = self.stale(url, pin.as_deref());
        let again = if stale.is_some() {
            AGAIN
        } else {
            AGAIN_WITHOUT
        };
        if let Some((at, error)) = &*last
            && now.saturating_since(*at) < again
        {
            return stale.ok_or_else(|| error.clone());
        }
        let asked = self.ask(url, pin, now).await;
        *last = asked.as_ref().err().map(|error| (now, error.clone()));
        match (asked, stale) {
            (Err(error), Some(text)) => {
                tracing::warn!(%error, "manifest cannot be asked for again; the kept one serves on");
                Ok(text)
            }
            (asked, _) => asked,
        }
    }

    /// What is kept and needs no asking.
    fn ready(&self, url: &str, pin: Option<&str>) -> Option<Arc<str>> {
        let now = self.0.clock.now();
        let kept = self.kept(url, now)?;
        let ready = match pin {
            Some(pin) => pin == kept.sha256,
            None => now.saturating_since(kept.at) < kept.fresh,
        };
        ready.then_some(kept.text)
    }

    /// What is kept and serves while the server cannot be asked.
    fn stale(&self, url: &str, pin: Option<&str>) -> Option<Arc<str>> {
        let now = self.0.clock.now();
        let kept = self.kept(url, now).filter(|_| pin.is_none())?;
        (now.saturating_since(kept.at) < STALE).then_some(kept.text)
    }

    fn turn(&self, url: &str, pin: Option<&str>) -> Turn {
        let key = format!("{} {url}", pin.unwrap_or_default());
        let mut turns = self.0.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= ENTRIES && !turns.contains_key(&key) {
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        Arc::clone(turns.entry(key).or_default())
    }

    /// Asks the server, whether what is kept still holds or for all of it.
    async fn ask(&self, url: &str, pin: Option<String>, now: Timestamp) -> Result<Arc<str>, Error> {
        let kept = self.kept(url, now);
        let etag = kept.as_ref().and_then(|kept| kept.etag.clone());
        let etag = etag.filter(|_| pin.is_none());
        let fetched = tokio::time::timeout(TIME, self.0.client.follow(url, etag, BYTES)).await;
        let fetched = fetched.unwrap_or_else(|_| Err(format!("took longer than {TIME:?}: give it from a server that is nearer, or write the manifest in place")));
        match (fetched.map_err(|problem| failed(url, &problem))?, kept) {
            (Some(fetched), _) => self.judge(url, pin, fetched, now),
            (None, Some(kept)) => {
                let text = Arc::clone(&kept.text);
                self.keep(url, Kept { at: now, ..kept });
                Ok(text)
            }
            (None, None) => Err(failed(
                url,
                "server says that it has not changed, though it was never fetched",
            )),
        }
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::tasks::Tasks;

    const TEXT: &str = "version: tidegate/v1\nname: pass\ninputs: [{name: in, kind: text}]\n\
                        outputs: [{name: out, kind: text}]\nedges: [in -> out]\n";
    const SOON: Duration = Duration::from_secs(2);

    async fn asked(listener: &TcpListener) -> TcpStream {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut head = [0; 1 << 10];
        let read = stream.read(&mut head).await.expect("a request");
        assert!(head[..read].starts_with(b"GET /m.yaml "));
        stream
    }

    /// Gives a manifest that is to be asked for again at once.
    async fn answer(listener: &TcpListener) {
        let mut stream = asked(listener).await;
        let head = "HTTP/1.1 200 OK\r\ncache-control: max-age=0\r\nconnection: close";
        let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{TEXT}", TEXT.len());
        stream.write_all(answer.as_bytes()).await.expect("taken");
    }

    async fn server() -> (Fetcher, TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let fetcher = Fetcher::new(&["127.0.0.1".to_owned()], Clock::start());
        (fetcher, listener, format!("http://{at}/m.yaml"))
    }

    #[tokio::test]
    async fn while_one_session_asks_a_server_that_hangs_others_have_what_is_kept() {
        let (fetcher, listener, url) = server().await;
        let (first, ()) = tokio::join!(fetcher.get(&url, None), answer(&listener));
        assert_eq!(&*first.expect("it is there"), TEXT);
        let (asking, at) = (fetcher.clone(), url.clone());
        let asking = Tasks::default().spawn(async move { asking.get(&at, None).await });
        let hanging = asked(&listener).await;
        let other = tokio::time::timeout(SOON, fetcher.get(&url, None)).await;
        assert_eq!(&*other.expect("at once").expect("kept"), TEXT);
        drop(hanging);
        let asked = tokio::time::timeout(SOON, asking).await.expect("in time");
        assert_eq!(&*asked.expect("no panic").expect("kept"), TEXT);
        // It failed just now: it is not asked again so soon.
        let again = tokio::time::timeout(SOON, fetcher.get(&url, None)).await;
        assert_eq!(&*again.expect("at once").expect("kept"), TEXT);
        let listener = listener.into_std().expect("a listener");
        assert!(listener.accept().is_err(), "nobody connects");
    }
}
