//! Pipelines: the node trait, the manifest and its compiler, the graph state machine, and the built-in nodes.
//!
//! A pipeline is a state machine without I/O. Nothing in this crate reads a clock, spawns, locks, waits, or knows networks or
//! an async runtime. What leaves the process is behind messages ([`hop`]) that a driver carries.

mod builtin;
pub mod compile;
mod deterministic;
pub mod draw;
pub mod emitted;
pub mod error;
pub mod graph;
pub mod hop;
pub mod manifest;
pub mod node;
pub mod plan;
pub mod registry;
pub mod stream;

pub use compile::{Binding, Grants, Pipeline};
pub use emitted::CALL_BYTES_MAX;
pub use error::{Code, Error, Fault, Phase};
pub use hop::{HopCommand, HopEvent, HopNote};
pub use manifest::{Diagnostics, Manifest};
pub use node::{Context, DropReason, Hold, Node, NodeError};
pub use plan::{Mode, Placement, Plan};
pub use registry::{NodeType, ParamError, Port, Ports, Registry, Replay};
pub use stream::{Accepts, StreamFormat};
