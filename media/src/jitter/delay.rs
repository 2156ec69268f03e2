//! The delay that is aimed for and the delay that there is.
//!
//! The target follows the arrivals; where packets carry copies of the ones before and some are lost, it is a packet
//! longer, so that the copy comes in time. Times are nanoseconds, lengths RTP clock units.

use std::time::Duration;

use super::JitterSettings;
use super::arrivals::Arrivals;
use super::step::Correction;
use crate::time::Timestamp;

/// See the module's text.
#[derive(Clone, Debug)]
pub(super) struct DelayControl {
    clock: u32,
    settings: JitterSettings,
    arrivals: Arrivals,
    /// Share of packets lost, over the last hundred or so.
    loss: f32,
    /// Packets carry copies of the ones before.
    copies: bool,
    /// Length of the last packet of sound.
    usual_length: u32,
    /// Delay of the packet played last.
    current: i64,
}

impl DelayControl {
    /// Packets until the target is taken from the arrivals alone: half a second of 20 ms packets.
    const SETTLED: u32 = 25;
    /// Loss above which waiting for the copy in the next packet pays.
    const LOSS_WORTH_WAITING: f32 = 0.005;

    pub(super) const fn new(clock: u32, settings: JitterSettings) -> Self {
        Self {
            clock,
            settings,
            arrivals: Arrivals::new(),
            loss: 0.0,
            copies: false,
            usual_length: clock / 50,
            current: 0,
        }
    }

    pub(super) fn note_arrival(&mut self, now: Timestamp, timestamp: i64) {
        let rtp = self.nanos_of(timestamp);
        self.arrivals.note(now, rtp, self.settings.delay_max);
    }

    pub(super) const fn note_copies(&mut self, copies: bool) {
        self.copies |= copies;
    }

    pub(super) const fn note_length(&mut self, length: u32) {
        self.usual_length = length;
    }

    pub(super) fn note_lost(&mut self) {
        self.loss += (1.0 - self.loss) / 100.0;
    }

    /// The packet of this timestamp is played at `playhead`.
    pub(super) fn note_played(&mut self, playhead: i64, timestamp: i64) {
        self.loss -= self.loss / 100.0;
        self.current = self.at(playhead, timestamp);
    }

    /// The sender pauses or begins anew: when its packets come will have to be learnt again.
    pub(super) const fn forget_arrivals(&mut self) {
        self.arrivals.forget_offsets();
    }

    /// The delay that is aimed for.
    pub(super) fn target(&self) -> Duration {
        let mut target = self.arrivals.quantile();
        if self.arrivals.seen() < Self::SETTLED {
            target = target.max(self.settings.delay_initial);
        }
        if self.copies && self.loss > Self::LOSS_WORTH_WAITING {
            let packet = self.nanos_of(i64::from(self.usual_length));
            target += Duration::from_nanos(packet.unsigned_abs());
        }
        target.clamp(self.settings.delay_min, self.settings.delay_max)
    }

    /// How the delay of the packet played last differs from the target, where that is worth a correction.
    pub(super) fn correction(&self) -> Correction {
        let target = duration_nanos(self.target());
        let excess = self.current - target;
        // Wide enough that jitter of the estimate is not chased: every correction is audible to a keen ear.
        let above = (target / 4).max(10_000_000);
        let below = (target / 4).max(5_000_000);
        let size = Duration::from_nanos(excess.unsigned_abs());
        if excess > above {
            Correction::Shrink(size)
        } else if excess < -below {
            Correction::Grow(size)
        } else {
            Correction::None
        }
    }

    /// When the packet of this timestamp should be played.
    pub(super) fn due(&self, timestamp: i64) -> i64 {
        self.arrivals
            .earliest(self.nanos_of(timestamp))
            .saturating_add(duration_nanos(self.target()))
    }

    /// The delay of a packet of this timestamp if it is played at `playhead`.
    pub(super) fn at(&self, playhead: i64, timestamp: i64) -> i64 {
        playhead.saturating_sub(self.arrivals.earliest(self.nanos_of(timestamp)))
    }

    pub(super) fn current(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.current).unwrap_or(0))
    }

    pub(super) fn jitter(&self) -> Duration {
        self.arrivals.jitter()
    }

    pub(super) const fn usual_length(&self) -> u32 {
        self.usual_length
    }

    pub(super) const fn clock(&self) -> u32 {
        self.clock
    }

    pub(super) fn nanos_of(&self, units: i64) -> i64 {
        let nanos = i128::from(units) * 1_000_000_000 / i128::from(self.clock);
        i64::try_from(nanos).unwrap_or(i64::MAX)
    }

    /// Clock units in so many nanoseconds, rounded down to the decoders' quantum of 2.5 ms.
    pub(super) fn quantised(&self, nanos: i64) -> i64 {
        nanos.max(0) / 2_500_000 * i64::from(self.clock) / 400
    }
}

pub(super) fn duration_nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
