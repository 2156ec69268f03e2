//! Streams that break, over real sockets.

use std::time::Duration;

use bytes::Bytes;
use tidegate_media::{Frame, Payload};
use tidegate_nodes::{HopCommand, HopEvent, HopNote};
use tidegate_remote::{HopConfig, RemoteHop};

use super::driver::{Driven, clock, config, connector, context, ports};
use super::worker::{Manner, Worker};

async fn open(hop: &HopConfig) -> Driven {
    let opened = RemoteHop::open(&connector(), hop, &ports(), context(), clock()).await;
    Driven::new(opened.expect("it opens")).live()
}

fn number(frame: &Frame) -> u64 {
    match &frame.payload {
        Payload::Binary(data) => u64::from_be_bytes(data[..].try_into().expect("eight bytes")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_frame_is_answered_once_and_in_order_though_each_endpoint_dies_in_turn() {
    let mut workers: Vec<_> = (0..3).map(|_| Worker::start(Manner::Acks)).collect();
    let endpoints: Vec<_> = workers.iter().map(Worker::endpoint).collect();
    let mut hop = open(&HopConfig::new(config(&endpoints))).await;
    let mut answered = 0;
    while answered < 300 {
        if hop.sent == answered {
            hop.wait_for_credit().await;
        }
        while hop.credit > 0 && hop.sent < 300 {
            let number = hop.sent;
            hop.send(Bytes::from(number.to_be_bytes().to_vec()));
        }
        if answered == 100 || answered == 200 {
            let serving = hop.hop.endpoint().to_owned();
            let dying = workers
                .iter_mut()
                .find(|worker| worker.endpoint() == serving);
            dying.expect("one of them").kill();
        }
        let frame = hop.frame().await;
        assert_eq!(
            (number(&frame), frame.meta.caused_by),
            (answered, answered + 1)
        );
        answered += 1;
    }
    let is_failover = |note: &&HopNote| matches!(note, HopNote::Failover { .. });
    assert_eq!(hop.notes.iter().filter(is_failover).count(), 2);
    hop.hop.send(hop.now, HopCommand::End { port: 0 });
    assert_eq!(hop.event().await, HopEvent::Ended { port: 0 });
}

#[tokio::test]
async fn an_endpoint_that_takes_and_never_answers_is_left_after_its_time() {
    let deaf = Worker::start(Manner::Deaf);
    let good = Worker::start(Manner::Acks);
    let mut config = config(&[deaf.endpoint(), good.endpoint()]);
    config.timeouts.first_output = Some(Duration::from_millis(150));
    let mut hop = open(&HopConfig::new(config)).await;
    assert_eq!(hop.hop.endpoint(), deaf.endpoint());
    // It gives the credit of four frames and then nothing.
    hop.wait_for_credit().await;
    for number in 0..3_u64 {
        hop.send(Bytes::from(number.to_be_bytes().to_vec()));
    }
    for expected in 0..3 {
        assert_eq!(number(&hop.frame().await), expected);
    }
    assert_eq!(hop.hop.endpoint(), good.endpoint());
}
