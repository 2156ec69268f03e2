//! Variables that other programs have too, and that mean settings of ours.

/// Variables that OpenTelemetry's programs share, and the settings that they are here; the more particular ones later. Our own come
/// after all of them.
pub(super) fn settings(variables: &[(String, String)]) -> &'static [(&'static str, &'static str)] {
    let disabled = |(name, value): &(String, String)| {
        name == "OTEL_SDK_DISABLED" && value.eq_ignore_ascii_case("true")
            || name == "OTEL_TRACES_EXPORTER" && value == "none"
    };
    if variables.iter().any(disabled) {
        return &[];
    }
    &[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "tracing.endpoint"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "tracing.endpoint"),
        ("OTEL_SERVICE_NAME", "tracing.service"),
        ("OTEL_TRACES_SAMPLER_ARG", "tracing.ratio"),
    ]
}
