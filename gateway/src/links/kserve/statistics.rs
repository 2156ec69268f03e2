//! How often each model was asked and how long that took, for clients that look at it (Triton's statistics extension).
//!
//! Requests are counted in `tidegate_inference_seconds`; waits and work come from what the pipeline's hops measure anyway, whoever
//! used them. Nothing here is of a session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tidegate_nodes::Error;
use tidegate_proto::kserve::VERSION;

use super::model::{self, Model};
use crate::auth::Caller;
use crate::clock::unix_seconds;
use crate::gateway::Gateway;
use crate::metrics::latency::Latency;
use crate::metrics::{Metrics, label, seconds};

/// What is counted of all models.
pub(crate) struct Statistics {
    metrics: Arc<Metrics>,
    /// When each was asked last, in seconds since 1970. It has names of pipelines only.
    last: Mutex<HashMap<String, u64>>,
}

/// Durations, and how many there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Total {
    pub(crate) count: u64,
    pub(crate) ns: u64,
}

/// What is told of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Durations {
    pub(crate) success: Total,
    pub(crate) fail: Total,
    pub(crate) queue: Total,
    pub(crate) compute_input: Total,
    pub(crate) compute_infer: Total,
    pub(crate) compute_output: Total,
    pub(crate) cache_hit: Total,
    pub(crate) cache_miss: Total,
}

/// What is told of a model. By REST the lists are there, and empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Figures {
    pub(crate) name: String,
    pub(crate) version: &'static str,
    /// Milliseconds since 1970.
    pub(crate) last_inference: u64,
    pub(crate) inference_count: u64,
    pub(crate) execution_count: u64,
    pub(crate) inference_stats: Durations,
    batch_stats: [(); 0],
    memory_usage: [(); 0],
}

impl Statistics {
    /// Nothing yet.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            last: Mutex::default(),
        }
    }

    /// Counts a request for a pipeline that there is.
    pub(crate) fn answered(&self, model: &str, took: Duration, well: bool) {
        self.requests(model, well).record(seconds(took));
        if well {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.insert(model.to_owned(), unix_seconds());
        }
    }

    fn requests(&self, model: &str, well: bool) -> Arc<Latency> {
        let outcome = if well { "success" } else { "fail" };
        let labels = vec![
            label("pipeline", model.to_owned()),
            label("outcome", outcome),
        ];
        self.metrics.histogram("tidegate_inference_seconds", labels)
    }

    fn of(&self, model: String) -> Figures {
        let success = total([self.requests(&model, true)]);
        let fail = total([self.requests(&model, false)]);
        let hops = self.metrics.hops_of(&model);
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Figures {
            version: VERSION,
            last_inference: last.get(&model).map_or(0, |at| at * 1_000),
            inference_count: success.count,
            execution_count: success.count,
            inference_stats: Durations {
                success,
                fail,
                queue: total(hops.iter().map(|hop| Arc::clone(&hop.queue))),
                compute_infer: total(hops.iter().map(|hop| Arc::clone(&hop.service))),
                ..Durations::default()
            },
            name: model,
            ..Figures::default()
        }
    }
}

fn total(all: impl IntoIterator<Item = Arc<Latency>>) -> Total {
    let mut total = Total::default();
    for latency in all {
        let (count, sum) = latency.total();
        total.count += count;
        total.ns += u64::try_from(sum.as_nanos()).unwrap_or(u64::MAX);
    }
    total
}

/// The figures of the model with a name, or of all that the caller may use.
///
/// # Errors
/// The model is not granted, there is none, or it cannot be one.
pub(crate) fn figures(
    gateway: &Gateway,
    caller: &Caller,
    name: &str,
    version: &str,
) -> Result<Vec<Figures>, Error> {
    if !name.is_empty() {
        let Model { name, .. } = model::named(gateway, caller, name, version)?;
        return Ok(vec![gateway.inferences.of(name)]);
    }
    let models = model::index(gateway, caller).into_iter();
    let ready = models.filter(model::Listed::is_ready);
    Ok(ready
        .map(|model| gateway.inferences.of(model.name))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_how_they_came_out_and_hops_by_pipeline() {
        let metrics = Arc::new(Metrics::new());
        let statistics = Statistics::new(Arc::clone(&metrics));
        assert_eq!(
            statistics.of("a".to_owned()).inference_stats,
            Durations::default()
        );
        statistics.answered("a", Duration::from_millis(2), true);
        statistics.answered("a", Duration::from_millis(3), true);
        statistics.answered("a", Duration::from_millis(7), false);
        statistics.answered("b", Duration::from_millis(11), true);
        let hop = |pipeline: &str| {
            metrics.hop(crate::metrics::hops::HopKey {
                pipeline: pipeline.to_owned(),
                hop: "far".to_owned(),
                endpoint: None,
            })
        };
        hop("a").queue.record(0.5);
        hop("b").queue.record(0.25);
        let figures = statistics.of("a".to_owned());
        let of = |count, ns| Total { count, ns };
        let near = |total: Total, wanted: Total| {
            total.count == wanted.count && total.ns.abs_diff(wanted.ns) < 10
        };
        let stats = figures.inference_stats;
        assert!(near(stats.success, of(2, 5_000_000)), "{stats:?}");
        assert!(near(stats.fail, of(1, 7_000_000)), "{stats:?}");
        assert!(near(stats.queue, of(1, 500_000_000)), "{stats:?}");
        assert_eq!((figures.inference_count, figures.execution_count), (2, 2));
        assert!(figures.last_inference > 0);
    }
}
