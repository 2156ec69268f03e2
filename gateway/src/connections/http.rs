//! HTTP/1.1 and HTTP/2 on a connection, and when it is given up: when nothing is asked on it, at once when it opens and later when it has
//! been idle, and when its peer takes nothing of what it was answered. Absent: what a request means ([`crate::http`]).

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::Request;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tower::Service as _;

use super::place::{Busy, Place};
use super::{Accepted, LAST_RESPONSES, Protocol, Stream};
use crate::auth::Certificate;

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
/// How long a connection may be of no use; what is between two requests of a client that goes on.
const IDLE: Duration = Duration::from_secs(60);

/// What answers on the connections of the one listener.
#[derive(Clone)]
pub(crate) struct Http {
    pub(crate) router: Router,
    /// How long a first request may take.
    pub(crate) open: Duration,
    /// How long a peer may take nothing although something waits for it.
    pub(crate) stalled: Duration,
}

impl Protocol for Http {
    async fn serve(self, stream: impl Stream, accepted: Accepted) {
        let Self {
            router,
            open,
            stalled,
        } = self;
        let Accepted {
            place,
            certificate,
            stop,
        } = accepted;
        let one = Connection {
            place,
            router,
            open,
            stalled,
            stop,
            certificate,
        };
        one.serve(stream).await;
    }
}

/// A connection that was accepted.
struct Connection {
    place: Place,
    router: Router,
    open: Duration,
    stalled: Duration,
    stop: watch::Receiver<bool>,
    /// What the client has shown, and the authority that we trust has signed.
    certificate: Option<Arc<Certificate>>,
}

impl Connection {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self {
            place,
            router,
            open,
            stalled,
            mut stop,
            certificate,
        } = self;
        let builder = builder(open);
        let asking = place.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let busy = asking.asked();
            request.extensions_mut().insert(asking.clone());
            if let Some(certificate) = &certificate {
                request.extensions_mut().insert(Arc::clone(certificate));
            }
            let answer = router.clone().call(request);
            async move {
                let Ok(response) = answer.await;
                Ok::<_, Infallible>(response.map(|body| Answer { body, _busy: busy }))
            }
        });
        let socket = Socket {
            stream,
            place: place.clone(),
        };
        let mut served =
            pin!(builder.serve_connection_with_upgrades(TokioIo::new(socket), service));
        let mut stuck = pin!(place.stuck(stalled));
        let done = tokio::select! {
            done = &mut served => Some(done),
            _ = stop.wait_for(|stop| *stop) => None,
            () = place.idle(IDLE) => None,
            // The library's own limit begins with the first byte of a head; before it nothing does.
            () = place.unused(open) => return tracing::debug!("connection without a request"),
            // What it was answered is kept for it no longer.
            () = &mut stuck => return tracing::debug!("connection that took nothing was cut"),
        };
        let done = match done {
            Some(done) => done,
            None => {
                // Takes nothing new; what is being answered goes on.
                served.as_mut().graceful_shutdown();
                tokio::select! {
                    done = served => done,
                    () = stuck => return tracing::debug!("connection that took nothing was cut"),
                    () = place.idle(LAST_RESPONSES) => {
                        return tracing::debug!("connection that did not end was cut");
                    }
                }
            }
        };
        if let Err(error) = done {
            tracing::debug!(%error, "connection");
        }
    }
}

fn builder(open: Duration) -> auto::Builder<TokioExecutor> {
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
    builder
}

/// A connection's socket, which says how its peer takes what is sent.
struct Socket<S> {
    stream: S,
    place: Place,
}

impl<S> Socket<S> {
    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Pending => self.place.wrote(None),
            Poll::Ready(Ok(bytes)) => self.place.wrote(Some(*bytes)),
            // The connection ends.
            Poll::Ready(Err(_)) => {}
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A response's body, which keeps its connection busy until it is sent or given up.
struct Answer {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
