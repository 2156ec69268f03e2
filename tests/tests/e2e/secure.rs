//! TLS and the bearer token, on every transport of the one address.

use serde_json::json;
use tidegate_tests::{Deadline, Gateway, Peer};

#[tokio::test]
async fn over_tls_only_the_holder_of_the_token_is_served() {
    let folder = tempfile::tempdir().expect("a folder for the certificate");
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let (certificate, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&certificate, made.cert.pem()).expect("the certificate is written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("the key is written");
    let (certificate, key) = (certificate.to_string_lossy(), key.to_string_lossy());
    let settings = [
        ("TIDEGATE_TLS_CERTIFICATE", certificate.as_ref()),
        ("TIDEGATE_TLS_KEY", key.as_ref()),
        ("TIDEGATE_AUTH_TOKEN", "open sesame"),
    ];
    let gateway = Gateway::start_tls(&settings).await;
    let address = gateway.address.to_string();
    let peer = Peer::python("secure_client.py");
    let peer = peer.args([address.as_str(), certificate.as_ref(), "open sesame"]);
    let report = peer.report(Deadline::secs(60)).await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    assert_eq!(report["healthz"], 200, "{shown}");
    let refused = json!({
        "https": 401, "metrics": 401, "grpc": "UNAUTHENTICATED", "websocket": 401,
    });
    assert_eq!(report["nobody"], refused, "{shown}");
    assert_eq!(report["wrong"], refused, "{shown}");
    let served = json!({"https": 200, "metrics": 200, "grpc": "OK", "websocket": "opened"});
    assert_eq!(report["right"], served, "{shown}");
    assert!(
        !gateway.logs.text().contains("open sesame"),
        "the token is not logged"
    );
}
