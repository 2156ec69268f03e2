//! Many clients on one server socket: everybody gets their own, strangers get nothing.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tidegate_signaling::{
    Capabilities, ClientPeer, Demux, Offer, Peer, PeerConfig, PeerEvent, Role, Transmit,
};

use crate::clock;
use crate::net::config;

const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2000);

/// A server behind one socket that echoes media.
struct Server {
    config: PeerConfig,
    demux: Demux<u32>,
    peers: HashMap<u32, Peer>,
    next: u32,
}

impl Server {
    fn new() -> Self {
        Self {
            config: config(2000),
            demux: Demux::new(100),
            peers: HashMap::new(),
            next: 0,
        }
    }

    fn accept(&mut self, now: Instant, offer: &str) -> String {
        let (peer, answer) =
            Peer::accept(&self.config, offer, Role::Whip, &Capabilities::voice(), now).unwrap();
        self.next += 1;
        assert!(self.demux.insert(self.next, peer.local_ufrag()));
        self.peers.insert(self.next, peer);
        answer
    }

    /// Takes a datagram and gives what is to be sent for it.
    fn handle(&mut self, now: Instant, from: SocketAddr, data: &[u8]) -> Vec<Transmit> {
        let Some(key) = self.demux.route(from, data) else {
            return Vec::new();
        };
        let peer = self.peers.get_mut(&key).unwrap();
        peer.handle_datagram(now, from, data);
        if let Some((at, proof)) = peer.take_proof() {
            self.demux.learn(now, key, at, proof);
        }
        while let Some(event) = peer.poll_event() {
            if let PeerEvent::Media(media) = event {
                peer.send_rtp(now, media.track, media.timestamp, false, &media.payload)
                    .unwrap();
            }
        }
        let out = std::iter::from_fn(|| peer.poll_transmit()).collect();
        if peer.has_ended() {
            self.demux.remove(key);
            self.peers.remove(&key);
        }
        out
    }
}

/// Carries datagrams of one client, at `from`, until there are none.
fn exchange(now: Instant, from: SocketAddr, client: &mut Peer, server: &mut Server) {
    while let Some(transmit) = client.poll_transmit() {
        for back in server.handle(now, from, &transmit.data) {
            assert_eq!(
                back.to, from,
                "what is meant for one client goes to no other"
            );
            client.handle_datagram(now, SERVER, &back.data);
        }
    }
}

fn call(now: Instant, from: SocketAddr, server: &mut Server, config: &PeerConfig) -> Peer {
    let client = ClientPeer::offer(config, &Offer::voice());
    let answer = server.accept(now, client.sdp());
    let mut client = client.set_answer(now, &answer).unwrap();
    exchange(now, from, &mut client, server);
    assert!(client.is_connected());
    client
}

/// A client that tells no address: the server learns it from its checks.
fn nowhere() -> PeerConfig {
    PeerConfig {
        candidates: Vec::new(),
        ..config(1)
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

#[test]
fn each_of_fifty_clients_hears_its_own_echo() {
    let (mut now, mut server, client_config) = (clock::start(), Server::new(), nowhere());
    let mut clients: Vec<(SocketAddr, Peer)> = (1..=50)
        .map(|port| {
            (
                address(port),
                call(now, address(port), &mut server, &client_config),
            )
        })
        .collect();
    for round in 0..5u32 {
        now += Duration::from_millis(20);
        for (from, client) in &mut clients {
            let track = client.tracks().next().unwrap().id;
            let payload = from.port().to_be_bytes();
            client
                .send_rtp(now, track, round * 960, false, &payload)
                .unwrap();
            exchange(now, *from, client, &mut server);
        }
    }
    for (from, client) in &mut clients {
        let echoes: Vec<_> = std::iter::from_fn(|| client.poll_event())
            .filter_map(|event| match event {
                PeerEvent::Media(media) => Some(media.payload),
                _ => None,
            })
            .collect();
        assert_eq!(echoes, [&from.port().to_be_bytes()[..]; 5]);
    }
}

#[test]
fn a_flood_of_strangers_changes_nothing() {
    let (now, mut server, client_config) = (clock::start(), Server::new(), nowhere());
    let mut client = call(now, address(1), &mut server, &client_config);
    for port in 100..60_000 {
        for first in [0x00, 0x16, 0x80, 0xC8, 0xFF] {
            assert!(server.handle(now, address(port), &[first; 40]).is_empty());
        }
    }
    assert_eq!(server.demux.addresses(), 1);
    let track = client.tracks().next().unwrap().id;
    client
        .send_rtp(now, track, 0, false, b"still here")
        .unwrap();
    exchange(now, address(1), &mut client, &mut server);
    assert!(std::iter::from_fn(|| client.poll_event()).any(|e| matches!(e, PeerEvent::Media(_))));
}

#[test]
fn three_hundred_calls_come_and_go_and_leave_nothing_behind() {
    let (now, mut server, client_config) = (clock::start(), Server::new(), nowhere());
    for port in 1..=300 {
        let mut client = call(now, address(port), &mut server, &client_config);
        client.close(now);
        exchange(now, address(port), &mut client, &mut server);
        assert!(server.peers.is_empty());
    }
    assert_eq!((server.demux.len(), server.demux.addresses()), (0, 0));
}

/// Echoes of `client` at `from` that come back now.
fn echoes(now: Instant, from: SocketAddr, client: &mut Peer, server: &mut Server) -> usize {
    let track = client.tracks().next().unwrap().id;
    client.send_rtp(now, track, 960, false, b"me").unwrap();
    exchange(now, from, client, server);
    let events = std::iter::from_fn(|| client.poll_event());
    events
        .filter(|event| matches!(event, PeerEvent::Media(_)))
        .count()
}

/// Does what is due and carries what comes of it, for clients at their addresses.
fn tick(now: Instant, server: &mut Server, clients: &mut [(SocketAddr, &mut Peer)]) {
    let mut out = Vec::new();
    for peer in server.peers.values_mut() {
        peer.handle_timeout(now);
        out.extend(std::iter::from_fn(|| peer.poll_transmit()));
    }
    for (from, client) in clients {
        for transmit in out.iter().filter(|transmit| transmit.to == *from) {
            client.handle_datagram(now, SERVER, &transmit.data);
        }
        client.handle_timeout(now);
        exchange(now, *from, client, server);
    }
}

#[test]
fn a_check_that_one_client_has_signed_takes_no_address_from_another() {
    let (mut now, mut server, client_config) = (clock::start(), Server::new(), nowhere());
    let mut victim = call(now, address(1), &mut server, &client_config);
    let mut attacker = call(now, address(2), &mut server, &client_config);
    let mut spoofed = 0;
    for _ in 0..60 {
        now += Duration::from_millis(500);
        attacker.handle_timeout(now);
        while let Some(transmit) = attacker.poll_transmit() {
            // The attacker's own credentials under the victim's address.
            server.handle(now, address(1), &transmit.data);
            spoofed += 1;
            for back in server.handle(now, address(2), &transmit.data) {
                attacker.handle_datagram(now, SERVER, &back.data);
            }
        }
        assert_eq!(echoes(now, address(1), &mut victim, &mut server), 1);
        tick(
            now,
            &mut server,
            &mut [(address(1), &mut victim), (address(2), &mut attacker)],
        );
    }
    assert!(spoofed > 10 && attacker.is_connected(), "{spoofed}");
}

#[test]
fn the_port_of_a_client_that_has_gone_without_a_word_is_free_when_it_was_silent_for_a_while() {
    let (mut now, mut server, client_config) = (clock::start(), Server::new(), nowhere());
    drop(call(now, address(1), &mut server, &client_config));
    now += Duration::from_secs(5);
    let mut new = call(now, address(1), &mut server, &client_config);
    assert_eq!(echoes(now, address(1), &mut new, &mut server), 1);
}
