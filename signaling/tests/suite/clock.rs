//! Where virtual time starts.

use std::time::Instant;

/// Some instant.
#[expect(clippy::disallowed_methods, reason = "this is clock.rs")]
pub(crate) fn start() -> Instant {
    Instant::now()
}
