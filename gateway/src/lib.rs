//! The Tidegate server: configuration, listeners, sessions, admission, metrics, administration and the command line.
//!
//! It carries what `tidegate-nodes` decides and `tidegate-signaling` negotiates. There is no signal processing and no SDP here.

mod auth;
pub mod cli;
mod clock;
mod config;
mod connections;
mod errors;
#[doc(hidden)]
pub mod fuzz;
mod gateway;
mod grpc;
mod http;
mod links;
mod logs;
mod metrics;
mod pipelines;
mod remote;
mod roles;
mod serve;
mod session;
mod tasks;
mod tls;
mod trace;
mod udp;
mod wyoming;
