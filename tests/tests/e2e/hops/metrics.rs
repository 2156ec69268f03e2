//! What an endpoint did and how it stands, told by endpoint on `/metrics`.

use std::time::Duration;

use serde_json::json;
use tidegate_tests::Deadline;
use tidegate_tests::gateway::sum_of;

use super::calls::Calls;
use super::fake::{Fake, Manner, nobody};
use super::{Server, hop, utterance};

/// What every worker is measured by, and at the end what only one of ours says of itself.
const STAGES: [&str; 4] = ["queue", "wire", "first_output", "service"];
const BREAKER: &str = "tidegate_endpoint_breaker_state";

#[tokio::test]
async fn fr_017_attempts_failovers_and_health_are_counted_by_endpoint() {
    let (mut first, second) = (Server::saying("one").await, Server::saying("two").await);
    let endpoints = [first.url(), second.url()];
    let front = Server::hop(
        json!({"endpoints": endpoints, "health": {"interval": "200ms", "timeout": "150ms"}}),
    )
    .await;
    let mut client = front.open().await;
    client.send("frame", utterance(1, "word")).await;
    let said = client.until("frame").await["text"]["text"].clone();
    assert_eq!(said, "one word", "round robin begins with the first");
    first.gateway.kill().await;
    client.send("frame", utterance(2, "word")).await;
    assert_eq!(client.until("frame").await["text"]["text"], "two word");
    let page = front.gateway.metrics().await;
    assert_eq!(front.attempts(&endpoints[0], "ok").await, 1.0, "{page}");
    assert_eq!(
        front.attempts(&endpoints[0], "network").await,
        1.0,
        "{page}"
    );
    assert_eq!(front.attempts(&endpoints[1], "ok").await, 1.0, "{page}");
    let failovers = "tidegate_hop_failovers_total";
    assert_eq!(
        front.metric(failovers, &endpoints[0], "").await,
        1.0,
        "{page}"
    );
    let up = "tidegate_endpoint_up";
    let by = Deadline::secs(10);
    let seen = by.until(|| async {
        let both = [&endpoints[0], &endpoints[1]].map(|url| front.metric(up, url, ""));
        let both = futures_util::future::join_all(both).await;
        (both == [0.0, 1.0]).then_some(())
    });
    assert!(
        seen.await.is_some(),
        "which is up: {}",
        front.gateway.metrics().await
    );
    // Between the kill and the news of it, a frame may have gone to the dead.
    let replayed = front
        .metric("tidegate_hop_replayed_frames_total", &endpoints[0], "")
        .await;
    assert!(replayed <= 1.0, "{page}");
}

#[tokio::test]
async fn fr_017_latency_is_counted_under_who_served() {
    let (mut first, second) = (Server::saying("one").await, Server::saying("two").await);
    let endpoints = [first.url(), second.url()];
    let front = Server::hop(json!({"endpoints": endpoints, "health": "off"})).await;
    let mut client = front.open().await;
    for seq in 1..=3 {
        client.send("frame", utterance(seq, "word")).await;
        assert_eq!(client.until("frame").await["text"]["text"], "one word");
    }
    first.gateway.kill().await;
    for seq in 4..=8 {
        client.send("frame", utterance(seq, "word")).await;
        assert_eq!(client.until("frame").await["text"]["text"], "two word");
    }
    counted(&front, &STAGES, &endpoints, [3.0, 5.0]).await;
}

#[tokio::test]
async fn fr_017_latency_of_calls_is_counted_under_who_answered_each() {
    let workers = [Calls::start("a").await, Calls::start("b").await];
    let endpoints = workers.each_ref().map(Calls::url);
    let front = Server::hop(json!({
        "transport": "http", "mode": "unary", "endpoints": endpoints, "health": "off",
    }))
    .await;
    let said = front.call(&["1", "2", "3", "4", "5", "6", "7"]).await;
    assert_eq!(said.map(|said| said.concat()), Ok("abababa".to_owned()));
    counted(&front, &STAGES[..3], &endpoints, [4.0, 3.0]).await;
}

/// So many measurements of each stage, and so many outputs, at each endpoint, and none elsewhere.
async fn counted(front: &Server, stages: &[&str], endpoints: &[String; 2], expected: [f64; 2]) {
    // A running session's counters come a moment after its frames; the last of them is waited for, then all are judged.
    let by = Deadline::secs(20);
    let last = by.until(async || {
        let at = &endpoints[1];
        let outputs = front.metric("tidegate_hop_frames_total", at, "direction=\"out\"");
        (outputs.await >= expected[1]).then_some(())
    });
    assert!(last.await.is_some(), "the last output is counted");
    let page = front.gateway.metrics().await;
    let stages = stages
        .iter()
        .map(|stage| (format!("tidegate_hop_{stage}_seconds_count"), ""));
    let outputs = ("tidegate_hop_frames_total".to_owned(), "direction=\"out\"");
    for (name, label) in stages.chain([outputs]) {
        let at = async |endpoint: &str| front.metric(&name, endpoint, label).await;
        let found = [at(&endpoints[0]).await, at(&endpoints[1]).await];
        assert_eq!(found, expected, "{name}\n{page}");
        let all = front.gateway.metric(&name, &["hop=\"far\"", label]).await;
        assert_eq!(all, Some(expected.iter().sum()), "{name}\n{page}");
    }
}

#[tokio::test]
async fn fr_017_outcomes_are_counted_by_the_kind_of_error_and_retries_where_they_went() {
    let (mute, garbage) = (
        Fake::worker(Manner::Mute).await,
        Fake::worker(Manner::Garbage).await,
    );
    let fails = Fake::worker(Manner::Fails).await;
    let kinds = [
        (nobody().await, "network", 1.0),
        (mute.url(), "timeout", 1.0),
        (garbage.url(), "invalid_remote_data", 1.0),
        (fails.url(), "remote_execution", 0.0),
    ];
    let worker = Server::saying("well").await;
    for (endpoint, kind, retries) in kinds {
        let front = Server::hop(json!({
            "endpoints": [endpoint, worker.url()], "health": "off", "timeout": {"first_output": "300ms"},
        }))
        .await;
        let said = front.call(&["one"]).await;
        assert_eq!(said.is_ok(), retries > 0.0, "{kind}: {said:?}");
        let page = front.gateway.metrics().await;
        assert_eq!(front.attempts(&endpoint, kind).await, 1.0, "{kind}\n{page}");
        assert_eq!(
            front.attempts(&worker.url(), "ok").await,
            retries,
            "{kind}\n{page}"
        );
        let retried = front
            .metric("tidegate_hop_retries_total", &worker.url(), "")
            .await;
        assert_eq!(retried, retries, "{kind}\n{page}");
    }
}

#[tokio::test]
async fn fr_017_replayed_frames_are_counted_under_the_endpoint_that_was_left() {
    let (stalls, worker) = (
        Fake::worker(Manner::Stalls).await,
        Server::saying("well").await,
    );
    // Which of the two it is depends on whether the half answer comes before or after the second utterance has gone.
    let front = Server::hop(json!({
        "endpoints": [stalls.url(), worker.url()], "health": "off", "timeout": {"first_output": "1s", "gap": "1s"},
    }))
    .await;
    let mut client = front.open().await;
    for seq in 1..=3 {
        client.send("frame", utterance(seq, "word")).await;
    }
    let mut whole = 0;
    while whole < 3 {
        whole += u32::from(client.until("frame").await["text"]["text"] == "well word");
    }
    let page = front.gateway.metrics().await;
    let of = async |name: &str| front.metric(name, &stalls.url(), "").await;
    assert_eq!(
        of("tidegate_hop_replayed_frames_total").await,
        3.0,
        "{page}"
    );
    assert_eq!(of("tidegate_hop_failovers_total").await, 1.0, "{page}");
}

#[tokio::test]
async fn fr_017_a_breaker_is_shown_in_the_state_that_it_is_in() {
    let (bad, good) = (Calls::start("bad").await, Calls::start("good").await);
    bad.fail(1);
    let front = Server::hop(json!({
        "transport": "http", "mode": "unary", "endpoints": [bad.url(), good.url()], "health": "off",
        "breaker": {"failures": 3, "open": "2s"},
    }))
    .await;
    let states = async |url: String| {
        let of = |state: &str| format!("state=\"{state}\"");
        let [closed, open, half] = ["closed", "open", "half_open"].map(of);
        [
            front.metric(BREAKER, &url, &closed).await,
            front.metric(BREAKER, &url, &open).await,
            front.metric(BREAKER, &url, &half).await,
        ]
    };
    assert!(front.call(&["one"]).await.is_ok());
    assert_eq!(states(bad.url()).await, [1.0, 0.0, 0.0]);
    let by = Deadline::secs(20);
    while bad.gaps().len() < 2 {
        assert!(!by.left().is_zero(), "it was never shut off");
        assert!(front.call(&["one"]).await.is_ok());
    }
    assert_eq!(states(bad.url()).await, [0.0, 1.0, 0.0]);
    assert_eq!(states(good.url()).await, [1.0, 0.0, 0.0]);
    let half = by.until(|| async { (states(bad.url()).await == [0.0, 0.0, 1.0]).then_some(()) });
    assert!(half.await.is_some(), "{}", front.gateway.metrics().await);
    bad.fail(0);
    bad.delay(Duration::ZERO);
    assert!(front.call(&["one"]).await.is_ok());
    assert_eq!(
        states(bad.url()).await,
        [1.0, 0.0, 0.0],
        "one answer proves it"
    );
}

#[tokio::test]
async fn fr_017_an_endpoint_that_is_in_no_manifest_any_more_leaves_the_page() {
    let [old, kept, new] = [
        Calls::start("old").await,
        Calls::start("kept").await,
        Calls::start("new").await,
    ];
    let params = |endpoints: [&Calls; 2]| {
        json!({
            "transport": "http", "mode": "unary", "endpoints": endpoints.map(Calls::url),
            "health": {"interval": "1s", "timeout": "1s"},
        })
    };
    let front = Server::hop(params([&old, &kept])).await;
    let shown = async |worker: &Calls| {
        let endpoint = format!("endpoint=\"{}\"", worker.url());
        let page = front.gateway.metrics().await;
        let gauges = ["tidegate_endpoint_up", BREAKER];
        let found = gauges.map(|name| sum_of(&page, name, &[&endpoint]));
        assert_eq!(found[0].is_some(), found[1].is_some(), "{page}");
        found[0].is_some()
    };
    let by = Deadline::secs(30);
    let said = async || front.call(&["one"]).await.map(|said| said.concat());
    assert_eq!(said().await, Ok("old".to_owned()));
    assert_eq!(
        [shown(&old).await, shown(&kept).await, shown(&new).await],
        [true, true, false]
    );
    // Also before anybody asks for the new one.
    front.rewrite(&hop("hop", params([&new, &kept])));
    let gone = by.until(|| async { (!shown(&old).await).then_some(()) });
    assert!(gone.await.is_some(), "{}", front.gateway.metrics().await);
    let comes = by.until(|| async { (said().await == Ok("new".to_owned())).then_some(()) });
    assert!(comes.await.is_some(), "{}", front.gateway.logs.text());
    assert_eq!(
        [shown(&old).await, shown(&kept).await, shown(&new).await],
        [false, true, true]
    );
    let page = front.gateway.metrics().await;
    assert_eq!(
        front.attempts(&old.url(), "ok").await,
        1.0,
        "what was counted stays\n{page}"
    );
}
