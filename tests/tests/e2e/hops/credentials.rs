//! An API key in a header and a client's certificate, shown to a doorman who asks for both before a real worker.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, RevokedCertParams,
};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use serde_json::{Value, json};
use tidegate_tests::Gateway;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Server, hop, say};

/// All ways to a worker. gRPC's headers are compressed, so the doorman leaves those alone.
const TRANSPORTS: [&str; 4] = ["grpc", "websocket", "http", "webrtc"];
const KEY: &str = "x-api-key: open-sesame\r\n";
const HEAD_BYTES: usize = 16 << 10;

/// An authority, and what it has signed.
pub(crate) struct Authority(pub(crate) CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    pub(crate) fn sign(&self, purpose: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        self.sign_with(purpose, |_| {})
    }

    /// With a serial number or an end of its own.
    pub(crate) fn sign_with(
        &self,
        purpose: ExtendedKeyUsagePurpose,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".into()]).expect("a name");
        params.extended_key_usages = vec![purpose];
        change(&mut params);
        (params.signed_by(&key, &self.0).expect("signed"), key)
    }

    /// Its list of certificates that were taken back, as PEM.
    pub(crate) fn revoked(&self, numbers: &[u64]) -> String {
        let then = rcgen::date_time_ymd(2026, 1, 1);
        let one = |number: &u64| RevokedCertParams {
            serial_number: (*number).into(),
            revocation_time: then,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: then,
            next_update: rcgen::date_time_ymd(2099, 1, 1),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: numbers.iter().map(one).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.0).expect("signed");
        list.pem().expect("PEM")
    }
}

/// A TLS server before a worker that lets in who shows a certificate of the authority and, where it can read it, the key.
struct Doorman {
    port: u16,
    _tasks: JoinSet<()>,
}

impl Doorman {
    async fn before(worker: &Gateway, authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.0.der().clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let (certificate, key) = authority.sign(ExtendedKeyUsagePurpose::ServerAuth);
        let key = key.serialize_der().try_into().expect("a key");
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier.build().expect("a verifier"))
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate with its key");
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let worker = worker.address;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        // Whoever hangs up has what it wanted.
                        drop(serve(stream, worker).await);
                    }
                });
            }
        });
        Self {
            port,
            _tasks: tasks,
        }
    }
}

async fn serve(mut client: TlsStream<TcpStream>, worker: SocketAddr) -> std::io::Result<()> {
    let mut there = TcpStream::connect(worker).await?;
    let grpc = client.get_ref().1.alpn_protocol() == Some(b"h2");
    let mut head = Vec::new();
    while !grpc && !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_BYTES {
        head.push(client.read_u8().await?);
    }
    let shown = String::from_utf8_lossy(&head).to_lowercase();
    if !grpc && !shown.contains(KEY) {
        let refusal = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        client.write_all(refusal.as_bytes()).await?;
        return client.shutdown().await;
    }
    there.write_all(&head).await?;
    copy_bidirectional(&mut client, &mut there).await?;
    Ok(())
}

/// A front with a hop of each transport that shows this.
async fn front(doorman: &Doorman, auth: &Value) -> Server {
    let hops = TRANSPORTS.map(|transport| {
        let endpoint = format!("https://localhost:{}", doorman.port);
        let params = json!({"transport": transport, "endpoints": [endpoint], "auth": auth,
            "retry": {"attempts": 1, "backoff": "10ms"}});
        hop(transport, params)
    });
    Server::start(&hops).await
}

async fn asked(front: &Server, transport: &str) -> (u16, Value) {
    let path = format!("/v1/pipelines/{transport}/execute");
    let text = json!({"inputs": {"in": [{"text": {"text": "hello"}, "final": true}]}});
    let answer = front.gateway.post_json(&path, &text).await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn fr_010_an_api_key_and_a_clients_certificate_open_every_transport_and_nothing_less_does() {
    let authority = Authority::new();
    let worker = Server::start(&[say("well")]).await;
    let doorman = Doorman::before(&worker.gateway, &authority).await;
    let (certificate, key) = authority.sign(ExtendedKeyUsagePurpose::ClientAuth);
    let ca = authority.0.pem();
    let header = json!({"name": "X-Api-Key", "value": "open-sesame"});
    let tls = json!({"ca": ca, "cert": certificate.pem(), "key": key.serialize_pem()});

    let known = front(&doorman, &json!({"header": header, "tls": tls})).await;
    for transport in TRANSPORTS {
        let (status, answer) = asked(&known, transport).await;
        let logs = || {
            format!(
                "{}\n{}",
                known.gateway.logs.text(),
                worker.gateway.logs.text()
            )
        };
        assert_eq!(status, 200, "{transport}: {answer:#}\n{}", logs());
        let said = super::texts_of(&answer["outputs"]["out"]);
        assert_eq!(said, ["well hello"], "{transport}");
    }

    let nameless = front(&doorman, &json!({"header": header, "tls": {"ca": ca}})).await;
    for transport in TRANSPORTS {
        let (status, problem) = asked(&nameless, transport).await;
        assert_ne!(status, 200, "{transport}: {problem:#}");
        assert_eq!(problem["hop"], "far", "{transport}: {problem:#}");
    }

    let keyless = front(&doorman, &json!({"tls": tls})).await;
    for transport in ["websocket", "http", "webrtc"] {
        let (status, problem) = asked(&keyless, transport).await;
        assert_ne!(status, 200, "{transport}: {problem:#}");
        assert_eq!(
            problem["code"], "unauthenticated",
            "{transport}: {problem:#}"
        );
    }
}
