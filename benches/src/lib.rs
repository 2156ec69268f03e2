//! What the benchmarks share: servers as measured processes, loads against them, and the table.
//!
//! The binaries beside it are the bare peers (`bare_webrtc`, `bare_grpc`, `bare_ws`: the library
//! and nothing else, as the library's own examples use it) and `compare`, which runs a peer, the
//! gateway and a load beside each other and writes the tables of `docs/performance.md`; `hops` does so
//! for what is owed of remote hops, with `faulty`, a worker that fails as it is told to.

pub mod clock;
pub mod figures;
pub mod hops;
pub mod load;
pub mod machine;
pub mod net;
pub mod server;

/// Why a measurement failed: a sentence for whoever ran it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
