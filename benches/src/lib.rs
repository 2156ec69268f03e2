//! What the benchmarks share: the clock, figures of processes, summaries of samples.
//!
//! The binaries beside it are the bare peers (`bare_webrtc`, `bare_grpc`, `bare_ws`: the library
//! and nothing else, as the library's own examples use it) and `compare`, which runs a peer, the
//! gateway and a load beside each other and writes the table of `docs/performance.md`.

pub mod clock;
pub mod net;
