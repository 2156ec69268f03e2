//! What one key may open: so many sessions a minute and at a time, whichever transport they come by and however many keys it mints.

use serde_json::{Value, json};
use tidegate_proto::v1;
use tidegate_tests::http::Response;
use tidegate_tests::{Deadline, Gateway};
use tonic_types::StatusExt as _;

use crate::clients::ANSWER_SECONDS;
use crate::clients::rpc;
use crate::clients::webrtc::offer;
use crate::clients::ws::{JSON, Ws};

const ONE: &str = "token-of-the-one";
const OTHER: &str = "token-of-the-other";

struct Limited {
    gateway: Gateway,
    _folder: tempfile::TempDir,
}

impl Limited {
    /// A gateway where two tokens may use `echo`, with these limits.
    async fn start(limits: Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = json!({"auth": {"limits": limits, "tokens": [
            {"name": "one", "token": ONE, "pipelines": ["echo"], "metrics": true},
            {"name": "other", "token": OTHER, "pipelines": ["echo"]},
        ]}});
        let config = folder.path().join("tidegate.yaml");
        std::fs::write(&config, settings.to_string()).expect("written");
        let gateway = Gateway::start(&["--config", &config.to_string_lossy()]).await;
        Self {
            gateway,
            _folder: folder,
        }
    }

    async fn post(&self, path: &str, token: &str, (kind, body): (&str, &str)) -> Response {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", &*bearer), ("content-type", kind)];
        self.gateway
            .request("POST", path, &headers, body.to_owned())
            .await
    }

    async fn execute(&self, token: &str) -> Response {
        let run = ("application/json", r#"{"inputs": {}}"#);
        self.post("/v1/pipelines/echo/execute", token, run).await
    }

    async fn refused(&self, reason: &str) -> Option<f64> {
        let bearer = format!("Bearer {ONE}");
        let headers = [("authorization", &*bearer)];
        let page = self.gateway.request("GET", "/metrics", &headers, "").await;
        tidegate_tests::gateway::sum_of(&page.text(), "tidegate_key_limits_total", &[reason])
    }

    /// Opens a WebSocket session; the code and the advice of a refusal.
    async fn ws(&self, token: &str) -> Result<Ws, (String, u64)> {
        let protocols = format!("{JSON}, tidegate.bearer.{token}");
        let upgraded = Ws::try_connect(self.gateway.address, "echo", &protocols, &[]).await;
        let mut ws = upgraded.expect("upgraded");
        ws.send(&json!({"open": {}})).await;
        let said = ws.next().await.expect("a message");
        let said: Value = serde_json::from_str(said.to_text().expect("text")).expect("JSON");
        if said.get("opened").is_some() {
            return Ok(ws);
        }
        let said = &said["error"];
        let after = said["retry_after"].as_u64().unwrap_or_default();
        Err((said["code"].as_str().unwrap_or_default().to_owned(), after))
    }
}

#[tokio::test]
async fn who_opens_too_many_is_told_on_every_transport_when_to_come_again() {
    let limited = Limited::start(json!({"opens_per_minute": 1, "burst": 2})).await;
    for _ in 0..2 {
        assert_eq!(limited.execute(ONE).await.status, 200);
    }
    let (client, _socket) = offer().await;
    let whip = limited
        .post(
            "/v1/pipelines/echo/whip",
            ONE,
            ("application/sdp", client.sdp()),
        )
        .await;
    for answer in [limited.execute(ONE).await, whip] {
        assert_eq!(answer.status, 429, "{}", answer.text());
        assert_eq!(answer.json()["code"], "rate_limited");
        let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
        assert!((30..=60).contains(&seconds), "{seconds}");
    }
    let (code, after) = limited.ws(ONE).await.err().expect("refused");
    assert_eq!(code, "rate_limited");
    assert!(after > 30_000_000, "microseconds: {after}");

    let first = v1::ClientMessage {
        message: Some(rpc::open("echo", v1::Mode::Live)),
    };
    let mut request = tonic::Request::new(tokio_stream::iter([first]));
    let bearer = format!("Bearer {ONE}");
    let bearer = bearer.parse().expect("a header's value");
    request.metadata_mut().insert("authorization", bearer);
    let mut client = rpc::client(&limited.gateway).await;
    let by = Deadline::secs(ANSWER_SECONDS);
    let answer = by.wait(client.stream(request)).await.expect("in time");
    let status = answer.expect_err("refused");
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status:?}");
    let advice = status
        .get_details_retry_info()
        .and_then(|info| info.retry_delay);
    assert!(
        advice.is_some_and(|delay| delay.as_secs() >= 30),
        "{status:?}"
    );

    assert_eq!(
        limited.execute(OTHER).await.status,
        200,
        "others are not concerned"
    );
    assert_eq!(limited.refused("opens").await, Some(4.0));
}

#[tokio::test]
async fn a_key_has_so_many_sessions_and_the_keys_that_it_mints_share_them() {
    let limited = Limited::start(json!({"sessions": 2})).await;
    let body = ("application/json", r#"{"pipeline": "echo"}"#);
    let minted = limited.post("/v1/keys", ONE, body).await.json();
    let key = minted["key"].as_str().expect("a key");
    let first = limited.ws(ONE).await.expect("opened");
    let _second = limited.ws(key).await.expect("opened");
    for token in [ONE, key] {
        let (code, _) = limited.ws(token).await.err().expect("refused");
        assert_eq!(code, "rate_limited");
    }
    assert!(limited.ws(OTHER).await.is_ok(), "others are not concerned");
    assert_eq!(limited.refused("sessions").await, Some(2.0));
    drop(first);
    let by = Deadline::secs(ANSWER_SECONDS);
    let again = async {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
        while limited.ws(key).await.is_err() {
            ticks.tick().await;
        }
    };
    by.wait(again).await.expect("there is room again");
}
