//! The one place of this crate that reads a clock: the wall clock, by which tokens name the moment of their end, and the runtime's, by which
//! connections keep their pulse.

use std::time::Duration;

/// Now, as the runtime's timers count.
pub(crate) fn runtime_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Time since 1970-01-01 UTC; zero on a machine whose clock stands before that.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the crate's clock; nothing but the end of a token is told by it"
)]
pub(crate) fn unix_now() -> Duration {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}
