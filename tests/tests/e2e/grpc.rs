//! Python's grpcio, which learns the service through reflection.

use tidegate_tests::fixtures::recording;
use tidegate_tests::{Deadline, Gateway, Peer};

#[tokio::test]
async fn grpcio_finds_the_service_by_reflection_and_streams_through_echo() {
    let gateway = Gateway::start(&[]).await;
    let address = gateway.address.to_string();
    let peer = Peer::python("grpc_client.py")
        .args([&address])
        .args(["--wav"]);
    let report = peer
        .args([recording("jfk.wav")])
        .report(Deadline::secs(60))
        .await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());

    for version in ["services_v1", "services_v1alpha"] {
        let services = report[version].as_array().expect("a list");
        for service in ["tidegate.v1.Gateway", "grpc.health.v1.Health"] {
            assert!(
                services.contains(&service.into()),
                "{service} in {version}: {shown}"
            );
        }
    }
    let methods = ["DescribePipeline", "Execute", "ListPipelines", "Stream"];
    assert_eq!(report["methods"], serde_json::json!(methods));

    let health = &report["health"];
    assert_eq!(health[""], "SERVING", "{shown}");
    assert_eq!(health["tidegate.v1.Gateway"], "SERVING", "{shown}");
    assert_eq!(health["no.such.Service"], "NOT_FOUND", "{shown}");
    assert_eq!(
        health["watch no.such.Service"], "SERVICE_UNKNOWN",
        "{shown}"
    );

    let pipelines = report["pipelines"].as_array().expect("a list");
    assert!(pipelines.contains(&"echo".into()), "{shown}");
    assert_eq!(report["execute"]["same"], true, "{shown}");

    let stream = &report["stream"];
    assert_eq!(stream["same"], true, "{shown}");
    assert_eq!(stream["frames"], 550, "11 s in frames of 20 ms: {shown}");
    assert_eq!(stream["first_seq"], 1, "{shown}");
    assert_eq!(stream["seqs_in_order"], true, "{shown}");
    assert_eq!(stream["caused_by_in_order"], true, "{shown}");
    assert_eq!(stream["kinds"]["ended"], 1, "{shown}");
    assert!(stream["error"].is_null(), "{shown}");
    assert_eq!(report["ping_pong"]["echoes"], 50, "{shown}");
}

#[tokio::test]
async fn an_unknown_pipeline_is_not_found_with_error_info() {
    let gateway = Gateway::start(&[]).await;
    let address = gateway.address.to_string();
    let peer = Peer::python("grpc_client.py").args([&address, "--pipeline", "none"]);
    let peer = peer.args(["--wav".as_ref(), recording("jfk.wav").as_os_str()]);
    let report = peer.report(Deadline::secs(60)).await;
    let unknown = &report["unknown"];
    assert_eq!(unknown["status"], "NOT_FOUND", "{report:#}");
    assert_eq!(unknown["reason"], "unknown_pipeline", "{report:#}");
    let message = unknown["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("no-such-pipeline"),
        "the message names it: {report:#}"
    );
}
