//! TLS and the bearer token, end to end, and what is refused without them.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use serde_json::json;
use tidegate_proto::v1;
use tidegate_proto::v1::gateway_client::GatewayClient;
use tidegate_tests::gateway::binary;
use tidegate_tests::{Deadline, Gateway, Peer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic_types::StatusExt as _;

use crate::clients::ANSWER_SECONDS;
use crate::clients::ws::{JSON, Ws};

const TOKEN: &str = "a-token-of-the-test";

/// A gateway with TLS and a token, and the certificate that its clients trust.
struct Secure {
    gateway: Gateway,
    pem: String,
    _folder: tempfile::TempDir,
}

impl Secure {
    async fn start() -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        let (certificate, key) = (
            folder.path().join("cert.pem"),
            folder.path().join("key.pem"),
        );
        std::fs::write(&certificate, made.cert.pem()).expect("written");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let settings = [
            ("TLS_CERTIFICATE", &*text(&certificate)),
            ("TLS_KEY", &*text(&key)),
            ("AUTH_TOKEN", TOKEN),
        ];
        Self {
            gateway: Gateway::listening(Gateway::command(&settings)).await,
            pem: made.cert.pem(),
            _folder: folder,
        }
    }

    async fn stream(&self, alpn: &str) -> TlsStream<TcpStream> {
        use rustls::pki_types::pem::PemObject as _;
        let mut roots = rustls::RootCertStore::empty();
        let certificate = rustls::pki_types::CertificateDer::from_pem_slice(self.pem.as_bytes());
        roots.add(certificate.expect("PEM")).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let tcp = TcpStream::connect(self.gateway.address)
            .await
            .expect("it listens");
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await;
        tls.unwrap_or_else(|e| panic!("{e}\n{}", self.gateway.logs.text()))
    }

    /// The status of a `GET`, with an `Authorization` or without, and the whole answer.
    async fn get(&self, path: &str, authorization: Option<&str>) -> (u16, String) {
        let mut stream = self.stream("http/1.1").await;
        let token = authorization.map(|value| format!("authorization: {value}\r\n"));
        let token = token.unwrap_or_default();
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{token}\r\n");
        stream.write_all(head.as_bytes()).await.expect("written");
        let mut said = Vec::new();
        let by = Deadline::secs(ANSWER_SECONDS);
        // A connection that ends without TLS's goodbye has said all the same what it said.
        drop(
            by.wait(stream.read_to_end(&mut said))
                .await
                .expect("in time"),
        );
        let said = String::from_utf8_lossy(&said).into_owned();
        let status = said
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("no answer: {said}")), said)
    }

    async fn grpc(&self) -> Channel {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.pem))
            .domain_name("localhost");
        let url = format!("https://{}", self.gateway.address);
        let endpoint = Endpoint::from_shared(url).expect("a URL").tls_config(tls);
        endpoint.expect("TLS").connect().await.expect("connects")
    }

    async fn ws(
        &self,
        protocol: &str,
        header: Option<&str>,
    ) -> Result<Ws<TlsStream<TcpStream>>, u16> {
        let stream = self.stream("http/1.1").await;
        let headers: Vec<_> = header
            .map(|value| ("authorization", value))
            .into_iter()
            .collect();
        let upgraded = Ws::upgrade(stream, "wss", "localhost", "echo", protocol, &headers).await;
        upgraded.map_err(|error| match error {
            tungstenite::Error::Http(answer) => answer.status().as_u16(),
            other => panic!("{other}"),
        })
    }
}

#[tokio::test]
async fn over_tls_the_token_opens_every_way_in_and_nothing_else_does() {
    let secure = Secure::start().await;
    let right = format!("Bearer {TOKEN}");
    for open_to_all in ["/healthz", "/readyz"] {
        let (status, said) = secure.get(open_to_all, None).await;
        assert_eq!(status, 200, "{open_to_all}: {said}");
    }
    for path in [
        "/metrics",
        "/v1/pipelines",
        "/v1/sessions",
        "/v1/nodes",
        "/openapi.json",
    ] {
        assert_eq!(secure.get(path, Some(&right)).await.0, 200, "{path}");
        for wrong in [
            None,
            Some("Bearer x"),
            Some("Bearer"),
            Some("Basic eDp5"),
            Some("Bearer "),
        ] {
            let (status, said) = secure.get(path, wrong).await;
            assert_eq!(status, 401, "{path} with {wrong:?}: {said}");
            assert!(said.contains("\"code\":\"unauthenticated\""), "{said}");
            assert!(
                said.to_lowercase().contains("www-authenticate: bearer"),
                "{said}"
            );
        }
    }
}

#[tokio::test]
async fn a_websocket_carries_the_token_in_its_header_or_in_a_subprotocol() {
    let secure = Secure::start().await;
    let right = format!("Bearer {TOKEN}");
    let beside = format!("{JSON}, tidegate.bearer.{TOKEN}");
    for (protocol, header) in [(JSON, Some(&*right)), (&*beside, None)] {
        let mut ws = secure.ws(protocol, header).await.expect("upgraded");
        ws.send(&json!({"open": {"pipeline": "echo"}})).await;
        ws.next_of("opened").await;
        ws.send(&json!({"end": {}})).await;
        assert_eq!(ws.ending().await.close, 1000);
    }
    let wrong = format!("{JSON}, tidegate.bearer.wrong");
    for (protocol, header) in [(JSON, None), (&*wrong, None), (JSON, Some("Bearer wrong"))] {
        assert_eq!(
            secure.ws(protocol, header).await.err(),
            Some(401),
            "{protocol}"
        );
    }
}

#[tokio::test]
async fn grpc_carries_the_token_in_its_metadata() {
    let secure = Secure::start().await;
    let mut client = GatewayClient::new(secure.grpc().await);
    for value in [None, Some("Bearer wrong")] {
        let mut request = tonic::Request::new(v1::ListPipelinesRequest {});
        if let Some(value) = value {
            let value = value.parse().expect("a header's value");
            request.metadata_mut().insert("authorization", value);
        }
        let status = client.list_pipelines(request).await.expect_err("refused");
        assert_eq!(status.code(), tonic::Code::Unauthenticated, "{status:?}");
        let reason = status.get_details_error_info().map(|info| info.reason);
        assert_eq!(reason.as_deref(), Some("unauthenticated"), "{status:?}");
    }
    let mut request = tonic::Request::new(v1::ListPipelinesRequest {});
    let right = format!("Bearer {TOKEN}").parse().expect("a header's value");
    request.metadata_mut().insert("authorization", right);
    let list = client.list_pipelines(request).await.expect("listed");
    assert!(!list.into_inner().pipelines.is_empty());
}

#[tokio::test]
async fn clear_text_on_a_tls_address_gets_nothing() {
    let secure = Secure::start().await;
    let head = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let said =
        crate::clients::hostile::send_and_read_to_the_end(secure.gateway.address, head).await;
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
    assert_eq!(
        secure.get("/healthz", None).await.0,
        200,
        "others are served"
    );
}

#[tokio::test]
async fn a_foreign_origin_or_host_opens_no_session_by_any_way_in() {
    let gateway = Gateway::start(&[]).await;
    let evil = "https://evil.example";
    for header in [("origin", evil), ("host", "evil.example")] {
        let upgraded = Ws::try_connect(gateway.address, "echo", JSON, &[header]).await;
        let Err(tungstenite::Error::Http(answer)) = upgraded else {
            panic!("{header:?} was let in");
        };
        assert_eq!(answer.status(), 403, "{header:?}");
        let paths = [
            ("POST", "/v1/pipelines/echo/whip", "application/sdp"),
            ("OPTIONS", "/v1/pipelines/echo/whip", "application/sdp"),
            ("POST", "/v1/pipelines/echo/execute", "application/json"),
            ("DELETE", "/v1/sessions/none", "application/json"),
            ("POST", "/tidegate.v1.Gateway/Stream", "application/grpc"),
            ("GET", "/nowhere", "text/plain"),
        ];
        for (method, path, kind) in paths {
            let headers = [header, ("content-type", kind)];
            let answer = gateway.request(method, path, &headers, "").await;
            assert_eq!(answer.status, 403, "{method} {path} with {header:?}");
            let allowed = answer.header("access-control-allow-origin");
            assert!(allowed.is_empty(), "{method} {path}: {allowed}");
        }
    }
}

#[tokio::test]
async fn a_configured_origin_is_let_in_and_told_so() {
    let page = "https://app.example";
    let gateway = Gateway::with(&[("ORIGINS", page)]).await;
    let headers = [("origin", page)];
    let answer = gateway.request("GET", "/v1/pipelines", &headers, "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("access-control-allow-origin"), page);
    let upgraded = Ws::try_connect(gateway.address, "echo", JSON, &headers).await;
    assert!(upgraded.is_ok());
}

#[tokio::test]
async fn a_preflight_of_a_configured_origin_needs_no_token_and_what_it_may_read_is_said() {
    let page = "https://app.example";
    let gateway = Gateway::with(&[("ORIGINS", page), ("AUTH_TOKEN", TOKEN)]).await;
    let whip = "/v1/pipelines/echo/whip";
    let asks = [
        ("origin", page),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "authorization,x-stainless-os",
        ),
    ];
    for path in [whip, "/v1/keys", "/v1/realtime/client_secrets"] {
        let answer = gateway.request("OPTIONS", path, &asks, "").await;
        assert_eq!(answer.status, 204, "{path}: {}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), page);
        let allowed = answer.header("access-control-allow-headers");
        assert_eq!(allowed, "authorization,x-stainless-os", "{path}");
        let methods = answer.header("access-control-allow-methods");
        assert!(
            methods.contains("POST") && methods.contains("PATCH"),
            "{methods}"
        );
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            "",
            "no cookies"
        );
    }
    // Refused or not, the page may read why.
    let refused = gateway.request("POST", whip, &asks[..1], "").await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("access-control-allow-origin"), page);
    let exposed = refused.header("access-control-expose-headers");
    for header in [
        "location",
        "etag",
        "link",
        "retry-after",
        "tidegate-session",
    ] {
        assert!(exposed.contains(header), "{header} in {exposed}");
    }
    let foreign = [("origin", "https://evil.example"), asks[1], asks[2]];
    let answer = gateway.request("OPTIONS", whip, &foreign, "").await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn an_open_address_needs_both_tls_and_a_token() {
    for settings in [
        vec![],
        vec![("TIDEGATE_AUTH_TOKEN", TOKEN)],
        vec![
            ("TIDEGATE_TLS_CERTIFICATE", "cert.pem"),
            ("TIDEGATE_TLS_KEY", "key.pem"),
        ],
    ] {
        let variables = settings
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let serve = Peer::program("tidegate", Path::new("env"));
        let serve = serve.args(variables.map(Into::into).chain([binary().into_os_string()]));
        let serve = serve.args(["serve", "--listen", "0.0.0.0:0", "--media", "127.0.0.1:0"]);
        let (status, said) = serve.output(Deadline::secs(20)).await;
        assert_eq!(status.code(), Some(2), "{settings:?}: {}", said.text());
        assert!(!said.text().contains(TOKEN), "the token is not shown");
    }
}
