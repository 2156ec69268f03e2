//! A peer that keeps to the encryption and not to the protocols inside it.

use proptest::prelude::*;

use crate::{
    Capabilities, Certificate, ClientPeer, Failure, Offer, Peer, PeerConfig, PeerEvent, Role,
};

use super::*;
use crate::rtp::{RtpHeader, Speaker};
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
fn what_is_said_on_a_channel_leaves_at_once() {
    let config = PeerConfig::new(Certificate::generate().unwrap(), vec![address(2)]);
    let now = crate::clock::start();
    let (mut client, mut server) = connected(&config, now);
    let id = client.open_channel(now, "x", "").unwrap();
    exchange(now, &mut client, &mut server);
    for text in ["one", "two"] {
        let said = ChannelMessage::Text(text.into());
        client.send_channel(now, id, &said).unwrap();
        // No time passes, and nothing comes that it could leave with.
        let transmit = client.poll_transmit().expect("it is sent");
        server.handle_datagram(now, address(1), &transmit.data);
        let heard = std::iter::from_fn(|| server.poll_event()).any(
            |event| matches!(event, PeerEvent::ChannelMessage { message, .. } if message == said),
        );
        assert!(heard, "{text}");
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

/// A packet of `ssrc` that only whoever has the client's keys can have made.
fn media_of(client: &mut Peer, ssrc: u32) -> Bytes {
    let core = client.core_mut();
    let payload_type = core.tracks[0].info.payload_type;
    let header = RtpHeader::plain(false, payload_type, 7, 960, ssrc);
    let mut packet = header.to_bytes().to_vec();
    packet.extend_from_slice(b"sound");
    let srtp = core.srtp.as_mut().unwrap();
    srtp.seal_rtp(&packet, &header).unwrap().freeze()
}

fn report_of(client: &mut Peer, ssrc: u32) -> Bytes {
    let speaker = Speaker { ssrc, cname: "x" };
    let request = crate::rtp::key_frame_request(speaker, 1).unwrap();
    let srtp = client.core_mut().srtp.as_mut().unwrap();
    srtp.seal_rtcp(&request).unwrap().freeze()
}

fn damaged(packet: &Bytes) -> Vec<u8> {
    let mut packet = packet.to_vec();
    *packet.last_mut().unwrap() ^= 1;
    packet
}

fn states(server: &mut Peer) -> (usize, usize) {
    server.core_mut().srtp.as_ref().unwrap().states()
}

fn heard(server: &mut Peer) -> usize {
    let events = std::iter::from_fn(|| server.poll_event());
    events
        .filter(|event| matches!(event, PeerEvent::Media(_)))
        .count()
}

#[test]
fn forged_streams_cost_no_memory_and_shut_nobody_out() {
    let config = PeerConfig::new(Certificate::generate().unwrap(), vec![address(2)]);
    let now = crate::clock::start();
    let (mut client, mut server) = connected(&config, now);
    for ssrc in 1..5000 {
        for packet in [media_of(&mut client, ssrc), report_of(&mut client, ssrc)] {
            server.handle_datagram(now, address(1), &damaged(&packet));
        }
    }
    assert_eq!(server.stats().drops.forged, 2 * 4999);
    let (kept, tried) = states(&mut server);
    assert_eq!(kept, 0);
    assert!(tried <= 64, "{tried} states of strangers");
    let packet = media_of(&mut client, 9999);
    server.handle_datagram(now, address(1), &packet);
    server.handle_datagram(now, address(1), &packet);
    assert_eq!(
        heard(&mut server),
        1,
        "a stream that nobody announced, once"
    );
}

#[test]
fn a_peer_that_starts_streams_for_ever_is_ended() {
    let config = PeerConfig::new(Certificate::generate().unwrap(), vec![address(2)]);
    let now = crate::clock::start();
    let by: [fn(&mut Peer, u32) -> Bytes; 2] = [media_of, report_of];
    for packet in by {
        let (mut client, mut server) = connected(&config, now);
        for ssrc in 1..1000 {
            let packet = packet(&mut client, ssrc);
            server.handle_datagram(now, address(1), &packet);
            if server.has_ended() {
                break;
            }
            assert!(states(&mut server).0 <= 128);
        }
        let last = std::iter::from_fn(|| server.poll_event()).last();
        assert_eq!(last, Some(PeerEvent::Failed(Failure::Sources)));
    }
}

#[test]
fn a_peer_that_answers_checks_and_never_says_hello_is_ended_in_time() {
    let config = PeerConfig::new(Certificate::generate().unwrap(), vec![address(2)]);
    let start = crate::clock::start();
    let client = ClientPeer::offer(&config, &Offer::voice());
    let offer = client.sdp().replace("a=setup:actpass", "a=setup:active");
    let capabilities = Capabilities::voice();
    let (mut server, answer) =
        Peer::accept(&config, &offer, Role::Whip, &capabilities, start).unwrap();
    let mut client = client.set_answer(start, &answer).unwrap();
    let mut now = start;
    while !server.has_ended() {
        let is_check = |transmit: &Transmit| transmit.data[0] < 4;
        while let Some(transmit) = client.poll_transmit() {
            if is_check(&transmit) {
                server.handle_datagram(now, address(1), &transmit.data);
            }
        }
        while let Some(transmit) = server.poll_transmit() {
            client.handle_datagram(now, address(2), &transmit.data);
        }
        now += Duration::from_millis(100);
        assert!(now - start <= config.timing.failed, "still there");
        server.handle_timeout(now);
        client.handle_timeout(now);
    }
    assert!(server.path().is_none() && !server.is_connected());
    let last = std::iter::from_fn(|| server.poll_event()).last();
    assert!(
        matches!(last, Some(PeerEvent::Failed(Failure::Handshake(_)))),
        "{last:?}"
    );
}
