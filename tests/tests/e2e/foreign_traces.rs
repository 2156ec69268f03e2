//! Traces through hops at servers that know nothing of Tidegate: OpenAI's interface and the Open Inference Protocol, each here another gateway's,
//! which says what it was sent.

use std::sync::Mutex;

use serde_json::{Value, json};
use tidegate_tests::fixtures::recording;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::hops::{Server, say, utterance};
use crate::tracing::{Collector, the};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// What is said is a tone.
fn speaks() -> Value {
    json!({
        "version": "tidegate/v1", "name": "speaks",
        "parameters": {"voice": {"type": "number", "default": 440}},
        "inputs": [{"name": "in", "kind": "text"}], "outputs": [{"name": "out", "kind": "audio"}],
        "nodes": [{"id": "tone", "type": "audio.tone",
            "params": {"triggered": true, "frequency": "${param:voice}", "frame": "100ms", "duration": "100ms", "sample_rate": 24000}}],
        "edges": ["in -> tone", "tone -> out"],
    })
}

/// A pipeline that is one hop at a worker's pipeline, by a foreign protocol.
fn relay(name: &str, params: &Value, output: &str) -> Value {
    json!({
        "version": "tidegate/v1", "name": name,
        "inputs": [{"name": "in", "kind": "text"}], "outputs": [{"name": "out", "kind": output}],
        "nodes": [{"id": "far", "type": "remote", "params": params}],
        "edges": ["in -> far", "far -> out"],
    })
}

/// Runs the relay once in a trace, whose spans are to go on at the worker.
async fn goes_on(params: Value, output: &str, there: &str) {
    let collector = Collector::start(&[]).await;
    let worker = [
        ("OTEL_SERVICE_NAME", "worker"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
    ];
    let worker = Server::with(&[say("far"), speaks()], &worker).await;
    let mut params = params;
    params["endpoints"] = json!([worker.url()]);
    let settings = [("TIDEGATE_TRACING_ENDPOINT", collector.url.as_str())];
    let front = Server::with(&[relay("relay", &params, output)], &settings).await;
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let headers = [
        ("content-type", "application/json"),
        ("traceparent", &*parent),
    ];
    let body = json!({"inputs": {"in": [utterance(1, "Hello.")]}}).to_string();
    let path = "/v1/pipelines/relay/execute";
    let answer = front.gateway.request("POST", path, &headers, body).await;
    let logs = format!(
        "{}\n{}",
        front.gateway.logs.text(),
        worker.gateway.logs.text()
    );
    assert_eq!(answer.status, 200, "{}\n{logs}", answer.text());
    let wanted = [
        ("tidegate", "session relay"),
        ("tidegate", "turn"),
        ("worker", there),
    ];
    let spans = collector.until(&wanted).await;
    let shown = || collector.running.logs.text();
    let session = the(&spans, "tidegate", "session relay");
    assert_eq!(session["parent"], CALLER, "{}", shown());
    let of_session =
        |span: &&Value| span["name"] == "hop far" && span["parent"] == session["span_id"];
    let hop = spans.iter().find(of_session).expect("the hop's own span");
    assert_eq!(hop["attributes"]["tidegate.endpoint"], worker.url());
    assert_eq!(hop["attributes"]["tidegate.hop.frames_in"], 1, "{hop}");
    let turn = the(&spans, "tidegate", "turn");
    let of_turn = |span: &&Value| span["name"] == "hop far" && span["parent"] == turn["span_id"];
    assert!(spans.iter().any(|span| of_turn(&span)), "{}", shown());
    let far = spans
        .iter()
        .filter(|span| span["service"] == "worker" && span["name"] == there);
    for far in far {
        assert_eq!(far["trace_id"], TRACE, "{}", shown());
        assert_eq!(far["parent"], hop["span_id"], "{}", shown());
    }
}

#[tokio::test]
async fn a_trace_goes_on_to_a_hop_of_openai_s_interface() {
    let params =
        json!({"protocol": "openai.speech", "pipeline": "speaks", "parameters": {"voice": "660"}});
    goes_on(params, "audio", "session speaks").await;
}

#[tokio::test]
async fn a_trace_goes_on_to_a_hop_of_the_open_inference_protocol() {
    for mode in ["unary", "stream"] {
        let params = json!({
            "protocol": "kserve", "pipeline": "say", "mode": mode,
            "inputs": [{"name": "in", "kind": "text"}], "outputs": [{"name": "out", "kind": "text"}],
        });
        goes_on(params, "text", "session say").await;
    }
}

/// Reads what is asked of it, and hangs up.
async fn listens(listener: TcpListener, heads: &Mutex<Vec<String>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|n| n > 0)
        {
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        heads.lock().expect("nobody panics").push(head);
    }
}

#[tokio::test]
async fn a_trace_goes_on_to_a_recogniser_behind_a_plain_websocket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let mut manifest = relay(
        "relay",
        &json!({
            "protocol": "websocket.stt", "endpoints": [format!("http://{address}")], "retry": {"attempts": 1},
            "options": {"end": {"eof": 1}, "text": "/text"},
        }),
        "text",
    );
    manifest["inputs"][0]["kind"] = json!("audio");
    let front = Server::start(&[manifest]).await;
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let headers = [("content-type", "audio/wav"), ("traceparent", &*parent)];
    let wav = std::fs::read(recording("jfk.wav")).expect("a recording");
    let path = "/v1/pipelines/relay/execute";
    let heads = Mutex::default();
    tokio::select! {
        () = listens(listener, &heads) => panic!("the server ended"),
        answer = front.gateway.request("POST", path, &headers, wav) => {
            assert!(answer.status >= 400, "nobody has answered: {}", answer.text());
        }
    }
    let heads = heads.lock().expect("nobody panics").clone();
    // Whether it is there is asked beside it.
    let opens = |head: &&String| head.contains("upgrade: websocket");
    let opened: Vec<_> = heads.iter().filter(opens).collect();
    assert!(!opened.is_empty(), "{heads:?}");
    for head in opened {
        assert!(head.contains(&format!("traceparent: {parent}")), "{head}");
    }
}
