//! Workers that die, lie or fall silent while a hop is open: one clear error each, and nothing after it.

use std::time::Duration;

use bytes::Bytes;
use tidegate_media::{Frame, MediaTime, Payload, Text};
use tidegate_nodes::{Code, Phase};
use tidegate_proto::ServerMessage;

use super::driver::{Driven, config, open, open_at};
use super::worker::{Manner, Worker, name};

#[tokio::test]
async fn a_worker_that_dies_in_mid_stream_is_one_network_error_that_names_it() {
    let mut worker = Worker::start(Manner::Echo);
    let mut hop = open_at(worker.endpoint()).await.live();
    hop.wait_for_credit().await;
    hop.send(Bytes::new());
    hop.frame().await;
    worker.kill();
    let error = hop.failure().await;
    assert_eq!(error.code, Code::Network, "{error}");
    assert!(error.retryable);
    assert_eq!(error.hop.as_deref(), Some("stt"));
    assert_eq!(error.endpoint, Some(worker.endpoint()));
    assert!(hop.is_quiet().await);
    // A driver may not have seen it yet.
    hop.credit = 1;
    hop.send(Bytes::new());
    assert!(hop.is_quiet().await);
}

#[tokio::test]
async fn a_worker_that_leaves_without_a_word_is_a_network_error() {
    let worker = Worker::start(Manner::Leaves);
    let error = open_at(worker.endpoint()).await.failure().await;
    assert_eq!(error.code, Code::Network);
    assert_eq!(
        error.message,
        "worker closed the stream before the session had ended"
    );
}

#[tokio::test]
async fn a_worker_that_sends_what_was_not_agreed_is_invalid_remote_data() {
    let frame = |port: &str, payload| ServerMessage::Frame {
        port: name(port),
        caused_port: None,
        frame: Frame::new(MediaTime::ZERO, payload),
    };
    let flood = vec![frame("out", Payload::Binary(Bytes::new())); 200];
    let cases = [
        (
            vec![frame("nowhere", Payload::Binary(Bytes::new()))],
            "output 'nowhere'",
        ),
        (
            vec![frame("out", Payload::Text(Text::from("a")))],
            "a frame of text on 'out', which is binary",
        ),
        (
            vec![ServerMessage::Opened(Box::default())],
            "a second 'opened'",
        ),
    ];
    for (messages, expected) in cases {
        let worker = Worker::start(Manner::Says(messages));
        let error = open_at(worker.endpoint()).await.failure().await;
        assert_eq!(error.code, Code::InvalidRemoteData);
        assert!(error.message.contains(expected), "{error}");
    }
    // Credit is renewed as frames are handed on, so this flood is read to its end and then nothing is wrong.
    let worker = Worker::start(Manner::Says(flood));
    let mut hop = open_at(worker.endpoint()).await;
    for _ in 0..200 {
        hop.frame().await;
    }
}

#[tokio::test]
async fn a_worker_that_answers_nothing_times_out_waiting_for_the_first_output() {
    let worker = Worker::start(Manner::Deaf);
    let mut config = config(&[worker.endpoint()]);
    config.timeouts.first_output = Some(Duration::from_secs(3));
    let mut hop = Driven::new(open(&config).await.expect("it opens"));
    hop.wait_for_credit().await;
    assert_eq!(hop.hop.poll_timeout(), None);
    hop.send(Bytes::new());
    let due = hop.hop.poll_timeout().expect("an answer is awaited");
    assert_eq!(due - hop.now, Duration::from_secs(3));
    assert!(hop.is_quiet().await);
    hop.now = due;
    let error = hop.failure().await;
    assert_eq!(
        (error.code, error.phase),
        (Code::Timeout, Some(Phase::FirstOutput))
    );
    assert_eq!(
        error.message,
        "worker gave no first output within 3s: raise 'timeout.first_output' if it may take longer"
    );
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_before_it_is_read() {
    let payload = Payload::Binary(Bytes::from(vec![0; 17 << 20]));
    let frame = Frame::new(MediaTime::ZERO, payload);
    let port = name("out");
    let worker = Worker::start(Manner::Says(vec![ServerMessage::Frame {
        port,
        caused_port: None,
        frame,
    }]));
    let error = open_at(worker.endpoint()).await.failure().await;
    assert_eq!(error.code, Code::InvalidRemoteData);
    assert!(error.message.contains("too large"), "{error}");
}
