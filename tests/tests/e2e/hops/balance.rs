//! Shares of calls over endpoints, by each way of balancing, as the endpoints' own counts and the metrics say.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::Deadline;

use super::Server;
use super::calls::{Calls, HELD, served};

async fn three() -> [Calls; 3] {
    [
        Calls::start("a").await,
        Calls::start("b").await,
        Calls::start("c").await,
    ]
}

/// A hop by calls to these. What they are checked for would only disturb the shares, unless it is what they are chosen by.
async fn front(endpoints: Value, balance: &str) -> Server {
    let health = match balance {
        "nearest" => json!({"interval": "2s", "timeout": "2s"}),
        _ => json!("off"),
    };
    Server::hop(json!({
        "transport": "http", "mode": "unary", "endpoints": endpoints, "balance": balance, "health": health,
    }))
    .await
}

#[tokio::test]
async fn fr_007_round_robin_is_exact_over_sessions() {
    let workers = three().await;
    let urls = workers.each_ref().map(Calls::url);
    let front = front(json!(urls), "round_robin").await;
    served(&front, 30).await;
    assert_eq!(workers.each_ref().map(Calls::taken), [10, 10, 10]);
    for url in urls {
        assert_eq!(front.attempts(&url, "ok").await, 10.0);
    }
}

#[tokio::test]
async fn fr_007_weights_are_shares() {
    let [a, b, _c] = three().await;
    let endpoints = json!([{"url": a.url(), "weight": 3}, {"url": b.url(), "weight": 1}]);
    let front = front(endpoints, "weighted").await;
    served(&front, 40).await;
    assert_eq!([a.taken(), b.taken()], [30, 10]);
}

#[tokio::test]
async fn fr_007_least_connections_avoids_who_is_busy() {
    let [slow, b, c] = three().await;
    let front = front(json!([slow.url(), b.url(), c.url()]), "least_connections").await;
    slow.delay(HELD);
    let busy = async {
        let by = Deadline::secs(20);
        let one = by.until(|| async { (slow.running() > 0).then_some(()) });
        assert!(one.await.is_some(), "somebody asks the slow one");
        served(&front, 20).await;
        assert_eq!(slow.taken(), 1, "it has one already");
        assert_eq!([b.taken(), c.taken()], [10, 10], "equal loads take turns");
        slow.delay(Duration::ZERO);
    };
    let first = front.call(&["one"]);
    let (first, ()) = tokio::join!(first, busy);
    assert!(first.is_ok(), "{first:?}");
}

#[tokio::test]
async fn fr_007_p2c_ewma_prefers_who_answers_faster() {
    let [slow, b, c] = three().await;
    let front = front(json!([slow.url(), b.url(), c.url()]), "p2c_ewma").await;
    slow.delay(Duration::from_secs(3));
    served(&front, 60).await;
    let shares = [slow.taken(), b.taken(), c.taken()];
    assert_eq!(shares.iter().sum::<u64>(), 60, "{shares:?}");
    // One answer shows what it costs. That fades in tens of seconds, so a machine on which sixty calls take long sees a few more;
    // who does not look at latency gives it twenty.
    assert!(shares[0] < 10, "{shares:?}");
}

#[tokio::test]
async fn fr_007_nearest_is_the_least_round_trip_and_the_next_where_that_fails() {
    let [far, near, farther] = three().await;
    far.delay(Duration::from_millis(300));
    farther.delay(Duration::from_secs(1));
    let front = front(json!([far.url(), near.url(), farther.url()]), "nearest").await;
    // Checks measure while the pool is in use.
    let by = Deadline::secs(60);
    let near_only = by.until(|| async {
        served(&front, 5).await;
        let taken = [far.taken(), near.taken(), farther.taken()];
        (taken == [0, 5, 0]).then_some(())
    });
    assert!(near_only.await.is_some(), "never the nearest alone");
    near.fail(1);
    served(&front, 10).await;
    let taken = [far.taken(), near.taken(), farther.taken()];
    assert_eq!([taken[0], taken[2]], [10, 0], "{taken:?}");
}
