//! The one UDP socket of all WebRTC sessions: reads, finds the session of each datagram, hands it over.
//!
//! A session that does not keep up loses datagrams, counted, and costs the others nothing. Sending does not pass through here: each
//! session writes to the shared socket itself.

mod kernel;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use metrics::Counter;
use tidegate_signaling::{Demux, Proof};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::metrics::{Metrics, label};

/// Datagrams that wait for a session: 256 are two seconds of two-way voice, 0.2 s of video.
const QUEUE: usize = 256;
/// Largest datagram that is read; Ethernet's 1,500 with room for larger local links.
const MTU: usize = 2048;
/// Bytes that one buffer serves before a new one is taken.
const CHUNK: usize = 64 * 1024;
/// Kernel buffers: 1 MiB holds 40 ms of a thousand voice sessions.
const SOCKET_BUFFER: usize = 1 << 20;
/// Datagrams read before other tasks get their turn.
const BURST: usize = 64;

/// A datagram for a session.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) data: Bytes,
}

/// The shared socket.
pub(crate) struct MediaSocket {
    socket: UdpSocket,
    /// It is of IPv6, and may serve IPv4 as well: addresses of that are mapped on it, and on it only.
    mapped: bool,
    state: Mutex<State>,
    overflow: Counter,
    unknown: Counter,
    kernel: Option<kernel::Socket>,
    /// What the kernel had dropped when it was last asked.
    dropped: AtomicU64,
    unread: Counter,
}

struct State {
    demux: Demux<u64>,
    routes: HashMap<u64, mpsc::Sender<Datagram>>,
    next: u64,
}

/// A session's share of the socket; given back when dropped.
pub(crate) struct Route {
    media: Arc<MediaSocket>,
    key: u64,
    receiver: mpsc::Receiver<Datagram>,
}

impl MediaSocket {
    /// Binds the socket for at most `sessions` sessions.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub(crate) fn bind(
        address: SocketAddr,
        sessions: usize,
        metrics: &Metrics,
    ) -> io::Result<Arc<Self>> {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        // The kernel caps these at its own limits; less loses more when the machine is busy, which `count_unread` tells.
        drop(socket.set_recv_buffer_size(SOCKET_BUFFER));
        drop(socket.set_send_buffer_size(SOCKET_BUFFER));
        socket.bind(&address.into())?;
        let kernel = kernel::Socket::of(&socket, address.is_ipv6());
        let counter = |reason: &'static str| {
            metrics.counter(
                "tidegate_udp_dropped_datagrams_total",
                vec![label("reason", reason)],
            )
        };
        Ok(Arc::new(Self {
            socket: UdpSocket::from_std(socket.into())?,
            mapped: address.is_ipv6(),
            state: Mutex::new(State {
                demux: Demux::new(sessions),
                routes: HashMap::new(),
                next: 0,
            }),
            overflow: counter("session_queue_full"),
            unknown: counter("unknown_peer"),
            kernel,
            dropped: AtomicU64::new(0),
            unread: counter("kernel_buffer_full"),
        }))
    }

    /// The address that was bound.
    ///
    /// # Errors
    /// The operating system does not say.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Counts what the kernel has dropped since the last time, because its buffer was full. Blocks for as long as it takes to read a
    /// file of a line for each UDP socket of the machine.
    pub(crate) fn count_unread(&self) {
        if let Some(now) = self.kernel.as_ref().and_then(kernel::Socket::dropped) {
            let before = self.dropped.fetch_max(now, Ordering::Relaxed);
            self.unread.increment(now.saturating_sub(before));
        }
    }

    /// Registers a session by the user name fragment of its peer; `None` if there are too many.
    pub(crate) fn register(self: &Arc<Self>, ufrag: &str) -> Option<Route> {
        let mut state = self.lock();
        let key = state.next;
        state.next += 1;
        if !state.demux.insert(key, ufrag) {
            return None;
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        state.routes.insert(key, sender);
        drop(state);
        Some(Route {
            media: Arc::clone(self),
            key,
            receiver,
        })
    }

    /// Reads for as long as it is polled. Cancel safe.
    pub(crate) async fn run(&self) {
        let mut buffer = BytesMut::with_capacity(CHUNK);
        loop {
            if let Err(error) = self.socket.ready(Interest::READABLE).await {
                tracing::error!(%error, "the media socket cannot be waited for");
                return;
            }
            for _ in 0..BURST {
                if buffer.capacity() < MTU {
                    buffer = BytesMut::with_capacity(CHUNK);
                }
                match self.socket.try_recv_buf_from(&mut buffer) {
                    Ok((_, from)) => self.hand_over(canonical(from), buffer.split().freeze()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // A peer's port is closed: the kernel reports it on the next read (ICMP). Its session times out.
                    Err(error) => tracing::debug!(%error, "read from the media socket"),
                }
            }
            tokio::task::yield_now().await;
        }
    }

    fn hand_over(&self, from: SocketAddr, data: Bytes) {
        let state = self.lock();
        let Some(key) = state.demux.route(from, &data) else {
            drop(state);
            self.unknown.increment(1);
            return;
        };
        let sent = state
            .routes
            .get(&key)
            .map(|route| route.try_send(Datagram { from, data }));
        drop(state);
        if matches!(sent, Some(Err(_))) {
            self.overflow.increment(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Route {
    /// The next datagram for this session.
    pub(crate) fn poll_recv(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Datagram>> {
        self.receiver.poll_recv(cx)
    }

    /// Sends at once or not at all: what the kernel has no room for is lost, as on any network.
    pub(crate) fn send(&self, to: SocketAddr, data: &[u8]) -> io::Result<usize> {
        let to = match to {
            SocketAddr::V4(v4) if self.media.mapped => {
                SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), v4.port())
            }
            to => to,
        };
        self.media.socket.try_send_to(data, to)
    }

    /// Notes where the session's peer has shown to be: what comes from there is this session's, unless another's peer is known to be
    /// there. Before anything that the proof leads to is sent.
    pub(crate) fn learn(&self, now: Instant, from: SocketAddr, proof: Proof) {
        if !self.media.lock().demux.learn(now, self.key, from, proof) {
            tracing::debug!(%from, "another session's peer is at this address");
        }
    }

    /// Registers another user name fragment, after a restart of ICE.
    pub(crate) fn add_ufrag(&self, ufrag: &str) -> bool {
        self.media.lock().demux.insert(self.key, ufrag)
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        let mut state = self.media.lock();
        state.demux.remove(self.key);
        state.routes.remove(&self.key);
    }
}

/// An IPv4 address that a socket of both families has mapped into IPv6, as what it is; descriptions and candidates know no other.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
