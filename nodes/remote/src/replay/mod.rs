//! What one hop of one session remembers over several streams: what it sent ([`Ring`]), and what it was given ([`Ledger`]).
//!
//! Pure: no I/O, no clock, no endpoints.

mod bounds;
mod lane;
mod ledger;
mod ring;
mod tally;

#[cfg(test)]
mod tests;

pub(crate) use ledger::{Hold, Ledger, Verdict};
pub use ring::ReplayLimits;
pub(crate) use ring::{Cursor, Next, Ring};
