//! The report of a load run, for people and for programs.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::tally::Tally;
use super::{Bench, Transport};
use crate::cli::run::report::micros;

/// What is said of a distribution.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// The report as text.
pub(super) fn text(bench: &Bench, tally: &Tally) -> String {
    let mut text = format!(
        "{} by {}: {} of {} sessions, {:.1} s measured\n\n",
        bench.pipeline,
        name(bench.transport),
        tally.opened,
        bench.sessions,
        tally.measured().as_secs_f64(),
    );
    let opening = match bench.transport {
        Transport::Webrtc => "offer to first packet back",
        Transport::Ws | Transport::Grpc => "open",
    };
    for (what, histogram) in [("latency", &tally.latency), (opening, &tally.opening)] {
        let _ = writeln!(text, "{what:<28}{}", line(histogram.as_ref()));
    }
    let (frames, bytes) = rates(tally);
    let _ = writeln!(
        text,
        "{:<28}{frames:.0} frames/s, {:.2} MB/s each way",
        "throughput",
        bytes / 1e6
    );
    let lost = tally.sent.saturating_sub(tally.received);
    let _ = writeln!(
        text,
        "{:<28}{} sent, {} came back, {lost} did not",
        "frames", tally.sent, tally.received
    );
    for (error, count) in tally.failures() {
        let _ = writeln!(text, "{:<28}{count} × {error}", "failed sessions");
    }
    if tally.received == 0 && tally.failures().is_empty() {
        text.push_str(if bench.transport == Transport::Webrtc {
            "nothing came back as it was sent: a pipeline that decodes and encodes has no round trips to measure here\n"
        } else {
            "nothing came back: does the pipeline answer each frame?\n"
        });
    }
    text
}

fn line(histogram: Option<&Histogram<u64>>) -> String {
    let Some(histogram) = histogram.filter(|histogram| !histogram.is_empty()) else {
        return "-".to_owned();
    };
    let mut line = String::new();
    for (name, quantile) in QUANTILES {
        let _ = write!(
            line,
            "{name} {}  ",
            micros(us(histogram.value_at_quantile(quantile)))
        );
    }
    let _ = write!(line, "max {}", micros(us(histogram.max())));
    line
}

/// Frames and bytes a second that came back.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn rates(tally: &Tally) -> (f64, f64) {
    let seconds = tally.measured().as_secs_f64();
    let share = tally.received as f64 / (tally.sent as f64).max(1.0);
    (
        tally.received as f64 / seconds,
        tally.sent_bytes as f64 * share / seconds,
    )
}

#[expect(
    clippy::cast_precision_loss,
    reason = "ten minutes in nanoseconds are exact in f64"
)]
fn us(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

const fn name(transport: Transport) -> &'static str {
    match transport {
        Transport::Ws => "websocket",
        Transport::Grpc => "grpc",
        Transport::Webrtc => "webrtc",
    }
}

/// The report as JSON; times in microseconds.
pub(super) fn json(bench: &Bench, tally: &Tally) -> Value {
    let (frames, bytes) = rates(tally);
    json!({
        "url": bench.url,
        "pipeline": bench.pipeline,
        "transport": name(bench.transport),
        "sessions": bench.sessions,
        "sessions_opened": tally.opened,
        "rate": bench.rate,
        "window": (bench.rate == 0).then_some(bench.window),
        "size": bench.size,
        "measured_seconds": tally.measured().as_secs_f64(),
        "frames_sent": tally.sent,
        "frames_received": tally.received,
        "frames_per_second": frames,
        "bytes_per_second": bytes,
        "latency_us": distribution(tally.latency.as_ref()),
        "opening_us": distribution(tally.opening.as_ref()),
        "failures": tally.failures(),
    })
}

fn distribution(histogram: Option<&Histogram<u64>>) -> Value {
    let Some(histogram) = histogram.filter(|histogram| !histogram.is_empty()) else {
        return Value::Null;
    };
    let mut value = json!({ "count": histogram.len(), "mean": histogram.mean() / 1e3 });
    for (name, quantile) in QUANTILES {
        value[name] = json!(us(histogram.value_at_quantile(quantile)));
    }
    value["max"] = json!(us(histogram.max()));
    value
}
