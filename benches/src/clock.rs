//! The only place of the benchmarks that reads a clock.

use std::time::Instant;

/// Now.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the benchmarks' clock.rs"
)]
pub fn now() -> Instant {
    Instant::now()
}
