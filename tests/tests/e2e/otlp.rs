//! The variables that OpenTelemetry's programs share: how spans reach a collector, what they say of the gateway, and which traces are recorded.

use rcgen::ExtendedKeyUsagePurpose::ServerAuth;
use serde_json::{Value, json};
use tidegate_tests::{Deadline, Gateway, Peer};

use crate::hops::credentials::Authority;
use crate::tracing::{Collector, the};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// One session, in a trace that its caller has decided to record or not, or in none.
async fn echo(gateway: &Gateway, flags: Option<&str>) {
    let parent = flags.map(|flags| format!("00-{TRACE}-b7ad6b7169203331-{flags}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(parent.as_deref().map(|parent| ("traceparent", parent)));
    let path = "/v1/pipelines/echo/execute";
    let run = json!({"inputs": {}}).to_string();
    let answer = gateway.request("POST", path, &headers, run).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// What a collector gets of a session by a gateway with these variables.
async fn sent(collector: &Collector, variables: &[(&str, &str)], service: &str) -> Value {
    let gateway = Gateway::start_with(&[], variables).await;
    echo(&gateway, None).await;
    let spans = collector.until(&[(service, "session echo")]).await;
    the(&spans, service, "session echo").clone()
}

#[tokio::test]
async fn spans_go_over_http_where_the_variables_say_so_and_again_to_a_collector_that_was_away() {
    let collector = Collector::start(&["--http"]).await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=voice,deployment.environment.name=test,region=a%20b",
        ),
    ];
    let span = sent(&collector, &variables, "voice").await;
    assert_eq!(span["over"], "http", "{span}");
    let resource = &span["resource"];
    assert_eq!(resource["deployment.environment.name"], "test", "{span}");
    assert_eq!(resource["telemetry.sdk.name"], "opentelemetry", "{span}");
    assert_eq!(span["attributes"]["tidegate.pipeline"], "echo", "{span}");
}

#[tokio::test]
async fn a_service_s_own_name_and_the_protocol_for_traces_go_before_the_others() {
    let collector = Collector::start(&["--http"]).await;
    let address = format!("{}/v1/traces", collector.url);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", address.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=voice"),
        ("OTEL_SERVICE_NAME", "front"),
    ];
    let span = sent(&collector, &variables, "front").await;
    assert_eq!(span["over"], "http", "{span}");
}

#[tokio::test]
async fn a_collector_of_an_authority_of_one_s_own_is_trusted_by_both_protocols() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_string_lossy().into_owned()
    };
    let (certificate, key) = authority.sign(ServerAuth);
    let certificate = file("cert.pem", &certificate.pem());
    let key = file("key.pem", &key.serialize_pem());
    let ca = file("ca.pem", &authority.0.pem());
    for (protocol, flags) in [("grpc", &[][..]), ("http/protobuf", &["--http"])] {
        let mut arguments = vec!["--tls", &certificate, &key];
        arguments.extend(flags);
        let collector = Collector::start(&arguments).await;
        // The certificate names no address.
        let port = collector.url.rsplit(':').next().expect("a port");
        let url = format!("https://localhost:{port}");
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.as_str()),
        ];
        sent(&collector, &variables, "tidegate").await;
    }
}

#[tokio::test]
async fn the_sampler_decides_which_traces_are_recorded() {
    let collector = Collector::start(&[]).await;
    for (sampler, ratio, recorded) in [
        ("always_on", "0", [true, true, true]),
        ("always_off", "1", [false, false, false]),
        ("traceidratio", "1", [true, true, true]),
        ("traceidratio", "0", [false, false, false]),
        ("parentbased_always_on", "0", [true, false, true]),
        ("parentbased_always_off", "1", [false, false, true]),
        ("parentbased_traceidratio", "0", [false, false, true]),
    ] {
        let service = format!("{sampler} {ratio}");
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
            ("OTEL_SERVICE_NAME", service.as_str()),
            ("OTEL_TRACES_SAMPLER", sampler),
            ("OTEL_TRACES_SAMPLER_ARG", ratio),
        ];
        let mut gateway = Gateway::start_with(&[], &variables).await;
        for flags in [None, Some("00"), Some("01")] {
            echo(&gateway, flags).await;
        }
        // What it has recorded is sent before it ends.
        gateway.signal("TERM").await;
        let status = gateway.ended(Deadline::secs(60)).await;
        assert!(status.success(), "{}", gateway.logs.text());
        let exported = recorded.iter().filter(|recorded| **recorded).count();
        let shown = || format!("{service}: {}", collector.running.logs.text());
        let of_gateway = || {
            let spans = collector.spans().into_iter();
            let sessions = spans.filter(|span| span["name"] == "session echo");
            sessions
                .filter(|span| span["service"] == service.as_str())
                .count()
        };
        let all = Deadline::secs(20)
            .until(|| async { (of_gateway() >= exported).then_some(()) })
            .await;
        assert!(all.is_some() && of_gateway() == exported, "{}", shown());
        let came = |span: &Value| span["trace_id"] == TRACE && span["service"] == service.as_str();
        let spans = collector.spans();
        let of_callers = spans.iter().filter(|span| came(span)).count();
        let expected = recorded[1..].iter().filter(|recorded| **recorded).count();
        assert_eq!(of_callers, expected, "{}", shown());
    }
}

#[tokio::test]
async fn who_asks_for_compression_is_told_that_there_is_none_and_gets_the_spans() {
    for (protocol, flags) in [("grpc", &[][..]), ("http/protobuf", &["--http"])] {
        let collector = Collector::start(flags).await;
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ];
        let gateway = Gateway::start_with(&[], &variables).await;
        echo(&gateway, None).await;
        collector.until(&[("tidegate", "session echo")]).await;
        let log = gateway.logs.text();
        let told = "OTEL_EXPORTER_OTLP_COMPRESSION=gzip is ignored";
        assert!(log.contains(told), "{protocol}: {log}");
    }
}

#[tokio::test]
async fn a_sampler_or_protocol_that_is_not_known_is_refused_with_those_that_are() {
    for (name, value, part) in [
        (
            "OTEL_TRACES_SAMPLER",
            "jaeger_remote",
            "parentbased_always_on",
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "http/protobuf"),
    ] {
        let program = Peer::program("tidegate", &tidegate_tests::gateway::binary());
        let serve = ["serve", "--listen", "127.0.0.1:0", "--media", "127.0.0.1:0"];
        let program = program.args(serve).env(name, value);
        let (status, said) = program.output(Deadline::secs(20)).await;
        assert!(!status.success(), "{name}: {}", said.text());
        assert!(
            said.text().contains(name) && said.text().contains(part),
            "{name}: {}",
            said.text()
        );
    }
}
