//! Frames, credit, interrupts and ends.

use std::time::Duration;

use bytes::Bytes;
use tidegate_media::Payload;
use tidegate_nodes::{HopCommand, HopEvent};
use tidegate_proto::ClientMessage;
use tidegate_proto::message::{Credit, Mode, Source};

use super::driver::{self, open_at};
use super::worker::{Manner, SERVICE, Seen, Worker, name};

#[tokio::test]
async fn a_frame_comes_back_with_the_workers_time_and_the_number_that_caused_it() {
    let worker = Worker::start(Manner::Echo);
    let mut hop = open_at(worker.endpoint()).await;
    assert_eq!(hop.hop.endpoint(), worker.endpoint());
    hop.wait_for_credit().await;
    hop.send(Bytes::from_static(b"hello"));
    let frame = hop.frame().await;
    assert_eq!(frame.payload, Payload::Binary(Bytes::from_static(b"hello")));
    assert_eq!(
        (frame.meta.caused_by, frame.meta.service),
        (1, Some(SERVICE))
    );
    assert_eq!(frame.meta.ingress, driver::NOW);
    hop.hop.send(driver::NOW, HopCommand::End { port: 0 });
    assert_eq!(hop.event().await, HopEvent::Ended { port: 0 });
    assert!(hop.is_quiet().await);
}

#[tokio::test]
async fn the_worker_is_told_what_the_session_is_and_how_long_it_may_last() {
    let worker = Worker::start(Manner::Echo);
    let mut hop = open_at(worker.endpoint()).await;
    let (open, token) = worker.opened_with();
    assert_eq!(open.source, Source::Pipeline("echo".into()));
    assert_eq!((open.hop_count, open.mode), (1, Mode::Waits));
    let left = open.deadline.expect("passed on");
    assert!((59..=60).contains(&left.as_secs()), "{left:?}");
    assert_eq!(open.features, ["credits", "acks"]);
    assert_eq!(token.as_deref(), Some("Bearer token"));

    hop.wait_for_credit().await;
    hop.send(Bytes::new());
    hop.frame().await;
    let frame = loop {
        match worker.seen.recv().expect("it is there") {
            Seen::Message(ClientMessage::Frame { frame, .. }) => break frame,
            Seen::Message(_) => {}
            other => panic!("{other:?}"),
        }
    };
    // The worker's clock is another one; what is left is what it is told.
    let left = frame.meta.deadline.expect("passed on").as_nanos();
    assert_eq!(Duration::from_nanos(left), Duration::from_millis(250));
}

#[tokio::test]
async fn no_frame_is_ever_sent_beyond_the_workers_credit_and_none_is_lost() {
    let worker = Worker::start(Manner::Echo);
    let mut hop = open_at(worker.endpoint()).await;
    let mut received = 0_u64;
    while received < 2_000 {
        if received == hop.sent {
            hop.wait_for_credit().await;
        }
        while hop.credit > 0 && hop.sent < 2_000 {
            hop.send(Bytes::from(hop.sent.to_be_bytes().to_vec()));
        }
        assert_eq!(
            hop.frame().await.payload,
            Payload::Binary(Bytes::from(received.to_be_bytes().to_vec()))
        );
        received += 1;
    }
    let overstepped = worker
        .seen
        .try_iter()
        .any(|seen| matches!(seen, Seen::Overstepped));
    assert!(!overstepped);
}

#[tokio::test]
async fn the_worker_gets_credit_for_what_it_sends() {
    let worker = Worker::start(Manner::Echo);
    let mut hop = open_at(worker.endpoint()).await;
    for _ in 0..200 {
        hop.wait_for_credit().await;
        hop.send(Bytes::new());
        hop.frame().await;
    }
    let given: u32 = worker
        .seen
        .try_iter()
        .map(|seen| match seen {
            Seen::Message(ClientMessage::Credit(Credit { port, frames, .. }))
                if port == name("out") =>
            {
                frames
            }
            _ => 0,
        })
        .sum();
    assert!((200..=264).contains(&given), "{given}");
}

#[tokio::test]
async fn a_worker_that_reads_slowly_stops_the_graph_and_lets_it_go_on() {
    let worker = Worker::start(Manner::SlowEcho);
    let mut hop = open_at(worker.endpoint()).await;
    let large = Bytes::from(vec![7; 256 << 10]);
    let mut sent = 0;
    // Until neither credit nor its renewal is left: everything stands in the windows and the bounded queue.
    loop {
        while hop.credit > 0 {
            hop.send(large.clone());
            sent += 1;
        }
        let next = std::future::poll_fn(|cx| hop.hop.poll_event(cx, driver::NOW));
        match tokio::time::timeout(Duration::from_millis(300), next).await {
            Ok(HopEvent::Credit { frames, .. }) => hop.credit += frames,
            Ok(HopEvent::Note(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(_) => break,
        }
    }
    assert!(
        (64..256).contains(&sent),
        "{sent} frames of 256 KiB were taken"
    );
    for _ in 0..sent + 8 {
        worker.permits.send(()).await.expect("it is there");
    }
    for _ in 0..sent {
        hop.frame().await;
    }
    hop.wait_for_credit().await;
}

#[tokio::test]
async fn an_interrupt_overtakes_what_waits_and_reaches_the_worker() {
    let worker = Worker::start(Manner::Echo);
    let mut hop = open_at(worker.endpoint()).await;
    hop.wait_for_credit().await;
    hop.send(Bytes::from_static(b"old"));
    hop.hop.send(driver::NOW, HopCommand::Interrupt);
    hop.wait_for_credit().await;
    hop.send(Bytes::from_static(b"new"));
    // The old frame was taken back, or its answer is void: in both cases it is counted, and only the new one comes.
    loop {
        match hop.event().await {
            HopEvent::Dropped { reason, frames } => {
                assert_eq!(
                    (reason, frames),
                    (tidegate_nodes::DropReason::Interrupted, 1)
                );
            }
            HopEvent::Frame { frame, .. } => {
                assert_eq!(frame.meta.caused_by, 2);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let saw_interrupt = worker
        .seen
        .try_iter()
        .any(|seen| matches!(seen, Seen::Message(ClientMessage::Interrupt)));
    assert!(saw_interrupt);
}
