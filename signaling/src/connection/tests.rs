//! A peer that keeps to the encryption and not to the protocols inside it.

use proptest::prelude::*;

use crate::{
    Capabilities, Certificate, ClientPeer, Failure, Offer, Peer, PeerConfig, PeerEvent, Role,
};

use super::*;
use bytes::Bytes;

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A client at port 1 and a server at port 2 that are connected.
fn connected(config: &PeerConfig, now: Instant) -> (Peer, Peer) {
    let client = ClientPeer::offer(config, &Offer::voice());
    let capabilities = Capabilities::voice();
    let (mut server, answer) =
        Peer::accept(config, client.sdp(), Role::Whip, &capabilities, now).unwrap();
    let mut client = client.set_answer(now, &answer).unwrap();
    exchange(now, &mut client, &mut server);
    assert!(client.is_connected() && server.is_connected());
    (client, server)
}

fn exchange(now: Instant, client: &mut Peer, server: &mut Peer) {
    loop {
        let mut idle = true;
        while let Some(transmit) = client.poll_transmit() {
            idle = false;
            server.handle_datagram(now, address(1), &transmit.data);
        }
        while let Some(transmit) = server.poll_transmit() {
            idle = false;
            client.handle_datagram(now, address(2), &transmit.data);
        }
        if idle {
            return;
        }
    }
}

/// CRC-32C over the packet with its own field zero (RFC 9260 §6.8), so that damage gets past it.
fn sign(packet: &mut [u8]) {
    if packet.len() < 12 {
        return;
    }
    packet[8..12].fill(0);
    let mut crc = u32::MAX;
    for byte in &*packet {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0x82F6_3B78
            } else {
                crc >> 1
            };
        }
    }
    packet[8..12].copy_from_slice(&(!crc).to_le_bytes());
}

/// Overwrites a byte past the header, and cuts one packet in four.
fn damage(packet: &mut Vec<u8>, at: usize, byte: u8, cut: usize) {
    let body = packet.len() - 12;
    packet[12 + at % body] = byte;
    if cut.is_multiple_of(4) {
        packet.truncate(12 + cut % body);
    }
    sign(packet);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_packets_within_the_encryption_end_their_peer_at_worst(
        damages in proptest::collection::vec(any::<(usize, u8, usize)>(), 1..30),
    ) {
        thread_local! {
            static CONFIG: PeerConfig =
                PeerConfig::new(Certificate::generate().unwrap(), vec![address(2)]);
        }
        let mut now = crate::clock::start();
        let (mut client, mut server) = CONFIG.with(|config| connected(config, now));
        let id = client.open_channel(now, "x", "").unwrap();
        exchange(now, &mut client, &mut server);
        let core = client.core_mut();
        for (at, byte, cut) in damages {
            let message = ChannelMessage::Binary(vec![1; cut % 3000].into());
            let data = core.data.as_mut().unwrap();
            // The association of this side may be over for what the other answered.
            let _ = data.send(now, id, &message);
            let packets: Vec<Bytes> =
                std::iter::from_fn(|| data.poll_transmit(now)).flatten().collect();
            for packet in packets {
                let mut packet = packet.to_vec();
                damage(&mut packet, at, byte, cut);
                core.dtls.write(now, &packet).unwrap();
                core.flush_dtls();
            }
            while let Some(transmit) = core.poll_transmit() {
                server.handle_datagram(now, address(1), &transmit.data);
            }
            now += Duration::from_millis(100);
            server.handle_timeout(now);
            while server.poll_transmit().is_some() {}
        }
        while let Some(event) = server.poll_event() {
            if let PeerEvent::Failed(failure) = event {
                prop_assert_eq!(failure, Failure::Internal);
                prop_assert!(server.has_ended());
            }
        }
    }
}

#[test]
fn every_byte_of_a_handshake_may_be_wrong_and_the_next_client_still_connects() {
    let config = PeerConfig::new(Certificate::generate().unwrap(), vec![address(2)]);
    let now = crate::clock::start();
    for offset in 0..400 {
        let client = ClientPeer::offer(&config, &Offer::voice());
        let capabilities = Capabilities::voice();
        let (mut server, answer) =
            Peer::accept(&config, client.sdp(), Role::Whip, &capabilities, now).unwrap();
        let mut client = client.set_answer(now, &answer).unwrap();
        for _ in 0..8 {
            while let Some(transmit) = client.poll_transmit() {
                let mut data = transmit.data.to_vec();
                if (20..64).contains(&data[0]) && data.len() > offset {
                    data[offset] ^= 0xFF;
                }
                server.handle_datagram(now, address(1), &data);
            }
            while let Some(transmit) = server.poll_transmit() {
                client.handle_datagram(now, address(2), &transmit.data);
            }
        }
        let ends: Vec<_> = std::iter::from_fn(|| server.poll_event()).collect();
        assert!(
            !ends.contains(&PeerEvent::Failed(Failure::Internal)),
            "byte {offset}"
        );
    }
    connected(&config, now);
}

#[test]
fn garbage_in_the_middle_of_a_handshake_does_not_end_it() {
    let config = PeerConfig::new(Certificate::generate().unwrap(), vec![address(2)]);
    let now = crate::clock::start();
    let client = ClientPeer::offer(&config, &Offer::voice());
    let capabilities = Capabilities::voice();
    let (mut server, answer) =
        Peer::accept(&config, client.sdp(), Role::Whip, &capabilities, now).unwrap();
    let mut client = client.set_answer(now, &answer).unwrap();
    while !server.is_connected() {
        assert!(!server.has_ended());
        while let Some(transmit) = client.poll_transmit() {
            for garbage in [
                &[22; 5][..],
                &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 7],
                &[20; 100],
            ] {
                server.handle_datagram(now, address(1), garbage);
            }
            server.handle_datagram(now, address(1), &transmit.data);
        }
        while let Some(transmit) = server.poll_transmit() {
            client.handle_datagram(now, address(2), &transmit.data);
        }
    }
    assert!(server.stats().drops.forged > 0);
}
