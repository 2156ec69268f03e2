//! Video between two peers: repair of lost packets, and requests for key frames.

use std::time::Duration;

use bytes::Bytes;
use tidegate_signaling::video::{Depacketized, VideoDepacketizer, VideoLimits, VideoPacketizer};
use tidegate_signaling::{Capabilities, MediaKind, Offer, PeerEvent, TrackId, VideoCodec};

use crate::net::{LATENCY, Net, none};

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
