//! What Prometheus sees: every metric of the gateway, registered once, recorded through kept handles.
//!
//! Labels have bounded values (pipeline, hop, endpoint, transport, reason, code); never a session. Handles are kept because
//! looking a metric up costs ten times what recording costs. Nothing here renders per-session figures: see [`window`].

mod bounds;
#[cfg(test)]
mod docs;
pub(crate) mod hops;
pub(crate) mod latency;
pub(crate) mod page;
mod registry;
pub(crate) mod window;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{Counter, Gauge, Label, SharedString};

use self::hops::{HopHandles, HopKey};
use self::latency::Latency;
use self::page::Format;
use self::registry::Registry;

/// The process's metrics.
#[derive(Default)]
pub(crate) struct Metrics {
    registry: Registry,
    hops: Mutex<HashMap<HopKey, Arc<HopHandles>>>,
}

impl Metrics {
    /// An empty registry.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The page as it is.
    #[cfg(test)]
    pub(crate) fn render(&self, format: Format) -> String {
        self.render_with(format, |_| {})
    }

    /// The page, with gauges that are of this page only: what has gone meanwhile is on the next one no more.
    pub(crate) fn render_with(&self, format: Format, set: impl FnOnce(&Passing)) -> String {
        let passing = Passing::default();
        set(&passing);
        let mut families = self.registry.families();
        families.extend(passing.0.families());
        families.sort_by_key(|family| family.name);
        page::write(format, &families)
    }

    /// A counter's handle.
    pub(crate) fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.registry.counter(name, labels)
    }

    /// A gauge's handle.
    pub(crate) fn gauge(&self, name: &'static str, labels: Vec<Label>) -> Gauge {
        self.registry.gauge(name, labels)
    }

    /// A histogram's handle.
    pub(crate) fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Arc<Latency> {
        self.registry.histogram(name, labels)
    }

    /// The handles of one hop, made on first use and kept.
    pub(crate) fn hop(&self, key: HopKey) -> Arc<HopHandles> {
        let mut hops = self
            .hops
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(handles) = hops.get(&key) {
            return Arc::clone(handles);
        }
        let handles = Arc::new(HopHandles::register(self, &key));
        hops.insert(key, Arc::clone(&handles));
        handles
    }

    /// The handles of a pipeline's hops.
    pub(crate) fn hops_of(&self, pipeline: &str) -> Vec<Arc<HopHandles>> {
        let hops = self
            .hops
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let of = hops.iter().filter(|(key, _)| key.pipeline == pipeline);
        of.map(|(_, handles)| Arc::clone(handles)).collect()
    }

    /// One histogram of session latency.
    pub(crate) fn session_latency(&self, pipeline: &str, transport: &'static str) -> Arc<Latency> {
        self.histogram(
            "tidegate_session_latency_seconds",
            vec![
                label("pipeline", pipeline.to_owned()),
                label("transport", transport),
            ],
        )
    }
}

/// Gauges of one page. None of their names may be in the registry.
#[derive(Default)]
pub(crate) struct Passing(Registry);

impl Passing {
    /// Sets one.
    pub(crate) fn set(&self, name: &'static str, labels: Vec<Label>, value: f64) {
        self.0.gauge(name, labels).set(value);
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A label.
pub(crate) fn label(name: &'static str, value: impl Into<SharedString>) -> Label {
    Label::new(name, value)
}

/// Seconds as the base unit asks.
pub(crate) fn seconds(value: Duration) -> f64 {
    value.as_secs_f64()
}

/// What the page says of a metric.
fn described(name: &str) -> Option<&'static str> {
    let all = [COUNTERS, GAUGES, HISTOGRAMS];
    let mut all = all.into_iter().flatten();
    all.find(|(known, _)| *known == name).map(|(_, text)| *text)
}

type Described = (&'static str, &'static str);

const COUNTERS: &[Described] = &[
    ("tidegate_sessions_total", "Sessions that ended, by how."),
    (
        "tidegate_sessions_refused_total",
        "Sessions that were not opened, by error code.",
    ),
    (
        "tidegate_key_limits_total",
        "Openings refused because a key had too many lately (opens) or at a time (sessions).",
    ),
    (
        "tidegate_twilio_refused_total",
        "Calls that were refused for Twilio's signature: none (`missing`), or not the right one (`wrong`).",
    ),
    (
        "tidegate_reloads_total",
        "Times that the pipelines' folder was read anew: taken over, or refused for an error, in which case the old pipelines stay.",
    ),
    (
        "tidegate_tls_reloads_total",
        "Times that changed files of TLS were read anew: taken over, or refused for an error, in which case the old ones stay.",
    ),
    (
        "tidegate_auth_reloads_total",
        "Times that changed settings of `auth`, files with secrets and keys, and published keys were read anew: taken over, or refused for an error, in which case the old ones stay.",
    ),
    (
        "tidegate_hop_frames_total",
        "Frames that entered and left a hop.",
    ),
    (
        "tidegate_hop_bytes_total",
        "Payload bytes that entered and left a hop.",
    ),
    (
        "tidegate_hop_dropped_frames_total",
        "Frames that did not go on, by reason.",
    ),
    (
        "tidegate_hop_attempts_total",
        "Streams of a remote hop that were opened (`ok`), could not be, or broke (the error's code).",
    ),
    (
        "tidegate_hop_retries_total",
        "Attempts that were made because the one before had failed.",
    ),
    (
        "tidegate_hop_failovers_total",
        "Streams that another one took over from, by the endpoint that was left.",
    ),
    (
        "tidegate_hop_replayed_frames_total",
        "Frames that were sent again after a failover, by the endpoint that was left.",
    ),
    (
        "tidegate_webrtc_pings_total",
        "Checks of WebRTC by other gateways, by whether their data channel came to stand.",
    ),
    (
        "tidegate_webrtc_packets_received_total",
        "RTP packets received.",
    ),
    (
        "tidegate_webrtc_packets_lost_total",
        "RTP packets that never came.",
    ),
    (
        "tidegate_webrtc_packets_late_total",
        "RTP packets that came too late to be played.",
    ),
    (
        "tidegate_webrtc_concealed_samples_total",
        "Samples made up for lost or late audio.",
    ),
    (
        "tidegate_spans_exported_total",
        "Spans that the collector took. Both are there only where `tracing.endpoint` is set.",
    ),
    (
        "tidegate_spans_dropped_total",
        "Spans that never reached the collector: the queue was full (`queue_full`), or it did not take them (`export_failed`).",
    ),
    (
        "tidegate_udp_dropped_datagrams_total",
        "Datagrams of the media socket that were not handled or not sent, by reason.",
    ),
    (
        "tidegate_frames_dropped_total",
        "Frames dropped outside of a hop, by reason.",
    ),
    (
        "tidegate_ignored_messages_total",
        "Messages of foreign protocols that came to nothing, by reason.",
    ),
];

const GAUGES: &[Described] = &[
    (
        "tidegate_sessions_active",
        "Sessions with at least one client, by transport.",
    ),
    (
        "tidegate_sessions_taken",
        "Places taken of those that `tidegate_sessions_limit` counts: sessions that are being opened and shared ones without a client too.",
    ),
    ("tidegate_sessions_limit", "Most sessions at a time."),
    (
        "tidegate_hop_queue_frames",
        "Frames that wait before a hop, over all sessions.",
    ),
    (
        "tidegate_hop_in_flight",
        "Frames that a hop has taken and not answered.",
    ),
    (
        "tidegate_endpoint_up",
        "Whether the checks of a remote hop's endpoint pass.",
    ),
    (
        "tidegate_endpoint_breaker_state",
        "1 for the state that an endpoint's breaker is in (`closed`, `open`, `half_open`), else 0.",
    ),
    (
        "tidegate_tls_certificate_expires_timestamp_seconds",
        "When the certificate that `tls.certificate` names expires, or the first of its chain; seconds since 1970. There where TLS is served.",
    ),
    ("tidegate_tasks", "Tasks that run."),
];

const HISTOGRAMS: &[Described] = &[
    (
        "tidegate_inference_seconds",
        "Requests of the Open Inference Protocol, from their arrival to their last response, by whether they were answered (`success`) or refused (`fail`).",
    ),
    (
        "tidegate_session_latency_seconds",
        "From a frame's arrival to the departure of what it caused.",
    ),
    (
        "tidegate_hop_queue_seconds",
        "Wait before the hop, per output, of the newest input.",
    ),
    (
        "tidegate_hop_service_seconds",
        "The hop's own duration, a worker's queue included. In-place hops are sampled.",
    ),
    (
        "tidegate_hop_wire_seconds",
        "What the hop cost besides queue and service: the network, and what frames waited in flight for the worker to read them.",
    ),
    (
        "tidegate_hop_first_output_seconds",
        "From the input that an utterance's first output answers, when it came to the hop, to that output; of a hop with partial results the first of them.",
    ),
    (
        "tidegate_webrtc_jitter_seconds",
        "Interarrival jitter (RFC 3550 §6.4.1) of a client's worst track.",
    ),
    ("tidegate_webrtc_round_trip_seconds", "Round trip by RTCP."),
    (
        "tidegate_webrtc_jitter_buffer_seconds",
        "Playing time held back by jitter buffers.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_is_registered_once_and_rendered_with_its_labels() {
        let metrics = Metrics::new();
        let key = HopKey {
            pipeline: "echo".into(),
            hop: "gain".into(),
            endpoint: None,
        };
        let first = metrics.hop(key.clone());
        assert!(Arc::ptr_eq(&first, &metrics.hop(key)));
        first.service.record(0.0004);
        let text = metrics.render(Format::Text);
        let line =
            "tidegate_hop_service_seconds_bucket{pipeline=\"echo\",hop=\"gain\",le=\"0.0005\"} 1";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn a_hop_of_which_nothing_is_known_yet_has_its_counters_and_no_histogram() {
        let metrics = Metrics::new();
        let key = |hop: &str, endpoint: Option<&str>| HopKey {
            pipeline: "p".into(),
            hop: hop.into(),
            endpoint: endpoint.map(Into::into),
        };
        let near = metrics.hop(key("near", None));
        let far = metrics.hop(key("far", Some("http://far:1")));
        let lines = |of: &str| {
            let page = metrics.render(Format::Text);
            let own = page.lines().filter(|line| line.contains(of));
            own.map(str::to_owned).collect::<Vec<_>>()
        };
        let named =
            |lines: &[String], part: &str| lines.iter().filter(|l| l.contains(part)).count();
        let counters = "{pipeline=\"p\",hop=\"near\",direction=";
        assert_eq!(named(&lines("\"near\""), counters), 4);
        assert_eq!(lines("\"near\"").len(), 4, "a call in place holds nothing");
        assert_eq!(lines("\"far\"").len(), 6, "what waits for a worker is told");
        assert!(!metrics.render(Format::OpenMetrics).contains("histogram"));
        near.service.record(0.01);
        far.service.record(0.01);
        near.level(&metrics, hops::Level::Queue).increment(1.0);
        let near = lines("\"near\"");
        assert_eq!(named(&near, "tidegate_hop_queue_frames"), 1, "{near:#?}");
        assert_eq!(
            named(&near, "tidegate_hop_service_seconds_bucket"),
            bounds::CALL.len() + 1
        );
        let far = lines("\"far\"");
        assert_eq!(
            named(&far, "tidegate_hop_service_seconds_bucket"),
            bounds::WAITING.len() + 1
        );
        assert_eq!(named(&far, "tidegate_hop_wire_seconds"), 0, "{far:#?}");
    }
}
