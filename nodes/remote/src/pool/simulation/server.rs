//! The servers of a history.

use std::time::Duration;

/// What a server does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Serves,
    /// Refuses connections at once.
    Dead,
    /// Takes each request and fails every second one.
    Half,
    /// Takes requests and never answers.
    Stalls,
    /// Fails this many in a hundred at random.
    Flaky(u32),
}

#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) mode: Mode,
    /// Checks say the contrary of the truth.
    pub(super) lies: bool,
    pub(super) latency: Duration,
    pub(super) attempts: u64,
    pub(super) checks: u64,
    pub(super) outstanding: usize,
    /// Attempts whose client went away.
    pub(super) left: u64,
    /// Half-open probes whose result is not known.
    pub(super) probes: usize,
}

impl Server {
    pub(super) fn new(latency: Duration) -> Self {
        Self {
            mode: Mode::Serves,
            lies: false,
            latency,
            attempts: 0,
            checks: 0,
            outstanding: 0,
            left: 0,
            probes: 0,
        }
    }
}
