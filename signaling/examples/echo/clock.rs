//! The only place of this example that reads a clock, and the only one that waits.

use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "this is clock.rs")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "this is clock.rs")]
pub(crate) fn sleep(time: Duration) {
    std::thread::sleep(time);
}
