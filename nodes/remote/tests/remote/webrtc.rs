//! Hops by WebRTC that do not come about. Those that do need a whole gateway: they are among the end-to-end tests.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{StatusCode, header};
use tidegate_media::AudioFormat;
use tidegate_nodes::{Code, Error, Phase, StreamFormat};
use tidegate_proto::message::Mode;
use tidegate_remote::{HopPorts, OpenContext, RemoteConfig, Transport};
use tidegate_signaling::{Capabilities, Certificate, Peer, PeerConfig, Role};

use super::driver;
use super::web::Web;

const OPUS: StreamFormat = StreamFormat::Audio {
    format: AudioFormat::WEBRTC_OPUS,
    packets: true,
};

fn ports(inputs: &[StreamFormat], outputs: &[StreamFormat]) -> HopPorts {
    let side = |formats: &[StreamFormat]| {
        let named = formats.iter().zip(["a", "b"]);
        named
            .map(|(format, name)| (name.to_owned(), Some(*format)))
            .collect()
    };
    HopPorts {
        hop: "far".into(),
        inputs: side(inputs),
        outputs: side(outputs),
    }
}

fn config(endpoint: String) -> RemoteConfig {
    RemoteConfig {
        transport: Transport::Webrtc,
        ..driver::config(&[endpoint])
    }
}

async fn refusal(config: &RemoteConfig, ports: &HopPorts, mode: Mode) -> Error {
    let context = OpenContext {
        mode,
        ..driver::context()
    };
    let opened = driver::open_with(&driver::connector(), config, ports, context).await;
    opened.expect_err("it is refused")
}

/// A worker that answers every offer so.
fn worker<F>(answer: fn(Request) -> F) -> Web
where
    F: Future<Output = Response> + Send + 'static,
{
    Web::start(Router::new().fallback(answer))
}

fn says(status: StatusCode, text: impl Into<Body>) -> Response {
    let response = Response::builder().status(status);
    let response = response.header(header::CONTENT_TYPE, "application/sdp");
    response.body(text.into()).expect("a response")
}

#[tokio::test]
async fn what_media_cannot_carry_is_refused_before_anything_is_asked() {
    let config = config("http://127.0.0.1:1".into());
    let pcm = StreamFormat::audio(AudioFormat::pcm_s16(16_000, 1));
    let (twice, once) = (ports(&[OPUS, OPUS], &[]), ports(&[OPUS], &[OPUS]));
    let cases = [
        (twice, Mode::Live, Code::ManifestInvalid, "one audio each"),
        (
            ports(&[pcm], &[OPUS]),
            Mode::Live,
            Code::ManifestInvalid,
            "as opus/48000/2",
        ),
        (
            once,
            Mode::Waits,
            Code::Incompatible,
            "use transport 'grpc'",
        ),
    ];
    for (ports, mode, code, expected) in cases {
        let error = refusal(&config, &ports, mode).await;
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn what_answers_an_offer_wrong_is_told_apart() {
    let ports = ports(&[OPUS], &[OPUS]);
    let web = worker(|request| async move {
        assert_eq!(request.uri().path(), "/v1/pipelines/echo/whip");
        let query = request.uri().query().expect("a query");
        assert!(query.contains("hop_count=1"), "{query}");
        assert!(query.contains("features=acks"), "{query}");
        assert_eq!(request.headers()[header::AUTHORIZATION], "Bearer token");
        says(StatusCode::CREATED, "v=0\r\nnothing of use\r\n")
    });
    let error = refusal(&config(web.endpoint()), &ports, Mode::Live).await;
    assert_eq!(error.code, Code::InvalidRemoteData, "{error}");

    let web = worker(|_| async { says(StatusCode::OK, "v=0\r\n") });
    let error = refusal(&config(web.endpoint()), &ports, Mode::Live).await;
    assert_eq!(error.code, Code::InvalidRemoteData, "{error}");
    assert!(error.message.contains("where WHIP has 201"), "{error}");

    let web = worker(|_| async { says(StatusCode::NOT_FOUND, "") });
    let error = refusal(&config(web.endpoint()), &ports, Mode::Live).await;
    assert_eq!(error.code, Code::UnknownPipeline, "{error}");
}

#[tokio::test]
async fn a_worker_whose_media_never_comes_is_a_timeout_of_connecting() {
    let web = worker(|request| async move {
        let offer = axum::body::to_bytes(request.into_body(), 1 << 16).await;
        let offer = String::from_utf8(offer.expect("an offer").into()).expect("text");
        // It answers as it should, and its media port is one where nobody listens.
        let certificate = Certificate::generate().expect("a certificate");
        let config = PeerConfig::new(certificate, vec![([127, 0, 0, 1], 9).into()]);
        #[expect(clippy::disallowed_methods, reason = "the peer is dropped at once")]
        let now = Instant::now();
        let capabilities = Capabilities::voice();
        let accepted = Peer::accept(&config, &offer, Role::Whip, &capabilities, now);
        let (_peer, answer) = accepted.expect("an offer of ours");
        says(StatusCode::CREATED, answer)
    });
    let mut config = config(web.endpoint());
    config.timeouts.connect = Duration::from_millis(300);
    let error = refusal(&config, &ports(&[OPUS], &[OPUS]), Mode::Live).await;
    assert_eq!(error.code, Code::Timeout, "{error}");
    assert_eq!(error.phase, Some(Phase::Connect), "{error}");
}
