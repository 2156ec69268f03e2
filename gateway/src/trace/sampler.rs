//! Which traces are recorded, by the samplers that OpenTelemetry names. Those that go by share decide as its SDKs do, by the trace's
//! number, so that all programs with one share record the same traces.

use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample as _};

use crate::config::SamplerName;

/// Whether a trace is recorded. `parent` says what the caller has decided, where there is one.
pub(super) fn samples(name: SamplerName, ratio: f64, trace: u128, parent: Option<bool>) -> bool {
    use SamplerName as By;
    match (name, parent) {
        (By::AlwaysOn, _) | (By::ParentbasedAlwaysOn, None) => true,
        (By::AlwaysOff, _) | (By::ParentbasedAlwaysOff, None) => false,
        (By::Traceidratio, _) | (By::ParentbasedTraceidratio, None) => by_ratio(ratio, trace),
        (_, Some(sampled)) => sampled,
    }
}

fn by_ratio(ratio: f64, trace: u128) -> bool {
    let trace: TraceId = trace.into();
    let sampler = Sampler::TraceIdRatioBased(ratio);
    let result = sampler.should_sample(None, trace, "", &SpanKind::Server, &[], &[]);
    result.decision == SamplingDecision::RecordAndSample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_decides_as_the_standard_says() {
        use SamplerName as By;
        // The lower half of the number decides: these lie within a tenth and beyond a half of all.
        let (early, late) = (1_u128, u128::from(u64::MAX));
        let parents = [None, Some(false), Some(true)];
        for (name, trace, expected) in [
            (By::AlwaysOn, late, [true, true, true]),
            (By::AlwaysOff, early, [false, false, false]),
            (By::Traceidratio, early, [true, true, true]),
            (By::Traceidratio, late, [false, false, false]),
            (By::ParentbasedAlwaysOn, late, [true, false, true]),
            (By::ParentbasedAlwaysOff, early, [false, false, true]),
            (By::ParentbasedTraceidratio, early, [true, false, true]),
            (By::ParentbasedTraceidratio, late, [false, false, true]),
        ] {
            let found = parents.map(|parent| samples(name, 0.1, trace, parent));
            assert_eq!(found, expected, "{name:?} {trace:x}");
        }
        assert!(by_ratio(1.0, late) && !by_ratio(0.0, early));
    }
}
