//! What a gateway must survive: clients that babble, flood, fall silent or vanish, and its own end.

use serde_json::json;
use tidegate_tests::{Deadline, Gateway, Ws};

/// Waits until no session is left.
async fn all_ended(gateway: &Gateway, seconds: u64) {
    let left = Deadline::secs(seconds)
        .until(|| async { (gateway.sessions().await == 0).then_some(()) })
        .await;
    assert!(
        left.is_some(),
        "sessions are left:\n{}",
        gateway.get("/v1/sessions").await.text()
    );
}

#[tokio::test]
async fn babble_gets_an_error_and_a_close_code_and_ends_only_its_own_session() {
    let gateway = Gateway::start(&[]).await;
    let (mut good, _) = Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
    let babble = [
        "{",
        "[]",
        "null",
        r#"{"open":{"pipeline":"echo"},"frame":{}}"#,
        r#"{"nonsense":{}}"#,
        r#"{"frame":{"port":"mic"}}"#,
        r#"{"frame":{"port":"nowhere","seq":1,"media_time":0,"text":{"text":"x"}}}"#,
        r#"{"frame":{"port":"mic","seq":7,"media_time":0,"audio":{"data":"%%%"}}}"#,
        r#"{"frame":{"port":"mic","seq":-1,"media_time":1e99,"audio":{"data":""}}}"#,
    ];
    for text in babble {
        let (mut bad, _) = Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
        bad.send_text(text.to_owned())
            .await
            .expect("it takes the text");
        let error = bad.until("error").await;
        assert_eq!(error["fault"], "client", "{text}: {error}");
        assert!(
            error["message"].as_str().is_some_and(|m| !m.is_empty()),
            "{text}: {error}"
        );
        let close = bad.until("close").await;
        assert!(
            close.as_u64().is_some_and(|code| code != 1000),
            "{text}: close {close}"
        );
    }
    good.send_frame(1).await;
    assert_eq!(good.until("frame").await["seq"], 1);
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_by_its_size() {
    let settings = [
        ("TIDEGATE_LIMITS_MESSAGE", "64KiB"),
        ("TIDEGATE_LIMITS_BODY", "64KiB"),
    ];
    let gateway = Gateway::start_with(&[], &settings).await;
    let (mut client, opened) = Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
    assert_eq!(opened["limits"]["message_bytes"], 65536, "{opened}");
    // Whether the gateway reads it to its end before it closes is not ours to ask.
    client.send_binary(vec![0; 100_000]).await.ok();
    let mut close = None;
    while let Some((kind, body)) = client.next().await {
        if kind == "close" {
            close = body.as_u64();
        }
    }
    assert_eq!(close, Some(1009), "{}", gateway.logs.text());
    let headers = [("content-type", "application/json")];
    let path = "/v1/pipelines/echo/execute";
    let answer = gateway
        .request("POST", path, &headers, " ".repeat(100_000))
        .await;
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (413, &json!("too_large"))
    );
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_nothing_behind() {
    let gateway = Gateway::start(&[]).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let (mut client, _) = Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
        client.send_frame(1).await;
        clients.push(client);
    }
    assert_eq!(gateway.sessions().await, 20);
    clients.into_iter().for_each(Ws::vanish);
    all_ended(&gateway, 10).await;
    let active = gateway.metric("tidegate_sessions_active", &[]).await;
    assert_eq!(active, Some(0.0), "{}", gateway.metrics().await);
}

#[tokio::test]
async fn a_client_that_never_reads_costs_bounded_memory() {
    let gateway = Gateway::start(&[]).await;
    let open = json!({"pipeline": "echo", "raw": {"input": "mic", "output": "speaker"}});
    let (mut client, _) = Ws::open(&gateway, "echo", open).await;
    let before = gateway.memory();
    // 100 MiB at most; a gateway that stops reading takes less, and that is as good.
    let second = Deadline::secs(10);
    for _ in 0..1_600 {
        match second.wait(client.send_binary(vec![0; 65_536])).await {
            Some(sent) => sent.expect("a slow reader is not cut off at once"),
            None => break,
        }
    }
    let grown = gateway.memory().saturating_sub(before) >> 20;
    assert!(
        grown < 48,
        "{grown} MiB more for one client that does not read"
    );
    client.vanish();
    all_ended(&gateway, 10).await;
}

#[tokio::test]
async fn a_thousand_sessions_come_and_go_without_a_trace() {
    let gateway = Gateway::start(&[]).await;
    churn(&gateway, 200).await;
    let (memory, descriptors) = (gateway.memory(), gateway.descriptors());
    let series = gateway.metrics().await.lines().count();
    churn(&gateway, 1_000).await;
    let grown = gateway.memory().saturating_sub(memory) >> 10;
    assert!(grown < 6 * 1024, "{grown} KiB more after 1,000 sessions");
    assert!(gateway.descriptors() <= descriptors + 2, "sockets are left");
    assert_eq!(
        gateway.metrics().await.lines().count(),
        series,
        "series are left"
    );
}

/// So many sessions, ten at a time; half say goodbye, half vanish.
async fn churn(gateway: &Gateway, count: usize) {
    for round in 0..count / 10 {
        let mut clients = Vec::new();
        for _ in 0..10 {
            let (mut client, _) = Ws::open(gateway, "echo", json!({"pipeline": "echo"})).await;
            client.send_frame(1).await;
            clients.push(client);
        }
        for (at, mut client) in clients.into_iter().enumerate() {
            if (round + at) % 2 == 0 {
                client.send("end", json!({})).await;
                client.until("ended").await;
            }
            client.vanish();
        }
    }
    all_ended(gateway, 15).await;
}

#[tokio::test]
async fn a_full_gateway_refuses_with_advice_and_keeps_whom_it_has() {
    let gateway = Gateway::start_with(&[], &[("TIDEGATE_LIMITS_SESSIONS", "2")]).await;
    let (mut first, _) = Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
    let (_second, _) = Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
    let mut third = Ws::connect(&gateway, "echo")
        .await
        .expect("the upgrade itself succeeds");
    third.send("open", json!({"pipeline": "echo"})).await;
    let error = third.until("error").await;
    assert_eq!(error["code"], "overloaded", "{error}");
    assert_eq!(error["retryable"], true, "{error}");
    let body = json!({"inputs": {"mic": []}});
    let refused = gateway.post_json("/v1/pipelines/echo/execute", &body).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(
        refused
            .header("retry-after")
            .parse::<u32>()
            .is_ok_and(|seconds| seconds > 0)
    );
    assert_eq!(
        gateway.get("/readyz").await.status,
        503,
        "a full gateway is not ready"
    );
    first.send_frame(1).await;
    assert_eq!(first.until("frame").await["seq"], 1);
    drop(first);
    let freed = Deadline::secs(10)
        .until(|| async { (gateway.get("/readyz").await.status == 200).then_some(()) })
        .await;
    assert!(freed.is_some(), "a free slot makes it ready again");
}

#[tokio::test]
async fn sigterm_under_load_lets_running_sessions_finish() {
    let mut gateway = Gateway::start(&[]).await;
    let (mut client, _) = Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
    client.send_frame(1).await;
    client.until("frame").await;
    gateway.signal("TERM").await;
    let draining = client.until("draining").await;
    assert!(
        draining["deadline"].as_u64().is_some_and(|left| left > 0),
        "{draining}"
    );

    assert_eq!(gateway.get("/readyz").await.status, 503);
    assert_eq!(gateway.get("/healthz").await.status, 200);
    let body = json!({"inputs": {"mic": []}});
    let refused = gateway.post_json("/v1/pipelines/echo/execute", &body).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (503, &json!("draining"))
    );

    client.send_frame(2).await;
    assert_eq!(client.until("frame").await["seq"], 2, "the session goes on");
    client.send("end", json!({})).await;
    client.until("ended").await;
    drop(client);
    let status = gateway.ended(Deadline::secs(15)).await;
    assert_eq!(status.code(), Some(0), "{}", gateway.logs.text());
}
