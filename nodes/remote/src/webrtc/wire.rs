//! A peer and its socket: datagrams and time go in and out where it is polled.

use std::future::Future as _;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tidegate_signaling::{Peer, Transmit};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::time::{Instant, Sleep};

use crate::clock::runtime_now;
use crate::error::RemoteError;

/// Largest datagram that is taken: above every link's MTU that media is sent over.
const DATAGRAM: usize = 2_048;
/// Datagrams handled before others get their turn.
const BURST: usize = 256;

/// One peer on its own socket.
pub(super) struct Wire {
    pub(super) peer: Peer,
    socket: UdpSocket,
    sleep: Pin<Box<Sleep>>,
    /// A datagram that the kernel had no room for.
    held: Option<Transmit>,
    buffer: Box<[u8; DATAGRAM]>,
}

impl Wire {
    pub(super) fn new(peer: Peer, socket: UdpSocket) -> Self {
        Self {
            peer,
            socket,
            sleep: Box::pin(tokio::time::sleep_until(runtime_now())),
            held: None,
            buffer: Box::new([0; DATAGRAM]),
        }
    }

    /// What the peer takes for now.
    pub(super) fn now() -> std::time::Instant {
        runtime_now().into_std()
    }

    /// Ties the socket to the worker's address: from then on the kernel tells when nothing listens there any more.
    pub(super) fn tie(&self, to: SocketAddr) {
        // Where it cannot be tied, silence tells the same later.
        drop(SockRef::from(&self.socket).connect(&to.into()));
    }

    /// Takes what came and what is due, and sends what follows from it. What happened is asked of the peer. Wakes the task at `also`, too.
    ///
    /// # Errors
    /// The socket is broken, or tied to an address where nobody listens any more.
    pub(super) fn drive(
        &mut self,
        cx: &mut Context<'_>,
        also: Option<std::time::Instant>,
    ) -> Result<(), RemoteError> {
        for _ in 0..BURST {
            let mut buffer = ReadBuf::new(&mut *self.buffer);
            match self.socket.poll_recv_from(cx, &mut buffer) {
                Poll::Pending => {
                    self.timers(cx, also);
                    return self.transmit(cx);
                }
                Poll::Ready(Ok(from)) => {
                    self.peer
                        .handle_datagram(Self::now(), from, buffer.filled());
                }
                Poll::Ready(Err(error)) => return Err(broken(&error)),
            }
            self.transmit(cx)?;
        }
        cx.waker().wake_by_ref();
        self.timers(cx, also);
        self.transmit(cx)
    }

    /// Sends what the peer has to send, as far as the kernel has room.
    pub(super) fn transmit(&mut self, cx: &mut Context<'_>) -> Result<(), RemoteError> {
        while let Some(transmit) = self.held.take().or_else(|| self.peer.poll_transmit()) {
            match self.socket.try_send_to(&transmit.data, transmit.to) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.held = Some(transmit);
                    if let Poll::Ready(Err(error)) = self.socket.poll_send_ready(cx) {
                        return Err(broken(&error));
                    }
                    return Ok(());
                }
                // Some candidates of a peer lead nowhere; checks find those that do not.
                Err(error) if !self.peer.is_connected() => {
                    tracing::trace!(%error, to = %transmit.to, "a check could not be sent");
                }
                Err(error) => return Err(broken(&error)),
            }
        }
        Ok(())
    }

    fn timers(&mut self, cx: &mut Context<'_>, also: Option<std::time::Instant>) {
        // Each round may set the next timer; one that is always due would be an error of the peer's.
        for _ in 0..16 {
            let now = Self::now();
            let peer = self.peer.poll_timeout();
            if peer.is_some_and(|due| due <= now) {
                self.peer.handle_timeout(now);
                continue;
            }
            // What is due besides is looked at after this; it must not wake the task again before that.
            let also = also.filter(|due| *due > now);
            let Some(due) = peer.into_iter().chain(also).min() else {
                return;
            };
            // A timer that is armed too early does no harm and need not be moved.
            let due = Instant::from_std(due);
            if due < self.sleep.deadline() || self.sleep.is_elapsed() {
                self.sleep.as_mut().reset(due);
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                return;
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Says goodbye, as far as the kernel takes it at once.
    pub(super) fn close(&mut self) {
        self.peer.close(Self::now());
        while let Some(transmit) = self.peer.poll_transmit() {
            if self
                .socket
                .try_send_to(&transmit.data, transmit.to)
                .is_err()
            {
                return;
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if !self.peer.has_ended() {
            self.close();
        }
    }
}

fn broken(error: &std::io::Error) -> RemoteError {
    RemoteError::Network(match error.kind() {
        ErrorKind::ConnectionRefused => {
            "worker is gone: nothing listens at its media port any more".to_owned()
        }
        _ => format!("the media socket of the hop broke: {error}"),
    })
}
