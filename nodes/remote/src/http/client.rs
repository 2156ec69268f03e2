//! HTTP connections, shared by all calls that go to one place as one identity.
//!
//! A server may close a connection that waits just as it is taken for the next call. Such a call was never heard: if its connection
//! had carried others and not a byte came back, it is made again at once, once, on a connection that is new for certain.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Extensions, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use tidegate_nodes::Phase;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::auth::TlsIdentity;
use crate::connector::Connector;
use crate::dial::{self, Place, Stream};
use crate::error::RemoteError;
use crate::pool::Member;

/// Connections of one place that wait for the next call.
const IDLE_MAX: usize = 64;
/// How long one waits. Servers commonly close after a minute or more.
const IDLE: Duration = Duration::from_secs(20);
/// Places whose connections are kept. Only operators name endpoints, and allow-listed strangers.
const PLACES_MAX: usize = 1_024;

/// A call on its way.
pub(crate) type Responding =
    Pin<Box<dyn Future<Output = Result<Response<Incoming>, legacy::Error>> + Send>>;

/// Calls go through it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    kept: legacy::Client<Dialer, Full<Bytes>>,
    /// Keeps no connection, so that each call has a new one.
    fresh: legacy::Client<Dialer, Full<Bytes>>,
}

impl Client {
    fn new(dialer: Dialer) -> Self {
        let builder = |idle| {
            let mut builder = legacy::Client::builder(TokioExecutor::new());
            builder
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(idle);
            builder
        };
        Self {
            kept: builder(IDLE_MAX).build(dialer.clone()),
            fresh: builder(0).build(dialer),
        }
    }

    /// Makes a call. Dropping it closes its connection.
    pub(crate) fn request(&self, request: Request<Full<Bytes>>) -> Responding {
        let this = self.clone();
        Box::pin(async move {
            let again = request.clone();
            match this.kept.request(request).await {
                Err(error) if was_unheard(&error) => {
                    tracing::debug!(%error, "a connection was closed as it was taken, so the call is made again");
                    this.fresh.request(again).await
                }
                answered => answered,
            }
        })
    }
}

/// Whether a call was lost because its connection was closed while it waited for one.
fn was_unheard(error: &legacy::Error) -> bool {
    let mut extras = Extensions::new();
    if let Some(connection) = error.connect_info() {
        connection.get_extras(&mut extras);
    }
    extras.get::<Usage>().is_some_and(Usage::was_unheard)
}

/// What a connection was used for.
#[derive(Clone, Debug, Default)]
struct Usage(Arc<Used>);

#[derive(Debug, Default)]
struct Used {
    /// It has carried an answer.
    before: AtomicBool,
    /// Something came since something was written.
    answered: AtomicBool,
}

impl Usage {
    fn wrote(&self) {
        self.0.answered.store(false, Ordering::Relaxed);
    }

    fn read(&self) {
        self.0.before.store(true, Ordering::Relaxed);
        self.0.answered.store(true, Ordering::Relaxed);
    }

    fn was_unheard(&self) -> bool {
        self.0.before.load(Ordering::Relaxed) && !self.0.answered.load(Ordering::Relaxed)
    }
}

/// Where connections lead, as whom, and how long connecting may take.
type Key = (Member, Arc<TlsIdentity>, Duration);

/// The clients of a process. Each holds the connections of one place.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<HashMap<Key, Client>>);

impl Clients {
    /// The client for a place.
    pub(crate) fn get(
        &self,
        connector: &Connector,
        member: &Member,
        tls: &Arc<TlsIdentity>,
        connect: Duration,
    ) -> Result<Client, RemoteError> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (member.clone(), Arc::clone(tls), connect);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        if clients.len() >= PLACES_MAX {
            clients.clear();
        }
        let place = Place::of(member)?;
        let tls = place.encrypted.then(|| connector.tls(tls)).transpose()?;
        let dialer = Dialer(Arc::new(Way {
            place,
            tls,
            connect,
        }));
        let client = Client::new(dialer);
        clients.insert(key, client.clone());
        Ok(client)
    }
}

/// Makes the connections of one client.
#[derive(Clone, Debug)]
pub(crate) struct Dialer(Arc<Way>);

#[derive(Debug)]
struct Way {
    place: Place,
    tls: Option<Arc<ClientConfig>>,
    connect: Duration,
}

impl tower::Service<Uri> for Dialer {
    type Response = TokioIo<Wire>;
    type Error = RemoteError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, RemoteError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), RemoteError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let way = Arc::clone(&self.0);
        Box::pin(async move {
            let (phase, limit) = (Phase::Connect, way.connect);
            let dialing = dial::connect(&way.place, way.tls.clone());
            let dialed = tokio::time::timeout(limit, dialing).await;
            let stream = dialed.unwrap_or(Err(RemoteError::Timeout { phase, limit }))?;
            Ok(TokioIo::new(Wire(stream, Usage::default())))
        })
    }
}

/// A connection of a client.
#[derive(Debug)]
pub(crate) struct Wire(Stream, Usage);

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.1.clone())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.0).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.1.read();
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.1.wrote();
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        self.1.wrote();
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
