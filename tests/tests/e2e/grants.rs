//! Tokens that grant some things and not others, by every way in: who is nobody gets `unauthenticated`, who may not gets
//! `permission_denied`, the same everywhere.

use serde_json::{Value, json};
use tidegate_proto::v1;
use tidegate_tests::{Deadline, Gateway};
use tokio_tungstenite::tungstenite;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::clients::ANSWER_SECONDS;
use crate::clients::rpc;
use crate::clients::webrtc::offer;
use crate::clients::ws::{JSON, Ws};

pub(crate) const APP: &str = "token-of-the-app";
pub(crate) const OPS: &str = "token-of-ops";
pub(crate) const SCRAPER: &str = "token-of-the-scraper";
/// `printf %s token-of-ops | sha256sum`.
const OPS_SHA256: &str = "f5b8221f952b0fd34964e3812afb5758afe04d8a8dc6d2b4ddec17fa40dd6200";

const INLINE: &str = "version: tidegate/v1\nname: mine\ninputs: [{name: in, kind: text}]\n\
                      outputs: [{name: out, kind: text}]\nedges: [in -> out]\n";

/// A gateway where `app` may use `echo` and what begins with `live-`, `ops` administers sessions and runs manifests of its own, and
/// `scraper` reads `/metrics`.
pub(crate) struct Guarded {
    pub(crate) gateway: Gateway,
    folder: tempfile::TempDir,
}

impl Guarded {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With these settings too.
    pub(crate) async fn start_with(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("scraper");
        std::fs::write(&file, format!("{SCRAPER}\n")).expect("written");
        let settings = json!({"inline": true, "auth": {"tokens": [
            {"name": "app", "token": APP, "pipelines": ["echo", "live-*"]},
            {"name": "ops", "token_sha256": OPS_SHA256, "sessions": true, "inline": true},
            {"name": "scraper", "token_file": file, "metrics": true},
        ]}});
        let config = folder.path().join("tidegate.yaml");
        std::fs::write(&config, settings.to_string()).expect("written");
        let config = config.to_string_lossy();
        let gateway = Gateway::start_with(&["--config", &config], variables).await;
        Self { gateway, folder }
    }

    /// The status of a request, and the code in its problem or the whole of its JSON.
    pub(crate) async fn ask(
        &self,
        (method, path): (&str, &str),
        token: &str,
        (kind, body): (&str, &str),
    ) -> (u16, Value) {
        let token = format!("Bearer {token}");
        let headers = [("authorization", &*token), ("content-type", kind)];
        let headers = if token.len() > "Bearer ".len() {
            &headers[..]
        } else {
            &headers[1..]
        };
        let body = body.to_owned();
        let answer = self.gateway.request(method, path, headers, body).await;
        let value = serde_json::from_str(&answer.text()).unwrap_or_default();
        (answer.status, value)
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        self.ask(("GET", path), token, ("text/plain", "")).await
    }

    /// Upgrades with the token as a browser sends it.
    pub(crate) async fn ws(&self, pipeline: &str, token: &str) -> Result<(), u16> {
        let protocols = format!("{JSON}, tidegate.bearer.{token}");
        let upgraded = Ws::try_connect(self.gateway.address, pipeline, &protocols, &[]).await;
        match upgraded {
            Ok(mut ws) => {
                ws.send(&json!({"open": {"pipeline": pipeline}})).await;
                ws.next_of("opened").await;
                Ok(())
            }
            Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }

    /// Calls a method of gRPC; gives the status and the reason in its details.
    pub(crate) async fn grpc<T>(
        &self,
        message: T,
        token: &str,
        call: impl AsyncFnOnce(
            &mut v1::gateway_client::GatewayClient<tonic::transport::Channel>,
            tonic::Request<T>,
        ) -> Result<(), tonic::Status>,
    ) -> (Code, String) {
        let mut request = tonic::Request::new(message);
        let value = format!("Bearer {token}").parse().expect("a header's value");
        request.metadata_mut().insert("authorization", value);
        let mut client = rpc::client(&self.gateway).await;
        let by = Deadline::secs(ANSWER_SECONDS);
        match by.wait(call(&mut client, request)).await.expect("in time") {
            Ok(()) => (Code::Ok, String::new()),
            Err(status) => {
                let reason = status.get_details_error_info().map(|info| info.reason);
                (status.code(), reason.unwrap_or_default())
            }
        }
    }
}

const DENIED: (Code, &str) = (Code::PermissionDenied, "permission_denied");
const NOBODY: (Code, &str) = (Code::Unauthenticated, "unauthenticated");

fn named(found: &(Code, String)) -> (Code, &str) {
    (found.0, &found.1)
}

#[tokio::test]
async fn over_http_each_token_opens_what_it_grants_and_nothing_else() {
    let guarded = Guarded::start().await;
    let json = "application/json";
    let run = r#"{"inputs": {}}"#;
    let inline = json!({"manifest": INLINE, "inputs": {"in": []}}).to_string();
    let whip = "/v1/pipelines/echo/whip";
    let rows = [
        (("OPTIONS", whip), ("", ""), [204, 204, 403]),
        (("GET", "/v1/pipelines"), ("", ""), [200, 200, 200]),
        (("GET", "/v1/pipelines/echo"), ("", ""), [200, 403, 403]),
        (
            ("GET", "/v1/pipelines/transcribe"),
            ("", ""),
            [403, 403, 403],
        ),
        (
            ("GET", "/v1/pipelines/live-none"),
            ("", ""),
            [404, 403, 403],
        ),
        (("GET", "/v1/sessions"), ("", ""), [403, 200, 403]),
        (("GET", "/v1/sessions/none"), ("", ""), [403, 404, 403]),
        (("DELETE", "/v1/sessions/none"), ("", ""), [403, 404, 403]),
        (("GET", "/metrics"), ("", ""), [403, 403, 200]),
        (
            ("POST", "/v1/pipelines/echo/execute"),
            (json, run),
            [200, 403, 403],
        ),
        (("POST", "/v1/execute"), (json, &inline), [403, 200, 403]),
    ];
    for (request, body, statuses) in rows {
        for (token, expected) in [APP, OPS, SCRAPER].into_iter().zip(statuses) {
            let (status, said) = guarded.ask(request, token, body).await;
            assert_eq!(status, expected, "{request:?} by {token}: {said}");
            if status == 403 {
                assert_eq!(said["code"], "permission_denied", "{request:?}: {said}");
            }
        }
        for nobody in ["", "wrong", OPS_SHA256] {
            let (status, said) = guarded.ask(request, nobody, body).await;
            assert_eq!(status, 401, "{request:?} by '{nobody}': {said}");
            assert_eq!(said["code"], "unauthenticated");
        }
    }
    let (_, list) = guarded.get("/v1/pipelines", APP).await;
    let names = list["pipelines"].as_array().expect("a list").iter();
    let names: Vec<_> = names.map(|pipeline| pipeline["name"].clone()).collect();
    assert_eq!(names, ["echo"], "what may be used and nothing else");
    let logs = guarded.gateway.logs.text();
    for secret in [APP, OPS, SCRAPER] {
        assert!(!logs.contains(secret), "no token is logged");
    }
}

#[tokio::test]
async fn streams_are_refused_with_the_same_codes_as_requests() {
    let guarded = Guarded::start().await;
    assert_eq!(guarded.ws("echo", APP).await, Ok(()));
    assert_eq!(guarded.ws("echo", OPS).await, Err(403));
    assert_eq!(guarded.ws("transcribe", APP).await, Err(403));
    assert_eq!(guarded.ws("echo", "wrong").await, Err(401));

    let token = format!("Bearer {APP}");
    let url = format!("ws://{}/v1/ws", guarded.gateway.address);
    let stream = tokio::net::TcpStream::connect(guarded.gateway.address).await;
    let mut request =
        tungstenite::client::IntoClientRequest::into_client_request(url).expect("a URL");
    let value = token.parse().expect("a header's value");
    request.headers_mut().insert("authorization", value);
    let stream = stream.expect("it listens");
    let by = Deadline::secs(ANSWER_SECONDS);
    let upgraded = by
        .wait(tokio_tungstenite::client_async(request, stream))
        .await;
    let (mut socket, _) = upgraded.expect("in time").expect("upgraded");
    let open = json!({"open": {"manifest": INLINE}}).to_string();
    let sent = futures_util::SinkExt::send(&mut socket, tungstenite::Message::text(open));
    sent.await.expect("sent");
    let said = by.wait(futures_util::StreamExt::next(&mut socket)).await;
    let said = said
        .expect("in time")
        .expect("a message")
        .expect("readable");
    let said: Value = serde_json::from_str(said.to_text().expect("text")).expect("JSON");
    assert_eq!(said["error"]["code"], "permission_denied", "{said}");

    let (client, _socket) = offer().await;
    let sdp = ("application/sdp", client.sdp());
    let whip = ("POST", "/v1/pipelines/echo/whip");
    let (status, said) = guarded.ask(whip, OPS, sdp).await;
    assert_eq!((status, &said["code"]), (403, &json!("permission_denied")));
    assert_eq!(guarded.ask(whip, "", sdp).await.0, 401);
    assert_eq!(guarded.ask(whip, APP, sdp).await.0, 201);
}

#[tokio::test]
async fn grpc_asks_for_the_same_grants() {
    let guarded = Guarded::start().await;
    let open = |pipeline: &str| {
        let first = v1::ClientMessage {
            message: Some(rpc::open(pipeline, v1::Mode::Live)),
        };
        tokio_stream::iter([first])
    };
    for (pipeline, token, expected) in [
        ("echo", APP, (Code::Ok, "")),
        ("echo", OPS, DENIED),
        ("transcribe", APP, DENIED),
        ("echo", "wrong", NOBODY),
    ] {
        let run = guarded.grpc(open(pipeline), token, async |client, request| {
            client.stream(request).await.map(drop)
        });
        assert_eq!(
            named(&run.await),
            expected,
            "Stream of {pipeline} by {token}"
        );
        let execute = v1::ExecuteRequest {
            source: Some(v1::execute_request::Source::Pipeline(pipeline.to_owned())),
            ..v1::ExecuteRequest::default()
        };
        let run = guarded.grpc(execute, token, async |client, request| {
            client.execute(request).await.map(drop)
        });
        assert_eq!(
            named(&run.await),
            expected,
            "Execute of {pipeline} by {token}"
        );
        let describe = v1::DescribePipelineRequest {
            pipeline: pipeline.to_owned(),
            ..v1::DescribePipelineRequest::default()
        };
        let run = guarded.grpc(describe, token, async |client, request| {
            client.describe_pipeline(request).await.map(drop)
        });
        assert_eq!(
            named(&run.await),
            expected,
            "Describe of {pipeline} by {token}"
        );
    }
    let mut names = Vec::new();
    let list = guarded.grpc(v1::ListPipelinesRequest {}, APP, async |client, request| {
        let list = client.list_pipelines(request).await?.into_inner();
        names = list.pipelines.into_iter().map(|p| p.name).collect();
        Ok(())
    });
    assert_eq!(named(&list.await), (Code::Ok, ""));
    assert_eq!(names, ["echo"]);
}

#[tokio::test]
async fn a_resource_of_whip_is_its_openers_and_the_administrators() {
    let guarded = Guarded::start().await;
    let (client, _socket) = offer().await;
    let bearer = format!("Bearer {APP}");
    let headers = [
        ("authorization", &*bearer),
        ("content-type", "application/sdp"),
    ];
    let gateway = &guarded.gateway;
    let sdp = client.sdp().to_owned();
    let opened = gateway
        .request("POST", "/v1/pipelines/echo/whip", &headers, sdp)
        .await;
    assert_eq!(opened.status, 201, "{}", opened.text());
    let location = opened.header("location").to_owned();
    assert_eq!(guarded.get(&location, APP).await.0, 204);
    assert_eq!(guarded.get(&location, OPS).await.0, 204);
    assert_eq!(guarded.get(&location, SCRAPER).await.0, 403);
    let end = ("DELETE", &*location);
    assert_eq!(guarded.ask(end, SCRAPER, ("", "")).await.0, 403);
    assert_eq!(guarded.ask(end, APP, ("", "")).await.0, 200);
}

#[tokio::test]
async fn a_new_token_in_the_file_takes_over_from_the_old() {
    let guarded = Guarded::start().await;
    assert_eq!(guarded.get("/metrics", SCRAPER).await.0, 200);
    std::fs::write(guarded.folder.path().join("scraper"), "the-next-token").expect("written");
    let by = Deadline::secs(ANSWER_SECONDS);
    let taken = async {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
        while guarded.get("/metrics", "the-next-token").await.0 != 200 {
            ticks.tick().await;
        }
    };
    by.wait(taken).await.expect("taken in time");
    assert_eq!(guarded.get("/metrics", SCRAPER).await.0, 401);
}

#[tokio::test]
async fn tokens_that_do_not_do_are_refused_at_start_and_shown_nowhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("tidegate.yaml");
    for (tokens, part) in [
        (
            json!([{"name": "app", "token": APP, "pipeline": ["echo"]}]),
            "pipelines",
        ),
        (json!([{"name": "app", "token": [APP]}]), "auth.tokens"),
        (json!(APP), "auth.tokens"),
        (
            json!([{"name": "app", "token": APP, "token_file": "x"}]),
            "set one of",
        ),
        (
            json!([{"name": "app", "token_file": "/none/such"}]),
            "'app' cannot be read",
        ),
    ] {
        let settings = json!({"auth": {"tokens": tokens}}).to_string();
        std::fs::write(&config, settings).expect("written");
        let serve = tidegate_tests::Peer::program("tidegate", &tidegate_tests::gateway::binary());
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--media", "127.0.0.1:0"];
        let serve = serve.args(arguments.map(Into::into).into_iter().chain([
            std::ffi::OsString::from("--config"),
            config.clone().into_os_string(),
        ]));
        let (status, said) = serve.output(Deadline::secs(20)).await;
        let said = said.text();
        assert!(!status.success(), "{tokens}: {said}");
        assert!(said.contains(part), "{part} in {said}");
        assert!(!said.contains(APP), "{said}");
    }
}
