//! JSON Web Tokens that somebody else issues: by a shared secret, and by keys that their server publishes and changes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::{Deadline, Gateway, Peer, clock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::clients::ws::{JSON, Ws};

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

impl Published {
    async fn serve(set: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
        let set = Arc::new(Mutex::new((set.to_string(), 0)));
        let (shared, mut tasks) = (Arc::clone(&set), JoinSet::new());
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 4096];
                drop(stream.read(&mut head).await);
                let text = {
                    let mut set = shared.lock().expect("nobody panics");
                    set.1 += 1;
                    set.0.clone()
                };
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{text}", text.len());
                drop(stream.write_all(answer.as_bytes()).await);
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
