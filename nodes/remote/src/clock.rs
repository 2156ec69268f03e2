//! The one place of this crate that reads a wall clock: tokens name the moment of their end by it.

use std::time::Duration;

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
