//! Opening and describing: where it fails, the error says at which endpoint and whose fault it is.

use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tidegate_media::Kind;
use tidegate_nodes::{Accepts, Code, Fault, Phase, StreamFormat};
use tidegate_remote::{Connector, ConnectorConfig, OpenContext, Question, Target, describe};
use tonic::transport::Identity;

use super::driver::{Driven, config, connector, context, open, open_with, ports};
use super::worker::{Manner, Worker};

/// An address where nothing listens: it was free a moment ago.
pub(crate) fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

#[tokio::test]
async fn nobody_at_the_address_is_a_network_error_that_names_it() {
    let endpoint = nowhere();
    let error = open(&config(std::slice::from_ref(&endpoint)))
        .await
        .expect_err("nobody is there");
    assert_eq!((error.code, error.fault), (Code::Network, Fault::Worker));
    assert_eq!(error.endpoint, Some(endpoint));
    assert!(error.message.contains("refused"), "{error}");
}

#[tokio::test]
async fn a_host_that_does_not_answer_times_out_connecting() {
    // A listener whose connections nobody accepts: TCP stands, HTTP/2 never does.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!("http://{}", listener.local_addr().expect("an address"));
    let mute = Worker::start(Manner::Mute);
    for endpoint in [silent, mute.endpoint()] {
        let mut config = config(&[endpoint]);
        config.timeouts.connect = Duration::from_millis(200);
        let error = open(&config).await.expect_err("nobody answers");
        assert_eq!(
            (error.code, error.phase),
            (Code::Timeout, Some(Phase::Connect)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn something_that_speaks_no_grpc_is_a_network_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let chatter = async {
        use tokio::io::AsyncWriteExt as _;
        let (mut socket, _) = listener.accept().await.expect("a caller");
        let _ = socket
            .write_all(b"SSH-2.0-OpenSSH_9.2\r\n".repeat(10).as_slice())
            .await;
        std::future::pending::<()>().await;
    };
    let config = config(&[endpoint]);
    let error = tokio::select! {
        () = chatter => panic!("it ended"),
        opened = open(&config) => opened.expect_err("it speaks no HTTP/2"),
    };
    assert_eq!(error.code, Code::Network, "{error}");
}

#[tokio::test]
async fn what_the_worker_refuses_keeps_its_meaning() {
    let cases = [
        (
            Manner::Refuse(tonic::Code::Unauthenticated),
            Code::Unauthenticated,
            false,
        ),
        (
            Manner::Refuse(tonic::Code::PermissionDenied),
            Code::PermissionDenied,
            false,
        ),
        (
            Manner::Refuse(tonic::Code::Unimplemented),
            Code::Incompatible,
            false,
        ),
        (
            Manner::Refuse(tonic::Code::Unavailable),
            Code::Network,
            true,
        ),
        (Manner::Error, Code::Overloaded, true),
    ];
    for (manner, code, retryable) in cases {
        let worker = Worker::start(manner.clone());
        let error = open(&config(&[worker.endpoint()]))
            .await
            .expect_err("refused");
        assert_eq!(
            (error.code, error.retryable),
            (code, retryable),
            "{manner:?}: {error}"
        );
        assert_eq!(error.endpoint, Some(worker.endpoint()));
    }
}

#[tokio::test]
async fn ports_that_do_not_fit_are_incompatible_and_both_sides_are_named() {
    let worker = Worker::start(Manner::Echo);
    let mut ports = ports();
    ports.outputs[0].1 = Some(StreamFormat::Text);
    let config = config(&[worker.endpoint()]);
    let opened = open_with(&connector(), &config, &ports, context()).await;
    let error = opened.expect_err("kinds differ");
    assert_eq!(error.code, Code::Incompatible);
    assert_eq!(
        error.message,
        "output 'out' carries text here, but binary at the worker's pipeline 'echo'"
    );
}

#[tokio::test]
async fn a_session_that_passed_too_many_gateways_goes_no_further() {
    let worker = Worker::start(Manner::Echo);
    let context = OpenContext {
        hop_count: tidegate_remote::config::HOP_COUNT_MAX,
        ..context()
    };
    let config = config(&[worker.endpoint()]);
    let opened = open_with(&connector(), &config, &ports(), context).await;
    assert_eq!(opened.expect_err("a circle").code, Code::ManifestCycle);
    assert!(worker.seen.try_recv().is_err());
}

#[tokio::test]
async fn endpoints_are_tried_in_their_order_until_one_opens() {
    let worker = Worker::start(Manner::Echo);
    let hop = open(&config(&[nowhere(), worker.endpoint()]))
        .await
        .expect("the second is there");
    assert_eq!(hop.endpoint(), worker.endpoint());
    let error = open(&config(&[nowhere(), nowhere()]))
        .await
        .expect_err("none is there");
    assert_eq!(error.code, Code::AllEndpointsFailed);
}

#[tokio::test]
async fn a_certificate_is_checked_against_those_that_are_trusted() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let identity = Identity::from_pem(cert.pem(), signing_key.serialize_pem());
    let worker = Worker::start_with(Manner::Echo, Some(identity));
    let config = config(&[format!("https://localhost:{}", worker.address.port())]);
    let trusting = Connector::new(ConnectorConfig {
        ca_pem: Some(cert.pem().into_bytes()),
        ..ConnectorConfig::default()
    });
    let opened = open_with(&trusting, &config, &ports(), context()).await;
    let mut hop = Driven::new(opened.expect("it is trusted"));
    hop.wait_for_credit().await;
    hop.send(Bytes::new());
    hop.frame().await;

    let other = generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let wary = Connector::new(ConnectorConfig {
        ca_pem: Some(other.cert.pem().into_bytes()),
        ..ConnectorConfig::default()
    });
    let opened = open_with(&wary, &config, &ports(), context()).await;
    let error = opened.expect_err("it is not trusted");
    assert_eq!(error.code, Code::Network);
    assert!(error.message.contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_pipeline_is_described_by_its_ports() {
    let worker = Worker::start(Manner::Echo);
    let config = config(&[worker.endpoint()]);
    let connector = connector();
    let ask = |target| {
        let (connector, config) = (connector.clone(), config.clone());
        async move {
            let question = Question {
                endpoint: &config.endpoints[0],
                auth: &config.auth,
                target: &target,
                path: &[],
                limit: config.timeouts.connect,
            };
            describe(&connector, question).await
        }
    };
    let described = ask(config.target.clone()).await.expect("it is there");
    assert_eq!(described.ports.inputs[0].name, "in");
    assert_eq!(
        described.ports.outputs[0].accepts,
        Accepts::Kind(Kind::Binary)
    );
    assert_eq!(
        (described.digest.as_str(), described.gateway_id.as_str()),
        ("d1", "w1")
    );
    let error = ask(Target::Pipeline("other".into()))
        .await
        .expect_err("unknown there");
    assert_eq!(
        (error.code, error.endpoint),
        (Code::UnknownPipeline, Some(worker.endpoint()))
    );
}
