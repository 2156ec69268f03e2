//! The `tidegate.v1` messages and service, and their conversion to and from frames.
//!
//! The generated types stay in [`v1`]; the rest of the program speaks in frames and in the messages of this crate's own.

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

/// The encoded `FileDescriptorSet` of the service, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tidegate.bin"));
