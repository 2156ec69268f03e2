//! Remote hops: what sends part of a pipeline to another process and brings back what it makes.
//!
//! A stack of small layers, one a file, each knowing only the one below:
//!
//! | layer | does |
//! | --- | --- |
//! | [`RemoteHop`] | what a session's driver sends commands to and polls for events: the links and openings of one hop |
//! | `failover` | what a hop does over several streams, attempts and tiers, as a state machine without I/O |
//! | `replay` | what it remembers for that: what it sent, and what it was given |
//! | `exchange` | the native protocol of one stream as a state machine without I/O: ports, credit, interrupts, ends, waits |
//! | `auth` | who asks, as it is on the day |
//! | `calls` | a stream made of calls, for protocols that have nothing else |
//! | `link` | carries native messages to one worker and back; one implementation per transport (`grpc`) |
//! | `local`, `cache` | a node of this process, and earlier answers, in a worker's place |
//! | [`Pool`] | which endpoint takes the next attempt: balance, breakers, health, retry budget; pure |
//! | [`Pools`] | the pools of the process, and the future that makes their checks (`probe`) and asks their names (`resolve`) |
//! | [`Connector`] | connections shared by all sessions |
//!
//! No task stands between the driver and the transport: polling a hop polls the transport's stream in place, and sending wakes
//! the transport's own task. Time is an argument; the connect limit alone is the runtime's timer, and `clock` tells when tokens end.
//!
//! Absent: what a manifest says, and who may reach which endpoint.

pub mod auth;
pub mod cache;
pub mod config;
pub mod connector;
pub mod describe;
pub mod grpc;
pub mod hop;
pub mod local;
pub mod pool;
pub mod pools;
pub mod resolve;
pub mod tiers;
pub mod transport;
pub mod webrtc;

mod calls;
mod clock;
mod compat;
mod credit;
mod dial;
mod dialogue;
mod error;
mod exchange;
mod failover;
mod foreign;
mod http;
mod inplace;
mod kserve;
mod link;
mod memory;
mod numbering;
mod openai;
mod opening;
mod outbox;
mod probe;
mod pulse;
mod refusal;
mod replay;
mod spoken;
mod tls;
mod trace;
mod trouble;
mod watch;
mod websocket;
mod wyoming;

pub use auth::{Auth, AuthTls, AuthValue};
pub use cache::{AnswerCache, CacheLimits, CacheTier};
pub use config::{Foreign, HopPorts, OpenContext, RemoteConfig, Secret, Target, Timeouts};
pub use connector::{Connector, ConnectorConfig};
pub use describe::{Described, Reference, Referent, Step};
pub use grpc::{Question, describe};
pub use hop::{Refused, RemoteHop};
pub use local::{LocalNode, MakeNode};
pub use memory::Memory;
pub use pool::{Pool, PoolConfig};
pub use pools::{Checks, PoolKey, PoolSpec, PoolState, Pools, SharedPool};
pub use replay::ReplayLimits;
pub use resolve::{Resolver, SystemResolver};
pub use tiers::{HopConfig, Partial, RemoteTier, Tier};
pub use trace::TraceContext;
pub use transport::Transport;
