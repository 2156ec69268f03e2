//! Two ends without DTLS: opening, limits, and an owner that does not read.

use super::*;

fn exchange(now: Instant, ends: &mut [Data; 2]) {
    loop {
        let mut idle = true;
        for index in 0..2 {
            while let Some(packets) = ends[index].poll_transmit(now) {
                for packet in packets {
                    idle = false;
                    ends[1 - index].handle(now, packet);
                }
            }
        }
        if idle {
            return;
        }
    }
}

fn limits() -> DataLimits {
    DataLimits {
        max_channels: 3,
        max_events: 8,
        ..DataLimits::default()
    }
}

fn connected(now: Instant) -> [Data; 2] {
    let mut ends = [Data::new(true, limits(), 0), Data::new(false, limits(), 0)];
    ends[1].start(now, false);
    ends[0].start(now, true);
    exchange(now, &mut ends);
    assert!(ends.iter().all(|end| end.connected));
    ends
}

fn events(end: &mut Data) -> Vec<DataEvent> {
    std::iter::from_fn(|| end.poll_event()).collect()
}

#[test]
fn if_nobody_starts_the_association_we_do() {
    let now = crate::clock::start();
    let mut ends = [Data::new(true, limits(), 0), Data::new(false, limits(), 0)];
    ends[0].start(now, false);
    assert!(ends[0].poll_transmit(now).is_none());
    let at = ends[0].poll_timeout().unwrap();
    assert_eq!(at, now + INITIATE_AFTER);
    ends[0].handle_timeout(at);
    exchange(at, &mut ends);
    assert!(ends.iter().all(|end| end.connected));
}

#[test]
fn channels_over_the_limit_are_refused_and_counted() {
    let now = crate::clock::start();
    let mut ends = connected(now);
    for _ in 0..5 {
        ends[0].open(now, "x", "");
        exchange(now, &mut ends);
    }
    let opened = events(&mut ends[1]);
    assert_eq!(
        opened
            .iter()
            .filter(|e| matches!(e, DataEvent::Open { .. }))
            .count(),
        3
    );
    assert_eq!(ends[1].refused, 2);
    assert_eq!(ends[1].channels.len(), 3);
}

#[test]
fn a_full_buffer_refuses_whole_messages_and_a_long_one_is_too_large() {
    let now = crate::clock::start();
    let mut ends = connected(now);
    let id = ends[0].open(now, "x", "");
    exchange(now, &mut ends);
    let message = ChannelMessage::Binary(vec![1; 200_000].into());
    let mut accepted = 0;
    let error = loop {
        match ends[0].send(now, id, &message) {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(accepted, 5, "1 MiB holds five of them");
    // The opening may not be acknowledged yet.
    let buffered = ends[0].buffered(id);
    assert!((1_000_000..1_000_100).contains(&buffered), "{buffered}");
    assert!(
        matches!(error, SignalingError::Full { size, .. } if size == buffered),
        "{error}"
    );
    let long = ChannelMessage::Binary(vec![1; 300_000].into());
    assert!(matches!(
        ends[0].send(now, id, &long),
        Err(SignalingError::TooLarge { .. })
    ));
    let other = ChannelId(99);
    assert!(matches!(
        ends[0].send(now, other, &message),
        Err(SignalingError::Unknown { .. })
    ));
}

#[test]
fn an_owner_that_does_not_read_stops_the_sender_and_loses_nothing() {
    let mut now = crate::clock::start();
    let mut ends = connected(now);
    let id = ends[0].open(now, "x", "");
    exchange(now, &mut ends);
    events(&mut ends[1]);
    ends[1].set_reading(now, false);
    let mut sent = 0u32;
    for _ in 0..2000 {
        let message = ChannelMessage::Binary(sent.to_be_bytes().repeat(1000).into());
        sent += u32::from(ends[0].send(now, id, &message).is_ok());
        exchange(now, &mut ends);
    }
    // The window, the send buffer, and no more.
    let bound = (limits().receive_buffer as usize + limits().send_buffer) / 4000 + 10;
    assert!(
        (100..bound).contains(&(sent as usize)),
        "{sent} of 2000 messages were taken"
    );
    assert!(events(&mut ends[1]).is_empty());
    ends[1].set_reading(now, true);
    let mut received = Vec::new();
    for _ in 0..3000 {
        exchange(now, &mut ends);
        for event in events(&mut ends[1]) {
            if let DataEvent::Message { message, .. } = event {
                received.push(u32::from_be_bytes(
                    message.payload()[..4].try_into().unwrap(),
                ));
            }
        }
        ends[1].resume(now);
        now += Duration::from_millis(20);
        ends.iter_mut().for_each(|end| end.handle_timeout(now));
    }
    assert_eq!(received, (0..sent).collect::<Vec<_>>());
}
