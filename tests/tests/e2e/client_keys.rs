//! Short-lived keys for clients: what they open and what not, on every transport, and when they end.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};
use tidegate_proto::v1;
use tonic::Code;

use crate::clients::rpc;
use crate::clients::webrtc::offer;
use crate::clients::ws::{JSON, Ws};
use crate::grants::{APP, Guarded, OPS, SCRAPER};

const SECRET: &str = "what the keys of the tests are signed with";
const VARIABLE: &str = "TIDEGATE_AUTH_CLIENT_KEYS_SECRET";
const TYPE: &str = "application/json";

async fn mint(guarded: &Guarded, token: &str, body: &Value) -> (u16, Value) {
    let path = ("POST", "/v1/keys");
    guarded.ask(path, token, (TYPE, &body.to_string())).await
}

/// A key for `echo`, by the token of the app.
async fn key(guarded: &Guarded) -> String {
    let (status, minted) = mint(guarded, APP, &json!({"pipeline": "echo"})).await;
    assert_eq!(status, 200, "{minted}");
    minted["key"].as_str().expect("a key").to_owned()
}

/// A key with other claims, signed as the gateways of these tests sign.
fn signed(claims: &Value) -> String {
    let body = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, body.as_bytes()));
    format!("ek_{body}.{tag}")
}

fn claims(key: &str) -> Value {
    let body = key.trim_start_matches("ek_").split('.').next();
    let body = BASE64_URL_SAFE_NO_PAD.decode(body.expect("a body"));
    serde_json::from_slice(&body.expect("base64")).expect("JSON")
}

#[tokio::test]
async fn a_key_opens_its_pipeline_on_every_transport_and_nothing_else() {
    let guarded = Guarded::start().await;
    let key = key(&guarded).await;
    assert_eq!(guarded.ws("echo", &key).await, Ok(()));
    assert_eq!(guarded.ws("live-x", &key).await, Err(403));
    let openai = format!("{JSON}, openai-insecure-api-key.{key}");
    let upgraded = Ws::try_connect(guarded.gateway.address, "echo", &openai, &[]).await;
    let mut ws = upgraded.expect("upgraded");
    ws.send(&json!({"open": {}})).await;
    ws.next_of("opened").await;

    let (client, _socket) = offer().await;
    let sdp = ("application/sdp", client.sdp());
    for (pipeline, expected) in [("echo", 201), ("transcribe", 403)] {
        let path = format!("/v1/pipelines/{pipeline}/whip");
        let (status, said) = guarded.ask(("POST", &path), &key, sdp).await;
        assert_eq!(status, expected, "{pipeline}: {said}");
        let open = v1::ClientMessage {
            message: Some(rpc::open(pipeline, v1::Mode::Live)),
        };
        let open = tokio_stream::iter([open]);
        let run = guarded.grpc(open, &key, async |client, request| {
            client.stream(request).await.map(drop)
        });
        let code = if expected == 201 {
            Code::Ok
        } else {
            Code::PermissionDenied
        };
        assert_eq!(run.await.0, code, "{pipeline}");
    }
    let run = (TYPE, r#"{"inputs": {}}"#);
    let inline = (
        TYPE,
        r#"{"manifest": "version: tidegate/v1", "inputs": {}}"#,
    );
    let more = (TYPE, r#"{"pipeline": "echo"}"#);
    for (request, body, expected) in [
        (("POST", "/v1/pipelines/echo/execute"), run, 200),
        (("GET", "/v1/pipelines/echo"), ("", ""), 200),
        (("POST", "/v1/pipelines/transcribe/execute"), run, 403),
        (("POST", "/v1/execute"), inline, 403),
        (("GET", "/v1/sessions"), ("", ""), 403),
        (("GET", "/metrics"), ("", ""), 403),
        (("POST", "/v1/keys"), more, 403),
    ] {
        let (status, said) = guarded.ask(request, &key, body).await;
        assert_eq!(status, expected, "{request:?}: {said}");
    }
    assert!(
        !guarded.gateway.logs.text().contains(&key),
        "it is not logged"
    );
}

#[tokio::test]
async fn a_key_is_minted_by_who_may_use_the_pipeline_for_as_long_as_a_key_lives() {
    let guarded = Guarded::start().await;
    let echo = json!({"pipeline": "echo"});
    for (token, body, expected) in [
        ("", &echo, 401),
        (OPS, &echo, 403),
        (SCRAPER, &echo, 403),
        (APP, &json!({"pipeline": "transcribe"}), 403),
        (APP, &json!({"pipeline": "live-none"}), 404),
        (APP, &json!({"pipeline": "echo", "seconds": 9}), 400),
        (APP, &json!({"pipeline": "echo", "seconds": 7201}), 400),
        (APP, &json!({"pipeline": "echo", "second": 10}), 400),
        (APP, &json!({}), 400),
        (APP, &json!({"pipeline": "echo", "seconds": 7200}), 200),
    ] {
        let (status, said) = mint(&guarded, token, body).await;
        assert_eq!(status, expected, "{body} by '{token}': {said}");
    }
}

#[tokio::test]
async fn openai_s_clients_have_one_minted_in_their_own_words() {
    let guarded = Guarded::start().await;
    let session = json!({"type": "realtime", "model": "echo", "instructions": "be brief"});
    let after = json!({"anchor": "created_at", "seconds": 60});
    let path = ("POST", "/v1/realtime/client_secrets");
    let body = json!({"expires_after": after, "session": session}).to_string();
    let (status, made) = guarded.ask(path, APP, (TYPE, &body)).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!(made["session"]["model"], "echo");
    assert_eq!(made["session"]["object"], "realtime.session");
    assert!(made["expires_at"].as_u64().is_some(), "{made}");
    let key = made["value"].as_str().expect("a key");
    assert!(key.starts_with("ek_"), "{key}");
    assert_eq!(guarded.ws("echo", key).await, Ok(()));
    assert_eq!(claims(key)["s"]["instructions"], "be brief");

    let large = json!({"model": "echo", "instructions": "x".repeat(5000)});
    for (body, expected) in [
        (json!({"session": {"type": "realtime"}}), 400),
        (
            json!({"expires_after": {"seconds": 1}, "session": session}),
            400,
        ),
        (
            json!({"expires_after": {"anchor": "now"}, "session": session}),
            400,
        ),
        (json!({"session": {"model": "transcribe"}}), 403),
        (json!({"session": large}), 413),
        (json!({"session": session}), 200),
    ] {
        let (status, said) = guarded.ask(path, APP, (TYPE, &body.to_string())).await;
        assert_eq!(status, expected, "{body}: {said}");
    }
}

#[tokio::test]
async fn an_expired_key_opens_nothing_and_still_ends_what_it_opened() {
    let guarded = Guarded::start_with(&[(VARIABLE, SECRET)]).await;
    let key = key(&guarded).await;
    let (client, _socket) = offer().await;
    let whip = "/v1/pipelines/echo/whip";
    let bearer = format!("Bearer {key}");
    let headers = [
        ("authorization", &*bearer),
        ("content-type", "application/sdp"),
    ];
    let sdp = client.sdp().to_owned();
    let opened = guarded.gateway.request("POST", whip, &headers, sdp).await;
    assert_eq!(opened.status, 201, "{}", opened.text());
    let mut claims = claims(&key);
    claims["exp"] = json!(1);
    let expired = signed(&claims);
    let (status, said) = guarded.get("/v1/pipelines/echo", &expired).await;
    assert_eq!(status, 401, "{said}");
    let detail = said["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("expired"), "{said}");
    assert_eq!(guarded.ws("echo", &expired).await, Err(401));
    claims["id"] = json!("another");
    let location = opened.header("location").to_owned();
    let end = ("DELETE", &*location);
    assert_eq!(guarded.ask(end, &signed(&claims), ("", "")).await.0, 403);
    assert_eq!(guarded.ask(end, &expired, ("", "")).await.0, 200);
}

/// A session over a WebSocket by a key.
async fn session(guarded: &Guarded, key: &str) -> Ws {
    let protocols = format!("{JSON}, tidegate.bearer.{key}");
    let upgraded = Ws::try_connect(guarded.gateway.address, "echo", &protocols, &[]).await;
    let mut ws = upgraded.expect("upgraded");
    ws.send(&json!({"open": {}})).await;
    ws.next_of("opened").await;
    ws
}

#[tokio::test]
async fn a_key_that_is_taken_back_opens_nothing_more_and_what_it_opened_ends() {
    let guarded = Guarded::start().await;
    let echo = json!({"pipeline": "echo"});
    let (_, minted) = mint(&guarded, APP, &echo).await;
    let (taken, id) = (minted["key"].as_str(), minted["id"].as_str());
    let (taken, id) = (taken.expect("a key"), id.expect("an id"));
    let other = key(&guarded).await;
    let mut ends = session(&guarded, taken).await;
    let mut stays = session(&guarded, &other).await;
    let path = format!("/v1/keys/{id}");
    let remove = ("DELETE", path.as_str());
    for (token, expected) in [("", 401), (taken, 403), (SCRAPER, 403)] {
        let (status, said) = guarded.ask(remove, token, ("", "")).await;
        assert_eq!(status, expected, "by '{token}': {said}");
    }
    assert_eq!(guarded.get("/v1/pipelines/echo", taken).await.0, 200);
    let odd = ("DELETE", "/v1/keys/none");
    assert_eq!(guarded.ask(odd, APP, ("", "")).await.0, 400);
    let (status, said) = guarded.ask(remove, APP, ("", "")).await;
    assert_eq!(
        (status, &said["sessions_ended"]),
        (200, &json!(1)),
        "{said}"
    );
    assert_eq!(ends.ending().await.close, 1000);
    let (status, said) = guarded.get("/v1/pipelines/echo", taken).await;
    assert_eq!(status, 401, "{said}");
    let detail = said["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("taken back"), "{said}");
    assert_eq!(guarded.ws("echo", taken).await, Err(401));
    assert_eq!(guarded.ws("echo", &other).await, Ok(()));
    stays.send(&json!({"end": {}})).await;
    assert_eq!(stays.ending().await.close, 1000, "others go on");
    assert_eq!(guarded.ask(remove, APP, ("", "")).await.0, 200, "again");
}

#[tokio::test]
async fn who_administers_sessions_takes_back_anybody_s_key() {
    let guarded = Guarded::start_with(&[(VARIABLE, SECRET)]).await;
    let mut claims = claims(&key(&guarded).await);
    claims["id"] = json!("00000000000000a1");
    let remove = ("DELETE", "/v1/keys/00000000000000a1");
    let theirs = signed(&claims);
    assert_eq!(guarded.get("/v1/pipelines/echo", &theirs).await.0, 200);
    assert_eq!(guarded.ask(remove, OPS, ("", "")).await.0, 200);
    assert_eq!(guarded.get("/v1/pipelines/echo", &theirs).await.0, 401);
}

#[tokio::test]
async fn gateways_with_one_secret_take_each_others_keys_and_others_do_not() {
    let secret = [(VARIABLE, SECRET)];
    let (one, other) = (
        Guarded::start_with(&secret).await,
        Guarded::start_with(&secret).await,
    );
    let stranger = Guarded::start().await;
    let key = key(&one).await;
    assert_eq!(other.ws("echo", &key).await, Ok(()));
    assert_eq!(stranger.ws("echo", &key).await, Err(401));
    // Whoever minted it must be granted the pipeline where it is shown.
    for (by, pipeline) in [("ops", "echo"), ("gone", "echo"), ("app", "transcribe")] {
        let forged = signed(&json!({"by": by, "p": pipeline, "exp": u64::MAX, "id": "1"}));
        assert_eq!(
            other.ws(pipeline, &forged).await,
            Err(401),
            "{by} {pipeline}"
        );
    }
}
