//! The compiler: parse, resolve, type-check, plan. All errors at once; then the result is immutable.
//!
//! A [`Pipeline`] is what a manifest means with a registry's node types; [`Pipeline::bind`] makes a [`Plan`] of it for one
//! session. The same steps run at both times (`bind.rs` lists them), so what compiles with defaults is checked again with
//! what a client sends. Nothing here runs a node, reads a file, a clock or the environment.
//!
//! [`Plan`]: crate::plan::Plan

mod bind;
mod conversions;
mod cycles;
mod describe;
mod draft;
mod formats;
mod grants;
mod infer;
mod joins;
mod live;
mod order;
mod params;
mod pipeline;
pub mod remote;
mod resolve;
mod values;
mod webrtc;

pub use bind::Binding;
pub use conversions::{Conversion, conversions};
pub use describe::{
    Description, EdgeDescription, EndDescription, HopDescription, InterruptDescription,
    ParameterDescription, PortDescription, QueueDescription,
};
pub use grants::{Env, Grants};
pub use pipeline::Pipeline;
pub use remote::RemoteParams;
