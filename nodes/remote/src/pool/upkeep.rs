//! What a pool wants done while it is in use: checks of its members and resolution of its names.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_media::Timestamp;
use tidegate_nodes::Code;

use super::health::Change;
use super::member::{Member, MemberId, Slot};
use super::names::{self, Name};
use super::{Pool, slot};

/// A check to be made now. Its result goes to [`Pool::probed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Which member.
    pub id: MemberId,
    /// Where.
    pub member: Member,
    /// How long it may take.
    pub timeout: Duration,
}

/// A name to be resolved now. The answer goes to [`Pool::resolved`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolve {
    /// Index of the endpoint in the configuration.
    pub endpoint: usize,
    /// What to resolve.
    pub name: Name,
}

impl Pool {
    /// The next check that is due; it counts as being made from here on.
    pub fn probe_due(&mut self, now: Timestamp) -> Option<Probe> {
        let config = self.config.health?;
        let members = self.slots.iter_mut().filter(|slot| !slot.draining);
        for slot in members {
            if slot.health.begin(now, &config) {
                return Some(Probe {
                    id: slot.id,
                    member: slot.member.clone(),
                    timeout: config.timeout,
                });
            }
        }
        None
    }

    /// What a check gave: the round trip, or why it failed.
    pub fn probed(&mut self, now: Timestamp, id: MemberId, result: Result<Duration, Code>) {
        let (Some(config), Some(slot)) = (self.config.health, slot(&mut self.slots, id)) else {
            return;
        };
        let change = slot
            .health
            .result(now, result.ok(), &config, &mut self.random);
        match (change, result) {
            (Change::WentDown, Err(code)) => {
                tracing::warn!(endpoint = %slot.member, %code, "endpoint is down: its checks fail");
            }
            (Change::CameUp, _) => {
                // Most likely restarted: no reason to sit out the rest of the breaker's time.
                slot.breaker.hurry(now);
                tracing::info!(endpoint = %slot.member, "endpoint is up: its checks pass again");
            }
            _ => {}
        }
    }

    /// The next name that is to be resolved; it counts as being asked from here on.
    pub fn resolve_due(&mut self, now: Timestamp) -> Option<Resolve> {
        let names = self.names.iter_mut().enumerate();
        for (endpoint, schedule) in names {
            if let Some(schedule) = schedule.as_mut()
                && schedule.begin(now)
            {
                let name = schedule.name.clone();
                return Some(Resolve { endpoint, name });
            }
        }
        None
    }

    /// The addresses of a name, as the resolver ordered them. Empty, for a failure as well: what was known stays.
    pub fn resolved(&mut self, now: Timestamp, endpoint: usize, addresses: Vec<SocketAddr>) {
        let Some(Some(schedule)) = self.names.get_mut(endpoint) else {
            return;
        };
        schedule.answered(now, self.config.resolve);
        let wanted = names::members(addresses);
        if wanted.is_empty() {
            self.reap();
            return;
        }
        for slot in self
            .slots
            .iter_mut()
            .filter(|slot| slot.endpoint == endpoint)
        {
            // One that comes back while it drains is taken up again, with what is known of it.
            let stays = wanted.contains(&slot.member.address);
            if slot.draining == stays {
                slot.draining = !stays;
                tracing::info!(endpoint = %slot.member, stays, "the name's addresses changed");
            }
        }
        for address in wanted {
            let of = |slot: &Slot| slot.endpoint == endpoint && slot.member.address == address;
            if !self.slots.iter().any(of) {
                self.join(endpoint, address);
            }
        }
        self.reap();
    }

    /// When [`Pool::probe_due`] or [`Pool::resolve_due`] will have something; outcomes of attempts may bring it forward.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let checked = self.slots.iter().filter(|slot| !slot.draining);
        let checks = checked
            .filter(|_| self.config.health.is_some())
            .map(|slot| slot.health.poll_timeout());
        let names = self.names.iter().flatten().map(|name| name.poll_timeout());
        checks.chain(names).min()
    }

    /// Forgets members that left their name and have nothing in flight.
    pub(super) fn reap(&mut self) {
        self.slots
            .retain(|slot| !slot.draining || slot.in_flight() > 0);
    }

    pub(super) fn join(&mut self, endpoint: usize, address: Option<SocketAddr>) {
        let configured = &self.config.endpoints[endpoint];
        let known = self.slots.iter().find(|slot| slot.endpoint == endpoint);
        let label = known.map_or_else(
            || configured.address.as_str().into(),
            |slot| slot.member.endpoint.clone(),
        );
        let member = Member {
            endpoint: label,
            address,
        };
        let place = (endpoint, configured.weight);
        let id = MemberId(self.next_id);
        self.next_id += 1;
        self.slots
            .push(Slot::new(id, member, place, self.config.breaker));
    }
}
