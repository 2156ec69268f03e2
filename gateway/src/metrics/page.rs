//! The two text formats of `/metrics`: Prometheus's own, and OpenMetrics 1.0.0 for who asks for it, with exemplars.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use super::described;
use super::latency::{Exemplar, Latency};
use super::registry::{Family, Series, Value, float};

const OPEN_METRICS: &str = "application/openmetrics-text";

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The text format, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// What an `Accept` header asks for; the text format unless OpenMetrics is liked at least as well.
    pub(crate) fn wanted(accept: &str) -> Self {
        let mut open = 0.0_f32;
        let mut text = 0.0_f32;
        for entry in accept.split(',') {
            let mut parts = entry.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let (mut quality, mut known) = (1.0, true);
            for part in parts {
                match part.split_once('=') {
                    Some(("q", value)) => quality = value.trim().parse().unwrap_or(0.0),
                    Some(("version", value)) => known = value.trim_matches('"') == "1.0.0",
                    _ => {}
                }
            }
            if kind.eq_ignore_ascii_case(OPEN_METRICS) {
                if known {
                    open = open.max(quality);
                }
            } else if ["text/plain", "text/*"].contains(&kind) {
                text = text.max(quality);
            }
        }
        if open > 0.0 && open >= text {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    /// The page's `Content-Type`.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The page.
pub(super) fn write(format: Format, families: &[Family]) -> String {
    let mut page = Page {
        format,
        out: String::new(),
    };
    for family in families {
        page.family(family);
    }
    if format == Format::OpenMetrics {
        page.out.push_str("# EOF\n");
    }
    page.out
}

struct Page {
    format: Format,
    out: String,
}

impl Page {
    fn family(&mut self, family: &Family) {
        let Some(first) = family.series.first() else {
            return;
        };
        let kind = match first.value {
            Value::Counter(_) => "counter",
            Value::Gauge(_) => "gauge",
            Value::Histogram(_) => "histogram",
        };
        // OpenMetrics calls a counter by its name without what its sample ends with.
        let name = match self.format {
            Format::Text => family.name,
            Format::OpenMetrics => family.name.strip_suffix("_total").unwrap_or(family.name),
        };
        if let Some(help) = described(family.name) {
            let help = help.replace('\\', "\\\\").replace('\n', "\\n");
            let help = match self.format {
                Format::Text => help,
                Format::OpenMetrics => help.replace('"', "\\\""),
            };
            self.line(format_args!("# HELP {name} {help}"));
        }
        self.line(format_args!("# TYPE {name} {kind}"));
        if self.format == Format::OpenMetrics {
            let unit = ["seconds", "bytes"].into_iter().find(|unit| {
                let rest = name.strip_suffix(unit);
                rest.is_some_and(|rest| rest.ends_with('_'))
            });
            if let Some(unit) = unit {
                self.line(format_args!("# UNIT {name} {unit}"));
            }
        }
        for series in &family.series {
            self.series(family.name, series);
        }
    }

    fn series(&mut self, name: &str, series: &Series) {
        let labels = Braced(&series.labels);
        match &series.value {
            Value::Counter(count) => {
                let count = count.load(Ordering::Relaxed);
                self.line(format_args!("{name}{labels} {count}"));
            }
            Value::Gauge(bits) => {
                let value = number(float(bits));
                self.line(format_args!("{name}{labels} {value}"));
            }
            Value::Histogram(histogram) => self.histogram(name, &series.labels, histogram),
        }
    }

    fn histogram(&mut self, name: &str, labels: &str, histogram: &Latency) {
        let seen = histogram.snapshot();
        let separator = if labels.is_empty() { "" } else { "," };
        let mut count = 0;
        let bounds = seen.bounds.iter().copied().chain([f64::INFINITY]);
        for (at, bound) in bounds.enumerate() {
            count += seen.counts[at];
            let le = self.bound(bound);
            let exemplar = seen.exemplars[at].filter(|_| self.format == Format::OpenMetrics);
            let exemplar = exemplar.as_ref().map(exemplified).unwrap_or_default();
            self.line(format_args!(
                "{name}_bucket{{{labels}{separator}le=\"{le}\"}} {count}{exemplar}"
            ));
        }
        let (sum, labels) = (number(seen.sum), Braced(labels));
        self.line(format_args!("{name}_sum{labels} {sum}"));
        self.line(format_args!("{name}_count{labels} {count}"));
    }

    /// A bucket's bound. OpenMetrics has a point in each.
    fn bound(&self, bound: f64) -> String {
        let mut text = number(bound);
        if self.format == Format::OpenMetrics && bound.is_finite() && !text.contains('.') {
            text.push_str(".0");
        }
        text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // A string takes all.
        let _written = self.out.write_fmt(line);
        self.out.push('\n');
    }
}

/// Labels in braces, or nothing.
struct Braced<'a>(&'a str);

impl std::fmt::Display for Braced<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, "{{{}}}", self.0)
    }
}

fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

fn exemplified(exemplar: &Exemplar) -> String {
    let Exemplar {
        value,
        trace_id,
        span_id,
        at,
    } = exemplar;
    let (seconds, millis) = (at.as_secs(), at.subsec_millis());
    format!(
        " # {{trace_id=\"{trace_id:032x}\",span_id=\"{span_id:016x}\"}} {value} {seconds}.{millis:03}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metrics, label};
    use std::time::Duration;

    #[test]
    fn openmetrics_is_for_who_likes_it_at_least_as_well() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in [
            prometheus,
            "application/openmetrics-text",
            "text/plain, application/openmetrics-text; version=\"1.0.0\"",
        ] {
            assert_eq!(Format::wanted(accept), Format::OpenMetrics, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/plain",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;q=0, text/plain;q=0.1",
            "application/openmetrics-text;version=1.0.0;q=0.2, text/plain",
        ] {
            assert_eq!(Format::wanted(accept), Format::Text, "{accept}");
        }
    }

    #[test]
    fn the_same_series_in_both_formats() {
        let metrics = Metrics::new();
        let code = vec![label("code", "quo\"te")];
        metrics
            .counter("tidegate_sessions_refused_total", code)
            .increment(3);
        metrics.gauge("tidegate_tasks", Vec::new()).set(2.5);
        let latency = metrics.session_latency("echo", "grpc");
        latency.record(0.4);
        latency.exemplify(Exemplar {
            value: 0.4,
            trace_id: 0xabc,
            span_id: 0xd,
            at: Duration::from_millis(1_500),
        });
        let text = metrics.render(Format::Text);
        let open = metrics.render(Format::OpenMetrics);
        for line in [
            "# TYPE tidegate_sessions_refused_total counter\ntidegate_sessions_refused_total{code=\"quo\\\"te\"} 3\n",
            "# TYPE tidegate_tasks gauge\ntidegate_tasks 2.5\n",
            "latency_seconds_bucket{pipeline=\"echo\",transport=\"grpc\",le=\"1\"} 1\n",
            "latency_seconds_sum{pipeline=\"echo\",transport=\"grpc\"} 0.4\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("trace_id") && !text.contains("# EOF"));
        for line in [
            "# TYPE tidegate_sessions_refused counter\ntidegate_sessions_refused_total{code=\"quo\\\"te\"} 3\n",
            "# UNIT tidegate_session_latency_seconds seconds\n",
            "le=\"0.5\"} 1 # {trace_id=\"00000000000000000000000000000abc\",span_id=\"000000000000000d\"} 0.4 1.500\n",
            "le=\"1.0\"} 1\n",
            "le=\"+Inf\"} 1\n",
        ] {
            assert!(open.contains(line), "{line} in {open}");
        }
        assert!(open.ends_with("\n# EOF\n"));
    }
}
