//! The two clocks of a frame: when it happened in the medium, and when it was here.
//!
//! [`MediaTime`] is a position on a stream's own time line, in integer microseconds, as on the wire.
//! [`Timestamp`] is the gateway's monotonic clock, in nanoseconds since an epoch that the driver chose; in simulation it is
//! virtual. No function here reads a clock.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A position on a stream's time line, in microseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MediaTime(i64);

impl MediaTime {
    /// The start of the time line.
    pub const ZERO: Self = Self(0);

    /// A position given in microseconds.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The position after `samples` at `rate` samples a second; saturates.
    #[must_use]
    pub fn from_samples(samples: u64, rate: u32) -> Self {
        let micros = u128::from(samples) * 1_000_000 / u128::from(rate.max(1));
        Self(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// This position in microseconds.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// How far this position lies after `earlier`; zero if it lies before it.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for MediaTime {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(rhs.as_micros()).unwrap_or(i64::MAX)),
        )
    }
}

impl AddAssign<Duration> for MediaTime {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl fmt::Display for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} µs", self.0)
    }
}

/// An instant of the driver's monotonic clock: nanoseconds since the driver's epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The driver's epoch.
    pub const ZERO: Self = Self(0);
    /// Later than every instant that can be reached: 584 years.
    pub const MAX: Self = Self(u64::MAX);

    /// An instant given in nanoseconds since the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is before it.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This instant moved `by` earlier, not before the epoch.
    #[must_use]
    pub fn saturating_sub(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl AddAssign<Duration> for Timestamp {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub for Timestamp {
    type Output = Duration;

    fn sub(self, rhs: Self) -> Duration {
        self.saturating_since(rhs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_become_microseconds_without_overflow() {
        assert_eq!(
            MediaTime::from_samples(48_000, 48_000).as_micros(),
            1_000_000
        );
        assert_eq!(MediaTime::from_samples(u64::MAX, 1).as_micros(), i64::MAX);
    }

    #[test]
    fn differences_never_go_below_zero() {
        let early = Timestamp::from_nanos(5);
        assert_eq!(early - Timestamp::from_nanos(9), Duration::ZERO);
        assert_eq!(
            MediaTime::from_micros(-4).saturating_since(MediaTime::ZERO),
            Duration::ZERO
        );
    }
}
