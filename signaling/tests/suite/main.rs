//! Signaling as its users see it: two peers in virtual time, and offers as real stacks write them.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests: virtual time starts somewhere, and what fails may panic"
)]

mod net;
mod offers;
mod peers;
mod restart;
mod video;
