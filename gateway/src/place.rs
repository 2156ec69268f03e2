//! A connection's place among those that the gateway takes.
//!
//! It is kept for as long as anything of the connection lives. An upgrade takes the connection away from the HTTP library, whose part
//! ends there; the WebSocket that it became keeps the place. Absent: anything about what is said on the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

/// One connection's place. It is free again when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Place(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    _permit: OwnedSemaphorePermit,
    asked: AtomicBool,
}

impl Place {
    /// The place that a permit stands for.
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(Inner {
            _permit: permit,
            asked: AtomicBool::new(false),
        }))
    }

    /// A whole request head has come.
    pub(crate) fn asked(&self) {
        self.0.asked.store(true, Ordering::Relaxed);
    }

    /// Ready after `patience` if no request has come by then, else never. Cancel safe.
    pub(crate) async fn unused(&self, patience: Duration) {
        tokio::time::sleep(patience).await;
        if self.0.asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}
