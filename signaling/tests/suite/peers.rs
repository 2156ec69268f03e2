//! What two peers do: connect, carry media and data, lose packets, fall silent, say goodbye.

use std::time::Duration;

use bytes::Bytes;
use tidegate_signaling::{
    Capabilities, ChannelMessage, ClientPeer, Failure, Offer, Peer, PeerEvent, Role, Timing,
};

use crate::clock;
use crate::net::{LATENCY, Net, Side, config, none};

#[test]
fn two_peers_connect_in_a_few_round_trips() {
    let mut net = Net::new(&Offer::voice(), &Capabilities::voice(), none);
    let took = net.connect();
    // ICE takes two round trips, DTLS three.
    assert!(took <= LATENCY * 14, "{took:?}");
    assert_eq!(net.misdirected, 0);
    assert!(
        net.sides
            .iter()
            .all(|side| side.events.contains(&PeerEvent::Connected))
    );
}

#[test]
fn media_arrives_as_it_was_sent_in_both_directions() {
    let mut net = Net::new(&Offer::voice(), &Capabilities::voice(), none);
    net.connect();
    for index in 0..100u32 {
        let now = net.now;
        for side in &mut net.sides {
            let track = side.peer.tracks().next().unwrap().id;
            let payload = index.to_be_bytes();
            side.peer
                .send_rtp(now, track, index * 960, index == 0, &payload)
                .unwrap();
        }
        net.run(Duration::from_millis(20), |_| false);
    }
    for side in &net.sides {
        let media: Vec<_> = side
            .events
            .iter()
            .filter_map(|event| match event {
                PeerEvent::Media(media) => Some(media),
                _ => None,
            })
            .collect();
        assert_eq!(media.len(), 100);
        assert!(media[0].marker && !media[1].marker);
        for (index, pair) in (0u32..).zip(media.windows(2)) {
            assert_eq!(pair[0].payload[..], index.to_be_bytes());
            assert_eq!(pair[1].sequence, pair[0].sequence + 1);
            assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp), 960);
        }
        let stats = side.peer.stats();
        assert_eq!(stats.tracks[0].packets_received, 100);
        assert_eq!(stats.tracks[0].packets_lost, 0);
        assert_eq!(stats.tracks[0].remote_packets_lost, 0);
        let round_trip = stats.round_trip.unwrap();
        assert!(
            round_trip.abs_diff(LATENCY * 2) < LATENCY / 10,
            "{round_trip:?}"
        );
    }
}

#[test]
fn a_channel_opens_with_its_names_and_carries_text_and_bytes_both_ways() {
    let mut net = Net::new(&Offer::voice(), &Capabilities::voice(), none);
    net.connect();
    let now = net.now;
    let id = net.sides[0]
        .peer
        .open_channel(now, "events", "tidegate.v1.json")
        .unwrap();
    let open = |side: &Side| {
        side.events.contains(&PeerEvent::ChannelOpen {
            id,
            label: "events".to_owned(),
            protocol: "tidegate.v1.json".to_owned(),
        })
    };
    assert!(net.run(Duration::from_secs(5), |sides| sides.iter().all(open)));
    let long: Bytes = (0..200_000u32)
        .map(|byte| u8::try_from(byte % 251).unwrap())
        .collect();
    let messages = [
        ChannelMessage::Text("hello".into()),
        ChannelMessage::Binary(long),
        ChannelMessage::Text(Bytes::new()),
        ChannelMessage::Binary(Bytes::new()),
    ];
    for message in &messages {
        let now = net.now;
        for side in &mut net.sides {
            side.peer.send_channel(now, id, message).unwrap();
        }
        net.run(Duration::from_secs(2), |_| false);
    }
    for side in &net.sides {
        let received: Vec<_> = side
            .events
            .iter()
            .filter_map(|event| match event {
                PeerEvent::ChannelMessage { message, .. } => Some(message.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(received, messages);
    }
}

#[test]
fn peers_connect_over_a_network_that_loses_every_fifth_packet() {
    let mut net = Net::new(&Offer::voice(), &Capabilities::voice(), |count| {
        count % 5 == 3
    });
    net.connect();
}

#[test]
fn a_peer_that_vanishes_is_first_disconnected_then_failed_in_the_configured_time() {
    let mut net = Net::new(&Offer::voice(), &Capabilities::voice(), none);
    net.connect();
    net.run(Duration::from_secs(30), |_| false);
    assert!(
        net.sides[1].peer.is_connected(),
        "an idle peer stays connected"
    );
    net.drops = |_| true;
    let since = net.now;
    assert!(net.run(Duration::from_secs(60), |sides| sides[1].peer.has_ended()));
    let timing = Timing::default();
    let took = net.now - since;
    assert!(took <= timing.failed + timing.keepalive, "{took:?}");
    let ends = &net.sides[1].events[net.sides[1].events.len() - 2..];
    assert!(
        matches!(ends, [PeerEvent::Disconnected, PeerEvent::Failed(_)]),
        "{ends:?}"
    );
    assert_eq!(net.sides[1].peer.poll_timeout(), None);
}

#[test]
fn a_client_that_never_comes_ends_in_bounded_time() {
    let now = clock::start();
    let client = ClientPeer::offer(&config(1000), &Offer::voice());
    let (mut server, _) = Peer::accept(
        &config(2000),
        client.sdp(),
        Role::Whip,
        &Capabilities::voice(),
        now,
    )
    .unwrap();
    let mut ended = now;
    while let Some(at) = server.poll_timeout() {
        ended = at;
        server.handle_timeout(at);
    }
    assert!(server.has_ended());
    assert!(ended - now <= Timing::default().failed);
}

#[test]
fn a_goodbye_ends_the_other_side_at_once() {
    let mut net = Net::new(&Offer::voice(), &Capabilities::voice(), none);
    net.connect();
    let now = net.now;
    net.sides[0].peer.close(now);
    assert!(net.run(LATENCY * 2, |sides| {
        sides.iter().all(|side| side.peer.has_ended())
    }));
    assert_eq!(net.sides[1].events.last(), Some(&PeerEvent::Closed));
}

#[test]
fn a_client_with_another_certificate_than_it_said_is_refused() {
    let honest = config(1000);
    let other = config(1000);
    let offer = ClientPeer::offer(&honest, &Offer::voice());
    let (said, is) = (
        other.certificate.fingerprint(),
        honest.certificate.fingerprint(),
    );
    let mut net = Net::between(offer, &Capabilities::voice(), |sdp| sdp.replace(is, said));
    let ended = |sides: &[Side; 2]| sides[1].peer.has_ended();
    assert!(net.run(LATENCY * 20, ended));
    let failed = |event: &PeerEvent| matches!(event, PeerEvent::Failed(Failure::Handshake(_)));
    assert!(net.sides[1].events.iter().any(failed));
    assert!(!net.sides[1].events.contains(&PeerEvent::Connected));
}

#[test]
fn an_offer_that_insists_on_its_dtls_role_gets_it() {
    let offer = ClientPeer::offer(&config(1000), &Offer::voice());
    let insist = |sdp: &str| sdp.replace("a=setup:actpass", "a=setup:active");
    Net::between(offer, &Capabilities::voice(), insist).connect();
}

#[test]
fn a_lite_offerer_is_checked_and_nominated_by_us() {
    let offer = ClientPeer::offer(&config(1000), &Offer::voice());
    let lite = |sdp: &str| sdp.replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n");
    Net::between(offer, &Capabilities::voice(), lite).connect();
}
