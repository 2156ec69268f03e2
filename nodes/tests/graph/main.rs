//! The graph by its behaviour, through its public interface alone.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails where something is not as it must be"
)]

mod backpressure;
mod clients;
mod consumed;
mod flow;
mod hops;
mod interrupts;
mod listeners;
mod replay;
mod simulation;
mod timers;
mod toolkit;
