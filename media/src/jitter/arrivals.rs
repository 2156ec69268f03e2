//! How late packets come, and the delay that follows from it.
//!
//! A packet's *offset* is its arrival less its RTP time. The least offset of the last seconds is what the network does at
//! its best; a packet's offset above that is its relative delay. A histogram of relative delays that slowly forgets gives
//! the target: the delay within which all but a few packets come. It grows within tens of late packets and shrinks over
//! tens of seconds. The window of the least offset moves, so a sender's clock that drifts is followed.

use std::time::Duration;

use crate::time::Timestamp;

/// Statistics of one stream's arrivals. Offsets and RTP times are in nanoseconds.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    window: LeastOffset,
    histogram: Histogram,
    /// RFC 3550's running jitter, in nanoseconds.
    jitter: f64,
    last_offset: Option<i64>,
}

impl Arrivals {
    pub(super) const fn new() -> Self {
        Self {
            window: LeastOffset::new(),
            histogram: Histogram::new(),
            jitter: 0.0,
            last_offset: None,
        }
    }

    /// Takes note of a packet of RTP time `rtp` (nanoseconds from the stream's first) that came at `now`. One that is
    /// late by more than `most` tells nothing of jitter: the sender's time line has leapt, or the network stood still. What
    /// was known of the least offset is forgotten then.
    #[expect(
        clippy::cast_precision_loss,
        reason = "jitter is a statistic of small numbers"
    )]
    pub(super) fn note(&mut self, now: Timestamp, rtp: i64, most: Duration) {
        let offset = nanos(now).saturating_sub(rtp);
        if self.relative(offset) > most {
            self.forget_offsets();
        }
        self.window.note(now, offset);
        self.histogram.note(self.relative(offset));
        if let Some(last) = self.last_offset {
            let difference = offset.saturating_sub(last).unsigned_abs() as f64;
            self.jitter += (difference - self.jitter) / 16.0;
        }
        self.last_offset = Some(offset);
    }

    /// Forgets when packets came, but not how much that varied.
    pub(super) const fn forget_offsets(&mut self) {
        self.window = LeastOffset::new();
        self.last_offset = None;
    }

    /// When a packet of RTP time `rtp` would come at the network's best.
    pub(super) fn earliest(&self, rtp: i64) -> i64 {
        self.window.least().saturating_add(rtp)
    }

    /// The delay within which nearly all packets come.
    pub(super) fn quantile(&self) -> Duration {
        self.histogram.quantile()
    }

    /// Packets seen.
    pub(super) const fn seen(&self) -> u32 {
        self.histogram.seen
    }

    pub(super) fn jitter(&self) -> Duration {
        Duration::from_secs_f64((self.jitter / 1e9).clamp(0.0, 1e6))
    }

    fn relative(&self, offset: i64) -> Duration {
        let above = offset.saturating_sub(self.window.least());
        Duration::from_nanos(u64::try_from(above).unwrap_or(0))
    }
}

/// An instant as a signed number, so that it can be compared with RTP times.
pub(super) fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanos()).unwrap_or(i64::MAX)
}

/// The least offset within a moving window of 4 s, kept by eighths.
#[derive(Clone, Debug)]
struct LeastOffset {
    parts: [i64; Self::PARTS],
    current: u64,
    least: i64,
}

impl LeastOffset {
    const PARTS: usize = 8;
    const PART_NANOS: u64 = 500_000_000;

    const fn new() -> Self {
        Self {
            parts: [i64::MAX; Self::PARTS],
            current: 0,
            least: i64::MAX,
        }
    }

    fn note(&mut self, now: Timestamp, offset: i64) {
        let part = now.as_nanos() / Self::PART_NANOS;
        let passed = part.saturating_sub(self.current).min(Self::PARTS as u64);
        for i in 0..passed {
            self.parts[Self::slot(part - i)] = i64::MAX;
        }
        self.current = self.current.max(part);
        let slot = &mut self.parts[Self::slot(self.current)];
        *slot = offset.min(*slot);
        if passed > 0 {
            self.least = self.parts.iter().copied().min().unwrap_or(offset);
        } else {
            self.least = self.least.min(offset);
        }
    }

    fn slot(part: u64) -> usize {
        usize::try_from(part % Self::PARTS as u64).unwrap_or(0)
    }

    /// `i64::MAX` before the first packet.
    const fn least(&self) -> i64 {
        self.least
    }
}

/// Shares of packets by relative delay, in steps of 5 ms, with exponential forgetting.
#[derive(Clone, Debug)]
struct Histogram {
    shares: [f32; Self::STEPS],
    seen: u32,
}

impl Histogram {
    const STEPS: usize = 128;
    const STEP: Duration = Duration::from_millis(5);
    /// Share of packets that shall come within the target.
    const QUANTILE: f32 = 0.97;
    /// Weight of a packet once enough were seen: a packet counts half after 400 more (8 s of 20 ms packets).
    const WEIGHT: f32 = 0.0017;

    const fn new() -> Self {
        Self {
            shares: [0.0; Self::STEPS],
            seen: 0,
        }
    }

    fn note(&mut self, delay: Duration) {
        let step = delay.as_nanos() / Self::STEP.as_nanos();
        let step = usize::try_from(step)
            .unwrap_or(usize::MAX)
            .min(Self::STEPS - 1);
        self.seen = self.seen.saturating_add(1);
        // The first packets weigh more, so that the histogram fills quickly.
        let count = f32::from(u16::try_from(self.seen).unwrap_or(u16::MAX));
        let weight = Self::WEIGHT.max(1.0 / count);
        for share in &mut self.shares {
            *share *= 1.0 - weight;
        }
        self.shares[step] += weight;
    }

    fn quantile(&self) -> Duration {
        let mut beyond = 0.0;
        for step in (0..Self::STEPS).rev() {
            beyond += self.shares[step];
            if beyond > 1.0 - Self::QUANTILE {
                return Self::STEP * u32::try_from(step + 1).unwrap_or(u32::MAX);
            }
        }
        Self::STEP
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    const MOST: Duration = Duration::from_millis(500);

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    /// Feeds packets of 20 ms with uniform extra delay up to `jitter` ms; gives the target.
    fn target(arrivals: &mut Arrivals, rng: &mut Rng, from: u64, packets: u64, jitter: u64) -> u64 {
        for i in from..from + packets {
            let now = at(100 + i * 20 + rng.below(jitter + 1));
            arrivals.note(now, i64::try_from(i * 20_000_000).expect("small"), MOST);
        }
        u64::try_from(arrivals.quantile().as_millis()).expect("small")
    }

    #[test]
    fn the_target_grows_fast_and_shrinks_slowly() {
        let (mut arrivals, mut rng) = (Arrivals::new(), Rng::new(1));
        assert_eq!(target(&mut arrivals, &mut rng, 0, 500, 1), 5);
        let grown = target(&mut arrivals, &mut rng, 500, 50, 100);
        assert!(grown >= 60, "{grown} ms after one second");
        assert!((90..=105).contains(&target(&mut arrivals, &mut rng, 550, 1_000, 100)));
        let later = target(&mut arrivals, &mut rng, 1_550, 250, 1);
        assert!(later > 60, "{later} ms after five calm seconds");
        assert!(target(&mut arrivals, &mut rng, 1_800, 3_000, 1) <= 10);
    }

    #[test]
    fn a_drifting_sender_is_followed() {
        for ppm in [-200_i64, 200] {
            let mut arrivals = Arrivals::new();
            for i in 0..100_000_i64 {
                let rtp = i * 20_000_000;
                let now = 1_000_000_000 + rtp + rtp / 1_000_000 * ppm;
                arrivals.note(Timestamp::from_nanos(now.unsigned_abs()), rtp, MOST);
                let error = now - arrivals.earliest(rtp);
                assert!((0..1_000_000).contains(&error), "{ppm} ppm: {error} ns");
            }
            assert_eq!(arrivals.quantile(), Histogram::STEP);
        }
    }
}
