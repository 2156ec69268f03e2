//! What each fuzz target does with its bytes, shared by `cargo fuzz` and by the plain test that runs in CI.
//!
//! Whatever the bytes are, a body returns: the parsers under test answer with `Err`. What they accept has to survive a round trip.

use std::net::SocketAddr;
use std::sync::OnceLock;

use bytes::Bytes;
use tidegate_media::Timestamp;
use tidegate_nodes::Registry;
use tidegate_nodes::compile::{Grants, Pipeline};
use tidegate_proto::message::PortFormats;
use tidegate_proto::{json, protobuf, wyoming};
use tidegate_signaling::whip::Fragment;
use tidegate_signaling::{Capabilities, Certificate, Peer, PeerConfig, Role};
use tidegate_tests::clock;

/// Longest fragment that is read, as the gateway's default.
const FRAGMENT_BYTES: usize = 64 << 10;

/// SDP: an offer by WHIP and by WHEP, and the fragment of a `PATCH`. A peer that stands takes the bytes as a datagram, too.
pub(crate) fn sdp(data: &[u8]) {
    static CONFIG: OnceLock<PeerConfig> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        let certificate = Certificate::generate().expect("a certificate");
        PeerConfig::new(certificate, vec![address])
    });
    let text = String::from_utf8_lossy(data);
    let now = clock::now();
    for role in [Role::Whip, Role::Whep] {
        let accepted = Peer::accept(config, &text, role, &Capabilities::everything(), now);
        let Ok((mut peer, answer)) = accepted else {
            continue;
        };
        assert!(answer.starts_with("v=0"), "an answer is SDP: {answer}");
        peer.handle_datagram(now, SocketAddr::from(([127, 0, 0, 1], 10)), data);
        peer.handle_timeout(now);
        while peer.poll_transmit().is_some() {}
        while peer.poll_event().is_some() {}
        if let Ok(fragment) = Fragment::parse(&text, FRAGMENT_BYTES) {
            drop(peer.apply_fragment(now, &fragment));
        }
    }
    drop(Fragment::parse(&text, FRAGMENT_BYTES));
}

/// Native messages of both sides, JSON and protobuf.
pub(crate) fn messages(data: &[u8]) {
    let now = Timestamp::from_nanos(1_000_000_000);
    let formats = PortFormats::default();
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(message) = protobuf::decode_client_bytes(bytes.clone(), now, &formats) {
        let again = protobuf::encode_client_bytes(message, now);
        let again = protobuf::decode_client_bytes(again, now, &formats);
        assert!(again.is_ok(), "what was taken is taken again: {again:?}");
    }
    drop(protobuf::decode_server_bytes(bytes, now, &formats));
    let text = String::from_utf8_lossy(data);
    if let Ok(message) = json::decode_client(&text, now, &formats) {
        let again = json::encode_client(&message, now);
        assert!(
            json::decode_client(&again, now, &formats).is_ok(),
            "what was taken is taken again: {again}"
        );
    }
    drop(json::decode_server(&text, now, &formats));
    drop(json::decode_execute(&text, Some("echo"), now));
    drop(json::decode_outputs(&text, now));
}

/// Manifests: parsed, compiled with a stranger's grants and described.
pub(crate) fn manifest(data: &[u8]) {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    let registry = REGISTRY.get_or_init(Registry::builtin);
    let text = String::from_utf8_lossy(data);
    let grants = Grants::stranger(["http://worker:7001".to_owned()]);
    match Pipeline::from_text("fuzz", &text, registry, &grants) {
        Ok(pipeline) => drop(pipeline.describe()),
        Err(errors) => assert!(!errors.to_string().is_empty(), "an error says something"),
    }
}

/// Events of Wyoming, whole and in pieces.
pub(crate) fn wyoming(data: &[u8]) {
    let read = |pieces: usize| {
        let mut reader = wyoming::Reader::default();
        let mut events = Vec::new();
        for piece in data.chunks(pieces.max(1)) {
            reader.push(piece);
            loop {
                match reader.next_event() {
                    Ok(Some(event)) => events.push(event),
                    Ok(None) => break,
                    Err(_) => return events,
                }
            }
        }
        events
    };
    let events = read(data.len());
    assert_eq!(events, read(7), "however the bytes are cut");
    for event in events {
        let mut reader = wyoming::Reader::default();
        reader.push(&event.encode());
        let again = reader.next_event().expect("what was taken is taken again");
        assert_eq!(again, Some(event));
    }
}

/// Events of a client of OpenAI Realtime, one a line.
pub(crate) fn realtime(data: &[u8]) {
    tidegate_gateway::fuzz::realtime(data);
}
