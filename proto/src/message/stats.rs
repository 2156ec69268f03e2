//! What a server tells of its hops: over the last ten seconds, from the start of the session for counts.

use std::time::Duration;

/// Figures of every hop of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// In the plan's order.
    pub hops: Vec<HopStats>,
}

/// Figures of one hop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HopStats {
    /// Its id.
    pub hop: String,
    /// Frames that went in.
    pub frames_in: u64,
    /// Frames that came out.
    pub frames_out: u64,
    /// Frames that did not go on.
    pub dropped: u64,
    /// Frames that wait now.
    pub queue_frames: u32,
    /// How long frames waited; `None`: the hop has no queue, or nothing passed.
    pub queue: Option<Latency>,
    /// How long it computed.
    pub service: Option<Latency>,
    /// How long frames travelled; remote hops only.
    pub wire: Option<Latency>,
}

/// A distribution of durations, in whole microseconds on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// Median.
    pub p50: Duration,
    /// 90th percentile.
    pub p90: Duration,
    /// 99th percentile.
    pub p99: Duration,
    /// Longest.
    pub max: Duration,
}
