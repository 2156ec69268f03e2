//! TLS with a private authority, and certificates on both sides.

use std::sync::Arc;

use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tidegate_nodes::Code;
use tidegate_remote::{AuthTls, AuthValue, RemoteConfig, Secret, Transport};

use super::driver::{self, Driven};
use super::web::Web;
use super::worker::Manner;

/// An authority and what it has signed.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn sign(&self, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec!["localhost".into()]).expect("a name");
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.0).expect("signed"), key)
    }

    /// A server that this authority vouches for, and that wants its clients to be vouched for by `clients`.
    fn server(&self, clients: Option<&Self>) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (certificate, key) = self.sign(ExtendedKeyUsagePurpose::ServerAuth);
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.0.der().clone()).expect("an authority");
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let chain = vec![certificate.der().clone()];
        builder.with_single_cert(chain, key).expect("a certificate")
    }
}

fn inline(text: String) -> Option<AuthValue> {
    Some(AuthValue::Inline(Secret::new(text)))
}

fn config(web: &Web, tls: AuthTls) -> RemoteConfig {
    let mut config = driver::config(&[web.endpoint()]);
    config.transport = Transport::Websocket;
    config.auth.tls = tls;
    config
}

#[tokio::test]
async fn a_private_authority_is_trusted_if_it_is_named() {
    let authority = Authority::new();
    let (web, _seen) = Web::worker_with(Manner::Echo, Some(authority.server(None)));
    let ca = inline(authority.pem());
    let tls = AuthTls {
        ca,
        ..AuthTls::default()
    };
    let mut hop = Driven::new(driver::open(&config(&web, tls)).await.expect("it opens"));
    hop.wait_for_credit().await;
    hop.send(Bytes::from_static(b"hello"));
    hop.frame().await;

    let ca = inline(Authority::new().pem());
    let tls = AuthTls {
        ca,
        ..AuthTls::default()
    };
    let error = driver::open(&config(&web, tls))
        .await
        .expect_err("another authority");
    assert_eq!(error.code, Code::Network);
    assert!(
        error
            .message
            .contains("name its authority in 'auth.tls.ca'"),
        "{error}"
    );
}

#[tokio::test]
async fn a_worker_that_wants_certificates_gets_the_hops() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let (web, _seen) = Web::worker_with(Manner::Echo, Some(servers.server(Some(&clients))));
    let ca = inline(servers.pem());
    let (certificate, key) = clients.sign(ExtendedKeyUsagePurpose::ClientAuth);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key.pem");
    std::fs::write(&file, key.serialize_pem()).expect("written");
    let tls = AuthTls {
        ca: ca.clone(),
        cert: inline(certificate.pem()),
        key: Some(AuthValue::File(file)),
    };
    let hop = driver::open(&config(&web, tls)).await;
    let mut hop = Driven::new(hop.expect("it opens"));
    hop.wait_for_credit().await;

    let tls = AuthTls {
        ca,
        ..AuthTls::default()
    };
    let error = driver::open(&config(&web, tls))
        .await
        .expect_err("no certificate");
    assert_eq!(error.code, Code::Network, "{error}");
}
