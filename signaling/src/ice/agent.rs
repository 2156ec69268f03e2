//! The ICE agent: which remote address is the peer, and is it still there.
//!
//! One component, one local socket, so a candidate pair is a remote address. Time is an argument.
//! It keeps true:
//! * nothing is answered, learned or selected on a packet whose MESSAGE-INTEGRITY does not verify;
//! * the first nominated address is used at once (the DTLS handshake that follows proves the return
//!   path), a later one only after our own check to it was answered, so an authenticated peer cannot
//!   turn its media onto a third party (RFC 8827 §4.2);
//! * pairs, checks in flight and output are bounded; a peer that falls silent ends in [`IceEvent::Failed`]
//!   within the configured time (consent, RFC 7675).

mod inbound;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::crypto::RTCCryptoProvider;
use smallvec::SmallVec;

use super::Credentials;
use super::stun::{self, Check};
use crate::event::Proof;

/// Remote addresses kept at most: a browser on a laptop with VPNs offers under ten.
const MAX_PAIRS: usize = 16;
/// Checks of one pair whose answer is still awaited.
const MAX_IN_FLIGHT: usize = 4;
/// Checks sent to a pair before it is given up, doubling the interval up to `MAX_CHECK_INTERVAL`.
const MAX_CHECKS: u8 = 10;
const MAX_CHECK_INTERVAL: Duration = Duration::from_millis(1600);
/// Messages waiting for `poll_transmit`; the driver drains after every call, so this is slack.
const MAX_OUTPUT: usize = 64;

/// Which side nominates (RFC 8445 §6.1.1): the offerer, unless it is an ICE-lite agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IceRole {
    Controlling,
    Controlled,
}

/// Intervals and limits of the agent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IceTiming {
    /// First interval between checks of one pair; doubles per check.
    pub(crate) check_interval: Duration,
    /// Between consent checks on the selected pair.
    pub(crate) keepalive: Duration,
    /// Silence until [`IceEvent::Disconnected`].
    pub(crate) disconnected: Duration,
    /// Silence, or time without a first connection, until [`IceEvent::Failed`].
    pub(crate) failed: Duration,
}

/// What the agent tells its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IceEvent {
    /// Packets go to this address from now on.
    Selected(SocketAddr),
    /// Nothing was heard for the configured time.
    Disconnected,
    /// Heard again after `Disconnected`.
    Recovered,
    /// The end: nothing will follow.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Checking,
    Connected,
    Disconnected,
    Ended,
}

struct InFlight {
    transaction: [u8; 12],
    sent: Instant,
    nominated: bool,
}

struct Pair {
    remote: SocketAddr,
    checks: u8,
    next_check: Option<Instant>,
    in_flight: SmallVec<[InFlight; MAX_IN_FLIGHT]>,
    /// Our check to it was answered in this generation.
    valid: bool,
    /// The controlling side chose it.
    nominated: bool,
}

/// See the module.
pub(crate) struct Agent {
    role: IceRole,
    tie_breaker: u64,
    timing: IceTiming,
    provider: Arc<dyn RTCCryptoProvider>,
    local: Credentials,
    remote: Option<Credentials>,
    /// The generation before an ICE restart: still answered until the new one has a pair.
    previous: Option<(Credentials, Credentials)>,
    pairs: SmallVec<[Pair; 4]>,
    selected: Option<SocketAddr>,
    state: State,
    started: Instant,
    last_heard: Instant,
    next_keepalive: Option<Instant>,
    output: VecDeque<(SocketAddr, Bytes)>,
    events: VecDeque<IceEvent>,
    round_trip: Option<Duration>,
    refused: u64,
    /// Where the newest verified message came from.
    proof: Option<(SocketAddr, Proof)>,
}

impl Agent {
    pub(crate) fn new(
        now: Instant,
        role: IceRole,
        local: Credentials,
        timing: IceTiming,
        provider: Arc<dyn RTCCryptoProvider>,
    ) -> Self {
        Self {
            role,
            tie_breaker: rand::random(),
            timing,
            provider,
            local,
            remote: None,
            previous: None,
            pairs: SmallVec::new(),
            selected: None,
            state: State::Checking,
            started: now,
            last_heard: now,
            next_keepalive: None,
            output: VecDeque::new(),
            events: VecDeque::new(),
            round_trip: None,
            refused: 0,
            proof: None,
        }
    }

    /// Sets what the peer's description said. Checks start with [`Self::add_remote`].
    pub(crate) fn set_remote(&mut self, now: Instant, remote: Credentials) {
        self.remote = Some(remote);
        self.started = now;
    }

    /// Adds an address of the peer and checks it at once. `false` if known, or if there are too many.
    pub(crate) fn add_remote(&mut self, now: Instant, address: SocketAddr) -> bool {
        self.pair_index(now, address).1
    }

    pub(crate) fn local(&self) -> &Credentials {
        &self.local
    }

    pub(crate) fn remote_ufrag(&self) -> Option<&str> {
        self.remote.as_ref().map(|remote| remote.ufrag.as_str())
    }

    pub(crate) fn selected(&self) -> Option<SocketAddr> {
        self.selected
    }

    /// The newest round trip of a check on the selected pair.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Messages refused: unauthenticated, unknown, or over a bound.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// Where the newest message whose MESSAGE-INTEGRITY verified came from; once.
    pub(crate) fn take_proof(&mut self) -> Option<(SocketAddr, Proof)> {
        self.proof.take()
    }

    /// Whether `from` is an address that this agent knows of.
    pub(crate) fn knows(&self, from: SocketAddr) -> bool {
        self.pairs.iter().any(|pair| pair.remote == from)
    }

    /// Starts a new generation (RFC 8445 §9): new credentials on both sides, the old pair carries
    /// media until the new generation has nominated one.
    pub(crate) fn restart(&mut self, now: Instant, local: Credentials, remote: Credentials) {
        let old_local = std::mem::replace(&mut self.local, local);
        let old_remote = self.remote.replace(remote);
        self.previous = old_remote.map(|remote| (old_local, remote));
        self.pairs.clear();
        self.started = now;
        self.last_heard = now;
        if self.state == State::Disconnected {
            self.state = State::Connected;
        }
    }

    /// Authenticated traffic other than STUN came from the peer.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.last_heard = self.last_heard.max(now);
        if self.state == State::Disconnected {
            self.state = State::Connected;
            self.events.push_back(IceEvent::Recovered);
        }
    }

    pub(crate) fn close(&mut self) {
        self.state = State::Ended;
        self.selected = None;
        self.output.clear();
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<(SocketAddr, Bytes)> {
        self.output.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<IceEvent> {
        self.events.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let liveness = match self.state {
            State::Ended => return None,
            State::Checking => self.started + self.timing.failed,
            State::Connected => self.last_heard + self.timing.disconnected,
            State::Disconnected => self.last_heard + self.timing.failed,
        };
        let checks = self.pairs.iter().filter_map(|pair| pair.next_check);
        checks.chain(self.next_keepalive).chain([liveness]).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.check_liveness(now);
        if self.state == State::Ended {
            return;
        }
        for index in 0..self.pairs.len() {
            if self.pairs[index].next_check.is_some_and(|at| at <= now) {
                let nominate = self.role == IceRole::Controlling && self.pairs[index].nominated;
                self.send_check(now, index, nominate);
            }
        }
        if self.next_keepalive.is_some_and(|at| at <= now) {
            self.next_keepalive = Some(now + self.timing.keepalive);
            if let Some(selected) = self.selected {
                let (index, _) = self.pair_index(now, selected);
                if let Some(index) = index {
                    // The controlling side nominates again each time, as browsers do: so the other
                    // side can follow when our address changes on the way.
                    self.send_check(now, index, self.role == IceRole::Controlling);
                }
            }
        }
    }

    fn check_liveness(&mut self, now: Instant) {
        let silent = now.saturating_duration_since(self.last_heard);
        match self.state {
            State::Checking
                if now.saturating_duration_since(self.started) >= self.timing.failed =>
            {
                self.fail();
            }
            State::Connected if silent >= self.timing.disconnected => {
                self.state = State::Disconnected;
                self.events.push_back(IceEvent::Disconnected);
                if silent >= self.timing.failed {
                    self.fail();
                }
            }
            State::Disconnected if silent >= self.timing.failed => self.fail(),
            _ => {}
        }
    }

    fn fail(&mut self) {
        self.close();
        self.events.push_back(IceEvent::Failed);
    }

    fn select(&mut self, now: Instant, index: usize) {
        let address = self.pairs[index].remote;
        self.previous = None;
        for pair in &mut self.pairs {
            // The search is over; the selected pair is kept alive by `next_keepalive`.
            if pair.remote != address || pair.valid {
                pair.next_check = None;
            }
        }
        if self.state == State::Checking {
            self.state = State::Connected;
        }
        self.next_keepalive
            .get_or_insert(now + self.timing.keepalive);
        if self.selected != Some(address) {
            self.selected = Some(address);
            self.events.push_back(IceEvent::Selected(address));
        }
    }

    /// The pair of `address`, made and checked if it is new. The flag says whether it was made.
    fn pair_index(&mut self, now: Instant, address: SocketAddr) -> (Option<usize>, bool) {
        if let Some(index) = self.pairs.iter().position(|pair| pair.remote == address) {
            return (Some(index), false);
        }
        if self.pairs.len() >= MAX_PAIRS {
            let spare = self.pairs.iter().position(|pair| {
                !pair.valid && !pair.nominated && self.selected != Some(pair.remote)
            });
            let Some(spare) = spare else {
                return (None, false);
            };
            self.pairs.remove(spare);
        }
        self.pairs.push(Pair {
            remote: address,
            checks: 0,
            next_check: None,
            in_flight: SmallVec::new(),
            valid: false,
            nominated: false,
        });
        let index = self.pairs.len() - 1;
        if self.remote.is_some() {
            self.send_check(now, index, false);
        }
        (Some(index), true)
    }

    fn send_check(&mut self, now: Instant, index: usize, nominate: bool) {
        let Some(remote) = &self.remote else { return };
        let check = Check {
            local: &self.local,
            remote,
            controlling: self.role == IceRole::Controlling,
            tie_breaker: self.tie_breaker,
            nominate,
        };
        let Ok((transaction, data)) = stun::check(&check, self.provider.crypto()) else {
            return;
        };
        let pair = &mut self.pairs[index];
        if pair.in_flight.len() == MAX_IN_FLIGHT {
            pair.in_flight.remove(0);
        }
        pair.in_flight.push(InFlight {
            transaction,
            sent: now,
            nominated: nominate,
        });
        pair.checks = pair.checks.saturating_add(1);
        let wait = self.timing.check_interval * (1u32 << u32::from(pair.checks.min(10) - 1));
        let unfinished = !pair.valid || (nominate && self.selected != Some(pair.remote));
        pair.next_check =
            (unfinished && pair.checks < MAX_CHECKS).then(|| now + wait.min(MAX_CHECK_INTERVAL));
        let to = pair.remote;
        self.push(to, Some(data));
    }

    fn push(&mut self, to: SocketAddr, data: Option<Vec<u8>>) -> bool {
        let Some(data) = data else { return false };
        if self.output.len() >= MAX_OUTPUT {
            return false;
        }
        self.output.push_back((to, data.into()));
        true
    }
}

#[cfg(test)]
mod tests;
