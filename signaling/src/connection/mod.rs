//! The peer behind both roles: ICE, DTLS, SRTP and SCTP joined without I/O.
//!
//! `handle_*` and `send_*` take time and input, `poll_*` give output; nothing waits, reads a clock or
//! locks. A packet is decrypted once and its payload handed on without a copy. Queues are bounded;
//! what does not fit is dropped and counted. Absent: sockets, timers, sessions.

mod flow;
mod media;
mod stats;
mod track;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::config::{PeerConfig, Timing};
use crate::data::{ChannelId, ChannelMessage, Data};
use crate::dtls::Dtls;
use crate::error::SignalingError;
use crate::event::{Failure, PacketDrops, PeerEvent, Proof, Transmit};
use crate::ice::{Agent, Credentials, IceRole, IceTiming, random_letters};
use crate::srtp::Srtp;
pub(crate) use track::Track;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Connected,
    Ended,
}

/// What a core is made of once both descriptions are known.
pub(crate) struct CoreParts {
    pub(crate) local: Credentials,
    pub(crate) remote: Credentials,
    pub(crate) role: IceRole,
    pub(crate) dtls: Dtls,
    pub(crate) data: Option<Data>,
    /// We start the SCTP association, as offerers do.
    pub(crate) data_initiates: bool,
    pub(crate) tracks: Vec<Track>,
    pub(crate) candidates: Vec<SocketAddr>,
    pub(crate) cname: String,
}

/// See the module.
pub(crate) struct Core {
    started: Instant,
    /// The newest time that the owner gave.
    newest: Instant,
    timing: Timing,
    max_events: usize,
    video_bitrate: f32,
    candidates_left: usize,
    state: State,
    ice: Agent,
    dtls: Dtls,
    srtp: Option<Srtp>,
    data: Option<Data>,
    data_initiates: bool,
    tracks: Vec<Track>,
    report_ssrc: u32,
    cname: String,
    next_report: Option<Instant>,
    round_trip: Option<Duration>,
    output: VecDeque<Transmit>,
    events: VecDeque<PeerEvent>,
    drops: PacketDrops,
}

/// A canonical name that says nothing about the host (RFC 7022 §4.1).
pub(crate) fn random_cname() -> String {
    random_letters(16)
}

pub(crate) fn ice_timing(timing: &Timing) -> IceTiming {
    IceTiming {
        check_interval: timing.check_interval,
        keepalive: timing.keepalive,
        disconnected: timing.disconnected,
        failed: timing.failed,
    }
}

impl Core {
    pub(crate) fn new(now: Instant, config: &PeerConfig, parts: CoreParts) -> Self {
        let provider = config.certificate.provider();
        let mut ice = Agent::new(
            now,
            parts.role,
            parts.local,
            ice_timing(&config.timing),
            provider,
        );
        ice.set_remote(now, parts.remote);
        let mut core = Self {
            started: now,
            newest: now,
            timing: config.timing,
            max_events: config.limits.max_events,
            video_bitrate: f32::from(config.limits.video_kbit) * 1000.0,
            candidates_left: config.limits.max_candidates,
            state: State::Connecting,
            ice,
            dtls: parts.dtls,
            srtp: None,
            data: parts.data,
            data_initiates: parts.data_initiates,
            tracks: parts.tracks,
            report_ssrc: rand::random::<u32>() | 1,
            cname: parts.cname,
            next_report: None,
            round_trip: None,
            output: VecDeque::new(),
            events: VecDeque::new(),
            drops: PacketDrops::default(),
        };
        for candidate in parts.candidates {
            core.add_remote_candidate(now, candidate);
        }
        core
    }

    pub(crate) fn ice(&self) -> &Agent {
        &self.ice
    }

    pub(crate) fn take_proof(&mut self) -> Option<(SocketAddr, Proof)> {
        self.ice.take_proof()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Adds an address of the peer; `false` if it is known or there are too many.
    pub(crate) fn add_remote_candidate(&mut self, now: Instant, address: SocketAddr) -> bool {
        if self.candidates_left == 0 || self.has_ended() {
            return false;
        }
        self.candidates_left -= 1;
        let added = self.ice.add_remote(now, address);
        self.settle(now);
        added
    }

    /// Starts a new ICE generation with the peer's new credentials; gives ours.
    pub(crate) fn restart_ice(&mut self, now: Instant, remote: Credentials, max_candidates: usize) {
        self.candidates_left = max_candidates;
        self.ice.restart(now, Credentials::generate(), remote);
        self.settle(now);
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        if self.has_ended() {
            return;
        }
        // RFC 7983 §7.
        match data.first() {
            Some(0..=3) => {
                self.ice.handle(now, from, data);
                self.settle(now);
            }
            Some(20..=63) if self.ice.knows(from) => {
                self.handle_dtls(now, data);
                self.settle(now);
            }
            Some(128..=191) if self.ice.selected() == Some(from) || self.ice.knows(from) => {
                if crate::rtp::is_rtcp(data) {
                    self.handle_rtcp(now, data);
                } else {
                    self.handle_rtp(now, data);
                }
            }
            Some(20..=63 | 128..=191) => self.drops.unknown_address += 1,
            _ => self.drops.unknown += 1,
        }
    }

    fn handle_dtls(&mut self, now: Instant, data: &[u8]) {
        let input = match self.dtls.handle(now, data) {
            Ok(input) => input,
            // A handshake that still waits has only met a datagram that is none of it.
            Err(error) if self.state == State::Connecting && self.dtls.poll_timeout().is_none() => {
                self.flush_dtls();
                return self.fail(Failure::Handshake(error.to_string()));
            }
            Err(_) => {
                self.drops.forged += 1;
                return;
            }
        };
        if let Some(keys) = input.keys {
            self.srtp = Some(keys);
            self.connect(now);
        }
        if self.dtls.is_connected() && !input.data.is_empty() {
            self.ice.heard(now);
        }
        for packet in input.data {
            match &mut self.data {
                Some(data) => data.handle(now, packet.freeze()),
                None => self.drops.data += 1,
            }
        }
        if input.closed {
            self.flush_dtls();
            self.end(PeerEvent::Closed);
        }
    }

    fn connect(&mut self, now: Instant) {
        if self.state != State::Connecting {
            return;
        }
        self.state = State::Connected;
        self.ice.heard(now);
        self.events.push_back(PeerEvent::Connected);
        if !self.tracks.is_empty() {
            self.next_report = Some(now + self.timing.report_interval / 4);
        }
        if let Some(data) = &mut self.data {
            data.start(now, self.data_initiates);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.has_ended() {
            return;
        }
        self.ice.handle_timeout(now);
        if let Err(error) = self.dtls.handle_timeout(now)
            && self.state == State::Connecting
        {
            return self.fail(Failure::Handshake(error.to_string()));
        }
        if let Some(data) = &mut self.data
            && data.poll_timeout().is_some_and(|at| at <= now)
        {
            data.handle_timeout(now);
        }
        self.handle_media_timeout(now);
        self.settle(now);
        // ICE has its own end, and DTLS has one once it began: a peer that never says hello has none.
        if self.connect_by().is_some_and(|at| at <= now) {
            let reason = "the peer did not finish it in time".to_owned();
            self.fail(Failure::Handshake(reason));
        }
    }

    /// When a connection must stand.
    fn connect_by(&self) -> Option<Instant> {
        (self.state == State::Connecting).then(|| self.started + self.timing.failed)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.has_ended() {
            return None;
        }
        [
            self.ice.poll_timeout(),
            self.dtls.poll_timeout(),
            self.data.as_ref().and_then(Data::poll_timeout),
            self.media_timeout(),
            self.connect_by(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.output.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<PeerEvent> {
        let event = self.events.pop_front();
        if event.is_some() && self.data.as_ref().is_some_and(Data::has_backlog) {
            // There is room again for what was left in the association.
            self.settle(self.newest);
        }
        event
    }

    /// Says goodbye; the goodbye is among the next datagrams.
    pub(crate) fn close(&mut self, now: Instant) {
        if self.has_ended() {
            return;
        }
        if let Some(data) = &mut self.data {
            data.close();
        }
        self.flush_data(now);
        self.dtls.close(now);
        self.flush_dtls();
        self.end(PeerEvent::Closed);
    }

    pub(crate) fn send_channel(
        &mut self,
        now: Instant,
        id: ChannelId,
        message: &ChannelMessage,
    ) -> Result<(), SignalingError> {
        if self.has_ended() {
            return Err(SignalingError::NotConnected);
        }
        let data = self
            .data
            .as_mut()
            .ok_or(SignalingError::Unknown { what: "channel" })?;
        let result = data.send(now, id, message);
        self.flush_data(now);
        // It leaves with the next datagram, not with whatever moves the connection later.
        self.flush_dtls();
        result
    }

    pub(crate) fn channel_buffered(&mut self, id: ChannelId) -> usize {
        self.data.as_mut().map_or(0, |data| data.buffered(id))
    }

    pub(crate) fn set_channel_reading(&mut self, now: Instant, reading: bool) {
        if let Some(data) = &mut self.data {
            data.set_reading(now, reading);
        }
        self.settle(now);
    }

    pub(crate) fn close_channel(&mut self, now: Instant, id: ChannelId) {
        if let Some(data) = &mut self.data {
            data.close_channel(now, id);
        }
        self.settle(now);
    }

    pub(crate) fn carries_data(&self) -> bool {
        self.data.is_some()
    }

    pub(crate) fn open_channel(
        &mut self,
        now: Instant,
        label: &str,
        protocol: &str,
    ) -> Option<ChannelId> {
        let id = self
            .data
            .as_mut()
            .map(|data| data.open(now, label, protocol));
        self.settle(now);
        id
    }
}

#[cfg(test)]
mod tests;
