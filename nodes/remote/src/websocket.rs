//! The transport `websocket`: the native stream in the subprotocol `tidegate.v1.proto` (RFC 6455), to `/v1/pipelines/{name}/ws` of a
//! Tidegate, or to the endpoint's own path.
//!
//! The socket is read and written in the session's own task. What was queued and not yet written is bounded by the outbox; what the
//! worker sends ahead, by credit and by the kernel's buffer.

mod errors;
mod link;
mod open;
pub(crate) mod stt;

pub(crate) use open::open;
