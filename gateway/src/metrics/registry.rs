//! All series of the process, by name and labels. Who records holds a handle; the registry is asked again only for the page.
//!
//! No recorder of a library: none of them keeps exemplars, and ours needs no upkeep, for a histogram is its buckets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Gauge, Label};

use super::bounds;
use super::latency::Latency;

/// All series.
#[derive(Default)]
pub(super) struct Registry(Mutex<BTreeMap<&'static str, BTreeMap<Vec<Label>, Series>>>);

/// One series.
#[derive(Clone)]
pub(super) struct Series {
    /// Its labels as they are written.
    pub(super) labels: Arc<str>,
    pub(super) value: Value,
}

/// What a series has. Gauges are floats by their bits.
#[derive(Clone)]
pub(super) enum Value {
    Counter(Arc<AtomicU64>),
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Latency>),
}

/// All series of one name.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) series: Vec<Series>,
}

impl Series {
    fn speaks(&self) -> bool {
        match &self.value {
            Value::Counter(_) | Value::Gauge(_) => true,
            Value::Histogram(histogram) => histogram.is_observed(),
        }
    }
}

impl Registry {
    pub(super) fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        let new = || Value::Counter(Arc::default());
        match self.series(name, labels, new) {
            Value::Counter(counter) => Counter::from_arc(counter),
            _ => Counter::noop(),
        }
    }

    pub(super) fn gauge(&self, name: &'static str, labels: Vec<Label>) -> Gauge {
        let new = || Value::Gauge(Arc::default());
        match self.series(name, labels, new) {
            Value::Gauge(gauge) => Gauge::from_arc(gauge),
            _ => Gauge::noop(),
        }
    }

    pub(super) fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Arc<Latency> {
        let bounds = bounds::of(name, &labels);
        let new = || Value::Histogram(Arc::new(Latency::within(bounds)));
        match self.series(name, labels, new) {
            Value::Histogram(histogram) => histogram,
            _ => Arc::default(),
        }
    }

    fn series(&self, name: &'static str, labels: Vec<Label>, new: impl Fn() -> Value) -> Value {
        let mut families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let family = families.entry(name).or_default();
        let found = family.get(&labels).map(|series| series.value.clone());
        let value = found.unwrap_or_else(|| {
            let (value, labels_text) = (new(), written(&labels));
            let series = Series {
                labels: labels_text.into(),
                value: value.clone(),
            };
            family.insert(labels, series);
            value
        });
        // A name has one type: who takes it for another records nothing, and a test of the pages would miss it.
        debug_assert_eq!(
            std::mem::discriminant(&value),
            std::mem::discriminant(&new()),
            "{name}"
        );
        value
    }

    /// What there is to say, by name. The lock is not held while it is written out.
    ///
    /// A histogram that has counted nothing says nothing, in twenty lines; counters and gauges are there as soon as somebody holds
    /// them, so that a rate has its first step.
    pub(super) fn families(&self) -> Vec<Family> {
        let families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |(name, series): (&&'static str, &BTreeMap<_, Series>)| Family {
            name,
            series: series.values().filter(|s| s.speaks()).cloned().collect(),
        };
        families.iter().map(one).collect()
    }
}

/// Labels as both formats write them, without braces.
fn written(labels: &[Label]) -> String {
    let mut text = String::new();
    for label in labels {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(label.key());
        text.push_str("=\"");
        for letter in label.value().chars() {
            match letter {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text
}

/// A gauge's value.
pub(super) fn float(bits: &AtomicU64) -> f64 {
    f64::from_bits(bits.load(Ordering::Relaxed))
}
