//! `stats`: how long frames waited, computed and travelled.

use serde::{Deserialize, Serialize};

use crate::error::at_most;
use crate::json::shared::{Result, micros};
use crate::limits::HOPS;
use crate::{message, validate};

#[derive(Serialize, Deserialize)]
pub(in crate::json) struct Stats {
    #[serde(default)]
    hops: Vec<HopStats>,
}

#[derive(Serialize, Deserialize)]
#[serde(default)]
#[derive(Default)]
struct HopStats {
    hop: String,
    frames_in: u64,
    frames_out: u64,
    dropped: u64,
    queue_frames: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wire: Option<Latency>,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
struct Latency {
    count: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    max: u64,
}

impl Stats {
    pub(in crate::json) fn decode(self) -> Result<message::Stats> {
        at_most("stats.hops", self.hops.len(), HOPS, "hops")?;
        let hop = |hop: HopStats| {
            Ok(message::HopStats {
                hop: validate::short("stats.hops.hop", hop.hop)?,
                frames_in: hop.frames_in,
                frames_out: hop.frames_out,
                dropped: hop.dropped,
                queue_frames: hop.queue_frames,
                queue: hop.queue.map(Latency::decode),
                service: hop.service.map(Latency::decode),
                wire: hop.wire.map(Latency::decode),
            })
        };
        let hops = self.hops.into_iter().map(hop).collect::<Result<_>>()?;
        Ok(message::Stats { hops })
    }
}

impl Latency {
    pub(in crate::json) const fn decode(self) -> message::Latency {
        message::Latency {
            count: self.count,
            p50: micros(self.p50),
            p90: micros(self.p90),
            p99: micros(self.p99),
            max: micros(self.max),
        }
    }
}

impl From<&message::Stats> for Stats {
    fn from(stats: &message::Stats) -> Self {
        let hop = |hop: &message::HopStats| HopStats {
            hop: hop.hop.clone(),
            frames_in: hop.frames_in,
            frames_out: hop.frames_out,
            dropped: hop.dropped,
            queue_frames: hop.queue_frames,
            queue: hop.queue.map(Latency::from),
            service: hop.service.map(Latency::from),
            wire: hop.wire.map(Latency::from),
        };
        Self {
            hops: stats.hops.iter().map(hop).collect(),
        }
    }
}

impl From<message::Latency> for Latency {
    fn from(latency: message::Latency) -> Self {
        Self {
            count: latency.count,
            p50: validate::micros(latency.p50),
            p90: validate::micros(latency.p90),
            p99: validate::micros(latency.p99),
            max: validate::micros(latency.max),
        }
    }
}
