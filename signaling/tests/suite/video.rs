//! Video between two peers: repair of lost packets, and requests for key frames.

use std::time::Duration;

use bytes::Bytes;
use tidegate_signaling::video::{Depacketized, VideoDepacketizer, VideoLimits, VideoPacketizer};
use tidegate_signaling::{
    Capabilities, ClientPeer, MediaKind, Offer, PeerEvent, TrackId, VideoCodec,
};

use crate::net::{LATENCY, Net, config, none};

const VIDEO: Offer = Offer {
    video: Some(VideoCodec::Vp8),
    ..Offer::voice()
};

fn video_track(net: &Net, side: usize) -> TrackId {
    net.sides[side]
        .peer
        .tracks()
        .find(|track| track.kind() == MediaKind::Video)
        .unwrap()
        .id
}

fn picture(index: u8) -> Bytes {
    let mut picture = vec![index; 4000];
    picture[0] = u8::from(index != 0);
    picture.into()
}

#[test]
fn lost_packets_are_asked_for_and_sent_again_so_that_every_picture_arrives() {
    let mut net = Net::new(&VIDEO, &Capabilities::everything(), none);
    net.connect();
    // Every seventh packet is lost, whatever it is; requests and repairs too.
    net.drops = |count| count % 7 == 0;
    let track = video_track(&net, 0);
    let mut packetizer = VideoPacketizer::new(VideoCodec::Vp8);
    let mut depacketizer = VideoDepacketizer::new(VideoCodec::Vp8, VideoLimits::default());
    let mut pictures = Vec::new();
    for index in 0..100 {
        let now = net.now;
        let payloads = packetizer.packetize(&picture(index)).unwrap();
        let last = payloads.len() - 1;
        for (piece, payload) in payloads.iter().enumerate() {
            let sender = &mut net.sides[0].peer;
            sender
                .send_rtp(now, track, u32::from(index) * 3000, piece == last, payload)
                .unwrap();
        }
        net.run(Duration::from_millis(33), |_| false);
        for event in std::mem::take(&mut net.sides[1].events) {
            if let PeerEvent::Media(media) = event {
                depacketizer.push(net.now, &media);
            }
        }
        while let Some(out) = depacketizer.poll(net.now) {
            match out {
                Depacketized::Picture(unit) => pictures.push(unit.data),
                Depacketized::Lost(loss) => {
                    panic!("{loss:?} at {index}: {:?}", depacketizer.drops())
                }
            }
        }
    }
    let expected: Vec<Bytes> = (0..100).map(picture).collect();
    assert_eq!(pictures[..], expected[..pictures.len()]);
    assert!(pictures.len() > 95, "{}", pictures.len());
    let stats = net.sides[0].peer.stats();
    assert!(
        stats
            .tracks
            .iter()
            .map(|track| track.packets_resent)
            .sum::<u64>()
            > 20
    );
}

#[test]
fn a_key_frame_request_reaches_the_sender_and_repeats_are_one() {
    let mut net = Net::new(&VIDEO, &Capabilities::everything(), none);
    net.connect();
    let (client, server) = (video_track(&net, 0), video_track(&net, 1));
    let now = net.now;
    net.sides[0]
        .peer
        .send_rtp(now, client, 0, true, &[0x10, 0, 0, 0, 0])
        .unwrap();
    net.run(LATENCY * 2, |_| false);
    for _ in 0..10 {
        let now = net.now;
        net.sides[1].peer.request_key_frame(now, server).unwrap();
        net.run(LATENCY * 2, |_| false);
    }
    let requests = |net: &Net| {
        let asked = PeerEvent::KeyFrameRequested(client);
        net.sides[0]
            .events
            .iter()
            .filter(|event| **event == asked)
            .count()
    };
    assert_eq!(requests(&net), 1);
    net.run(Duration::from_millis(200), |_| false);
    let now = net.now;
    net.sides[1].peer.request_key_frame(now, server).unwrap();
    net.run(LATENCY * 2, |_| false);
    assert_eq!(requests(&net), 2);
}

/// Requests for a key frame that a client hears which offers no `refused` feedback.
fn requests_without(refused: &[&str]) -> usize {
    let client = ClientPeer::offer(&config(1000), &VIDEO);
    let without = |sdp: &str| {
        let is_refused = |line: &&str| refused.iter().any(|feedback| line.ends_with(feedback));
        let lines = sdp.lines().filter(|line| !is_refused(line));
        lines.flat_map(|line| [line, "\r\n"]).collect()
    };
    let mut net = Net::between(client, &Capabilities::everything(), without);
    net.connect();
    let (client, server) = (video_track(&net, 0), video_track(&net, 1));
    let now = net.now;
    let sender = &mut net.sides[0].peer;
    sender
        .send_rtp(now, client, 0, true, &[0x10, 0, 0, 0, 0])
        .unwrap();
    net.run(LATENCY * 2, |_| false);
    let now = net.now;
    net.sides[1].peer.request_key_frame(now, server).unwrap();
    net.run(LATENCY * 2, |_| false);
    let asked = PeerEvent::KeyFrameRequested(client);
    let events = net.sides[0].events.iter();
    events.filter(|event| **event == asked).count()
}

#[test]
fn a_key_frame_is_asked_for_in_the_way_that_was_agreed_and_in_no_other() {
    assert_eq!(requests_without(&[" ccm fir"]), 1);
    assert_eq!(requests_without(&[" nack pli"]), 1);
    assert_eq!(requests_without(&[" nack pli", " ccm fir"]), 0);
}
