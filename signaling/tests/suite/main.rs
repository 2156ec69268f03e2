//! Signaling as its users see it: two peers in virtual time, and offers as real stacks write them.
#![expect(clippy::unwrap_used, reason = "tests: what fails may panic")]

mod clock;
mod net;
mod offers;
mod peers;
mod restart;
mod shared;
mod video;
