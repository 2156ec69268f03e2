//! A connection's place among those that the gateway takes.
//!
//! It is kept for as long as anything of the connection lives. An upgrade takes the connection away from the HTTP library, whose part
//! ends there; the WebSocket that it became keeps the place. Absent: anything about what is said on the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

/// One connection's place. It is free again when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Place(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    _permit: OwnedSemaphorePermit,
    asked: AtomicU64,
    answered: AtomicU64,
    /// Bytes that the socket has taken.
    written: AtomicU64,
    /// The socket takes nothing, although there is something.
    blocked: AtomicBool,
}

/// A request that is not answered to its last byte, for as long as this lives.
#[derive(Debug)]
pub(super) struct Busy(Place);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.answered.fetch_add(1, Ordering::Relaxed);
    }
}

impl Place {
    /// The place that a permit stands for.
    pub(super) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(Inner {
            _permit: permit,
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            written: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
        }))
    }

    /// A whole request head has come.
    pub(super) fn asked(&self) -> Busy {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// What became of a write: so many bytes were taken, or none could be.
    pub(super) fn wrote(&self, taken: Option<usize>) {
        let blocked = taken.is_none();
        if self.0.blocked.load(Ordering::Relaxed) != blocked {
            self.0.blocked.store(blocked, Ordering::Relaxed);
        }
        if let Some(bytes) = taken {
            self.0.written.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    /// Bytes that its socket has taken: they grow while the peer reads.
    pub(crate) fn written(&self) -> u64 {
        self.0.written.load(Ordering::Relaxed)
    }

    /// Ready once the socket has taken nothing for `patience` although there was something, and at the latest after twice that.
    /// Cancel safe.
    pub(super) async fn stuck(&self, patience: Duration) {
        let Inner { blocked, .. } = &*self.0;
        loop {
            let before = self.written();
            let stuck = blocked.load(Ordering::Relaxed);
            tokio::time::sleep(patience).await;
            if stuck && blocked.load(Ordering::Relaxed) && self.written() == before {
                return;
            }
        }
    }

    /// Ready after `patience` if no request has come by then, else never. Cancel safe.
    pub(super) async fn unused(&self, patience: Duration) {
        tokio::time::sleep(patience).await;
        if self.0.asked.load(Ordering::Relaxed) > 0 {
            std::future::pending::<()>().await;
        }
    }

    /// Ready once nothing was asked and nothing was being answered for `patience`, and at the latest after twice that. Cancel
    /// safe.
    pub(super) async fn idle(&self, patience: Duration) {
        let Inner {
            asked, answered, ..
        } = &*self.0;
        loop {
            let before = asked.load(Ordering::Relaxed);
            let quiet = answered.load(Ordering::Relaxed) == before;
            tokio::time::sleep(patience).await;
            if quiet && asked.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::sync::Semaphore;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn place() -> Place {
        let places = Arc::new(Semaphore::new(1));
        Place::new(places.try_acquire_owned().expect("it is free"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_nothing_is_asked_and_nothing_answered() {
        let place = place();
        let mut idle = pin!(place.idle(PATIENCE));
        let stream = place.asked();
        assert!(timeout(10 * PATIENCE, &mut idle).await.is_err(), "a stream");
        drop(stream);
        for _ in 0..10 {
            assert!(timeout(PATIENCE / 2, &mut idle).await.is_err(), "asked");
            drop(place.asked());
        }
        assert!(timeout(2 * PATIENCE, &mut idle).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_stuck_when_it_has_something_to_send_and_the_peer_takes_nothing() {
        let place = place();
        let mut stuck = pin!(place.stuck(PATIENCE));
        assert!(timeout(10 * PATIENCE, &mut stuck).await.is_err(), "silent");
        for _ in 0..10 {
            place.wrote(None);
            assert!(timeout(PATIENCE / 2, &mut stuck).await.is_err(), "slow");
            place.wrote(Some(1));
        }
        place.wrote(None);
        assert!(timeout(3 * PATIENCE, &mut stuck).await.is_ok());
        assert_eq!(place.written(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_unused_until_it_asks() {
        let place = place();
        assert!(timeout(2 * PATIENCE, place.unused(PATIENCE)).await.is_ok());
        drop(place.asked());
        assert!(timeout(2 * PATIENCE, place.unused(PATIENCE)).await.is_err());
    }
}
