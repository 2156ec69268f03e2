//! What Prometheus sees: every metric of the gateway, registered once, recorded through kept handles.
//!
//! Labels have bounded values (pipeline, hop, endpoint, transport, reason, code); never a session. Handles are kept because
//! looking a metric up costs ten times what recording costs. Nothing here renders per-session figures: see [`window`].

#[cfg(test)]
mod docs;
pub(crate) mod hops;
pub(crate) mod window;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit,
};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use self::hops::{HopHandles, HopKey};

const METADATA: Metadata<'static> = Metadata::new("tidegate", Level::INFO, None);

/// In-place hops take well under a microsecond, remote ones up to their time limit: 100 ns to 30 s.
const LATENCY_BUCKETS: &[f64] = &[
    1e-7, 2.5e-7, 5e-7, 1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3,
    5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The process's metrics.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    hops: Mutex<HashMap<HopKey, Arc<HopHandles>>>,
}

impl Metrics {
    /// An empty registry with every metric described.
    ///
    /// # Errors
    /// The bucket list is not accepted, which is a defect of this file.
    pub(crate) fn new() -> Result<Self, BuildError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), LATENCY_BUCKETS)?
            .build_recorder();
        let handle = recorder.handle();
        let metrics = Self {
            recorder,
            handle,
            hops: Mutex::default(),
        };
        metrics.describe();
        Ok(metrics)
    }

    /// The text format, version 0.0.4.
    pub(crate) fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }

    /// The same, with gauges that are of this page only: what has gone meanwhile is on the next one no more.
    pub(crate) fn render_with(&self, set: impl FnOnce(&Passing)) -> String {
        let passing = Passing(PrometheusBuilder::new().build_recorder());
        for (name, unit, text) in GAUGES {
            passing
                .0
                .describe_gauge(KeyName::from(*name), *unit, SharedString::from(*text));
        }
        set(&passing);
        self.render() + &passing.0.handle().render()
    }

    /// Folds raw histogram samples into buckets; without it they pile up between scrapes.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// A counter's handle.
    pub(crate) fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.recorder
            .register_counter(&Key::from_parts(name, labels), &METADATA)
    }

    /// A gauge's handle.
    pub(crate) fn gauge(&self, name: &'static str, labels: Vec<Label>) -> Gauge {
        self.recorder
            .register_gauge(&Key::from_parts(name, labels), &METADATA)
    }

    /// A histogram's handle.
    pub(crate) fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        self.recorder
            .register_histogram(&Key::from_parts(name, labels), &METADATA)
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

    /// One histogram of session latency.
    pub(crate) fn session_latency(&self, pipeline: &str, transport: &'static str) -> Histogram {
        self.histogram(
            "tidegate_session_latency_seconds",
            vec![
                label("pipeline", pipeline.to_owned()),
                label("transport", transport),
            ],
        )
    }

    fn describe(&self) {
        for (name, unit, text) in COUNTERS {
            self.recorder
                .describe_counter(KeyName::from(*name), *unit, SharedString::from(*text));
        }
        for (name, unit, text) in GAUGES {
            self.recorder
                .describe_gauge(KeyName::from(*name), *unit, SharedString::from(*text));
        }
        for (name, text) in HISTOGRAMS {
            self.recorder.describe_histogram(
                KeyName::from(*name),
                Some(Unit::Seconds),
                SharedString::from(*text),
            );
        }
    }
}

/// Gauges of one page.
pub(crate) struct Passing(PrometheusRecorder);

impl Passing {
    /// Sets one.
    pub(crate) fn set(&self, name: &'static str, labels: Vec<Label>, value: f64) {
        let key = Key::from_parts(name, labels);
        self.0.register_gauge(&key, &METADATA).set(value);
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

type Described = (&'static str, Option<Unit>, &'static str);

const COUNTERS: &[Described] = &[
    (
        "tidegate_sessions_total",
        None,
        "Sessions that ended, by how.",
    ),
    (
        "tidegate_sessions_refused_total",
        None,
        "Sessions that were not opened, by error code.",
    ),
    (
        "tidegate_key_limits_total",
        None,
        "Openings refused because a key had too many lately (opens) or at a time (sessions).",
    ),
    (
        "tidegate_reloads_total",
        None,
        "Times that the pipelines' folder was read anew: taken over, or refused for an error, in which case the old pipelines stay.",
    ),
    (
        "tidegate_tls_reloads_total",
        None,
        "Times that changed files of TLS were read anew: taken over, or refused for an error, in which case the old ones stay.",
    ),
    (
        "tidegate_hop_frames_total",
        None,
        "Frames that entered and left a hop.",
    ),
    (
        "tidegate_hop_bytes_total",
        None,
        "Payload bytes that entered and left a hop.",
    ),
    (
        "tidegate_hop_dropped_frames_total",
        None,
        "Frames that did not go on, by reason.",
    ),
    (
        "tidegate_hop_attempts_total",
        None,
        "Streams of a remote hop that were opened (`ok`), could not be, or broke (the error's code).",
    ),
    (
        "tidegate_hop_retries_total",
        None,
        "Attempts that were made because the one before had failed.",
    ),
    (
        "tidegate_hop_failovers_total",
        None,
        "Streams that another one took over from, by the endpoint that was left.",
    ),
    (
        "tidegate_hop_replayed_frames_total",
        None,
        "Frames that were sent again after a failover, by the endpoint that was left.",
    ),
    (
        "tidegate_webrtc_pings_total",
        None,
        "Checks of WebRTC by other gateways, by whether their data channel came to stand.",
    ),
    (
        "tidegate_webrtc_packets_received_total",
        None,
        "RTP packets received.",
    ),
    (
        "tidegate_webrtc_packets_lost_total",
        None,
        "RTP packets that never came.",
    ),
    (
        "tidegate_webrtc_packets_late_total",
        None,
        "RTP packets that came too late to be played.",
    ),
    (
        "tidegate_webrtc_concealed_samples_total",
        None,
        "Samples made up for lost or late audio.",
    ),
    (
        "tidegate_udp_dropped_datagrams_total",
        None,
        "Datagrams of the media socket that were not handled or not sent, by reason.",
    ),
    (
        "tidegate_frames_dropped_total",
        None,
        "Frames dropped outside of a hop, by reason.",
    ),
    (
        "tidegate_ignored_messages_total",
        None,
        "Messages of foreign protocols that came to nothing, by reason.",
    ),
];

const GAUGES: &[Described] = &[
    (
        "tidegate_sessions_active",
        None,
        "Sessions with at least one client, by transport.",
    ),
    (
        "tidegate_sessions_taken",
        None,
        "Places taken of those that `tidegate_sessions_limit` counts: sessions that are being opened and shared ones without a client too.",
    ),
    ("tidegate_sessions_limit", None, "Most sessions at a time."),
    (
        "tidegate_hop_queue_frames",
        None,
        "Frames that wait before a hop, over all sessions.",
    ),
    (
        "tidegate_hop_in_flight",
        None,
        "Frames that a hop has taken and not answered.",
    ),
    (
        "tidegate_endpoint_up",
        None,
        "Whether the checks of a remote hop's endpoint pass.",
    ),
    (
        "tidegate_endpoint_breaker_state",
        None,
        "1 for the state that an endpoint's breaker is in (`closed`, `open`, `half_open`), else 0.",
    ),
    ("tidegate_tasks", None, "Tasks that run."),
];

const HISTOGRAMS: &[(&str, &str)] = &[
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
        "From an utterance's first input to its first output.",
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
        let metrics = Metrics::new().expect("buckets");
        let key = HopKey {
            pipeline: "echo".into(),
            hop: "gain".into(),
            endpoint: None,
        };
        let first = metrics.hop(key.clone());
        assert!(Arc::ptr_eq(&first, &metrics.hop(key)));
        first.service.record(0.0004);
        let text = metrics.render();
        let line =
            "tidegate_hop_service_seconds_bucket{pipeline=\"echo\",hop=\"gain\",le=\"0.0005\"} 1";
        assert!(text.contains(line), "{text}");
    }
}
