//! Two peers and nothing between them but a queue with a latency: no sockets, no real time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_signaling::{
    Capabilities, Certificate, ClientPeer, Offer, Peer, PeerConfig, PeerEvent, Role,
};

use crate::clock;
/// One way through the network.
pub(crate) const LATENCY: Duration = Duration::from_millis(1);

/// One end.
pub(crate) struct Side {
    pub(crate) peer: Peer,
    pub(crate) address: SocketAddr,
    pub(crate) events: Vec<PeerEvent>,
}

/// A network of two hosts with fixed latency; `drops` decides which packets are lost.
pub(crate) struct Net {
    pub(crate) now: Instant,
    start: Instant,
    /// The client and the server.
    pub(crate) sides: [Side; 2],
    flying: Vec<(Instant, usize, Bytes)>,
    count: u64,
    /// Packets to addresses where nobody is.
    pub(crate) misdirected: u64,
    pub(crate) drops: fn(u64) -> bool,
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub(crate) fn config(port: u16) -> PeerConfig {
    PeerConfig::new(Certificate::generate().unwrap(), vec![address(port)])
}

impl Net {
    pub(crate) fn new(offer: &Offer, capabilities: &Capabilities, drops: fn(u64) -> bool) -> Self {
        let client = ClientPeer::offer(&config(1000), offer);
        Self {
            drops,
            ..Self::between(client, capabilities, str::to_owned)
        }
    }

    /// A client and the server that got its offer as `sdp` has made it.
    pub(crate) fn between(
        client: ClientPeer,
        capabilities: &Capabilities,
        sdp: impl Fn(&str) -> String,
    ) -> Self {
        let now = clock::start();
        let offer = sdp(client.sdp());
        let (server, answer) =
            Peer::accept(&config(2000), &offer, Role::Whip, capabilities, now).unwrap();
        let client = client.set_answer(now, &answer).unwrap();
        let side = |peer, port| Side {
            peer,
            address: address(port),
            events: Vec::new(),
        };
        Self {
            now,
            start: now,
            sides: [side(client, 1000), side(server, 2000)],
            flying: Vec::new(),
            count: 0,
            misdirected: 0,
            drops: none,
        }
    }

    fn drain(&mut self) {
        for index in 0..2 {
            while let Some(transmit) = self.sides[index].peer.poll_transmit() {
                if transmit.to != self.sides[1 - index].address {
                    self.misdirected += 1;
                    continue;
                }
                self.count += 1;
                if !(self.drops)(self.count) {
                    self.flying
                        .push((self.now + LATENCY, 1 - index, transmit.data));
                }
            }
            while let Some(event) = self.sides[index].peer.poll_event() {
                self.sides[index].events.push(event);
            }
        }
    }

    /// Runs until `done` or for `limit`; says whether it was done.
    pub(crate) fn run(&mut self, limit: Duration, done: impl Fn(&[Side; 2]) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            self.drain();
            if done(&self.sides) {
                return true;
            }
            let arrival = self.flying.iter().map(|(at, ..)| *at).min();
            let timers = self
                .sides
                .iter()
                .filter_map(|side| side.peer.poll_timeout());
            let Some(next) = timers.chain(arrival).min().filter(|next| *next <= end) else {
                self.now = end;
                return false;
            };
            self.now = self.now.max(next);
            let now = self.now;
            let due: Vec<_> = self.flying.extract_if(.., |(at, ..)| *at <= now).collect();
            for (_, to, data) in due {
                let from = self.sides[1 - to].address;
                self.sides[to].peer.handle_datagram(now, from, &data);
            }
            for side in &mut self.sides {
                if side.peer.poll_timeout().is_some_and(|at| at <= now) {
                    side.peer.handle_timeout(now);
                }
            }
        }
    }

    pub(crate) fn connect(&mut self) -> Duration {
        let connected = |sides: &[Side; 2]| sides.iter().all(|side| side.peer.is_connected());
        assert!(
            self.run(Duration::from_secs(10), connected),
            "not connected"
        );
        self.now - self.start
    }
}

pub(crate) fn none(_: u64) -> bool {
    false
}
