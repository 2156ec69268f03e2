//! The `tidegate.v1` messages and service, and their conversion to and from frames.
//!
//! The generated types stay in [`v1`] and [`inference`]; the rest of the program speaks in frames and in the messages of [`message`], which
//! [`protobuf`] and [`json`] put on the wire and take off it. Whatever a peer sends gives a message or a [`WireMessageError`],
//! never a panic. Nothing here knows sessions, reads a clock or does I/O.

pub mod error;
pub mod json;
pub mod kserve;
pub mod limits;
pub mod message;
pub mod name;
pub mod protobuf;
#[cfg(test)]
mod testing;
mod validate;
pub mod wyoming;

pub use error::WireMessageError;
pub use message::{ClientMessage, PortFormats, ServerMessage};
pub use name::PortName;

/// Generated from `tidegate/v1/gateway.proto`; the documentation is there.
pub mod v1 {
    #![expect(
        missing_docs,
        clippy::all,
        clippy::allow_attributes_without_reason,
        clippy::missing_errors_doc,
        clippy::too_many_lines,
        reason = "generated code"
    )]
    tonic::include_proto!("tidegate.v1");
}

/// Generated from `inference/v2.proto`, the Open Inference Protocol; [`kserve`] converts it.
pub mod inference {
    #![expect(
        missing_docs,
        clippy::allow_attributes_without_reason,
        clippy::missing_errors_doc,
        clippy::too_many_lines,
        reason = "generated code"
    )]
    tonic::include_proto!("inference");
}

/// The encoded `FileDescriptorSet` of the services, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tidegate.bin"));
