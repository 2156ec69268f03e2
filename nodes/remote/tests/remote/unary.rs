//! Hops by unary gRPC calls.

use bytes::Bytes;
use tidegate_nodes::compile::remote::HopMode;
use tidegate_nodes::{Code, HopCommand, HopEvent};
use tidegate_remote::RemoteConfig;

use super::driver::{self, Driven};
use super::worker::{Manner, SERVICE, Worker};

async fn open(worker: &Worker) -> Driven {
    let config = RemoteConfig {
        mode: HopMode::Unary,
        ..driver::config(&[worker.endpoint()])
    };
    let mut hop = Driven::new(driver::open(&config).await.expect("it opens")).with_acks();
    hop.wait_for_credit().await;
    hop
}

#[tokio::test]
async fn each_frame_of_no_utterance_is_a_call() {
    let worker = Worker::start(Manner::Echo);
    let mut hop = open(&worker).await;
    hop.send(Bytes::from_static(b"a"));
    hop.send(Bytes::from_static(b"b"));
    hop.hop.send(driver::NOW, HopCommand::End { port: 0 });
    for seq in 1..=2 {
        let meta = hop.frame().await.meta;
        assert_eq!((meta.caused_by, meta.service), (seq, Some(SERVICE)));
        let acknowledged = HopEvent::Acknowledged { port: 0, seq };
        assert_eq!(hop.event().await, acknowledged);
    }
    assert_eq!(hop.event().await, HopEvent::Ended { port: 0 });
}

#[tokio::test]
async fn a_refused_call_is_one_error_with_the_workers_code() {
    let cases = [
        (tonic::Code::Unavailable, Code::Network, true),
        (tonic::Code::ResourceExhausted, Code::Overloaded, true),
        (tonic::Code::Unauthenticated, Code::Unauthenticated, false),
    ];
    for (status, code, retryable) in cases {
        let worker = Worker::start(Manner::Refuse(status));
        let mut hop = open(&worker).await;
        hop.send(Bytes::new());
        hop.hop.send(driver::NOW, HopCommand::End { port: 0 });
        let error = hop.failure().await;
        assert_eq!((error.code, error.retryable), (code, retryable), "{error}");
    }
}
