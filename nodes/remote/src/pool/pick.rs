//! Choosing the endpoint of the next attempt.

use smallvec::SmallVec;
use tidegate_media::Timestamp;

use super::Pool;
use super::balance;
use super::breaker::{Admission, Verdict};
use super::member::{MemberId, Permit};

/// What a request has tried so far. One per request, handed to each [`Pool::pick`] of it.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    pub(super) members: SmallVec<[MemberId; 4]>,
    counted: bool,
    attempts: u32,
}

impl Tried {
    /// A request that has tried nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A request that is to go elsewhere than `permit`: a stream that stood and broke is a new request in the retry budget's
    /// terms, or one endpoint with many streams could not be left.
    #[must_use]
    pub fn elsewhere(permit: &Permit) -> Self {
        Self {
            members: SmallVec::from_slice(&[permit.id()]),
            ..Self::default()
        }
    }

    /// Attempts that were permitted so far.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Lets all endpoints be tried again: a backoff is over.
    pub fn clear(&mut self) {
        self.members.clear();
    }
}

/// Where the next attempt goes.
#[derive(Debug)]
#[must_use]
pub enum Pick {
    /// There, at once.
    Endpoint(Permit),
    /// Every usable endpoint was tried by this request: wait a [`Pool::backoff`], [`Tried::clear`], and pick again.
    AllTried,
    /// No endpoint admits a request.
    Exhausted {
        /// When one may again, or while one is being probed, when to ask again; `None`: there are no endpoints.
        retry_at: Option<Timestamp>,
    },
}

/// Indices of slots that may take a request.
#[derive(Debug, Default)]
struct Usable {
    open: SmallVec<[usize; 8]>,
    /// Half-open ones that would be probed.
    due: SmallVec<[usize; 8]>,
}

/// Members that may take a request, by what checks say of them.
#[derive(Debug, Default)]
struct Sides {
    up: Usable,
    down: Usable,
    /// When one may that may not now.
    retry_at: Option<Timestamp>,
}

impl Usable {
    fn is_empty(&self) -> bool {
        self.open.is_empty() && self.due.is_empty()
    }

    fn add(&mut self, index: usize, admission: Admission) {
        match admission {
            Admission::Yes => self.open.push(index),
            Admission::Probe => self.due.push(index),
            Admission::No(_) => {}
        }
    }
}

impl Pool {
    /// Chooses an endpoint that the request has not tried.
    ///
    /// A half-open endpoint is preferred for a request's first attempt, so that recovery does not wait for the balance to come
    /// round to it and a failed probe still has the others; later attempts go there last.
    pub fn pick(&mut self, now: Timestamp, tried: &mut Tried) -> Pick {
        self.count(tried);
        self.reap();
        let sides = self.sides(now);
        if sides.up.is_empty() && sides.down.is_empty() {
            return Pick::Exhausted {
                retry_at: sides.retry_at,
            };
        }
        let usable = self.untried(sides, tried);
        let slots = &mut self.slots;
        let probe_first = tried.attempts == 0 && tried.members.is_empty();
        let chosen = match (usable.due.first(), usable.open.is_empty()) {
            (None, true) => return Pick::AllTried,
            (Some(&due), true) => due,
            (Some(&due), false) if probe_first => due,
            (_, false) => balance::choose(
                self.config.balance,
                &mut self.last,
                slots,
                &usable.open,
                now,
                &mut self.random,
            ),
        };
        let permit = slots[chosen].permit(now);
        tried.members.push(permit.id());
        tried.attempts = tried.attempts.saturating_add(1);
        Pick::Endpoint(permit)
    }

    /// Whether [`Pool::pick`] would give an endpoint. Takes nobody's turn.
    pub fn has_untried(&mut self, now: Timestamp, tried: &mut Tried) -> bool {
        self.count(tried);
        self.reap();
        let sides = self.sides(now);
        !self.untried(sides, tried).is_empty()
    }

    /// What the request has not tried: of those that are up, and once it has tried them all, of those that checks call down. Checks look at
    /// intervals, so that one of these may be back, and one of those gone, and nobody knows yet.
    fn untried(&self, sides: Sides, tried: &Tried) -> Usable {
        let left = |mut usable: Usable| {
            let untried = |index: &mut usize| !tried.members.contains(&self.slots[*index].id);
            usable.open.retain(untried);
            usable.due.retain(untried);
            usable
        };
        let up = left(sides.up);
        if up.is_empty() { left(sides.down) } else { up }
    }

    /// A request counts once.
    fn count(&mut self, tried: &mut Tried) {
        if !std::mem::replace(&mut tried.counted, true) {
            self.budget.request();
        }
    }

    /// When a request could be sent without disbelieving the checks: `now` if at once, `None` if nothing is known. For whoever
    /// waits to come back to this pool. Takes nothing.
    #[must_use]
    pub fn ready_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        let sides = self.sides(now);
        if sides.up.is_empty() {
            sides.retry_at
        } else {
            Some(now)
        }
    }

    /// Members that may take a request.
    fn sides(&mut self, now: Timestamp) -> Sides {
        let mut sides = Sides::default();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.draining {
                continue;
            }
            let admission = slot.breaker.admission(now);
            // A stream that has stood for long enough is proof, and nobody else may ever tell.
            if admission == Admission::Yes {
                slot.tell(now, Verdict::Success);
            }
            if let Admission::No(until) = admission {
                let known = sides.retry_at.unwrap_or(until);
                sides.retry_at = Some(known.min(until));
            }
            let side = if slot.health.is_up() {
                &mut sides.up
            } else {
                &mut sides.down
            };
            side.add(index, admission);
        }
        sides
    }
}
