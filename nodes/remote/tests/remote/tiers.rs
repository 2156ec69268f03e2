//! What a hop turns to when its endpoints cannot be used, and how it comes back, over real sockets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tidegate_media::{Frame, Payload};
use tidegate_nodes::compile::remote::HopMode;
use tidegate_nodes::node::{Context, Node};
use tidegate_nodes::{Code, HopCommand, HopEvent, HopNote, NodeError};
use tidegate_remote::{
    AnswerCache, CacheLimits, CacheTier, HopConfig, LocalNode, Pool, PoolConfig, RemoteConfig,
    RemoteHop, RemoteTier, Tier,
};

use super::driver::{Driven, PATIENCE, clock, config, connector, context, ports};
use super::opening::nowhere;
use super::worker::{Manner, Worker};

async fn open(hop: &HopConfig) -> Driven {
    let opened = RemoteHop::open(&connector(), hop, &ports(), context(), clock()).await;
    Driven::new(opened.expect("it opens")).live()
}

/// Workers at these endpoints, with little patience between attempts.
fn pool(config: RemoteConfig) -> Tier {
    let mut pool = PoolConfig::new(config.endpoints.iter().cloned());
    pool.retry.backoff = Duration::from_millis(20);
    Tier::Remote(RemoteTier {
        config: Arc::new(config),
        pool: Arc::new(Mutex::new(Pool::new(pool, 1))),
    })
}

fn hop(tiers: Vec<Tier>, mode: HopMode) -> HopConfig {
    HopConfig {
        tiers,
        mode,
        ..HopConfig::new(config(&[]))
    }
}

/// Says `local` to everything.
struct Says;

impl Node for Says {
    fn on_frame(
        &mut self,
        cx: &mut Context<'_>,
        _: usize,
        mut frame: Frame,
    ) -> Result<(), NodeError> {
        frame.payload = Payload::Binary(Bytes::from_static(b"local"));
        cx.emit(0, frame);
        Ok(())
    }
}

fn local() -> Tier {
    Tier::Local(LocalNode {
        make: Arc::new(|| Ok(Box::new(Says))),
        inputs: vec!["in".into()],
        outputs: vec!["said".into()],
    })
}

fn data(frame: &Frame) -> &[u8] {
    match &frame.payload {
        Payload::Binary(data) => data,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn fr_008_a_second_pool_takes_over_where_the_first_has_nobody() {
    let backup = Worker::start(Manner::Acks);
    let tiers = vec![
        pool(config(&[nowhere()])),
        pool(config(&[backup.endpoint()])),
    ];
    let mut hop = open(&hop(tiers, HopMode::Stream)).await;
    hop.wait_for_credit().await;
    hop.send(Bytes::from_static(b"x"));
    assert_eq!(data(&hop.frame().await), b"x");
    assert_eq!(hop.hop.endpoint(), backup.endpoint());
    assert!(hop.notes.contains(&HopNote::Tier(1)));
}

#[tokio::test]
async fn fr_008_a_local_node_answers_in_place_of_workers_and_the_primary_comes_back() {
    let endpoint = nowhere();
    let tiers = vec![pool(config(std::slice::from_ref(&endpoint))), local()];
    let mut hop = open(&hop(tiers, HopMode::Stream)).await;
    hop.wait_for_credit().await;
    hop.send(Bytes::from_static(b"a"));
    let frame = hop.frame().await;
    assert_eq!((data(&frame), frame.meta.caused_by), (&b"local"[..], 1));
    let address = endpoint.trim_start_matches("http://");
    let _back = Worker::start_at(address, Manner::Acks, None);
    let began = tokio::time::Instant::now();
    while !hop.notes.contains(&HopNote::Tier(0)) {
        assert!(began.elapsed() < PATIENCE, "the primary is left alone");
        hop.send_when_possible(Bytes::from_static(b"b")).await;
        let frame = hop.frame().await;
        assert_eq!(frame.meta.caused_by, hop.sent);
        // A moment in which nothing is owed, as every session has.
        hop.settle().await;
        // A node in place never lets the runtime do anything else.
        tokio::task::yield_now().await;
    }
    hop.send_when_possible(Bytes::from_static(b"c")).await;
    assert_eq!(data(&hop.frame().await), b"c");
    hop.hop.send(hop.now, HopCommand::End { port: 0 });
    assert_eq!(hop.event().await, HopEvent::Ended { port: 0 });
}

#[tokio::test]
async fn fr_008_an_earlier_answer_to_the_same_caller_and_no_other() {
    let mut worker = Worker::start(Manner::Acks);
    let answers = Arc::new(AnswerCache::new(CacheLimits {
        entries: 10,
        age: Duration::from_secs(60),
        bytes: 1_000,
    }));
    let cache = |caller: &str| {
        Tier::Cache(CacheTier {
            answers: Arc::clone(&answers),
            digest: "d1".into(),
            caller: caller.into(),
        })
    };
    // The native stream, of which each call gets one.
    let workers = pool(config(&[worker.endpoint()]));
    let calls = |caller: &str| HopConfig {
        attempts: 1,
        ..hop(vec![workers.clone(), cache(caller)], HopMode::Unary)
    };
    let mut ann = open(&calls("ann")).await;
    ann.send_when_possible(Bytes::from_static(b"hello")).await;
    assert_eq!(data(&ann.frame().await), b"hello");
    worker.kill();
    ann.send_when_possible(Bytes::from_static(b"hello")).await;
    let frame = ann.frame().await;
    assert_eq!((data(&frame), frame.meta.caused_by), (&b"hello"[..], 2));
    ann.send_when_possible(Bytes::from_static(b"new")).await;
    let error = ann.failure().await;
    assert_eq!(error.code, Code::AllEndpointsFailed, "{error}");
    assert!(
        error.message.contains("no earlier answer is kept"),
        "{error}"
    );
    let mut bob = open(&calls("bob")).await;
    bob.send_when_possible(Bytes::from_static(b"hello")).await;
    assert_eq!(bob.failure().await.code, Code::AllEndpointsFailed);
}

#[tokio::test]
async fn fr_008_an_error_of_the_manifests_own_words_is_the_last_resort() {
    let text = "translation is not served at night".to_owned();
    let tiers = vec![pool(config(&[nowhere()])), Tier::Error(text.clone())];
    let config = hop(tiers, HopMode::Stream);
    let opened = RemoteHop::open(&connector(), &config, &ports(), context(), clock()).await;
    let refused = opened.expect_err("nobody is there");
    assert_eq!(refused.error.code, Code::AllEndpointsFailed);
    assert_eq!(refused.error.message, text);
    assert_eq!(refused.error.attempt, Some(4));
    assert_eq!(refused.notes.len(), 4);
}

#[tokio::test]
async fn fr_018_each_call_goes_to_the_next_endpoint() {
    let workers: Vec<_> = (0..2).map(|_| Worker::start(Manner::Acks)).collect();
    let endpoints: Vec<_> = workers.iter().map(Worker::endpoint).collect();
    let tiers = vec![pool(config(&endpoints))];
    let mut hop = open(&hop(tiers, HopMode::Unary)).await;
    for number in 0..6 {
        hop.send_when_possible(Bytes::from(vec![number])).await;
        assert_eq!(data(&hop.frame().await), [number]);
    }
    hop.hop.send(hop.now, HopCommand::End { port: 0 });
    assert_eq!(hop.event().await, HopEvent::Ended { port: 0 });
    for worker in &workers {
        let calls = worker.seen.try_iter().filter(super::worker::Seen::is_open);
        assert_eq!(calls.count(), 3);
    }
}

#[tokio::test]
async fn fr_006_a_call_that_fails_is_made_again_elsewhere() {
    let broken = Worker::start(Manner::Refuse(tonic::Code::Unavailable));
    let good = Worker::start(Manner::Acks);
    let tiers = vec![pool(config(&[broken.endpoint(), good.endpoint()]))];
    let mut hop = open(&hop(tiers, HopMode::Unary)).await;
    for number in 0..8 {
        hop.send_when_possible(Bytes::from(vec![number])).await;
        assert_eq!(data(&hop.frame().await), [number]);
    }
}
