//! Variables that other programs have too, and that mean settings of ours.

/// Where a collector of the same machine listens by custom, by gRPC and by HTTP.
const USUAL: [&str; 2] = ["http://localhost:4317", "http://localhost:4318/v1/traces"];
/// Where a collector takes spans over HTTP.
const PATH: &str = "/v1/traces";

/// A variable that is set, the setting that it is here, and what is set.
pub(super) type Set = (&'static str, &'static str, String);

/// What the variables that OpenTelemetry's programs share set; the more particular ones later. Our own come after all of them.
/// `known`: the collector's address is in the file, so that the usual one is not meant.
pub(super) fn settings(variables: &[(String, String)], known: bool) -> Vec<Set> {
    let value = |name: &str| {
        let set = variables.iter().find(|(known, _)| known == name);
        set.map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    };
    let exporter = value("OTEL_TRACES_EXPORTER");
    let disabled = value("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    if disabled || exporter == Some("none") {
        return Vec::new();
    }
    let protocol = value("TIDEGATE_TRACING_PROTOCOL")
        .or_else(|| value("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"))
        .or_else(|| value("OTEL_EXPORTER_OTLP_PROTOCOL"));
    let by_http = protocol == Some("http/protobuf");
    let mut set: Vec<Set> = Vec::new();
    if exporter == Some("otlp") && !known {
        let usual = USUAL[usize::from(by_http)].to_owned();
        set.push(("OTEL_TRACES_EXPORTER", "tracing.endpoint", usual));
    }
    if let Some(name) = value("OTEL_RESOURCE_ATTRIBUTES").and_then(service) {
        set.push(("OTEL_RESOURCE_ATTRIBUTES", "tracing.service", name));
    }
    for (name, path) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "tracing.endpoint"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "tracing.endpoint"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "tracing.protocol"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "tracing.protocol"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "tracing.ca"),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "tracing.ca"),
        ("OTEL_SERVICE_NAME", "tracing.service"),
        ("OTEL_TRACES_SAMPLER", "tracing.sampler"),
        ("OTEL_TRACES_SAMPLER_ARG", "tracing.ratio"),
    ] {
        let Some(text) = value(name) else { continue };
        // The address for all signals has the place of each behind it; the one for spans is the whole.
        let text = match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" if by_http => {
                format!("{}{PATH}", text.trim_end_matches('/'))
            }
            _ => text.to_owned(),
        };
        set.push((name, path, text));
    }
    set
}

/// The service's name among attributes, as `key=value,key=value`.
fn service(attributes: &str) -> Option<String> {
    let mut pairs = attributes
        .split(',')
        .filter_map(|pair| pair.split_once('='));
    let name = pairs.find(|(key, _)| key.trim() == "service.name");
    name.map(|(_, value)| value.trim().to_owned())
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(variables: &[(&str, &str)], known: bool) -> Vec<(&'static str, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables: Vec<_> = variables.iter().map(owned).collect();
        let set = settings(&variables, known).into_iter();
        set.map(|(_, path, value)| (path, value)).collect()
    }

    #[test]
    fn an_address_for_all_signals_has_the_place_of_spans_behind_it_over_http() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/otlp/");
        let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        let endpoint = |value: &str| ("tracing.endpoint", value.to_owned());
        assert_eq!(set(&[all], false), [endpoint("http://c:4318/otlp/")]);
        assert_eq!(
            set(&[all, http], false)[0],
            endpoint("http://c:4318/otlp/v1/traces")
        );
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://d/spans");
        assert_eq!(set(&[own, all, http], false)[1], endpoint("http://d/spans"));
    }

    #[test]
    fn who_asks_for_otlp_by_name_means_the_usual_place_unless_another_is_named() {
        let otlp = ("OTEL_TRACES_EXPORTER", "otlp");
        let http = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
        let endpoint = |value: &str| ("tracing.endpoint", value.to_owned());
        assert_eq!(set(&[otlp], false), [endpoint(USUAL[0])]);
        assert_eq!(set(&[otlp, http], false)[0], endpoint(USUAL[1]));
        assert_eq!(set(&[otlp], true), []);
        assert_eq!(set(&[], false), [], "by default there is none");
        let none = [("OTEL_TRACES_EXPORTER", "none"), http];
        assert_eq!(set(&none, false), []);
    }

    #[test]
    fn a_service_is_called_by_the_more_particular_of_its_names() {
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name = voice ,c=d");
        let service = |value: &str| ("tracing.service", value.to_owned());
        assert_eq!(set(&[attributes], false), [service("voice")]);
        let named = ("OTEL_SERVICE_NAME", "front");
        assert_eq!(
            set(&[named, attributes], false),
            [service("voice"), service("front")]
        );
        assert_eq!(set(&[("OTEL_RESOURCE_ATTRIBUTES", "a=b")], false), []);
    }
}
