//! When a connection is given up, in virtual time, over a pipe instead of a socket.

use std::convert::Infallible;

use axum::routing::get;
use futures_util::stream;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::*;
use crate::tasks::Tasks;

/// Bytes that are under way at most.
const PIPE: usize = 64 << 10;
const STALLED: Duration = Duration::from_secs(30);

type Sender = http2::SendRequest<Empty<Bytes>>;

/// A connection that is served, and the client's side of it. The client's part ends when the connection does.
struct Pair {
    sender: Sender,
    client: tokio::task::JoinHandle<Result<(), hyper::Error>>,
    places: Arc<Semaphore>,
    stop: watch::Sender<bool>,
}

/// Serves `/short`, and `/long`, whose answer has one part and no end.
async fn open() -> Pair {
    let endless = || {
        let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"."))]);
        async { Body::from_stream(futures_util::StreamExt::chain(first, stream::pending())) }
    };
    let router = Router::new()
        .route("/short", get(|| async { "short" }))
        .route("/long", get(endless));
    let places = Arc::new(Semaphore::new(1));
    let place = Arc::clone(&places).try_acquire_owned().expect("free");
    let (stop, stopped) = watch::channel(false);
    let one = Connection {
        place: Place::new(place),
        router,
        open: Duration::from_secs(10),
        stalled: STALLED,
        stop: stopped,
        certificate: None,
    };
    let (near, far) = tokio::io::duplex(PIPE);
    let tasks = Tasks::default();
    drop(tasks.spawn(one.serve(near)));
    let (sender, client) = http2::Builder::new(TokioExecutor::new())
        .handshake(TokioIo::new(far))
        .await
        .expect("HTTP/2");
    Pair {
        sender,
        client: tasks.spawn(client),
        places,
        stop,
    }
}

impl Pair {
    async fn ask(&mut self, path: &str) -> http::Response<Incoming> {
        let request = Request::get(format!("http://test{path}"));
        let request = request.body(Empty::new()).expect("a request");
        let answer = self.sender.send_request(request).await;
        answer.expect("an answer")
    }

    /// Whether the connection ends in this time, and its place is free again.
    async fn ends_within(&mut self, patience: Duration) -> bool {
        let Ok(ended) = timeout(patience, &mut self.client).await else {
            return false;
        };
        ended.expect("no panic").expect("ended in good order");
        let place = timeout(Duration::from_secs(1), self.places.acquire()).await;
        drop(place.expect("its place is free").expect("open"));
        true
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_is_asked_any_more_is_ended_in_good_order() {
    let mut pair = open().await;
    for _ in 0..5 {
        let answer = pair.ask("/short").await;
        drop(answer.into_body().collect().await.expect("a body"));
        assert!(!pair.ends_within(IDLE / 2).await, "it is used");
    }
    assert!(pair.ends_within(3 * IDLE).await);
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_an_answer_under_way_is_never_idle() {
    let mut pair = open().await;
    let mut long = pair.ask("/long").await.into_body();
    assert!(long.frame().await.is_some());
    assert!(!pair.ends_within(20 * IDLE).await);
    drop(long);
    assert!(pair.ends_within(3 * IDLE).await);
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_answers_end_and_then_the_connection() {
    let mut pair = open().await;
    let mut long = pair.ask("/long").await.into_body();
    assert!(long.frame().await.is_some());
    pair.stop.send_replace(true);
    assert!(!pair.ends_within(IDLE).await, "its answer goes on");
    drop(long);
    assert!(pair.ends_within(2 * LAST_RESPONSES).await);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_nothing_is_cut() {
    let mut pair = open().await;
    let ended = timeout(Duration::from_secs(11), &mut pair.client).await;
    drop(ended.expect("it is over").expect("no panic"));
    assert_eq!(pair.places.available_permits(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_reads_is_not_kept() {
    let router = Router::new().route("/large", get(|| async { vec![0_u8; 8 * PIPE] }));
    let places = Arc::new(Semaphore::new(1));
    let place = Arc::clone(&places).try_acquire_owned().expect("free");
    let (_stop, stop) = watch::channel(false);
    let one = Connection {
        place: Place::new(place),
        router,
        open: Duration::from_secs(10),
        stalled: STALLED,
        stop,
        certificate: None,
    };
    let (near, mut far) = tokio::io::duplex(PIPE);
    let served = Tasks::default().spawn(one.serve(near));
    far.write_all(b"GET /large HTTP/1.1\r\nhost: test\r\n\r\n")
        .await
        .expect("sent");
    let mut some = vec![0; PIPE];
    for _ in 0..4 {
        tokio::time::sleep(STALLED / 2).await;
        far.read_exact(&mut some).await.expect("slow, and served");
    }
    let ended = timeout(3 * STALLED, served).await;
    ended.expect("it is cut").expect("no panic");
    assert_eq!(places.available_permits(), 1);
}
