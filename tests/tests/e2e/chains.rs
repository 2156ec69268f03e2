//! Chains of gateways, A → B → C: what fails in C is named at A, deadlines and cancellation reach C.

use serde_json::{Value, json};
use tidegate_tests::{Deadline, Ws};

use crate::sites::{Site, greeting, pipeline, relay, texts};

/// A → B → C, the last of which runs `last` as `leaf`.
async fn chain(last: &Value) -> [Site; 3] {
    let sites = [
        Site::start(&[]).await,
        Site::start(&[]).await,
        Site::start(&[]).await,
    ];
    let [a, b, c] = &sites;
    c.publish(last).await;
    b.publish(&relay("middle", &c.url(), "leaf")).await;
    a.publish(&relay("root", &b.url(), "middle")).await;
    sites
}

/// A text frame of the input `in`.
fn frame(seq: u64, text: &str) -> Value {
    json!({"port": "in", "seq": seq, "utterance": seq, "final": true, "text": {"text": text}})
}

async fn assert_empty(sites: &[&Site]) {
    for site in sites {
        let over = Deadline::secs(10)
            .until(|| async { (site.gateway.sessions().await == 0).then_some(()) })
            .await;
        assert!(
            over.is_some(),
            "a session is left: {}",
            site.gateway.logs.text()
        );
    }
}

#[tokio::test]
async fn texts_go_through_three_gateways_in_order() {
    let [a, _b, _c] = chain(&greeting("leaf")).await;
    let (status, answer) = a.execute("root", &["you", "me", "all"]).await;
    assert_eq!(status, 200, "{answer:#}");
    assert_eq!(texts(&answer), ["hello you", "hello me", "hello all"]);
}

#[tokio::test]
async fn what_fails_in_the_last_reaches_the_first_and_names_the_last() {
    // A recording that cannot be written ends its session.
    let recordings = tempfile::tempdir().expect("a folder for recordings");
    let folder = recordings.path().to_string_lossy().into_owned();
    let [a, b] = [Site::start(&[]).await, Site::start(&[]).await];
    let c = Site::start(&[("TIDEGATE_RECORDINGS", &folder)]).await;
    c.publish(&pipeline("leaf", "tap", json!({"file": "heard.ndjson"})))
        .await;
    b.publish(&relay("middle", &c.url(), "leaf")).await;
    a.publish(&relay("root", &b.url(), "middle")).await;
    let (mut client, _) = Ws::open(&a.gateway, "root", json!({"pipeline": "root"})).await;
    recordings.close().expect("the folder can be removed");
    client.send("frame", frame(1, "you")).await;
    let error = client.until("error").await;
    let shown = format!("{error:#}\n{}", c.gateway.logs.text());
    assert_eq!(error["code"], "remote_execution", "{shown}");
    assert_eq!(error["hop"], "far/far/far", "{shown}");
    assert_eq!(error["fault"], "worker", "{shown}");
    assert_eq!(error["endpoint"], b.url(), "{shown}");
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains(&c.url()), "{shown}");
    assert!(message.contains("heard.ndjson"), "{shown}");
    assert_empty(&[&a, &b, &c]).await;
}

#[tokio::test]
async fn the_death_of_the_last_in_mid_stream_reaches_the_first_and_names_the_last() {
    let [a, b, mut c] = chain(&greeting("leaf")).await;
    let mut hasty = relay("middle", &c.url(), "leaf");
    hasty["nodes"][0]["params"]["retry"] = json!({"attempts": 1});
    b.publish(&hasty).await;
    let mut hasty = relay("root", &b.url(), "middle");
    hasty["nodes"][0]["params"]["retry"] = json!({"attempts": 1});
    a.publish(&hasty).await;
    let (mut client, _) = Ws::open(&a.gateway, "root", json!({"pipeline": "root"})).await;
    client.send("frame", frame(1, "you")).await;
    assert_eq!(client.until("frame").await["text"]["text"], "hello you");
    c.gateway.kill().await;
    let error = client.until("error").await;
    assert_eq!(error["hop"], "far/far", "{error:#}");
    assert_eq!(error["fault"], "worker", "{error:#}");
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains(&c.url()), "{error:#}");
    assert_empty(&[&a, &b]).await;
}

#[tokio::test]
async fn the_first_ones_deadline_ends_all_of_them() {
    let [a, b, c] = chain(&greeting("leaf")).await;
    // Long enough to look at the sessions while they run.
    let open = json!({"pipeline": "root", "deadline": 4_000_000});
    let (mut client, _) = Ws::open(&a.gateway, "root", open).await;
    client.send("frame", frame(1, "you")).await;
    client.until("frame").await;
    let mut left = 4e6;
    for site in [&b, &c] {
        let list = site.gateway.get("/v1/sessions").await.json();
        let id = list["sessions"][0]["id"].as_str().expect("a session");
        let session = site.gateway.get(&format!("/v1/sessions/{id}")).await.json();
        let limit = session["limit_seconds"].as_f64().expect("a limit") * 1e6;
        assert!(
            limit < left,
            "deadlines shrink along the way: {limit} after {left}\n{session:#}"
        );
        left = limit;
    }
    let error = client.until("error").await;
    assert_eq!(error["code"], "session_expired", "{error:#}");
    assert_empty(&[&a, &b, &c]).await;
}

#[tokio::test]
async fn cancelling_the_first_cancels_the_last() {
    let [a, b, c] = chain(&greeting("leaf")).await;
    let (mut client, _) = Ws::open(&a.gateway, "root", json!({"pipeline": "root"})).await;
    client.send("frame", frame(1, "you")).await;
    client.until("frame").await;
    assert_eq!(c.gateway.sessions().await, 1);
    drop(client);
    assert_empty(&[&c, &b, &a]).await;
}

#[tokio::test]
async fn edge_one_slow_hop_among_fast_ones_delays_only_what_goes_through_it() {
    let [a, b, _c] = chain(&greeting("leaf")).await;
    b.publish(&greeting("fast")).await;
    // A stopped process is as slow as can be.
    let mute = Site::start(&[]).await;
    mute.publish(&greeting("leaf")).await;
    let remote = |id: &str, site: &Site, pipeline: &str| json!({"id": id, "type": "remote", "params": {"endpoints": [site.url()], "pipeline": pipeline}});
    let shed = |to: &str| json!({"from": "in", "to": to, "queue": {"when_full": "drop_oldest"}});
    let both = json!({
        "version": "tidegate/v1",
        "name": "both",
        "inputs": [{"name": "in", "kind": "text"}],
        "outputs": [{"name": "out", "kind": "text"}, {"name": "late", "kind": "text"}],
        "nodes": [remote("quick", &b, "fast"), remote("slow", &mute, "leaf")],
        "edges": [shed("quick"), shed("slow"), "quick -> out", "slow -> late"],
    });
    a.publish(&both).await;
    let (mut client, _) = Ws::open(&a.gateway, "both", json!({"pipeline": "both"})).await;
    mute.gateway.signal("STOP").await;
    for seq in 1..=20 {
        client.send("frame", frame(seq, "you")).await;
        let got = client.until("frame").await;
        assert_eq!(
            (&got["port"], &got["seq"]),
            (&json!("out"), &json!(seq)),
            "{got}"
        );
    }
    mute.gateway.signal("CONT").await;
    for seq in 1..=20 {
        let got = client.until("frame").await;
        assert_eq!(
            (&got["port"], &got["seq"]),
            (&json!("late"), &json!(seq)),
            "{got}"
        );
    }
}

#[tokio::test]
async fn fr_012_a_chain_of_eleven_hops_is_refused_and_one_of_ten_is_not() {
    let site = Site::start(&[]).await;
    site.publish(&greeting("p0")).await;
    for hop in 1..=11 {
        let (name, next) = (format!("p{hop}"), format!("p{}", hop - 1));
        site.publish(&relay(&name, &site.url(), &next)).await;
    }
    let (status, answer) = site.execute("p10", &["you"]).await;
    assert_eq!(status, 200, "{answer:#}\n{}", site.gateway.logs.text());
    assert_eq!(texts(&answer), ["hello you"]);
    let (status, problem) = site.execute("p11", &["you"]).await;
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("manifest_cycle")),
        "{problem:#}"
    );
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains("/p11 ->") && detail.contains("/p1 at "),
        "{detail}"
    );
}
