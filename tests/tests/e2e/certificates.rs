//! The gateway's certificate renewed while it runs, and clients that are known by theirs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tidegate_tests::{Deadline, Gateway};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::clients::ANSWER_SECONDS;
use crate::clients::ws::{JSON, Ws};
use crate::hops::credentials::Authority;
use crate::hops::{Server, hop, say};

/// A folder with the gateway's certificate and what else its settings name.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a text in the place of a file as those do that renew certificates: whole.
    fn put(&self, name: &str, text: &str) {
        let fresh = self.at("fresh");
        std::fs::write(&fresh, text).expect("written");
        std::fs::rename(&fresh, self.at(name)).expect("renamed");
    }

    fn certify(&self, authority: &Authority) {
        self.put_pair(authority.sign(ServerAuth));
    }

    fn put_pair(&self, (certificate, key): (rcgen::Certificate, rcgen::KeyPair)) {
        self.put("key.pem", &key.serialize_pem());
        self.put("cert.pem", &certificate.pem());
    }

    fn text(&self, name: &str) -> String {
        self.at(name).to_string_lossy().into_owned()
    }

    /// Starts a gateway with TLS and these settings.
    async fn gateway(&self, mut settings: Value) -> Gateway {
        settings["tls"]["certificate"] = json!(self.at("cert.pem"));
        settings["tls"]["key"] = json!(self.at("key.pem"));
        self.put("tidegate.yaml", &settings.to_string());
        let config = self.text("tidegate.yaml");
        Gateway::start_tls(&[("TIDEGATE_CONFIG", &config)]).await
    }
}

/// A client that trusts an authority, and shows a certificate if it has one.
struct Client(Arc<rustls::ClientConfig>);

impl Client {
    fn new(trusted: &Authority, shown: Option<&Authority>) -> Self {
        Self::showing(trusted, shown.map(|authority| authority.sign(ClientAuth)))
    }

    fn showing(trusted: &Authority, shown: Option<(rcgen::Certificate, rcgen::KeyPair)>) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(trusted.0.pem().as_bytes());
        roots.add(ca.expect("PEM")).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
                let chain = vec![certificate.der().clone()];
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
        };
        Self(Arc::new(config))
    }

    async fn connect(&self, gateway: &Gateway) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(gateway.address).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::clone(&self.0))
            .connect(name, tcp)
            .await
    }

    /// The status of a `GET` and its answer; 0 if there is no connection.
    async fn get(&self, gateway: &Gateway, path: &str, token: &str) -> (u16, String) {
        let asked = async {
            let mut stream = self.connect(gateway).await?;
            let token = match token {
                "" => String::new(),
                token => format!("authorization: Bearer {token}\r\n"),
            };
            let head = format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{token}\r\n"
            );
            stream.write_all(head.as_bytes()).await?;
            let mut said = Vec::new();
            // A connection that ends without TLS's goodbye has said all the same what it said.
            stream.read_to_end(&mut said).await.ok();
            std::io::Result::Ok(String::from_utf8_lossy(&said).into_owned())
        };
        let by = Deadline::secs(ANSWER_SECONDS);
        let said = by.wait(asked).await.expect("in time").unwrap_or_default();
        let status = said
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        (status.unwrap_or_default(), said)
    }
}

/// Waits until a client gets an answer of this status.
async fn until(client: &Client, gateway: &Gateway, path: &str, part: &str) {
    let by = Deadline::secs(30);
    let answered = async {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
        while !client.get(gateway, path, "").await.1.contains(part) {
            ticks.tick().await;
        }
    };
    let done = by.wait(answered).await;
    done.unwrap_or_else(|| panic!("no '{part}' at {path}\n{}", gateway.logs.text()));
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_who_comes_and_connections_that_stand_go_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let files = Files::new();
    files.certify(&old);
    let gateway = files.gateway(json!({})).await;
    let (first, second) = (Client::new(&old, None), Client::new(&new, None));
    assert_eq!(first.get(&gateway, "/healthz", "").await.0, 200);
    assert_eq!(second.get(&gateway, "/healthz", "").await.0, 0);
    let stream = first.connect(&gateway).await.expect("connected");
    let upgraded = Ws::upgrade(stream, "wss", "localhost", "echo", JSON, &[]).await;
    let mut standing = upgraded.expect("upgraded");
    standing.send(&json!({"open": {}})).await;
    standing.next_of("opened").await;

    let ends = rcgen::date_time_ymd(2099, 1, 1);
    files.put_pair(new.sign_with(ServerAuth, |params| params.not_after = ends));
    until(&second, &gateway, "/healthz", "ok").await;
    assert_eq!(first.get(&gateway, "/healthz", "").await.0, 0);
    standing.send(&json!({"end": {}})).await;
    assert_eq!(standing.ending().await.close, 1000, "it goes on");

    let expires = format!(
        "\ntidegate_tls_certificate_expires_timestamp_seconds {}\n",
        ends.unix_timestamp()
    );
    until(&second, &gateway, "/metrics", &expires).await;
    files.put("cert.pem", "no certificate");
    until(
        &second,
        &gateway,
        "/metrics",
        "tidegate_tls_reloads_total{outcome=\"refused\"} 1",
    )
    .await;
    assert_eq!(
        second.get(&gateway, "/healthz", "").await.0,
        200,
        "the last good one"
    );
    assert!(
        gateway.logs.text().contains("tls.certificate"),
        "{}",
        gateway.logs.text()
    );
    files.certify(&old);
    gateway.signal("HUP").await;
    until(&first, &gateway, "/healthz", "ok").await;
}

#[tokio::test]
async fn a_certificate_grants_what_its_entry_does_and_a_token_goes_before_it() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let files = Files::new();
    files.certify(&ours);
    files.put("ca.pem", &ours.0.pem());
    let gateway = files
        .gateway(json!({
            "tls": {"client_ca": files.at("ca.pem"), "clients": "optional"},
            "auth": {
                "certificates": [{"name": "front", "san": "localhost", "pipelines": ["echo"]}],
                "tokens": [{"name": "ops", "token": "of-ops", "sessions": true}],
            },
        }))
        .await;
    let known = Client::new(&ours, Some(&ours));
    for (path, token, expected) in [
        ("/v1/pipelines/echo", "", 200),
        ("/v1/pipelines/transcribe", "", 403),
        ("/v1/sessions", "", 403),
        ("/v1/sessions", "of-ops", 200),
        ("/v1/pipelines/echo", "of-ops", 403),
        ("/v1/pipelines/echo", "wrong", 401),
    ] {
        let (status, said) = known.get(&gateway, path, token).await;
        assert_eq!(
            status,
            expected,
            "{path} by '{token}': {said}\n{}",
            gateway.logs.text()
        );
    }
    let nameless = Client::new(&ours, None);
    assert_eq!(
        nameless.get(&gateway, "/v1/pipelines/echo", "").await.0,
        401
    );
    assert_eq!(
        nameless.get(&gateway, "/v1/sessions", "of-ops").await.0,
        200
    );
    let stranger = Client::new(&ours, Some(&theirs));
    assert_eq!(
        stranger.get(&gateway, "/v1/sessions", "of-ops").await.0,
        0,
        "no connection"
    );
}

#[tokio::test]
async fn a_certificate_that_its_authority_has_taken_back_is_turned_away() {
    let authority = Authority::new();
    let files = Files::new();
    files.certify(&authority);
    files.put("ca.pem", &authority.0.pem());
    files.put("crl.pem", &authority.revoked(&[1]));
    let lists = json!({"client_ca": files.at("ca.pem"), "client_crl": files.at("crl.pem")});
    let gateway = files.gateway(json!({"tls": lists})).await;
    let client = |number: u64| {
        let shown = authority.sign_with(ClientAuth, |params| {
            params.serial_number = Some(number.into())
        });
        Client::showing(&authority, Some(shown))
    };
    let [first, second, third] = [1, 2, 3].map(client);
    assert_eq!(first.get(&gateway, "/healthz", "").await.0, 0);
    assert_eq!(second.get(&gateway, "/healthz", "").await.0, 200);
    files.put("crl.pem", &authority.revoked(&[1, 2]));
    let reloads = |outcome: &str| format!("tidegate_tls_reloads_total{{outcome=\"{outcome}\"}} 1");
    until(&third, &gateway, "/metrics", &reloads("taken")).await;
    assert_eq!(second.get(&gateway, "/healthz", "").await.0, 0);
    files.put("crl.pem", "no list");
    until(&third, &gateway, "/metrics", &reloads("refused")).await;
    assert_eq!(
        second.get(&gateway, "/healthz", "").await.0,
        0,
        "the last good one"
    );
    let log = gateway.logs.text();
    assert!(log.contains("tls.client_crl"), "{log}");
}

#[tokio::test]
async fn a_gateway_shows_its_certificate_to_a_worker_gateway_by_every_transport() {
    let authority = Authority::new();
    let files = Files::new();
    files.certify(&authority);
    files.put("ca.pem", &authority.0.pem());
    std::fs::create_dir(files.at("pipelines")).expect("a folder");
    let manifest = say("well");
    let name = format!(
        "pipelines/{}.yaml",
        manifest["name"].as_str().expect("a name")
    );
    files.put(&name, &manifest.to_string());
    let worker = files
        .gateway(json!({
            "pipelines": files.at("pipelines"),
            "tls": {"client_ca": files.at("ca.pem")},
            "auth": {"certificates": [{"name": "front", "san": "localhost", "pipelines": ["say"]}]},
        }))
        .await;
    let (certificate, key) = authority.sign(ClientAuth);
    let ca = authority.0.pem();
    let shown = json!({"ca": ca, "cert": certificate.pem(), "key": key.serialize_pem()});
    for (tls, known) in [(shown, true), (json!({"ca": ca}), false)] {
        let transports = ["grpc", "websocket", "http", "webrtc"];
        let hops = transports.map(|transport| {
            let endpoint = format!("https://localhost:{}", worker.address.port());
            let params = json!({"transport": transport, "endpoints": [endpoint], "auth": {"tls": tls},
                "retry": {"attempts": 1, "backoff": "10ms"}});
            hop(transport, params)
        });
        let front = Server::start(&hops).await;
        for transport in transports {
            let path = format!("/v1/pipelines/{transport}/execute");
            let text = json!({"inputs": {"in": [{"text": {"text": "hello"}, "final": true}]}});
            let answer = front.gateway.post_json(&path, &text).await;
            let logs = || format!("{}\n{}", front.gateway.logs.text(), worker.logs.text());
            assert_eq!(
                answer.status == 200,
                known,
                "{transport}: {}\n{}",
                answer.text(),
                logs()
            );
            if known {
                let said = crate::hops::texts_of(&answer.json()["outputs"]["out"]);
                assert_eq!(said, ["well hello"], "{transport}");
            }
        }
    }
}

#[tokio::test]
async fn settings_that_would_let_nobody_in_are_refused_at_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("tidegate.yaml");
    let refused = async |settings: Value, part: &str| {
        std::fs::write(&config, settings.to_string()).expect("written");
        let serve = tidegate_tests::Peer::program("tidegate", &tidegate_tests::gateway::binary());
        let arguments = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--media",
            "127.0.0.1:0",
            "--config",
        ];
        let serve = serve.args(arguments.map(AsRef::<Path>::as_ref));
        let (status, said) = serve.args([&config]).output(Deadline::secs(20)).await;
        assert!(!status.success(), "{settings}: {}", said.text());
        assert!(said.text().contains(part), "{part} in {}", said.text());
    };
    let nowhere = json!({"certificate": "/none/cert.pem", "key": "/none/key.pem"});
    refused(json!({"tls": nowhere}), "tls.certificate /none/cert.pem").await;
    refused(json!({"tls": {"client_ca": "ca.pem"}}), "tls.client_ca").await;
    refused(json!({"tls": {"client_crl": "crl.pem"}}), "tls.client_crl").await;
    let entry = json!([{"name": "front", "san": "localhost"}]);
    refused(json!({"auth": {"certificates": entry}}), "tls.client_ca").await;
    let entry = json!([{"name": "front"}]);
    refused(json!({"auth": {"certificates": entry}}), "common_name").await;
}
