//! JSON Web Tokens that somebody else issues: by a shared secret, and by keys that their server publishes and changes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::{Deadline, Gateway, Peer, clock};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::clients::ws::{JSON, Ws};
use crate::hops::credentials::Authority;

const SECRET: &str = "what the gateway and who issues tokens have in common";
const EXECUTE: &str = "/v1/pipelines/echo/execute";

/// Tokens with these claims by every algorithm, and the public keys to them.
async fn issued(claims: &Value) -> Value {
    let peer = Peer::python("jwt_issuer.py").args([claims.to_string(), SECRET.to_owned()]);
    peer.report(Deadline::secs(60)).await
}

fn claims(grants: &Value) -> Value {
    let expires = (clock::unix_now() + Duration::from_secs(600)).as_secs();
    json!({"iss": "https://id.example", "aud": "tidegate", "sub": "ada", "exp": expires, "tidegate": grants})
}

async fn asked(gateway: &Gateway, path: (&str, &str), token: &Value) -> (u16, Value) {
    let token = format!("Bearer {}", token.as_str().expect("a token"));
    let headers = [
        ("authorization", &*token),
        ("content-type", "application/json"),
    ];
    let body = r#"{"inputs": {}}"#;
    let answer = gateway.request(path.0, path.1, &headers, body).await;
    (
        answer.status,
        serde_json::from_str(&answer.text()).unwrap_or_default(),
    )
}

/// Serves a set of keys, and counts who asks.
struct Published {
    url: String,
    set: Arc<Mutex<(String, u32)>>,
    tasks: JoinSet<()>,
}

/// Answers one request with a set of keys.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, set: &Mutex<(String, u32)>) {
    let mut head = [0; 4096];
    drop(stream.read(&mut head).await);
    let text = {
        let mut set = set.lock().expect("nobody panics");
        set.1 += 1;
        set.0.clone()
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    drop(stream.write_all(answer.as_bytes()).await);
    drop(stream.shutdown().await);
}

impl Published {
    async fn serve(set: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self::at(listener, set, None)
    }

    /// Serves at a listener that may have taken connections already, by TLS if there is a certificate.
    fn at(listener: TcpListener, set: &Value, tls: Option<TlsAcceptor>) -> Self {
        let address = listener.local_addr().expect("an address");
        let url = match tls {
            None => format!("http://{address}/keys"),
            // Certificates name no address.
            Some(_) => format!("https://localhost:{}/keys", address.port()),
        };
        let set = Arc::new(Mutex::new((set.to_string(), 0)));
        let (shared, mut tasks) = (Arc::clone(&set), JoinSet::new());
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                match &tls {
                    None => answer(stream, &shared).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            answer(stream, &shared).await;
                        }
                    }
                }
            }
        });
        Self { url, set, tasks }
    }

    fn asked(&self) -> u32 {
        self.set.lock().expect("nobody panics").1
    }

    fn change(&self, set: &Value) {
        self.set.lock().expect("nobody panics").0 = set.to_string();
    }
}

#[tokio::test]
async fn a_shared_secret_lets_in_by_each_of_its_algorithms_who_is_granted_something() {
    let issued = issued(&claims(&json!({"pipelines": ["echo"]}))).await;
    let settings = [
        ("AUTH_JWT_SECRET", SECRET),
        ("AUTH_JWT_AUDIENCES", "tidegate"),
        ("AUTH_JWT_ISSUERS", "https://id.example"),
    ];
    let gateway = Gateway::with(&settings).await;
    for algorithm in ["HS256", "HS384", "HS512"] {
        let token = &issued["tokens"][algorithm];
        let (status, said) = asked(&gateway, ("POST", EXECUTE), token).await;
        assert_eq!(status, 200, "{algorithm}: {said}");
        let protocols = format!("{JSON}, tidegate.bearer.{}", token.as_str().expect("text"));
        let upgraded = Ws::try_connect(gateway.address, "echo", &protocols, &[]).await;
        let mut ws = upgraded.expect("upgraded");
        ws.send(&json!({"open": {}})).await;
        ws.next_of("opened").await;
        assert_eq!(asked(&gateway, ("GET", "/v1/sessions"), token).await.0, 403);
        assert_eq!(
            asked(&gateway, ("GET", "/v1/pipelines/transcribe"), token)
                .await
                .0,
            403
        );
    }
    let (status, said) = asked(&gateway, ("POST", EXECUTE), &issued["tokens"]["RS256-0"]).await;
    assert_eq!(status, 401, "{said}");
    assert!(
        said["detail"]
            .as_str()
            .unwrap_or_default()
            .contains("RS256-0"),
        "{said}"
    );
    let nobody = gateway.post_json(EXECUTE, &json!({"inputs": {}})).await;
    assert_eq!(nobody.status, 401);
    assert!(!gateway.logs.text().contains(SECRET));
}

#[tokio::test]
async fn a_token_for_somebody_else_or_of_the_past_is_told_so() {
    let settings = [
        ("AUTH_JWT_SECRET", SECRET),
        ("AUTH_JWT_AUDIENCES", "tidegate"),
    ];
    let gateway = Gateway::with(&settings).await;
    for (name, value, part) in [
        ("aud", json!("another"), "'aud'"),
        ("exp", json!(1_000_000_000), "expired"),
        ("nbf", json!(4_000_000_000_u64), "'nbf'"),
        ("sub", Value::Null, "'sub'"),
        ("tidegate", json!({"pipeline": ["echo"]}), "'tidegate'"),
    ] {
        let mut claims = claims(&json!({"pipelines": ["echo"]}));
        claims[name] = value;
        let issued = issued(&claims).await;
        let (status, said) = asked(&gateway, ("POST", EXECUTE), &issued["tokens"]["HS256"]).await;
        assert_eq!(status, 401, "{name}: {said}");
        assert_eq!(said["code"], "unauthenticated", "{name}: {said}");
        let detail = said["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(part), "{name}: {said}");
    }
}

#[tokio::test]
async fn published_keys_are_followed_when_they_change_and_kept_when_their_server_is_gone() {
    let issued = issued(&claims(&json!({"pipelines": ["echo"], "sessions": true}))).await;
    let (sets, tokens) = (&issued["sets"], &issued["tokens"]);
    let mut published = Published::serve(&sets[0]).await;
    let settings = [
        ("AUTH_JWT_JWKS_URL", &*published.url),
        ("AUTH_JWT_AUDIENCES", "tidegate"),
    ];
    let gateway = Gateway::with(&settings).await;
    for kid in ["RS256-0", "ES256-0", "EdDSA-0"] {
        let (status, said) = asked(&gateway, ("POST", EXECUTE), &tokens[kid]).await;
        assert_eq!(status, 200, "{kid}: {said}\n{}", gateway.logs.text());
        assert_eq!(
            asked(&gateway, ("GET", "/v1/sessions"), &tokens[kid])
                .await
                .0,
            200
        );
    }
    // Whatever strangers' tokens name, the server is left alone.
    for _ in 0..50 {
        let (status, said) = asked(&gateway, ("POST", EXECUTE), &tokens["ES256-1"]).await;
        assert_eq!(status, 401, "{said}");
    }
    assert!(published.asked() <= 3, "asked {} times", published.asked());
    published.change(&sets[1]);
    let by = Deadline::secs(60);
    let taken = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(250));
        while asked(&gateway, ("POST", EXECUTE), &tokens["ES256-1"])
            .await
            .0
            != 200
        {
            ticks.tick().await;
        }
    };
    by.wait(taken).await.expect("the new key is asked for");
    let (status, said) = asked(&gateway, ("POST", EXECUTE), &tokens["ES256-0"]).await;
    assert_eq!(
        status, 401,
        "what is no longer published is good no longer: {said}"
    );
    published.tasks.shutdown().await;
    assert_eq!(
        asked(&gateway, ("POST", EXECUTE), &tokens["ES256-1"])
            .await
            .0,
        200
    );
    assert_eq!(
        asked(&gateway, ("POST", EXECUTE), &tokens["ES256-0"])
            .await
            .0,
        401
    );
}

/// Shows a certificate for `localhost`.
fn acceptor(authority: &Authority) -> TlsAcceptor {
    let (certificate, key) = authority.sign(rcgen::ExtendedKeyUsagePurpose::ServerAuth);
    let key = key.serialize_der().try_into().expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate with its key");
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn keys_are_had_from_a_server_of_an_authority_of_one_s_own() {
    let issued = issued(&claims(&json!({"pipelines": ["echo"]}))).await;
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority.0.pem()).expect("written");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let published = Published::at(listener, &issued["sets"][0], Some(acceptor(&authority)));
    let ca = file.to_string_lossy();
    for (ca, expected) in [(&*ca, 200), ("", 401)] {
        let settings = [
            ("AUTH_JWT_JWKS_URL", &*published.url),
            ("AUTH_JWT_JWKS_CA", ca),
        ];
        let gateway = Gateway::with(&settings).await;
        let (status, said) = asked(&gateway, ("POST", EXECUTE), &issued["tokens"]["ES256-0"]).await;
        assert_eq!(status, expected, "{said}\n{}", gateway.logs.text());
    }
}

#[tokio::test]
async fn a_gateway_starts_without_the_server_of_keys_and_takes_tokens_once_it_is_there() {
    let issued = issued(&claims(&json!({"pipelines": ["echo"]}))).await;
    let token = &issued["tokens"]["ES256-0"];
    // Bound and never answered: whoever asks waits until they give up.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let url = format!("http://{address}/keys");
    let settings = [
        ("AUTH_JWT_JWKS_URL", &*url),
        ("AUTH_TOKEN", "of the operator"),
    ];
    let gateway = Gateway::with(&settings).await;
    assert_eq!(gateway.get("/readyz").await.status, 200);
    let operator = json!("of the operator");
    assert_eq!(asked(&gateway, ("POST", EXECUTE), &operator).await.0, 200);
    let (status, said) = asked(&gateway, ("POST", EXECUTE), token).await;
    assert_eq!(status, 401, "{said}");
    let detail = said["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("auth.jwt.jwks_url"), "{said}");
    let bearer = [("authorization", "Bearer of the operator")];
    let page = gateway.request("GET", "/metrics", &bearer, "").await.text();
    let labels = ["outcome=\"refused\""];
    let refused = tidegate_tests::gateway::sum_of(&page, "tidegate_auth_reloads_total", &labels);
    assert!(refused.is_some_and(|count| count >= 1.0), "{page}");

    let _published = Published::at(listener, &issued["sets"][0], None);
    let taken = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(250));
        while asked(&gateway, ("POST", EXECUTE), token).await.0 != 200 {
            ticks.tick().await;
        }
    };
    let by = Deadline::secs(60);
    by.wait(taken).await.expect("the keys are asked for again");
}

#[tokio::test]
async fn a_session_ends_with_its_token_where_that_is_wanted() {
    let mut claims = claims(&json!({"pipelines": ["echo"]}));
    let soon = clock::unix_now() + Duration::from_secs(3);
    claims["exp"] = json!(soon.as_secs());
    let issued = issued(&claims).await;
    let settings = [
        ("AUTH_JWT_SECRET", SECRET),
        ("AUTH_JWT_AUDIENCES", "tidegate"),
        ("AUTH_JWT_END_SESSIONS", "true"),
    ];
    let gateway = Gateway::with(&settings).await;
    let token = issued["tokens"]["HS256"].as_str().expect("a token");
    let protocols = format!("{JSON}, tidegate.bearer.{token}");
    let upgraded = Ws::try_connect(gateway.address, "echo", &protocols, &[]).await;
    let mut ws = upgraded.expect("upgraded");
    ws.send(&json!({"open": {}})).await;
    let ending = ws.ending().await;
    assert_eq!(
        (ending.code(), ending.close),
        ("session_expired", 4410),
        "{ending:?}"
    );
}
