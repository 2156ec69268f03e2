//! Remote hops over real sockets, against workers that behave and workers that do not.

#![expect(
    clippy::panic,
    reason = "a test that meets something else than it expects ends there"
)]

mod remote {
    mod driver;
    mod failover;
    mod failures;
    mod foreign;
    mod http;
    mod openai;
    mod opening;
    mod pools;
    mod streaming;
    mod tiers;
    mod tls;
    mod unary;
    mod web;
    mod webrtc;
    mod websocket;
    mod worker;
}
