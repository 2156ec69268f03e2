//! An HTTP server on a runtime of its own, so that it can be killed as a process is; with TLS if it is given certificates.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};

use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use axum::{Router, serve};
use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderMap;
use prost::Message as _;
use tidegate_proto::v1;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::either::Either;
use tonic::Status;

use super::worker::{Manner, Seen, Service};

/// A running server.
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    encrypted: bool,
    runtime: Option<Runtime>,
}

impl Web {
    pub(crate) fn start(router: Router) -> Self {
        Self::start_with(router, None)
    }

    pub(crate) fn start_with(router: Router, tls: Option<rustls::ServerConfig>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let encrypted = tls.is_some();
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        runtime.spawn(async move {
            let tcp = TcpListener::from_std(listener).expect("a listener");
            serve(Listener { tcp, tls }, router).await
        });
        Self {
            address,
            encrypted,
            runtime: Some(runtime),
        }
    }

    /// A worker that speaks the native stream by WebSocket, at the path of the pipeline `echo`.
    pub(crate) fn worker(manner: Manner) -> (Self, mpsc::Receiver<Seen>) {
        Self::worker_with(manner, None)
    }

    pub(crate) fn worker_with(
        manner: Manner,
        tls: Option<rustls::ServerConfig>,
    ) -> (Self, mpsc::Receiver<Seen>) {
        let (service, seen, _) = Service::new(manner);
        let service = Arc::new(service);
        let upgrade = move |headers: HeaderMap, upgrade: WebSocketUpgrade| {
            let service = Arc::clone(&service);
            async move { upgraded(&service, &headers, upgrade) }
        };
        let router = Router::new().route("/v1/pipelines/echo/ws", get(upgrade));
        (Self::start_with(router, tls), seen)
    }

    pub(crate) fn endpoint(&self) -> String {
        let scheme = if self.encrypted { "https" } else { "http" };
        format!("{scheme}://localhost:{}", self.address.port())
    }

    /// Ends it in the middle of whatever it does; its sockets are closed.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.kill();
    }
}

fn upgraded(service: &Arc<Service>, headers: &HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let token = headers.get("authorization");
    let token = token.and_then(|value| value.to_str().ok().map(str::to_owned));
    let service = Arc::clone(service);
    upgrade
        .protocols(["tidegate.v1.proto"])
        .on_upgrade(move |socket| async move {
            let (mut sink, stream) = socket.split();
            let incoming = stream.filter_map(|message| async {
                let Ok(Message::Binary(bytes)) = message else {
                    return None;
                };
                let message = v1::ClientMessage::decode(bytes);
                Some(message.map_err(|error| Status::internal(error.to_string())))
            });
            let mut outgoing = ReceiverStream::new(service.begin(Box::pin(incoming), token));
            while let Some(Ok(message)) = outgoing.next().await {
                if sink
                    .send(Message::Binary(message.encode_to_vec().into()))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            drop(sink.send(Message::Close(None)).await);
        })
}

/// Accepts with TLS or without; whoever fails at the handshake is let go.
struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl serve::Listener for Listener {
    type Io = Either<TcpStream, TlsStream<TcpStream>>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let Ok((stream, from)) = self.tcp.accept().await else {
                continue;
            };
            drop(stream.set_nodelay(true));
            let Some(tls) = &self.tls else {
                return (Either::Left(stream), from);
            };
            if let Ok(stream) = tls.accept(stream).await {
                return (Either::Right(stream), from);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
