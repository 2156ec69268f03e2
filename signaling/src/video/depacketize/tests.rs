//! Pictures through packetizer, a bad network and depacketizer.

use proptest::prelude::*;

use super::*;
use crate::codec::Codec;
use crate::event::TrackId;
use crate::video::VideoPacketizer;

fn vp8(length: usize, key: bool) -> Bytes {
    let mut picture: Vec<u8> = (0..length)
        .map(|i| u8::try_from(i % 253).unwrap())
        .collect();
    picture[0] = u8::from(!key);
    picture.into()
}

/// Parameter sets and one slice.
fn h264(length: usize, key: bool) -> Bytes {
    let mut picture = Vec::new();
    if key {
        picture.extend([
            0, 0, 0, 1, 0x67, 0x42, 0xE0, 0x1F, 0, 0, 0, 1, 0x68, 0xCE, 0x3C, 0x80,
        ]);
    }
    picture.extend([0, 0, 0, 1, if key { 0x65 } else { 0x41 }, 0x9A]);
    picture.extend((0..length).map(|i| u8::try_from(i % 100).unwrap() | 0x80));
    picture.into()
}

/// The packets of `pictures`, 30 a second.
fn packets(codec: VideoCodec, pictures: &[Bytes]) -> Vec<MediaPacket> {
    let mut packetizer = VideoPacketizer::new(codec);
    let mut packets: Vec<MediaPacket> = Vec::new();
    for (index, picture) in (0u32..).zip(pictures) {
        let payloads = packetizer.packetize(picture).unwrap();
        let last = payloads.len() - 1;
        for (piece, payload) in payloads.into_iter().enumerate() {
            assert!(payload.len() <= 1160);
            packets.push(MediaPacket {
                track: TrackId(0),
                codec: Codec::Video(codec),
                ssrc: 1,
                sequence: 70_000 + packets.len() as u64,
                timestamp: index * 3000,
                marker: piece == last,
                level: None,
                payload,
            });
        }
    }
    packets
}

fn drain(depacketizer: &mut VideoDepacketizer, now: Instant) -> Vec<Depacketized> {
    std::iter::from_fn(|| depacketizer.poll(now)).collect()
}

fn run(codec: VideoCodec, packets: &[MediaPacket]) -> Vec<Depacketized> {
    let now = crate::clock::start();
    let mut depacketizer = VideoDepacketizer::new(codec, VideoLimits::default());
    for packet in packets {
        depacketizer.push(now, packet);
    }
    let mut out = drain(&mut depacketizer, now);
    while let Some(at) = depacketizer.poll_timeout() {
        out.extend(drain(&mut depacketizer, at));
    }
    out
}

fn pictures(out: &[Depacketized]) -> Vec<Bytes> {
    out.iter()
        .filter_map(|out| match out {
            Depacketized::Picture(unit) => Some(unit.data.clone()),
            Depacketized::Lost(_) => None,
        })
        .collect()
}

fn samples(codec: VideoCodec) -> Vec<Bytes> {
    let make = match codec {
        VideoCodec::Vp8 => vp8,
        VideoCodec::H264 => h264,
    };
    vec![
        make(5000, true),
        make(900, false),
        make(3000, false),
        make(10, false),
        make(4000, true),
    ]
}

#[test]
fn pictures_come_out_as_they_went_in_with_key_frames_marked() {
    for codec in [VideoCodec::Vp8, VideoCodec::H264] {
        let sent = samples(codec);
        let out = run(codec, &packets(codec, &sent));
        assert_eq!(pictures(&out), sent);
        let keys: Vec<bool> = out
            .iter()
            .map(|out| matches!(out, Depacketized::Picture(unit) if unit.key))
            .collect();
        assert_eq!(keys, [true, false, false, false, true]);
    }
}

#[test]
fn packets_that_overtake_each_other_make_the_same_pictures() {
    for codec in [VideoCodec::Vp8, VideoCodec::H264] {
        let sent = samples(codec);
        let mut packets = packets(codec, &sent);
        for pair in packets[1..].chunks_exact_mut(2) {
            pair.swap(0, 1);
        }
        assert_eq!(pictures(&run(codec, &packets)), sent);
    }
}

#[test]
fn a_lost_packet_costs_its_picture_which_is_reported_once() {
    for codec in [VideoCodec::Vp8, VideoCodec::H264] {
        let sent = samples(codec);
        let all = packets(codec, &sent);
        for lost in 1..all.len() {
            let mut packets = all.clone();
            let lost = packets.remove(lost);
            let out = run(codec, &packets);
            let mut expected = sent.clone();
            expected.remove(usize::try_from(lost.timestamp / 3000).unwrap());
            let last = all.last().map(|packet| packet.sequence) == Some(lost.sequence);
            let losses = out
                .iter()
                .filter(|out| matches!(out, Depacketized::Lost(_)))
                .count();
            // The parameter sets of H.264 may go alone; their slice still makes a picture.
            let sets = codec == VideoCodec::H264 && lost.payload[0] & 0x1F == 24;
            if !sets {
                assert_eq!(
                    pictures(&out),
                    expected,
                    "{codec:?} without {}",
                    lost.sequence
                );
            }
            assert_eq!(
                losses,
                usize::from(!last),
                "{codec:?} without {}",
                lost.sequence
            );
        }
    }
}

#[test]
fn a_lost_packet_is_waited_for_a_bounded_time() {
    let now = crate::clock::start();
    let all = packets(VideoCodec::Vp8, &samples(VideoCodec::Vp8));
    let mut depacketizer = VideoDepacketizer::new(VideoCodec::Vp8, VideoLimits::default());
    for packet in all.iter().filter(|packet| packet.sequence != 70_001) {
        depacketizer.push(now, packet);
    }
    let wait = VideoLimits::default().max_wait;
    assert_eq!(depacketizer.poll_timeout(), Some(now + wait));
    assert_eq!(depacketizer.poll(now + wait / 2), None);
    // Sent again in time, nothing is lost.
    depacketizer.push(now + wait / 2, &all[1]);
    assert_eq!(drain(&mut depacketizer, now + wait).len(), 5);
    assert_eq!(depacketizer.drops(), VideoDrops::default());
}

#[test]
fn a_picture_over_the_limit_is_dropped_and_the_next_comes_through() {
    let now = crate::clock::start();
    let limits = VideoLimits {
        max_picture: 3000,
        ..VideoLimits::default()
    };
    let mut depacketizer = VideoDepacketizer::new(VideoCodec::Vp8, limits);
    for packet in packets(VideoCodec::Vp8, &[vp8(9000, true), vp8(100, false)]) {
        depacketizer.push(now, &packet);
    }
    let out = drain(&mut depacketizer, now);
    assert_eq!(out[0], Depacketized::Lost(VideoLoss::TooLarge));
    assert_eq!(pictures(&out), [vp8(100, false)]);
}

#[test]
fn held_packets_are_bounded_when_a_lost_one_never_comes() {
    let now = crate::clock::start();
    let limits = VideoLimits {
        max_packets: 8,
        ..VideoLimits::default()
    };
    let mut depacketizer = VideoDepacketizer::new(VideoCodec::Vp8, limits);
    let many: Vec<Bytes> = (0..50).map(|_| vp8(100, false)).collect();
    for packet in packets(VideoCodec::Vp8, &many)
        .iter()
        .filter(|p| p.sequence != 70_001)
    {
        depacketizer.push(now, packet);
        assert!(depacketizer.waiting.len() <= 8);
    }
    assert_eq!(pictures(&drain(&mut depacketizer, now)).len(), 49);
}

proptest! {
    #[test]
    fn no_payloads_make_a_depacketizer_panic_or_grow(
        h264: bool,
        payloads in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..20), any::<bool>(), 0u64..300, 0u32..3),
            0..60,
        ),
    ) {
        let codec = if h264 { VideoCodec::H264 } else { VideoCodec::Vp8 };
        let packets: Vec<MediaPacket> = payloads
            .into_iter()
            .map(|(payload, marker, sequence, timestamp)| MediaPacket {
                track: TrackId(0),
                codec: Codec::Video(codec),
                ssrc: 1,
                sequence,
                timestamp,
                marker,
                level: None,
                payload: payload.into(),
            })
            .collect();
        let _ = run(codec, &packets);
    }
}

/// One packet per unit; the last one of each picture has the marker.
fn units(pictures: &[&[&[u8]]]) -> Vec<MediaPacket> {
    let mut packets = Vec::new();
    for (index, units) in (0u32..).zip(pictures) {
        for (piece, unit) in units.iter().enumerate() {
            packets.push(MediaPacket {
                track: TrackId(0),
                codec: Codec::Video(VideoCodec::H264),
                ssrc: 1,
                sequence: 70_000 + packets.len() as u64,
                timestamp: index * 3000,
                marker: piece + 1 == units.len(),
                level: None,
                payload: Bytes::copy_from_slice(unit),
            });
        }
    }
    packets
}

const DELIMITER: &[u8] = &[0x09, 0xF0];
const SEI: &[u8] = &[0x06, 5, 1, 1];
const PARAMETERS: [&[u8]; 2] = [&[0x67, 0x42, 0xE0], &[0x68, 0xCE, 0x3C]];
const KEY: &[u8] = &[0x65, 0x88, 2];
const FIRST_SLICE: &[u8] = &[0x41, 0x9A, 3];
const LATER_SLICE: &[u8] = &[0x41, 0x1A, 4];

#[test]
fn pictures_may_begin_with_what_is_said_about_them() {
    let [sps, pps] = PARAMETERS;
    let sent = [
        &[SEI, sps, pps, KEY][..],
        &[SEI, FIRST_SLICE],
        &[pps, KEY],
        &[SEI, FIRST_SLICE, SEI, LATER_SLICE],
        &[DELIMITER, FIRST_SLICE],
    ];
    let annex_b = |units: &&[&[u8]]| -> Bytes {
        let units = units.iter().map(|unit| [&[0, 0, 0, 1], *unit].concat());
        units.collect::<Vec<_>>().concat().into()
    };
    let out = run(VideoCodec::H264, &units(&sent));
    let expected: Vec<Bytes> = sent.iter().map(annex_b).collect();
    assert_eq!(pictures(&out), expected, "{out:?}");
    assert_eq!(out.len(), sent.len(), "nothing is lost: {out:?}");
}

#[test]
fn half_a_picture_does_not_begin_with_what_is_said_about_its_second_half() {
    let [sps, pps] = PARAMETERS;
    let mut packets = units(&[
        &[sps, pps, KEY],
        &[SEI, FIRST_SLICE, SEI, LATER_SLICE],
        &[FIRST_SLICE],
    ]);
    // The first slice of the second picture is lost.
    packets.remove(4);
    let out = run(VideoCodec::H264, &packets);
    let lengths: Vec<_> = pictures(&out).iter().map(Bytes::len).collect();
    assert_eq!(lengths, [7 + 7 + 7, 7], "{out:?}");
    assert!(out.contains(&Depacketized::Lost(VideoLoss::Missing)));
}
