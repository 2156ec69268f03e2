//! What changes while a peer lives: candidates that come later, a restarted ICE, another address.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tidegate_signaling::whip::{Fragment, Patch, PatchRefusal, etag, judge_patch};
use tidegate_signaling::{Capabilities, ClientPeer, Offer, Peer, PeerEvent, Role, SignalingError};

use crate::clock;
use crate::net::{LATENCY, Net, Side, config, none};

const RESTART: &str = "a=ice-ufrag:newfrag1\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n\
    a=candidate:1 1 udp 2130706431 127.0.0.1 1000 typ host\r\n";

fn media(peer: &mut Peer, now: Instant) -> Result<(), SignalingError> {
    let track = peer.tracks().next().unwrap().id;
    peer.send_rtp(now, track, 0, false, b"media")
}

#[test]
fn a_restart_gives_new_credentials_and_media_goes_on_meanwhile() {
    let mut net = Net::new(&Offer::voice(), &Capabilities::voice(), none);
    net.connect();
    let now = net.now;
    let server = &mut net.sides[1].peer;
    let (before, remote) = (
        server.local_ufrag().to_owned(),
        server.remote_ufrag().to_owned(),
    );
    let fragment = Fragment::parse(RESTART, 4096).unwrap();
    assert_eq!(
        judge_patch(Some("*"), &etag(&before), &remote, &fragment),
        Ok(Patch::Restart)
    );
    let parameters = server.apply_fragment(now, &fragment).unwrap().unwrap();
    assert_ne!(server.local_ufrag(), before);
    let text = parameters.to_fragment();
    assert!(
        text.starts_with("a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n")
    );
    assert!(text.contains(&format!("a=ice-ufrag:{}\r\n", server.local_ufrag())));
    assert!(text.contains("127.0.0.1 2000 typ host\r\na=end-of-candidates\r\n"));
    // The old entity tag is stale now.
    assert_eq!(
        judge_patch(
            Some(&etag(&before)),
            &etag(server.local_ufrag()),
            "newfrag1",
            &fragment
        ),
        Err(PatchRefusal::PreconditionFailed)
    );
    media(server, now).unwrap();
    net.run(LATENCY * 2, |_| false);
    assert!(
        net.sides[0]
            .events
            .iter()
            .any(|event| matches!(event, PeerEvent::Media(_)))
    );
    // The client of this test does not restart; its checks of the generation before count on.
    net.run(Duration::from_secs(60), |_| false);
    assert!(!net.sides[1].peer.has_ended());
}

#[test]
fn candidates_that_come_later_are_taken_up_to_a_bound_and_restart_nothing() {
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
    let lines: String = (1..=100)
        .map(|port| format!("a=candidate:1 1 udp 1 192.0.2.1 {port} typ host\r\n"))
        .collect();
    let fragment = Fragment::parse(&lines, 65_536).unwrap();
    assert_eq!(server.apply_fragment(now, &fragment).unwrap(), None);
    let mut checked = std::collections::HashSet::new();
    while let Some(transmit) = server.poll_transmit() {
        checked.insert(transmit.to);
    }
    assert!((2..=32).contains(&checked.len()), "{}", checked.len());
}

#[test]
fn a_fragment_for_a_peer_that_ended_is_a_conflict() {
    let mut net = Net::new(&Offer::voice(), &Capabilities::voice(), none);
    net.connect();
    let now = net.now;
    net.sides[1].peer.close(now);
    let fragment = Fragment::parse(RESTART, 4096).unwrap();
    let error = net.sides[1]
        .peer
        .apply_fragment(now, &fragment)
        .unwrap_err();
    assert_eq!(error, SignalingError::NotConnected);
}

/// A client whose address changes under it, as behind a NAT that forgets.
#[test]
fn a_client_that_comes_from_another_address_is_followed_after_a_check_of_the_new_path() {
    let mut net = Net::new(&Offer::voice(), &Capabilities::voice(), none);
    net.connect();
    let moved = SocketAddr::from(([127, 0, 0, 1], 1001));
    net.sides[0].address = moved;
    let followed = |sides: &[Side; 2]| sides[1].events.contains(&PeerEvent::PathChanged(moved));
    assert!(net.run(Duration::from_secs(5), followed));
    let now = net.now;
    media(&mut net.sides[1].peer, now).unwrap();
    net.misdirected = 0;
    net.run(LATENCY * 2, |_| false);
    assert_eq!(net.misdirected, 0);
    assert!(
        net.sides[0]
            .events
            .iter()
            .any(|event| matches!(event, PeerEvent::Media(_)))
    );
}
