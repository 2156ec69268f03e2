//! Traces end to end: a context that came goes on to every hop, spans reach a collector that decodes real OTLP, and what is measured
//! and logged names the trace.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_tests::fixtures::recording;
use tidegate_tests::peer::Running;
use tidegate_tests::{Deadline, Gateway, Peer};

use crate::clients::webrtc::Rtc;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const PCM: &str = "pcm_s16/16000/1";

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// A collector of spans.
pub(crate) struct Collector {
    pub(crate) running: Running,
    pub(crate) url: String,
}

impl Collector {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let running = Peer::python("collector.py").args(arguments).start();
        let by = Deadline::secs(60);
        let line = by.wait(running.logs.find("listening on ")).await;
        let line = line.unwrap_or_else(|| panic!("collector: {}", running.logs.text()));
        let address = line.rsplit(' ').next().expect("an address");
        Self {
            url: format!("http://{address}"),
            running,
        }
    }

    /// The spans so far.
    pub(crate) fn spans(&self) -> Vec<Value> {
        let lines = self.running.logs.lines();
        let spans = lines.iter().filter(|line| line.starts_with('{'));
        spans
            .map(|line| serde_json::from_str(line).expect("a span"))
            .collect()
    }

    /// Waits for spans among which these are: service and name.
    pub(crate) async fn until(&self, wanted: &[(&str, &str)]) -> Vec<Value> {
        let found = Deadline::secs(30)
            .until(|| async {
                let spans = self.spans();
                let there = |(service, name): &(&str, &str)| {
                    spans
                        .iter()
                        .any(|span| span["service"] == *service && span["name"] == *name)
                };
                wanted.iter().all(there).then_some(spans)
            })
            .await;
        found.unwrap_or_else(|| panic!("no {wanted:?}: {}", self.running.logs.text()))
    }
}

pub(crate) fn the<'a>(spans: &'a [Value], service: &str, name: &str) -> &'a Value {
    let mut found = spans
        .iter()
        .filter(|span| span["service"] == service && span["name"] == name);
    let span = found
        .next()
        .unwrap_or_else(|| panic!("{service}: no {name}"));
    assert!(found.next().is_none(), "{service}: {name} twice");
    span
}

/// A pipeline with a remote hop, and behind it a conversation's other half: what was said is cut into utterances first.
fn spoken(worker: &Gateway, transport: &str) -> Value {
    json!({
        "version": "tidegate/v1",
        "name": "spoken",
        "inputs": [{"name": "mic", "kind": "audio"}],
        "outputs": [{"name": "speaker", "kind": "audio"}],
        "nodes": [
            {"id": "vad", "type": "audio.vad"},
            {"id": "far", "type": "remote", "params": {
                "transport": transport, "endpoints": [worker.url("")], "pipeline": "echo",
                "inputs": [{"name": "mic", "kind": "audio", "format": PCM}],
                "outputs": [{"name": "speaker", "kind": "audio", "format": PCM}],
            }},
        ],
        "edges": ["mic -> vad", "vad.speech -> far", "far -> speaker"],
    })
}

async fn front(pipeline: &Value, settings: &[(&str, &str)]) -> (Gateway, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let name = pipeline["name"].as_str().expect("a name");
    let file = folder.path().join(format!("{name}.yaml"));
    std::fs::write(file, pipeline.to_string()).expect("written");
    let path = folder.path().to_string_lossy().into_owned();
    let gateway = Gateway::start_with(&["--pipelines", &path], settings).await;
    (gateway, folder)
}

/// Sends a recording in one request, in a trace.
async fn execute(gateway: &Gateway, headers: &[(&str, &str)]) {
    let wav = std::fs::read(recording("jfk.wav")).expect("the recording");
    let mut all = vec![("content-type", "audio/wav")];
    all.extend(headers);
    let path = "/v1/pipelines/spoken/execute";
    let answer = gateway.request("POST", path, &all, wav).await;
    assert_eq!(
        answer.status,
        200,
        "{}\n{}",
        answer.text(),
        gateway.logs.text()
    );
}

async fn worker(collector: &Collector) -> Gateway {
    let settings = [
        ("OTEL_SERVICE_NAME", "worker"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
    ];
    Gateway::start_with(&[], &settings).await
}

async fn passed_on(transport: &str) {
    let collector = Collector::start(&[]).await;
    let worker = worker(&collector).await;
    let settings = [("TIDEGATE_TRACING_ENDPOINT", collector.url.as_str())];
    let (front, _folder) = front(&spoken(&worker, transport), &settings).await;
    let parent = parent("01");
    let headers = [
        ("traceparent", parent.as_str()),
        ("tracestate", "congo=t61"),
    ];
    execute(&front, &headers).await;
    let wanted = [
        ("tidegate", "session spoken"),
        ("worker", "session echo"),
        ("tidegate", "turn"),
    ];
    let spans = collector.until(&wanted).await;
    let shown = || format!("{transport}: {}", collector.running.logs.text());
    for span in &spans {
        assert_eq!(span["trace_id"], TRACE, "{}", shown());
        assert_eq!(span["trace_state"], "congo=t61", "{}", shown());
        assert!(
            span["end"].as_u64() >= span["start"].as_u64(),
            "{}",
            shown()
        );
    }
    let session = the(&spans, "tidegate", "session spoken");
    assert_eq!(session["parent"], CALLER, "{}", shown());
    assert_eq!(session["attributes"]["tidegate.outcome"], "finished");
    let hops: Vec<_> = spans
        .iter()
        .filter(|span| span["name"] == "hop far")
        .collect();
    let of_session = |span: &&&Value| span["parent"] == session["span_id"];
    let hop = hops.iter().find(of_session).expect("the hop's own span");
    assert_eq!(hop["attributes"]["tidegate.endpoint"], worker.url(""));
    assert_eq!(hop["attributes"]["tidegate.hop.failed_attempts"], 0);
    let mut sessions = spans
        .iter()
        .filter(|span| span["service"] == "worker" && span["name"] == "session echo");
    assert!(
        sessions.all(|there| there["parent"] == hop["span_id"]),
        "{}",
        shown()
    );
}

#[tokio::test]
async fn a_trace_goes_on_to_a_hop_over_grpc() {
    passed_on("grpc").await;
}

#[tokio::test]
async fn a_trace_goes_on_to_a_hop_over_websocket() {
    passed_on("websocket").await;
}

#[tokio::test]
async fn a_trace_goes_on_to_a_hop_over_http() {
    passed_on("http").await;
}

#[tokio::test]
async fn a_trace_goes_on_to_a_hop_over_webrtc() {
    let collector = Collector::start(&[]).await;
    let worker = worker(&collector).await;
    let settings = [("TIDEGATE_TRACING_ENDPOINT", collector.url.as_str())];
    let port = |name: &str| json!([{"name": name, "kind": "audio"}]);
    let relay = json!({
        "version": "tidegate/v1",
        "name": "called",
        "inputs": port("mic"),
        "outputs": port("speaker"),
        "nodes": [{"id": "far", "type": "remote", "params": {
            "transport": "webrtc", "endpoints": [worker.url("")], "pipeline": "echo",
            "inputs": port("mic"), "outputs": port("speaker"),
        }}],
        "edges": [
            {"from": "mic", "to": "far", "queue": {"when_full": "drop_oldest"}},
            "far -> speaker",
        ],
    });
    let (front, _folder) = front(&relay, &settings).await;
    let mut talker = Rtc::open(&front, "called").await;
    talker.echo().await;
    talker.leave(&front).await;
    let wanted = [("tidegate", "session called"), ("worker", "session echo")];
    let spans = collector.until(&wanted).await;
    // A trace of the gateway's own: nobody brought one.
    let session = the(&spans, "tidegate", "session called");
    let hop = the(&spans, "tidegate", "hop far");
    let there = the(&spans, "worker", "session echo");
    assert_eq!(session["parent"], "");
    assert_eq!(hop["parent"], session["span_id"]);
    assert_eq!(there["parent"], hop["span_id"]);
    assert_eq!(there["trace_id"], session["trace_id"]);
}

#[tokio::test]
async fn a_turn_says_where_its_time_went() {
    let collector = Collector::start(&[]).await;
    let worker = Gateway::start(&[]).await;
    let settings = [("TIDEGATE_TRACING_ENDPOINT", collector.url.as_str())];
    let (front, _folder) = front(&spoken(&worker, "grpc"), &settings).await;
    execute(&front, &[]).await;
    let wanted = [("tidegate", "session spoken"), ("tidegate", "turn")];
    let spans = collector.until(&wanted).await;
    let shown = || collector.running.logs.text();
    let session = the(&spans, "tidegate", "session spoken");
    let turns: Vec<_> = spans.iter().filter(|span| span["name"] == "turn").collect();
    let count = session["attributes"]["tidegate.session.turns"].as_u64();
    assert_eq!(count, Some(turns.len() as u64), "{}", shown());
    assert!(turns.len() > 1, "several sentences: {}", shown());
    for turn in turns {
        assert_eq!(turn["parent"], session["span_id"], "{}", shown());
        let figures = &turn["attributes"];
        let hop = figures["tidegate.turn.far.first_output_seconds"].as_f64();
        let hop = hop.expect("the hop's part in it");
        let of_turn = |span: &&Value| span["parent"] == turn["span_id"];
        let part = spans
            .iter()
            .find(of_turn)
            .expect("a hop's span in the turn");
        let parts = &part["attributes"];
        let split = ["queue", "wire", "service"].map(|stage| {
            let name = format!("tidegate.hop.{stage}_seconds");
            parts[&name].as_f64().expect("a figure")
        });
        let sum: f64 = split.iter().sum();
        assert!(sum > 0.0 && hop > 0.0, "{split:?} of {hop}: {}", shown());
        assert_eq!(
            parts["tidegate.hop.frames_in"],
            figures["tidegate.turn.speaker.frames"]
        );
    }
}

#[tokio::test]
async fn what_the_caller_does_not_sample_or_says_badly_is_not_exported_under_its_name() {
    let collector = Collector::start(&[]).await;
    let worker = worker(&collector).await;
    let settings = [
        ("TIDEGATE_TRACING_ENDPOINT", collector.url.as_str()),
        ("TIDEGATE_TRACING_RATIO", "1.0"),
    ];
    let (front, _folder) = front(&spoken(&worker, "grpc"), &settings).await;
    let unsampled = parent("00");
    execute(&front, &[("traceparent", unsampled.as_str())]).await;
    let upper = parent("01").to_uppercase();
    execute(&front, &[("traceparent", upper.as_str())]).await;
    // The second ends after the first, and its spans come after what the first would have given.
    let wanted = [("tidegate", "session spoken"), ("worker", "session echo")];
    let spans = collector.until(&wanted).await;
    let traces: BTreeSet<_> = spans
        .iter()
        .map(|span| span["trace_id"].as_str().expect("an id"))
        .collect();
    assert!(
        traces.len() == 1 && !traces.contains(TRACE),
        "{}",
        collector.running.logs.text()
    );
    assert_eq!(the(&spans, "tidegate", "session spoken")["parent"], "");
}

#[tokio::test]
async fn spans_of_the_last_sessions_are_exported_before_the_gateway_ends() {
    let collector = Collector::start(&[]).await;
    let worker = Gateway::start(&[]).await;
    let settings = [("TIDEGATE_TRACING_ENDPOINT", collector.url.as_str())];
    let (mut front, _folder) = front(&spoken(&worker, "grpc"), &settings).await;
    execute(&front, &[]).await;
    front.signal("TERM").await;
    let status = front.ended(Deadline::secs(60)).await;
    assert!(status.success(), "{}", front.logs.text());
    collector.until(&[("tidegate", "session spoken")]).await;
}

/// Runs sessions at a gateway whose collector is at `endpoint`, and gives what it says once spans were dropped.
async fn without_a_collector(endpoint: &str) {
    let worker = Gateway::start(&[]).await;
    let settings = [
        ("TIDEGATE_TRACING_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
    ];
    let (mut front, _folder) = front(&spoken(&worker, "grpc"), &settings).await;
    for _ in 0..3 {
        execute(&front, &[]).await;
    }
    let dropped = Deadline::secs(40)
        .until(|| async {
            let labels = ["reason=\"export_failed\""];
            let dropped = front.metric("tidegate_spans_dropped_total", &labels).await;
            dropped.filter(|dropped| *dropped > 0.0)
        })
        .await;
    assert!(dropped.is_some(), "{}", front.logs.text());
    let exported = front.metric("tidegate_spans_exported_total", &[]).await;
    assert_eq!(exported, Some(0.0));
    execute(&front, &[]).await;
    front.signal("TERM").await;
    let status = front.ended(Deadline::secs(60)).await;
    assert!(status.success(), "{}", front.logs.text());
}

#[tokio::test]
async fn a_collector_that_is_down_costs_no_session_anything() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    without_a_collector(&format!("http://{address}")).await;
}

#[tokio::test]
async fn a_collector_that_never_answers_costs_no_session_anything() {
    let collector = Collector::start(&["--deaf"]).await;
    without_a_collector(&collector.url).await;
}

#[tokio::test]
async fn openmetrics_reads_strictly_and_its_exemplars_name_the_trace() {
    let worker = Gateway::start(&[]).await;
    let (front, _folder) = front(&spoken(&worker, "grpc"), &[]).await;
    let parent = parent("01");
    execute(&front, &[("traceparent", parent.as_str())]).await;
    let address = front.address.to_string();
    let metrics = [
        "tidegate_session_latency_seconds_bucket",
        "tidegate_hop_service_seconds_bucket",
        "tidegate_hop_wire_seconds_bucket",
    ];
    let report = Deadline::secs(30)
        .until(|| async {
            let report = Peer::python("openmetrics.py").args([&address]);
            let report = report.report(Deadline::secs(20)).await;
            let exemplars = report["exemplars"].as_array()?.clone();
            let named: BTreeSet<_> = exemplars
                .iter()
                .filter_map(|e| e["name"].as_str())
                .collect();
            metrics
                .iter()
                .all(|name| named.contains(name))
                .then_some(report)
        })
        .await;
    let report = report.unwrap_or_else(|| panic!("no exemplars: {}", front.logs.text()));
    for exemplar in report["exemplars"].as_array().expect("exemplars") {
        assert_eq!(exemplar["exemplar"]["trace_id"], TRACE, "{exemplar}");
        assert_eq!(exemplar["exemplar"]["span_id"], CALLER, "{exemplar}");
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(report["content_type"], kind);
    assert_eq!(report["text"], "text/plain; version=0.0.4; charset=utf-8");
    let latency = &report["families"]["tidegate_hop_wire_seconds"];
    assert_eq!(*latency, json!({"type": "histogram", "unit": "seconds"}));
    assert_eq!(report["families"]["tidegate_hop_frames"]["type"], "counter");
}

#[tokio::test]
async fn every_log_line_of_a_session_names_it_and_its_trace() {
    let mut worker = Gateway::start(&[]).await;
    let settings = [
        ("TIDEGATE_LOG_FORMAT", "json"),
        (
            "TIDEGATE_LOG_FILTER",
            "info,tidegate_gateway=debug,tidegate_remote=debug",
        ),
    ];
    let (front, _folder) = front(&spoken(&worker, "grpc"), &settings).await;
    let parent = parent("01");
    execute(&front, &[("traceparent", parent.as_str())]).await;
    worker.kill().await;
    let wav = std::fs::read(recording("jfk.wav")).expect("the recording");
    let headers = [
        ("content-type", "audio/wav"),
        ("traceparent", parent.as_str()),
    ];
    let path = "/v1/pipelines/spoken/execute";
    let refused = front.request("POST", path, &headers, wav).await;
    assert_ne!(refused.status, 200, "{}", refused.text());
    let by = Deadline::secs(20);
    for message in ["remote hop opened", "session ended", "session not opened"] {
        let line = by.wait(front.logs.find(message)).await;
        let line = line.unwrap_or_else(|| panic!("no '{message}': {}", front.logs.text()));
        let json = &line[line.find('{').expect("an object")..];
        let line: Value = serde_json::from_str(json).expect("an object a line");
        let span = &line["span"];
        assert_eq!(span["trace_id"], TRACE, "{line}");
        assert_eq!(span["span_id"], CALLER, "{line}");
        assert_eq!(span["pipeline"], "spoken", "{line}");
        let session = span["session"].as_str().unwrap_or_default();
        assert_eq!(session.len(), 32, "{line}");
    }
}
