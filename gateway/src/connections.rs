//! TCP connections: so many at a time, over TLS or not, whatever is said on them.
//!
//! Each listener accepts here, and its [`Protocol`] serves what was accepted until it is of no more use. Absent: when the gateway starts
//! and stops ([`crate::serve`]).

mod http;
mod place;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

pub(crate) use self::http::Http;
pub(crate) use self::place::Place;
use crate::auth::Certificate;
use crate::tasks::Tasks;
use crate::tls::Tls;

/// How long connections get for their last responses.
const LAST_RESPONSES: Duration = Duration::from_secs(2);

/// The bytes of a connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// What a connection is besides its bytes.
pub(crate) struct Accepted {
    /// It counts for as long as this lives.
    pub(crate) place: Place,
    /// What the client has shown, and the authority that we trust has signed.
    pub(crate) certificate: Option<Arc<Certificate>>,
    /// Turns true when the connection is to end in good order.
    pub(crate) stop: watch::Receiver<bool>,
}

/// What is said on a listener's connections.
pub(crate) trait Protocol: Clone + Send + 'static {
    /// Serves a connection to its end.
    fn serve(self, stream: impl Stream, accepted: Accepted) -> impl Future<Output = ()> + Send;
}

/// What accepts, and what its connections share.
pub(crate) struct Connections {
    pub(crate) tasks: Tasks,
    /// Connections at a time.
    pub(crate) most: usize,
    /// How long a TLS handshake may take.
    pub(crate) open: Duration,
    pub(crate) tls: Option<Arc<Tls>>,
}

impl Connections {
    /// Accepts until `stop` says so, then lets the open connections finish what they are at, for a bounded time.
    pub(crate) async fn accept(
        self,
        listener: TcpListener,
        protocol: impl Protocol,
        mut stop: watch::Receiver<bool>,
    ) {
        let places = Arc::new(Semaphore::new(self.most));
        let stopped = stop.clone();
        loop {
            // Both in one: where all places are taken, the stop must be heard too.
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                (Ok(place), accepted) = next => (place, accepted),
                _ = stop.wait_for(|stop| *stop) => break,
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
            let mut accepted = Accepted {
                place: Place::new(place),
                certificate: None,
                stop: stopped.clone(),
            };
            let (protocol, open) = (protocol.clone(), self.open);
            let tls = self.tls.as_ref().map(|tls| tls.acceptor());
            drop(self.tasks.spawn(async move {
                let Some(tls) = tls else {
                    return protocol.serve(stream, accepted).await;
                };
                match tokio::time::timeout(open, tls.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let shown = stream.get_ref().1.peer_certificates();
                        let shown = shown.and_then(|chain| chain.first());
                        accepted.certificate = shown.map(|der| Arc::new(Certificate::read(der)));
                        protocol.serve(stream, accepted).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake"),
                    Err(_) => tracing::debug!("TLS handshake took too long"),
                }
            }));
        }
        drop(listener);
        let all = u32::try_from(self.most).unwrap_or(u32::MAX);
        if tokio::time::timeout(LAST_RESPONSES, places.acquire_many(all))
            .await
            .is_err()
        {
            tracing::debug!("connections that did not finish were cut");
        }
    }
}
