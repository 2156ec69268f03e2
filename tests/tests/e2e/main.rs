//! End to end: the real `tidegate` binary and real peers that somebody else wrote. One binary, so
//! that it links once; a module per peer or subject.
//!
//! A missing peer fails a test: `make setup-test` installs them all. Nothing is skipped.

mod access;
mod admission;
mod browser;
mod certificates;
mod chains;
mod chaos;
mod churn;
mod client_keys;
mod clients;
mod cycles;
mod environment;
mod examples;
mod foreign_hops;
mod foreign_traces;
mod grants;
mod grpc;
mod hops;
mod hops_transports;
mod http;
mod ice;
mod jwt;
mod key_limits;
mod kserve;
mod lifecycle;
mod limits;
mod malformed;
mod manifests;
mod openai_audio;
mod otlp;
mod prometheus;
mod realtime;
mod remote;
mod secure;
mod shared;
mod shutdown;
mod sites;
mod slow;
mod stalled;
mod survive;
mod tracing;
mod twilio;
mod websocket;
mod whep;
mod whip;
mod worker;
mod wyoming;
