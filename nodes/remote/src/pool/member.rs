//! Members of a pool: an endpoint as configured, and the address that stands for it now.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tidegate_media::Timestamp;

use super::breaker::{Breaker, BreakerState, Pass, Verdict};
use super::config::BreakerConfig;
use super::health::Health;
use super::latency::PeakEwma;
use super::state::Totals;

/// Where to connect. Two members of one name differ in address only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The endpoint as configured: label, authority and TLS name.
    pub endpoint: Arc<str>,
    /// What to connect to instead of asking the name; `None`: whatever the name says when connecting.
    pub address: Option<SocketAddr>,
}

impl Member {
    /// An endpoint whose name is asked when connecting.
    pub fn named(endpoint: impl Into<Arc<str>>) -> Self {
        Self {
            endpoint: endpoint.into(),
            address: None,
        }
    }
}

impl From<&str> for Member {
    fn from(endpoint: &str) -> Self {
        Self::named(endpoint)
    }
}

impl From<&String> for Member {
    fn from(endpoint: &String) -> Self {
        Self::named(endpoint.as_str())
    }
}

impl From<&Self> for Member {
    fn from(member: &Self) -> Self {
        member.clone()
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.endpoint)?;
        match self.address {
            Some(address) => write!(f, " ({address})"),
            None => Ok(()),
        }
    }
}

/// Tells members of one pool apart, also those that are gone. Ascending in the order in which they joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub(super) u64);

/// Leave to make one attempt at one member.
///
/// Whoever holds it gives it back with [`Pool::finished`](super::Pool::finished). Dropping it instead means "cancelled": the
/// pool sees by shared counts that it is gone, so the load falls and a half-open breaker admits its next probe at once, without
/// the pool being told.
#[derive(Debug)]
#[must_use = "an attempt that is not finished counts as cancelled"]
pub struct Permit {
    pub(super) id: MemberId,
    pub(super) member: Member,
    pub(super) pass: Pass,
    pub(super) _live: Arc<()>,
}

impl Permit {
    /// Where to connect.
    #[must_use]
    pub const fn member(&self) -> &Member {
        &self.member
    }

    /// The endpoint as configured.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.member.endpoint
    }

    /// Which member of its pool this is for.
    #[must_use]
    pub const fn id(&self) -> MemberId {
        self.id
    }

    /// Whether it is the one request that a half-open breaker admits.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.pass.is_probe()
    }
}

/// What the pool keeps of a member.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: MemberId,
    pub(super) member: Member,
    /// Index of the endpoint in the configuration.
    pub(super) endpoint: usize,
    pub(super) weight: u32,
    pub(super) breaker: Breaker,
    pub(super) health: Health,
    pub(super) draining: bool,
    /// Balance of smooth weighted round robin.
    pub(super) earned: i64,
    /// Latency of outputs.
    pub(super) outputs: Option<PeakEwma>,
    /// Latency of openings: a first guess before there are outputs.
    pub(super) openings: Option<PeakEwma>,
    /// Recent good ends, newest in the lowest bit: whether they were empty.
    pub(super) empties: Recent,
    pub(super) totals: Totals,
    /// It was said to be shut off, and not yet to serve again.
    told_shut: bool,
    live: Arc<()>,
}

impl Slot {
    pub(super) fn new(
        id: MemberId,
        member: Member,
        (endpoint, weight): (usize, u32),
        breaker: BreakerConfig,
    ) -> Self {
        Self {
            id,
            member,
            endpoint,
            weight: weight.max(1),
            breaker: Breaker::new(breaker),
            health: Health::new(),
            draining: false,
            earned: 0,
            outputs: None,
            openings: None,
            empties: Recent::default(),
            totals: Totals::default(),
            told_shut: false,
            live: Arc::new(()),
        }
    }

    /// Says in the log, after what an attempt has shown, that the endpoint is shut off, or that it serves again. Once each: that the
    /// probes of one that is shut off fail too is no news.
    pub(super) fn tell(&mut self, now: Timestamp, shown: Verdict) {
        let shut = self.breaker.state(now) != BreakerState::Closed;
        if shut == self.told_shut {
            return;
        }
        self.told_shut = shut;
        let totals = &self.totals;
        let (endpoint, failures) = (&self.member, totals.failed + totals.silent + totals.empty);
        match (shut, shown) {
            (true, Verdict::Leave) => {
                tracing::info!(%endpoint, "endpoint shut off: it is draining");
            }
            (true, _) => {
                tracing::warn!(%endpoint, failures, "endpoint shut off: too many attempts failed");
            }
            (false, _) => {
                tracing::info!(%endpoint, "endpoint serves again: it is shut off no more");
            }
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        // The slot itself holds one count.
        Arc::strong_count(&self.live) - 1
    }

    /// Requests per weight if one more came.
    pub(super) fn load(&self) -> f64 {
        let now = u32::try_from(self.in_flight()).unwrap_or(u32::MAX);
        f64::from(now.saturating_add(1)) / f64::from(self.weight)
    }

    /// Expected latency in seconds, if anything is known.
    pub(super) fn latency(&self, now: Timestamp) -> Option<f64> {
        let known = self.outputs.or(self.openings)?;
        Some(known.cost(now, self.in_flight() == 0))
    }

    pub(super) fn permit(&mut self, now: Timestamp) -> Permit {
        let pass = self.breaker.admit(now);
        self.totals.attempts += 1;
        self.totals.probes += u64::from(pass.is_probe());
        Permit {
            id: self.id,
            member: self.member.clone(),
            pass,
            _live: Arc::clone(&self.live),
        }
    }
}

/// The last 32 of something that was so or not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recent {
    bits: u32,
    len: u32,
}

impl Recent {
    pub(super) fn push(&mut self, so: bool) {
        self.bits = self.bits << 1 | u32::from(so);
        self.len = (self.len + 1).min(u32::BITS);
    }

    /// How many were so, and how many there are.
    pub(super) const fn counts(self) -> (u32, u32) {
        (self.bits.count_ones(), self.len)
    }
}
