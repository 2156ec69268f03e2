//! Prometheus itself: its linter over our page, and its server scraping and answering.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use tidegate_tests::fixtures::{cached, recording};
use tidegate_tests::http::send;
use tidegate_tests::peer::Running;
use tidegate_tests::{Deadline, Gateway, Peer};
use tokio::net::UdpSocket;

use crate::clients::webrtc::Rtc;
use crate::remote::front;

/// Sends a recording through a pipeline with a node, so that there are figures.
async fn speak(gateway: &Gateway) {
    let address = gateway.address.to_string();
    let peer = Peer::python("ws_client.py").args([&address, "json", "--pipeline", "louder"]);
    let peer = peer.args(["--wav".as_ref(), recording("jfk.wav").as_os_str()]);
    let report = peer.report(Deadline::secs(60)).await;
    assert_eq!(report["frames"], 550, "{report:#}\n{}", gateway.logs.text());
}

#[tokio::test]
async fn promtool_has_nothing_to_say_about_our_metrics() {
    let gateway = Gateway::start(&["--pipelines", "tests/pipelines"]).await;
    speak(&gateway).await;
    let folder = tempfile::tempdir().expect("a folder for the page");
    let page = folder.path().join("metrics");
    std::fs::write(&page, gateway.metrics().await).expect("the page is written");
    let promtool = cached("prometheus/usr/bin/promtool");
    let check = Peer::program("promtool", Path::new("sh"))
        .args(["-c", r#"exec "$0" check metrics < "$1""#])
        .args([promtool, page]);
    let (status, said) = check.output(Deadline::secs(20)).await;
    assert!(status.success(), "promtool: {}", said.text());
}

/// A Prometheus that scrapes a gateway, and its address.
async fn prometheus(gateway: &Gateway, flags: &[&str]) -> (Running, SocketAddr, TempDir) {
    let folder = tempfile::tempdir().expect("a folder for Prometheus");
    let config = json!({
        "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms"},
        "scrape_configs": [{
            "job_name": "tidegate",
            "static_configs": [{"targets": [gateway.address.to_string()]}],
        }],
    });
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, config.to_string()).expect("the configuration is written");
    let server = Peer::program("prometheus", &cached("prometheus/usr/bin/prometheus"))
        .args(["--web.listen-address=127.0.0.1:0"])
        .args([format!("--config.file={}", file.display())])
        .args([format!(
            "--storage.tsdb.path={}",
            folder.path().join("data").display()
        )])
        .args(flags)
        .start();
    let by = Deadline::secs(60);
    let line = by.wait(server.logs.find("\"Listening on\" address=")).await;
    let line = line.unwrap_or_else(|| panic!("Prometheus: {}", server.logs.text()));
    let address = line
        .rsplit("address=")
        .next()
        .expect("an address")
        .trim()
        .parse();
    let address = address.unwrap_or_else(|e| panic!("{e} in {line}"));
    (server, address, folder)
}

#[tokio::test]
async fn prometheus_keeps_the_trace_of_a_slow_one() {
    let worker = Gateway::start(&[]).await;
    let (gateway, _folder) = front(&worker).await;
    let flags = ["--enable-feature=exemplar-storage"];
    let (server, address, _data) = prometheus(&gateway, &flags).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let wav = std::fs::read(recording("jfk.wav")).expect("the recording");
    let headers = [("content-type", "audio/wav"), ("traceparent", &parent)];
    let path = "/v1/pipelines/relay/execute";
    let answer = gateway.request("POST", path, &headers, wav).await;
    assert_eq!(
        answer.status,
        200,
        "{}\n{}",
        answer.text(),
        gateway.logs.text()
    );
    let query = "query=tidegate_hop_wire_seconds_bucket&start=0&end=9999999999";
    let path = format!("/api/v1/query_exemplars?{query}");
    let kept = Deadline::secs(60)
        .until(|| async {
            let answer = send(address, "GET", &path, &[], "").await.ok()?.json();
            let labels = answer["data"][0]["exemplars"][0]["labels"].clone();
            (labels["trace_id"] == trace).then_some(answer)
        })
        .await;
    assert!(kept.is_some(), "no exemplar: {}", server.logs.text());
}

#[tokio::test]
async fn prometheus_scrapes_and_answers_for_the_p99_of_a_hop() {
    let gateway = Gateway::start(&["--pipelines", "tests/pipelines"]).await;
    let (server, address, _data) = prometheus(&gateway, &[]).await;
    let by = Deadline::secs(60);
    speak(&gateway).await;

    let query = "histogram_quantile(0.99,sum%20by%20(le)\
                 (tidegate_hop_service_seconds_bucket%7Bhop%3D%22gain%22%7D))";
    let path = format!("/api/v1/query?query={query}");
    let p99 = by
        .until(|| async {
            let answer = send(address, "GET", &path, &[], "").await.ok()?.json();
            let value = answer["data"]["result"][0]["value"][1]
                .as_str()?
                .parse::<f64>()
                .ok()?;
            (value.is_finite() && value > 0.0).then_some(value)
        })
        .await;
    let metrics = gateway.metrics().await;
    let p99 = p99.unwrap_or_else(|| panic!("no p99:\n{metrics}\n{}", server.logs.text()));
    assert!(p99 < 0.1, "the p99 of a gain is {p99} s");
}

/// Metrics of what goes wrong in a run, or is not done in this one, which come with the first time.
const RARE: [&str; 12] = [
    "tidegate_frames_dropped_total",
    "tidegate_hop_dropped_frames_total",
    "tidegate_hop_failovers_total",
    // Of hops that are asked by utterance (`hops::metrics` counts them).
    "tidegate_hop_first_output_seconds",
    "tidegate_hop_replayed_frames_total",
    "tidegate_hop_retries_total",
    // Of who has clients of foreign protocols that say what is of no use here.
    "tidegate_ignored_messages_total",
    // Of who is asked by clients of the Open Inference Protocol.
    "tidegate_inference_seconds",
    // Of who serves TLS.
    "tidegate_tls_certificate_expires_timestamp_seconds",
    // Of who has Twilio sign its calls.
    "tidegate_twilio_refused_total",
    // Of who has a collector.
    "tidegate_spans_dropped_total",
    "tidegate_spans_exported_total",
];

#[tokio::test]
async fn every_metric_that_is_documented_appears_in_a_run() {
    let worker = Gateway::start(&[]).await;
    let (gateway, _folder) = front(&worker).await;
    let address = gateway.address.to_string();
    let peer = Peer::python("ws_client.py").args([&address, "proto", "--pipeline", "relay"]);
    let peer = peer.args(["--wav".as_ref(), recording("jfk.wav").as_os_str()]);
    let report = peer.report(Deadline::secs(60)).await;
    assert_eq!(report["same"], true, "{report:#}\n{}", gateway.logs.text());
    let stray = json!({"inputs": {"nobody": [{"text": {"text": "hello"}}]}});
    let refused = gateway
        .post_json("/v1/pipelines/relay/execute", &stray)
        .await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let sent = socket.send_to(&[0xff; 40], gateway.media).await;
    sent.expect("sent");
    let mut talker = Rtc::open(&gateway, "clean-voice").await;
    talker.echo().await;

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = std::fs::read_to_string(page).expect("docs/metrics.md is there");
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `tidegate_")?.split('`').next());
    let names: Vec<_> = rows.map(|name| format!("tidegate_{name}")).collect();
    assert!(names.len() > 20, "{names:?}");
    // Round trips wait for RTCP, which comes every few seconds.
    let by = Deadline::secs(20);
    loop {
        talker.echo().await;
        let metrics = gateway.metrics().await;
        let there = |name: &str| metrics.contains(&format!("# TYPE {name} "));
        let names = names.iter().map(String::as_str);
        let missing: Vec<_> = names
            .filter(|name| !RARE.contains(name) && !there(name))
            .collect();
        if missing.is_empty() {
            break;
        }
        assert!(!by.left().is_zero(), "no {missing:?} in\n{metrics}");
    }
    talker.leave(&gateway).await;
}
