//! `docs/metrics.md` against the tables: the part between its markers is written from them.
//!
//! `UPDATE_DOCS=1 cargo test -p tidegate-gateway --lib docs` writes it anew. The prose around the markers is by hand.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tidegate_nodes::DropReason;
use tidegate_nodes::graph::{TIMED_FIRST, TIMED_ONE_OF};

use super::bounds::{Bounds, CALL, NETWORK, WAITING};
use super::hops::HopKey;
use super::page::Format;
use super::{COUNTERS, GAUGES, HISTOGRAMS, Metrics};
use crate::session::network::{DATAGRAM_REASONS, FRAME_REASONS};

const BEGIN: &str = "<!-- written from gateway/src/metrics -->\n";
const END: &str = "<!-- end -->\n";

/// Labels of each metric, in the order in which they are written.
const LABELS: &[(&str, &str)] = &[
    ("tidegate_sessions_active", "transport"),
    ("tidegate_sessions_taken", ""),
    ("tidegate_sessions_limit", ""),
    ("tidegate_sessions_total", "transport, outcome"),
    ("tidegate_sessions_refused_total", "code"),
    ("tidegate_key_limits_total", "reason"),
    ("tidegate_twilio_refused_total", "reason"),
    ("tidegate_reloads_total", "outcome"),
    ("tidegate_tls_reloads_total", "outcome"),
    ("tidegate_tls_certificate_expires_timestamp_seconds", ""),
    ("tidegate_auth_reloads_total", "outcome"),
    ("tidegate_session_latency_seconds", "pipeline, transport"),
    ("tidegate_inference_seconds", "pipeline, outcome"),
    ("tidegate_hop_queue_seconds", "pipeline, hop, endpoint"),
    ("tidegate_hop_service_seconds", "pipeline, hop, endpoint"),
    ("tidegate_hop_wire_seconds", "pipeline, hop, endpoint"),
    (
        "tidegate_hop_first_output_seconds",
        "pipeline, hop, endpoint",
    ),
    (
        "tidegate_hop_frames_total",
        "pipeline, hop, endpoint, direction",
    ),
    (
        "tidegate_hop_bytes_total",
        "pipeline, hop, endpoint, direction",
    ),
    (
        "tidegate_hop_dropped_frames_total",
        "pipeline, hop, endpoint, reason",
    ),
    ("tidegate_hop_queue_frames", "pipeline, hop, endpoint"),
    ("tidegate_hop_in_flight", "pipeline, hop, endpoint"),
    (
        "tidegate_hop_attempts_total",
        "pipeline, hop, endpoint, outcome",
    ),
    ("tidegate_endpoint_up", "pipeline, hop, endpoint"),
    (
        "tidegate_endpoint_breaker_state",
        "pipeline, hop, endpoint, state",
    ),
    ("tidegate_hop_retries_total", "pipeline, hop, endpoint"),
    ("tidegate_hop_failovers_total", "pipeline, hop, endpoint"),
    (
        "tidegate_hop_replayed_frames_total",
        "pipeline, hop, endpoint",
    ),
    ("tidegate_webrtc_pings_total", "outcome"),
    ("tidegate_webrtc_packets_received_total", "pipeline"),
    ("tidegate_webrtc_packets_lost_total", "pipeline"),
    ("tidegate_webrtc_packets_late_total", "pipeline"),
    ("tidegate_webrtc_concealed_samples_total", "pipeline"),
    ("tidegate_webrtc_jitter_seconds", "pipeline"),
    ("tidegate_webrtc_round_trip_seconds", "pipeline"),
    ("tidegate_webrtc_jitter_buffer_seconds", "pipeline"),
    ("tidegate_spans_exported_total", ""),
    ("tidegate_spans_dropped_total", "reason"),
    ("tidegate_udp_dropped_datagrams_total", "reason"),
    ("tidegate_frames_dropped_total", "reason"),
    ("tidegate_ignored_messages_total", "interface, reason"),
    ("tidegate_tasks", ""),
];

fn labels(name: &str) -> Option<&'static str> {
    let row = LABELS.iter().find(|(metric, _)| *metric == name);
    row.map(|(_, labels)| *labels)
}

/// Name, type and text of every metric, by name.
fn all() -> Vec<(&'static str, &'static str, &'static str)> {
    let counters = COUNTERS
        .iter()
        .map(|(name, text)| (*name, "counter", *text));
    let gauges = GAUGES.iter().map(|(name, text)| (*name, "gauge", *text));
    let histograms = HISTOGRAMS
        .iter()
        .map(|(name, text)| (*name, "histogram", *text));
    let mut all: Vec<_> = counters.chain(gauges).chain(histograms).collect();
    all.sort_unstable();
    all
}

fn written() -> String {
    let mut out = String::from("| metric | type | labels | what |\n| --- | --- | --- | --- |\n");
    for (name, kind, text) in all() {
        let labels = labels(name).unwrap_or("?").split(", ");
        let labels: Vec<_> = labels
            .filter(|label| !label.is_empty())
            .map(|label| format!("`{label}`"))
            .collect();
        let labels = labels.join(", ");
        writeln!(out, "| `{name}` | {kind} | {labels} | {text} |").expect("a string takes text");
    }
    let seconds = |bounds: Bounds| {
        let bounds: Vec<_> = bounds.iter().map(f64::to_string).collect();
        bounds.join(", ")
    };
    write!(
        out,
        "\nBuckets, in seconds:\n\n| of | up to |\n| --- | --- |\n\
         | calls in this process: `tidegate_hop_service_seconds` without `endpoint` | {} |\n\
         | media on a network: `tidegate_webrtc_*_seconds` | {} |\n\
         | all others | {} |\n\n\
         In-place hops are timed for the first {TIMED_FIRST} calls in each session and then for one of {TIMED_ONE_OF}: \
         reading a clock costs more than\na cheap node. Counters count every frame.\n",
        seconds(CALL),
        seconds(NETWORK),
        seconds(WAITING),
    )
    .expect("a string takes text");
    out
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md")
}

fn page() -> String {
    std::fs::read_to_string(path()).expect("docs/metrics.md is there")
}

#[test]
fn the_published_list_of_metrics_is_this_one() {
    let page = page();
    let (before, rest) = page.split_once(BEGIN).expect("the first marker");
    let (found, after) = rest.split_once(END).expect("the second marker");
    let wanted = written();
    if found == wanted {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let page = format!("{before}{BEGIN}{wanted}{END}{after}");
        std::fs::write(path(), page).expect("docs/metrics.md can be written");
        return;
    }
    let differs = wanted
        .lines()
        .zip(found.lines().chain(std::iter::repeat("")))
        .find(|(wanted, found)| wanted != found);
    panic!(
        "docs/metrics.md is behind gateway/src/metrics at {differs:?}: run UPDATE_DOCS=1 cargo test -p tidegate-gateway --lib docs"
    );
}

#[test]
fn every_metric_has_its_labels_written_down() {
    for (name, ..) in all() {
        assert!(
            labels(name).is_some(),
            "add {name} with its labels to LABELS in gateway/src/metrics/docs.rs"
        );
    }
}

#[test]
fn the_labels_of_a_hop_are_those_that_it_is_registered_with() {
    let metrics = Metrics::new();
    let hop = metrics.hop(HopKey {
        pipeline: "p".into(),
        hop: "h".into(),
        endpoint: Some("e".into()),
    });
    hop.dropped(&metrics, DropReason::Age).increment(1);
    for histogram in [&hop.queue, &hop.service, &hop.wire, &hop.first_output] {
        histogram.record(0.001);
    }
    let text = metrics.render(Format::Text);
    let mut seen = 0;
    for line in text.lines().filter(|line| line.starts_with("tidegate_hop")) {
        let (name, rest) = line.split_once('{').expect("labels");
        let Some(expected) = labels(name.trim_end_matches("_bucket")) else {
            // `_sum` and `_count` of a histogram.
            continue;
        };
        let (written, _) = rest.split_once('}').expect("the end of the labels");
        let names: Vec<_> = written
            .split(',')
            .filter_map(|label| label.split_once('='))
            .map(|(name, _)| name)
            .filter(|name| *name != "le")
            .collect();
        assert_eq!(names.join(", "), expected, "{line}");
        seen += 1;
    }
    assert!(seen > 10, "only {seen} lines were looked at: {text}");
}

#[test]
fn every_reason_for_a_drop_is_documented() {
    let page = page();
    let frames = DropReason::ALL.iter().map(|reason| reason.as_str());
    let ours = FRAME_REASONS.into_iter().chain(DATAGRAM_REASONS);
    let socket = ["unknown_peer", "session_queue_full", "kernel_buffer_full"];
    for reason in frames.chain(ours).chain(socket) {
        let row = format!("| `{reason}` | ");
        assert!(page.contains(&row), "docs/metrics.md must have {row}");
    }
}
