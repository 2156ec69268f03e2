//! HTTP connections, shared by all calls that go to one place as one identity.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
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
/// How long one waits. Servers commonly close after a minute or more; a connection that is closed as it is taken costs an attempt.
const IDLE: Duration = Duration::from_secs(20);
/// Places whose connections are kept. Only operators name endpoints, and allow-listed strangers.
const PLACES_MAX: usize = 1_024;

/// Calls go through it.
pub(crate) type Client = legacy::Client<Dialer, Full<Bytes>>;

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
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_MAX)
            .build(dialer);
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
            Ok(TokioIo::new(Wire(stream)))
        })
    }
}

/// A connection of a client.
#[derive(Debug)]
pub(crate) struct Wire(Stream);

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}
