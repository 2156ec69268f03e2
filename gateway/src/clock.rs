//! The only file of the gateway that reads a clock.
//!
//! Everything else gets a [`Timestamp`] passed in, or holds a [`Clock`] whose epoch is shared by the process.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidegate_media::Timestamp;

/// The process's monotonic clock with an epoch of its own. Copies share the epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch: Instant,
}

impl Clock {
    /// A clock whose epoch is now, minus a second so that "never" at zero lies in the past.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one file that reads a clock"
    )]
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        Self {
            epoch: now.checked_sub(Duration::from_secs(1)).unwrap_or(now),
        }
    }

    /// A clock that goes only when a test moves it: see [`standing::set`]. Its epoch lies ahead, so that no real timer that is set by
    /// it ever fires.
    #[cfg(test)]
    pub(crate) fn standing() -> Self {
        Self {
            epoch: Self::start().epoch + Duration::from_secs(24 * 3600),
        }
    }

    /// The instant it is.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one file that reads a clock"
    )]
    pub(crate) fn now(&self) -> Timestamp {
        #[cfg(test)]
        if let Some(now) = standing::now() {
            return now;
        }
        self.timestamp(Instant::now())
    }

    /// An instant of the standard library in this clock's terms.
    pub(crate) fn timestamp(&self, instant: Instant) -> Timestamp {
        let nanos = instant.saturating_duration_since(self.epoch).as_nanos();
        Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The standard library's instant for a timestamp; a year from the epoch for ones out of reach.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        self.epoch + Duration::from_nanos(at.as_nanos()).min(YEAR)
    }
}

/// Seconds since 1970, for credentials with an expiry, and for what clients are told of when something was loaded.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one file that reads a clock"
)]
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Time since 1970, for what other programs compare with their own: exemplars and spans.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one file that reads a clock"
)]
pub(crate) fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Virtual time of the tests that run on one thread.
#[cfg(test)]
pub(crate) mod standing {
    use std::cell::Cell;

    use tidegate_media::Timestamp;

    thread_local! {
        static NOW: Cell<Option<Timestamp>> = const { Cell::new(None) };
    }

    /// Every clock of this thread shows this from now on; `None`: the time that it is.
    pub(crate) fn set(now: Option<Timestamp>) {
        NOW.set(now);
    }

    pub(super) fn now() -> Option<Timestamp> {
        NOW.get()
    }
}
