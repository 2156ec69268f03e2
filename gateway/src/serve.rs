//! The listener: TCP, TLS, HTTP/1.1 and HTTP/2 on one address; start, reload and drain.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use notify::{RecursiveMode, Watcher as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, Semaphore};
use tokio_rustls::TlsAcceptor;
use tower::util::MapRequest;

use crate::config::{Config, Tls};
use crate::gateway::{Gateway, StartError};
use crate::place::Place;

/// Largest HTTP/2 frame: a megabyte and what names it, so that a tensor of that size comes in one piece, which is not copied. Frames of
/// 16 KiB cost it 64 headers and as many wake-ups.
const FRAME: u32 = (1 << 20) + (64 << 10);
/// HTTP/2 windows: what one stream and one connection may have in flight.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Streams of one connection.
const STREAMS: u32 = 1000;
/// How often a silent HTTP/2 peer is asked whether it lives, and how long it may take.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How often histogram samples are folded into buckets.
const UPKEEP: Duration = Duration::from_secs(5);
/// Changes of one save arrive as several events; they become one reload once nothing has changed for this long.
const SETTLE: Duration = Duration::from_millis(200);
/// Times that a change puts the reload off; a folder that is written to for ever is read now and then all the same.
const SETTLE_MAX: u32 = 25;
/// How long connections get after the last session.
const LAST_RESPONSES: Duration = Duration::from_secs(2);

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
    #[error("signals cannot be waited for")]
    Signals(#[source] io::Error),
    #[error("TLS file {path} {problem}")]
    TlsFile { path: String, problem: String },
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// A listener that is bound and not served yet.
pub(crate) struct Server {
    gateway: Arc<Gateway>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Server {
    /// Binds everything.
    ///
    /// # Errors
    /// An address is taken, a pipeline has errors, or TLS files do not do.
    pub(crate) async fn bind(config: Config) -> Result<Self, ServeError> {
        let tls = if config.has_tls() {
            Some(acceptor(&config.tls)?)
        } else {
            None
        };
        let address = config.listen;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| ServeError::Listen { address, source })?;
        let gateway = Gateway::new(config, true)?;
        Ok(Self {
            gateway,
            listener,
            tls,
        })
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
        let changed = Arc::new(Notify::new());
        let watcher = watch(&gateway, &changed);
        let background = background(&gateway);
        let router = crate::http::router(&gateway);
        let stop = Arc::new(Notify::new());
        let accepting = gateway.tasks.spawn(accept(self, router, Arc::clone(&stop)));
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => reload(&gateway),
                () = settled(&changed) => reload(&gateway),
            }
        }
        drop(watcher);
        let grace = gateway.config.limits.grace.0;
        tracing::info!(grace_seconds = grace.as_secs(), "draining");
        gateway.sessions.drain(grace);
        tokio::select! {
            () = drained(&gateway, grace) => {}
            _ = terminate.recv() => tracing::warn!("second signal: not waiting for sessions"),
            _ = interrupt.recv() => tracing::warn!("second signal: not waiting for sessions"),
        }
        stop.notify_one();
        // Its own bound is inside; a panic there has been reported by the runtime.
        drop(accepting.await);
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

fn background(gateway: &Arc<Gateway>) -> Vec<tokio::task::JoinHandle<()>> {
    let mut tasks = Vec::new();
    let metrics = Arc::clone(&gateway.metrics);
    tasks.push(gateway.tasks.spawn(async move {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            metrics.upkeep();
        }
    }));
    let keeping = Arc::clone(gateway);
    tasks.push(
        gateway
            .tasks
            .spawn(async move { keeping.keep_pools().await }),
    );
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
    match gateway.pipelines.reload() {
        Ok(changed) => {
            let pipelines = gateway.pipelines.all().len();
            tracing::info!(pipelines, ?changed, "pipelines reloaded");
            let pools = gateway.remotes.pools();
            changed.iter().for_each(|name| pools.outdate(name));
        }
        Err(error) => tracing::error!(%error, "pipelines not reloaded; the old ones are kept"),
    }
}

/// Watches the folder of pipelines; `None` where there is none or it cannot be watched (SIGHUP still works).
fn watch(gateway: &Gateway, changed: &Arc<Notify>) -> Option<notify::RecommendedWatcher> {
    let folder = gateway.pipelines.folder()?;
    let changed = Arc::clone(changed);
    let on_event = move |event: notify::Result<notify::Event>| {
        let changes = |event: &notify::Event| !event.kind.is_access();
        if event.as_ref().is_ok_and(changes) {
            changed.notify_one();
        }
    };
    let watcher = notify::recommended_watcher(on_event).and_then(|mut watcher| {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watcher
        .inspect_err(|error| tracing::warn!(%error, "the folder is not watched; SIGHUP reloads"))
        .ok()
}

/// Accepts connections until `stop`, then lets the open ones finish their responses.
async fn accept(server: Server, router: Router, stop: Arc<Notify>) {
    let gateway = &server.gateway;
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(gateway.config.limits.connections));
    let open = gateway.config.limits.open.0;
    loop {
        // Both in one: where all places are taken, the stop must be heard too.
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, server.listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            (Ok(slot), accepted) = next => (slot, accepted),
            () = stop.notified() => break,
            else => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, mostly: waiting a little beats spinning.
                tracing::warn!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "nodelay");
        }
        let (router, watcher, tls) = (router.clone(), graceful.watcher(), server.tls.clone());
        drop(gateway.tasks.spawn(async move {
            let place = Place::new(slot);
            match tls {
                None => connection(stream, router, open, place, watcher).await,
                Some(tls) => match tokio::time::timeout(open, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connection(stream, router, open, place, watcher).await,
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake"),
                    Err(_) => tracing::debug!("TLS handshake took too long"),
                },
            }
        }));
    }
    if tokio::time::timeout(LAST_RESPONSES, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::debug!("connections that did not finish were cut");
    }
}

async fn connection<S>(
    stream: S,
    router: Router,
    open: Duration,
    place: Place,
    watcher: hyper_util::server::graceful::Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(open)
        .max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_frame_size(FRAME)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(Some(KEEPALIVE))
        .keep_alive_timeout(KEEPALIVE)
        .max_header_list_size(64 * 1024);
    let asking = place.clone();
    let service = MapRequest::new(router, move |mut request: http::Request<Incoming>| {
        asking.asked();
        request.extensions_mut().insert(asking.clone());
        request
    });
    let service = TowerToHyperService::new(service);
    let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::select! {
        served = watcher.watch(served.into_owned()) => {
            if let Err(error) = served {
                tracing::debug!(%error, "connection");
            }
        }
        // The library's own limit begins with the first byte of a head; before it nothing does.
        () = place.unused(open) => tracing::debug!("connection without a request"),
    }
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor, ServeError> {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let problem = |path: &Path, error: &dyn std::fmt::Display| ServeError::TlsFile {
        path: path.display().to_string(),
        problem: format!("cannot be used: {error}"),
    };
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| problem(&tls.certificate, &error))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| problem(&tls.key, &error))?;
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()?
    .with_no_client_auth()
    .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
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
