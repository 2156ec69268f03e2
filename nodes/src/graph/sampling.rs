//! Which calls of in-place nodes are timed.
//!
//! Reading a clock twice costs more than a cheap node, so of each hop the first [`FIRST`] calls are timed and then one of
//! every [`ONE_OF`]. Counters are not sampled.

/// Calls of a hop that are timed at its start, so that a short session shows figures.
pub const FIRST: u64 = 8;

/// After those, one of this many calls is timed.
pub const ONE_OF: u64 = 64;

/// Whether the call with this number, from 1, is timed.
#[inline]
pub(super) const fn picks(call: u64) -> bool {
    call <= FIRST || call.is_multiple_of(ONE_OF)
}
