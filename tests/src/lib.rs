//! The harness of the end-to-end tests: it starts the real `tidegate` binary and real peers
//! (Chromium, aiortc, grpcio, Prometheus …), and ends both when a test ends.
//!
//! What it keeps true: every wait has a deadline and says at its end what it waited for, with
//! the logs of both sides; ports come from the operating system; nothing outlives its test.
//!
//! Absent from it: any knowledge of Tidegate's inside. It sees what a user sees.

pub mod clock;
pub mod fixtures;
pub mod gateway;
pub mod http;
pub mod logs;
pub mod peer;
pub mod process;
pub mod turn;
pub mod ws;

pub use clock::Deadline;
pub use gateway::Gateway;
pub use peer::Peer;
pub use ws::Ws;
