//! The transports' sides of a session: each turns what its protocol says into the session's events and back.
//!
//! [`native`] holds what gRPC, WebSocket and data channels share: the messages of `tidegate.v1` (docs/stream.md). No link knows graphs or other links.

pub(crate) mod file;
pub(crate) mod grpc;
pub(crate) mod kserve;
pub(crate) mod memory;
pub(crate) mod native;
pub(crate) mod outbox;
pub(crate) mod realtime;
mod subprotocol;
pub(crate) mod twilio;
pub(crate) mod webrtc;
pub(crate) mod websocket;
pub(crate) mod wire;
pub(crate) mod wyoming;
