//! End to end: the real `tidegate` binary and real peers that somebody else wrote. One binary, so
//! that it links once; a module per peer or subject.
//!
//! A missing peer fails a test: `make setup-test` installs them all. Nothing is skipped.

mod browser;
mod churn;
mod clients;
mod grpc;
mod http;
mod lifecycle;
mod limits;
mod malformed;
mod prometheus;
<<<<<<< HEAD
mod remote;
mod secure;
mod shared;
=======
<<<<<<< HEAD
>>>>>>> dab5a16 (tests: what the gateway must survive, end to end)
mod survive;
=======
mod secure;
mod shared;
mod shutdown;
mod stalled;
>>>>>>> de9b119 (tests: what the gateway must survive, end to end)
mod websocket;
mod whip;
