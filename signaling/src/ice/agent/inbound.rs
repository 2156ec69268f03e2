//! What a STUN message changes: requests, responses and errors (RFC 8445 §7).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{Agent, IceRole, InFlight, State};
use crate::event::Proof;
use crate::ice::stun::{Binding, Kind};

impl Agent {
    /// Takes one STUN message from `from`.
    pub(crate) fn handle(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        if self.state == State::Ended {
            return;
        }
        let accepted = Binding::parse(data).is_some_and(|binding| match binding.kind {
            Kind::Request => self.handle_request(now, from, binding),
            Kind::Success => self.handle_success(now, from, binding),
            Kind::Error => self.handle_error(now, from, binding),
        });
        if accepted {
            self.heard(now);
        } else {
            self.refused += 1;
        }
    }

    fn handle_request(&mut self, now: Instant, from: SocketAddr, mut request: Binding) -> bool {
        let Some(remote) = &self.remote else {
            return false;
        };
        let provider = Arc::clone(&self.provider);
        let crypto = provider.crypto();
        if let Some((local, remote)) = &self.previous
            && request.is_for(&local.ufrag, &remote.ufrag)
        {
            // A check of the generation before a restart keeps the old path alive, no more.
            if !request.is_signed_with(&local.password, crypto) {
                return false;
            }
            self.proof = Some((from, Proof::Claimed));
            let response = request.success(from, &local.password, crypto);
            return self.push(from, response.ok());
        }
        if !request.is_for(&self.local.ufrag, &remote.ufrag)
            || !request.is_signed_with(&self.local.password, crypto)
        {
            return false;
        }
        if self.is_role_conflict(&request) {
            let response = request.role_conflict(&self.local.password, crypto);
            return self.push(from, response.ok());
        }
        let response = request.success(from, &self.local.password, crypto).ok();
        let (Some(index), _) = self.pair_index(now, from) else {
            return false;
        };
        if !self.push(from, response) {
            return false;
        }
        self.proof = Some((from, Proof::Claimed));
        if request.nominates() && self.role == IceRole::Controlled {
            self.pairs[index].nominated = true;
            if self.selected.is_none() || self.pairs[index].valid {
                self.select(now, index);
            }
        }
        let pair = &self.pairs[index];
        if !pair.valid && pair.in_flight.is_empty() && pair.checks > 0 {
            // A triggered check (RFC 8445 §7.3.1.4) for a pair that had been given up.
            self.pairs[index].checks = 0;
            self.send_check(now, index, false);
        }
        true
    }

    /// Both sides claim one role: the larger tie-breaker keeps it (RFC 8445 §7.3.1.1). `true` if the
    /// sender has to give way; if we have to, our role has changed on return.
    fn is_role_conflict(&mut self, request: &Binding) -> bool {
        let Some((controlling, theirs)) = request.role() else {
            return false;
        };
        let we_win = self.tie_breaker >= theirs;
        match (self.role, controlling) {
            (IceRole::Controlling, true) if we_win => true,
            (IceRole::Controlling, true) => {
                self.role = IceRole::Controlled;
                false
            }
            (IceRole::Controlled, false) if we_win => {
                self.role = IceRole::Controlling;
                false
            }
            (IceRole::Controlled, false) => true,
            _ => false,
        }
    }

    fn handle_success(&mut self, now: Instant, from: SocketAddr, mut response: Binding) -> bool {
        let Some(remote) = &self.remote else {
            return false;
        };
        if !response.is_signed_with(&remote.password, self.provider.crypto()) {
            return false;
        }
        let Some((index, sent)) = self.take_in_flight(from, &response) else {
            return false;
        };
        self.proof = Some((from, Proof::Answered));
        self.round_trip = Some(now.saturating_duration_since(sent.sent));
        let pair = &mut self.pairs[index];
        pair.valid = true;
        pair.next_check = None;
        match self.role {
            IceRole::Controlling if sent.nominated => self.select(now, index),
            IceRole::Controlling => {
                if self.pairs.iter().all(|pair| !pair.nominated) {
                    self.pairs[index].nominated = true;
                    self.pairs[index].checks = 0;
                    self.send_check(now, index, true);
                }
            }
            IceRole::Controlled => {
                if self.pairs[index].nominated {
                    self.select(now, index);
                }
            }
        }
        true
    }

    fn handle_error(&mut self, now: Instant, from: SocketAddr, mut response: Binding) -> bool {
        let Some(remote) = &self.remote else {
            return false;
        };
        if !response.is_role_conflict()
            || !response.is_signed_with(&remote.password, self.provider.crypto())
        {
            return false;
        }
        let Some((index, _)) = self.take_in_flight(from, &response) else {
            return false;
        };
        self.role = match self.role {
            IceRole::Controlling => IceRole::Controlled,
            IceRole::Controlled => IceRole::Controlling,
        };
        self.send_check(now, index, false);
        true
    }

    fn take_in_flight(
        &mut self,
        from: SocketAddr,
        response: &Binding,
    ) -> Option<(usize, InFlight)> {
        let id = response.transaction();
        let index = self.pairs.iter().position(|pair| pair.remote == from)?;
        let pair = &mut self.pairs[index];
        let position = pair
            .in_flight
            .iter()
            .position(|sent| sent.transaction == id)?;
        Some((index, pair.in_flight.remove(position)))
    }
}
