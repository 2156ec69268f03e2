//! A worker that drains, as every worker does on SIGTERM: its sessions go on at another one, nothing is lost, and it ends within its grace.

use serde_json::{Value, json};
use tidegate_tests::{Deadline, Ws};

use super::{Server, hop, say, utterance};

/// Long enough that no session of a test is ended by it.
const GRACE: [(&str, &str); 1] = [("TIDEGATE_LIMITS_GRACE", "60s")];

/// Two workers with time to drain, and a front whose hop they serve by this transport.
async fn two_and_a_front(manifest: &Value, more: Value) -> ([Server; 2], Server) {
    let one = Server::with(std::slice::from_ref(manifest), &GRACE).await;
    let two = Server::with(std::slice::from_ref(manifest), &GRACE).await;
    let mut params = json!({
        "endpoints": [one.url(), two.url()],
        "pipeline": manifest["name"],
        "health": {"interval": "200ms", "timeout": "150ms"},
    });
    for (key, value) in more.as_object().expect("an object") {
        params[key] = value.clone();
    }
    let front = Server::start(&[hop("hop", params)]).await;
    ([one, two], front)
}

/// A turn: a question, and its answer as the next frame.
async fn turn(client: &mut Ws, seq: u64, shown: &dyn Fn() -> String) {
    let text = format!("turn {seq}");
    client.send("frame", utterance(seq, &text)).await;
    let (kind, frame) = client.next().await.expect("the session lives");
    assert_eq!(kind, "frame", "{frame}\n{}", shown());
    assert_eq!(frame["seq"], seq, "{frame}\n{}", shown());
    assert_eq!(frame["text"]["text"], format!("far {text}"), "{frame}");
}

/// Sessions that talk while the worker of the first is told to go; they all end at the other.
async fn hands_over(params: Value) {
    let (workers, front) = two_and_a_front(&say("far"), params).await;
    let shown = || front.gateway.logs.text();
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = front.open().await;
        turn(&mut client, 1, &shown).await;
        clients.push(client);
    }
    let [mut leaves, stays] = workers;
    assert_eq!(
        leaves.gateway.sessions().await + stays.gateway.sessions().await,
        6,
        "{}",
        shown()
    );
    leaves.gateway.signal("TERM").await;
    let by = Deadline::secs(30);
    let mut seq = 1;
    while stays.gateway.sessions().await < 6 {
        assert!(!by.left().is_zero(), "not all moved\n{}", shown());
        seq += 1;
        for client in &mut clients {
            turn(client, seq, &shown).await;
        }
    }
    let status = leaves.gateway.ended(Deadline::secs(20)).await;
    assert!(status.success(), "{status}: {}", leaves.gateway.logs.text());
    for client in &mut clients {
        turn(client, seq + 1, &shown).await;
        client.send("end", json!({})).await;
        assert_eq!(client.until("ended").await["reason"], "finished");
    }
}

#[tokio::test]
async fn a_worker_that_drains_hands_its_grpc_streams_over() {
    hands_over(json!({"transport": "grpc"})).await;
}

#[tokio::test]
async fn a_worker_that_drains_hands_its_websockets_over() {
    hands_over(json!({"transport": "websocket"})).await;
}

#[tokio::test]
async fn a_worker_that_drains_hands_its_webrtc_peers_over() {
    hands_over(json!({"transport": "webrtc"})).await;
}

#[tokio::test]
async fn a_worker_that_drains_gets_no_more_calls_and_loses_none() {
    for transport in ["http", "grpc"] {
        let params = json!({"transport": transport, "mode": "unary"});
        let (workers, front) = two_and_a_front(&say("far"), params).await;
        let shown = || front.gateway.logs.text();
        let mut client = front.open().await;
        for seq in 1..=10 {
            turn(&mut client, seq, &shown).await;
        }
        let [mut leaves, _stays] = workers;
        leaves.gateway.signal("TERM").await;
        for seq in 11..=100 {
            turn(&mut client, seq, &shown).await;
        }
        let status = leaves.gateway.ended(Deadline::secs(20)).await;
        assert!(status.success(), "{status}: {}", leaves.gateway.logs.text());
    }
}

/// Four rows become one: what the first worker has of a window is not lost with it.
#[tokio::test]
async fn a_worker_that_drains_in_the_middle_of_a_window_hands_its_rows_over() {
    let tensor = |name: &str| json!([{"name": name, "kind": "tensor"}]);
    let windows = json!({
        "version": "tidegate/v1", "name": "windows",
        "inputs": tensor("in"), "outputs": tensor("out"),
        "nodes": [{"id": "cut", "type": "tensor.window", "params": {"size": 4}}],
        "edges": ["in -> cut -> out"],
    });
    let params = json!({"inputs": tensor("in"), "outputs": tensor("out")});
    let one = Server::with(std::slice::from_ref(&windows), &GRACE).await;
    let two = Server::with(std::slice::from_ref(&windows), &GRACE).await;
    let mut all = params;
    all["endpoints"] = json!([one.url(), two.url()]);
    all["pipeline"] = json!("windows");
    let mut near = hop("hop", all);
    near["inputs"] = tensor("in");
    near["outputs"] = tensor("out");
    let front = Server::start(&[near]).await;
    let mut client = front.open().await;
    // The row's number is its value.
    let row = |seq: u8| {
        use base64::Engine as _;
        let data = base64::engine::general_purpose::STANDARD.encode([seq]);
        json!({"port": "in", "seq": seq, "tensor": {"dtype": "u8", "shape": [1, 1], "data": data}})
    };
    client.send("frame", row(1)).await;
    client.send("frame", row(2)).await;
    let has = async |server: &Server| server.gateway.sessions().await == 1;
    let first = has(&one).await;
    let (mut leaves, stays) = if first { (one, two) } else { (two, one) };
    leaves.gateway.signal("TERM").await;
    let by = Deadline::secs(20);
    let moved = by.until(|| async { has(&stays).await.then_some(()) });
    assert!(moved.await.is_some(), "{}", front.gateway.logs.text());
    let status = leaves.gateway.ended(Deadline::secs(20)).await;
    assert!(status.success(), "{status}: {}", leaves.gateway.logs.text());
    client.send("frame", row(3)).await;
    client.send("frame", row(4)).await;
    let frame = client.until("frame").await;
    assert_eq!(frame["tensor"]["shape"], json!([4, 1]), "{frame}");
    assert_eq!(frame["tensor"]["data"], "AQIDBA==", "{frame}");
    client.send("end", json!({})).await;
    assert_eq!(client.until("ended").await["reason"], "finished");
}
