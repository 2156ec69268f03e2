//! The gateway's life: start, reload and drain.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use crate::config::Config;
use crate::connections::{Connections, Http};
use crate::gateway::{Gateway, StartError};
use crate::metrics::label;
use crate::pipelines::Changes;
use crate::tls::{Tls, TlsError};
use crate::wyoming::Wyoming;

/// Changes of one save arrive as several events; they become one reload once nothing has changed for this long.
const SETTLE: Duration = Duration::from_millis(200);
/// Times that a change puts the reload off; a folder that is written to for ever is read now and then all the same.
const SETTLE_MAX: u32 = 25;
/// How long the collector may take for the spans of the last sessions.
const FLUSH: Duration = Duration::from_secs(5);
/// What is read again, and what became of it.
const PIPELINES: &str = "tidegate_reloads_total";
const CERTIFICATES: &str = "tidegate_tls_reloads_total";
/// Until when the certificate is good.
const EXPIRY: &str = "tidegate_tls_certificate_expires_timestamp_seconds";
const TAKEN: &str = "taken";
const REFUSED: &str = "refused";

/// Why serving cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ServeError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("address {address} cannot be listened on{}", taken(source, "--listen"))]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error(
        "address {address} cannot be listened on{}",
        taken(source, "--wyoming")
    )]
    Wyoming {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("signals cannot be waited for")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A listener that is bound and not served yet.
pub(crate) struct Server {
    gateway: Arc<Gateway>,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    wyoming: Option<TcpListener>,
    again: Option<Again>,
}

/// Reads the settings again.
pub(crate) type Again = Box<dyn Fn() -> Result<Config, String> + Send + Sync>;

impl Server {
    /// Binds everything.
    ///
    /// # Errors
    /// An address is taken, a pipeline has errors, or TLS files do not do.
    pub(crate) async fn bind(config: Config) -> Result<Self, ServeError> {
        let tls = if config.has_tls() {
            Some(Tls::load(&config.tls)?)
        } else {
            None
        };
        let address = config.listen;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| ServeError::Listen { address, source })?;
        let wyoming = match config.wyoming.listen {
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .map_err(|source| ServeError::Wyoming { address, source })?,
            ),
            None => None,
        };
        let gateway = Gateway::new(config, true)?;
        Ok(Self {
            gateway,
            listener,
            tls,
            wyoming,
            again: None,
        })
    }

    /// With a way to read the settings again, of which those of `auth` are taken over at SIGHUP.
    pub(crate) fn again(mut self, again: Again) -> Self {
        self.again = Some(again);
        self
    }

    /// Where Wyoming is served, if it is.
    pub(crate) fn wyoming(&self) -> Option<SocketAddr> {
        self.wyoming.as_ref()?.local_addr().ok()
    }

    /// The page's address.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let address = self
            .listener
            .local_addr()
            .unwrap_or(self.gateway.config.listen);
        format!("{scheme}://{address}")
    }

    /// The address of media.
    pub(crate) fn media(&self) -> Option<SocketAddr> {
        self.gateway
            .webrtc
            .as_ref()
            .and_then(|webrtc| webrtc.media.local_addr().ok())
    }

    /// Serves until SIGTERM or SIGINT, then drains: running sessions finish within the grace period. A second signal ends at once.
    ///
    /// # Errors
    /// Signals cannot be waited for.
    pub(crate) async fn run(self) -> Result<(), ServeError> {
        let gateway = Arc::clone(&self.gateway);
        let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(ServeError::Signals)?;
        let (changed, renewed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let folders = self.tls.as_ref().map(|tls| tls.folders());
        let watchers = [
            watch(gateway.pipelines.folder().as_slice(), &changed),
            watch(&folders.unwrap_or_default(), &renewed),
        ];
        let tls = self.tls.clone();
        let background = background(&gateway);
        // There from the start, so that an alert can compare.
        for outcome in [TAKEN, REFUSED] {
            count_reloads(&gateway, PIPELINES, outcome, 0);
            count_reloads(&gateway, CERTIFICATES, outcome, 0);
        }
        tell_expiry(&gateway, self.tls.as_deref());
        let (stop, stopped) = watch::channel(false);
        let accepting = accept(&gateway, (self.listener, self.tls), self.wyoming, &stopped);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => {
                    reload(&gateway);
                    admit(&gateway, self.again.as_ref());
                    renew(&gateway, tls.as_deref());
                }
                () = settled(&changed) => reload(&gateway),
                () = settled(&renewed) => renew(&gateway, tls.as_deref()),
            }
        }
        drop(watchers);
        let grace = gateway.config.limits.grace.0;
        tracing::info!(grace_seconds = grace.as_secs(), "draining");
        gateway.sessions.drain(grace);
        tokio::select! {
            () = drained(&gateway, grace) => {}
            _ = terminate.recv() => tracing::warn!("second signal: not waiting for sessions"),
            _ = interrupt.recv() => tracing::warn!("second signal: not waiting for sessions"),
        }
        stop.send_replace(true);
        // Sessions have told all of themselves by now.
        gateway.tracer.flush(FLUSH).await;
        // Their own bound is inside; a panic there has been reported by the runtime.
        for listener in accepting {
            drop(listener.await);
        }
        for task in background {
            task.abort();
        }
        Ok(())
    }
}

/// Waits until no session is left, at most a little longer than the grace period.
async fn drained(gateway: &Gateway, grace: Duration) {
    let bound = grace + Duration::from_secs(5);
    if tokio::time::timeout(bound, gateway.sessions.emptied())
        .await
        .is_err()
    {
        let (left, _) = gateway.sessions.occupancy();
        tracing::error!(
            sessions = left,
            "sessions did not end within the grace period"
        );
    }
}

/// Accepts on the listeners until `stopped` says so, and a bounded time longer.
fn accept(
    gateway: &Arc<Gateway>,
    (listener, tls): (TcpListener, Option<Arc<Tls>>),
    wyoming: Option<TcpListener>,
    stopped: &watch::Receiver<bool>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let limits = &gateway.config.limits;
    let connections = |tls| Connections {
        tasks: gateway.tasks.clone(),
        most: limits.connections,
        open: limits.open.0,
        tls,
    };
    let http = Http {
        router: crate::http::router(gateway),
        open: limits.open.0,
        stalled: limits.stalled.0,
    };
    let accepting = connections(tls).accept(listener, http, stopped.clone());
    let mut tasks = vec![gateway.tasks.spawn(accepting)];
    if let Some(listener) = wyoming {
        // Its clients know no TLS.
        let protocol = Wyoming::new(gateway);
        let accepting = connections(None).accept(listener, protocol, stopped.clone());
        tasks.push(gateway.tasks.spawn(accepting));
    }
    tasks
}

fn background(gateway: &Arc<Gateway>) -> Vec<tokio::task::JoinHandle<()>> {
    let mut tasks = Vec::new();
    let keeping = Arc::clone(gateway);
    tasks.push(
        gateway
            .tasks
            .spawn(async move { keeping.keep_pools().await }),
    );
    let asking = Arc::clone(gateway);
    tasks.push(gateway.tasks.spawn(async move { asking.auth.keep().await }));
    if let Some(webrtc) = &gateway.webrtc {
        let media = Arc::clone(&webrtc.media);
        tasks.push(gateway.tasks.spawn(async move { media.run().await }));
    }
    tasks
}

/// Waits for a change and until it is over. Cancel safe: what is cut off begins anew with the next change.
async fn settled(changed: &Notify) {
    changed.notified().await;
    for _ in 0..SETTLE_MAX {
        if tokio::time::timeout(SETTLE, changed.notified())
            .await
            .is_err()
        {
            return;
        }
    }
}

/// What to do about an address that another program has.
pub(crate) fn taken(source: &io::Error, flag: &str) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                ": another program has its port: stop it, or give another with {flag} (port 0: any that is free)"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!(": this machine does not have it: give one of its own with {flag}")
        }
        _ => String::new(),
    }
}

fn reload(gateway: &Gateway) {
    let reloaded = gateway.pipelines.reload();
    // Before it is said, for those who look when they read of it.
    let outcome = if reloaded.is_ok() { TAKEN } else { REFUSED };
    count_reloads(gateway, PIPELINES, outcome, 1);
    match reloaded {
        Ok(Changes {
            added,
            changed,
            removed,
        }) => {
            let pipelines = gateway.pipelines.all().len();
            tracing::info!(pipelines, ?added, ?changed, ?removed, "pipelines reloaded");
            let pools = gateway.remotes.pools();
            let outdated = changed.iter().chain(&removed);
            outdated.for_each(|name| pools.outdate(name));
        }
        Err(error) => tracing::error!(%error, "pipelines not reloaded; the old ones are kept"),
    }
}

/// Reads again who may come in: the settings, and the files that they name.
fn admit(gateway: &Gateway, again: Option<&Again>) {
    let Some(again) = again else { return };
    let read = again()
        .inspect_err(|_| gateway.auth.reload_refused())
        .and_then(|config| {
            let auth = config.auth;
            let taken = gateway.auth.reload(&auth);
            taken.map_err(|error| error.to_string())?;
            gateway.accounts.reload(auth.limits);
            Ok(())
        });
    match read {
        Ok(()) => tracing::info!("who may come in was read again; what is open goes on"),
        Err(error) => {
            tracing::error!(%error, "who may come in was not read again; what was known is kept");
        }
    }
}

/// Reads certificate, key and authorities again, if they have changed.
fn renew(gateway: &Gateway, tls: Option<&Tls>) {
    match tls.map(Tls::reload) {
        None | Some(Ok(false)) => {}
        Some(Ok(true)) => {
            tell_expiry(gateway, tls);
            count_reloads(gateway, CERTIFICATES, TAKEN, 1);
            tracing::info!("certificates read again; connections that stand keep theirs");
        }
        Some(Err(error)) => {
            count_reloads(gateway, CERTIFICATES, REFUSED, 1);
            tracing::error!(%error, "certificates not read again; the old ones are kept");
        }
    }
}

fn tell_expiry(gateway: &Gateway, tls: Option<&Tls>) {
    if let Some(expires) = tls.and_then(Tls::expires) {
        #[expect(clippy::cast_precision_loss, reason = "seconds of any year are exact")]
        let expires = expires as f64;
        gateway.metrics.gauge(EXPIRY, Vec::new()).set(expires);
    }
}

fn count_reloads(gateway: &Gateway, name: &'static str, outcome: &'static str, more: u64) {
    let labels = vec![label("outcome", outcome)];
    gateway.metrics.counter(name, labels).increment(more);
}

/// Watches folders; `None` where there are none or they cannot be watched (SIGHUP still works).
fn watch(
    folders: &[impl AsRef<Path>],
    changed: &Arc<Notify>,
) -> Option<notify::RecommendedWatcher> {
    if folders.is_empty() {
        return None;
    }
    let changed = Arc::clone(changed);
    let on_event = move |event: notify::Result<notify::Event>| {
        let changes = |event: &notify::Event| !event.kind.is_access();
        if event.as_ref().is_ok_and(changes) {
            changed.notify_one();
        }
    };
    let watcher = notify::recommended_watcher(on_event).and_then(|mut watcher| {
        for folder in folders {
            watcher.watch(folder.as_ref(), RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    });
    watcher
        .inspect_err(|error| tracing::warn!(%error, "a folder is not watched; SIGHUP reloads"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_that_follow_each_other_are_one_reload() {
        let changed = Notify::new();
        let reload = async {
            settled(&changed).await;
            // What was left over of the save would be a second one.
            let more = tokio::time::timeout(2 * SETTLE, settled(&changed)).await;
            assert!(more.is_err(), "a second reload");
        };
        let save = async {
            let mut writes = tokio::time::interval(SETTLE / 4);
            for _ in 0..6 {
                writes.tick().await;
                changed.notify_one();
            }
        };
        tokio::join!(reload, save);
    }

    #[test]
    fn an_address_that_is_taken_says_what_to_do() {
        let error = ServeError::Listen {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            source: io::ErrorKind::AddrInUse.into(),
        };
        let text = error.to_string();
        assert!(
            text.contains("127.0.0.1:8080") && text.contains("--listen"),
            "{text}"
        );
    }
}
