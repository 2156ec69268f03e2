//! The only place of the harness that reads a clock, and the only one that waits.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long to lie between two looks at something that cannot tell us that it changed.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The instant it is, for state machines that take it as an argument.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the harness's clock.rs")]
pub fn now() -> Instant {
    Instant::now()
}

/// The time of day, since 1970: what tokens and certificates are dated by.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the harness's clock.rs")]
pub fn unix_now() -> Duration {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .expect("it is after 1970")
}

/// A point in time by which something has to have happened.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    started: Instant,
    within: Duration,
}

impl Deadline {
    /// The deadline that lies `within` from now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the harness's clock.rs")]
    pub fn after(within: Duration) -> Self {
        Self {
            started: Instant::now(),
            within,
        }
    }

    /// The deadline that lies that many seconds from now.
    #[must_use]
    pub fn secs(seconds: u64) -> Self {
        Self::after(Duration::from_secs(seconds))
    }

    /// Time since the deadline was set.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Time left, zero once it has passed.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.within.saturating_sub(self.elapsed())
    }

    /// Waits for the future, `None` if the deadline passes first. Drops the future then.
    pub async fn wait<F: Future>(&self, future: F) -> Option<F::Output> {
        tokio::time::timeout(self.left(), future).await.ok()
    }

    /// Looks again and again until `look` gives something; `None` if the deadline passes first.
    pub async fn until<T, F: Future<Output = Option<T>>>(
        &self,
        mut look: impl FnMut() -> F,
    ) -> Option<T> {
        loop {
            if let Some(found) = self.wait(look()).await? {
                return Some(found);
            }
            if self.left().is_zero() {
                return None;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
