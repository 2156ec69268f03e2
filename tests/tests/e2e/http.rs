//! The HTTP surface as any client sees it.

use serde_json::{Value, json};
use tidegate_tests::fixtures::recording;
use tidegate_tests::{Deadline, Gateway};

/// Names in a list of objects, or of the list under `key`.
fn names(list: &Value, key: &str) -> Vec<String> {
    let list = list.as_array().or_else(|| list[key].as_array());
    let list = list.unwrap_or_else(|| panic!("a list or {{{key}: […]}}"));
    list.iter()
        .filter_map(|entry| Some(entry["name"].as_str()?.to_owned()))
        .collect()
}

#[tokio::test]
async fn a_gateway_without_options_is_ready_and_serves_the_shipped_pipelines() {
    let gateway = Gateway::start(&[]).await;
    assert_eq!(gateway.get("/healthz").await.status, 200);
    assert_eq!(gateway.get("/readyz").await.status, 200);
    let pipelines = names(&gateway.get("/v1/pipelines").await.json(), "pipelines");
    for name in ["echo", "clean-voice", "features", "conference"] {
        assert!(
            pipelines.iter().any(|p| p == name),
            "{name} ships: {pipelines:?}"
        );
        let about = gateway.get(&format!("/v1/pipelines/{name}")).await;
        assert_eq!(about.status, 200, "{}", about.text());
        assert_eq!(about.json()["name"], name);
    }
    let api = gateway.get("/openapi.json").await.json();
    assert!(
        api["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.")),
        "{api}"
    );
    let page = gateway.get("/").await;
    assert!(page.text().contains("<html"), "{}", page.text());
    let metrics = gateway.get("/metrics").await;
    assert!(
        metrics
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
}

#[tokio::test]
async fn execute_answers_with_what_came_out() {
    let gateway = Gateway::start(&[]).await;
    let about = gateway.get("/v1/pipelines/echo").await.json();
    let port = |way: &str| about[way][0]["name"].as_str().expect("a port").to_owned();
    let (input, output) = (port("inputs"), port("outputs"));
    let format = json!({"codec": "pcm_s16", "sample_rate": 16000, "channels": 1});
    let frame = |seq: u64| {
        let audio = json!({"format": format, "data": "AAABAAIAAwA="});
        json!({"port": input, "seq": seq, "media_time": (seq - 1) * 250, "audio": audio})
    };
    let body = json!({"inputs": {&input: [frame(1), frame(2)]}});
    let answer = gateway.post_json("/v1/pipelines/echo/execute", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let frames = answer.json()["outputs"][&output].clone();
    assert_eq!(frames.as_array().map(Vec::len), Some(2), "{frames}");
    assert_eq!(frames[1]["audio"]["data"], "AAABAAIAAwA=", "{frames}");
}

#[tokio::test]
async fn execute_takes_a_media_file_and_streams_messages() {
    let gateway = Gateway::start(&[]).await;
    let wav = std::fs::read(recording("jfk.wav")).expect("run `make setup-test`");
    let headers = [
        ("content-type", "audio/wav"),
        ("accept", "application/x-ndjson"),
    ];
    let path = "/v1/pipelines/echo/execute";
    let answer = gateway.request("POST", path, &headers, wav).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        answer
            .header("content-type")
            .starts_with("application/x-ndjson")
    );
    let text = answer.text();
    let messages: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON a line"))
        .collect();
    assert!(
        messages
            .iter()
            .filter(|message| !message["frame"].is_null())
            .count()
            > 100
    );
    assert!(
        messages.last().is_some_and(|last| !last["ended"].is_null()),
        "{:?}",
        messages.last()
    );
}

#[tokio::test]
async fn errors_are_problem_details_with_a_stable_code() {
    let gateway = Gateway::start(&[]).await;
    let unknown = gateway.get("/v1/pipelines/none").await;
    assert_eq!(unknown.status, 404, "{}", unknown.text());
    assert_eq!(unknown.header("content-type"), "application/problem+json");
    assert_eq!(unknown.json()["code"], "unknown_pipeline");
    assert_eq!(unknown.json()["status"], 404);
    let session = gateway.get("/v1/sessions/none").await;
    assert_eq!(
        (session.status, &session.json()["code"]),
        (404, &json!("unknown_session"))
    );
    let json = [("content-type", "application/json")];
    let broken = gateway
        .request("POST", "/v1/pipelines/echo/execute", &json, "{")
        .await;
    assert_eq!(
        (broken.status, &broken.json()["code"]),
        (400, &json!("bad_request"))
    );
}

#[tokio::test]
async fn a_foreign_page_and_a_rebound_name_are_refused_on_every_path() {
    let gateway = Gateway::start(&[]).await;
    for path in ["/", "/metrics", "/healthz", "/v1/pipelines", "/v1/sessions"] {
        let origin = gateway
            .request("GET", path, &[("origin", "https://evil.example")], "")
            .await;
        assert_eq!(origin.status, 403, "{path} for a foreign Origin");
        let host = gateway
            .request("GET", path, &[("host", "evil.example")], "")
            .await;
        assert_eq!(host.status, 403, "{path} for a foreign Host");
    }
    let own = format!("http://{}", gateway.address);
    let own = gateway
        .request("GET", "/v1/pipelines", &[("origin", &own)], "")
        .await;
    assert_eq!(own.status, 200, "the page's own origin");
}

#[tokio::test]
async fn a_session_that_cannot_be_opened_is_in_the_log_with_its_pipeline_and_hop() {
    let folder = tempfile::tempdir().expect("a folder for the manifest");
    let manifest = json!({
        "version": "tidegate/v1", "name": "nobody",
        "inputs": [{"name": "mic", "kind": "audio"}],
        "outputs": [{"name": "speaker", "kind": "audio"}],
        "nodes": [{"id": "far", "type": "remote", "params": {
            "transport": "grpc", "endpoints": ["http://127.0.0.1:9"], "pipeline": "echo", "retry": {"backoff": "10ms"},
        }}],
        "edges": ["mic -> far -> speaker"],
    });
    let file = folder.path().join("nobody.yaml");
    std::fs::write(file, manifest.to_string()).expect("written");
    let path = folder.path().to_string_lossy().into_owned();
    let gateway = Gateway::start(&["--pipelines", &path]).await;
    let wav = std::fs::read(recording("jfk.wav")).expect("run `make setup-test`");
    let audio = [("content-type", "audio/wav")];
    let to = "/v1/pipelines/nobody/execute";
    let answer = gateway.request("POST", to, &audio, wav).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    let code = answer.json()["code"].as_str().expect("a code").to_owned();
    let by = Deadline::secs(30);
    let line = by.wait(gateway.logs.find("session not opened")).await;
    let line = line.unwrap_or_else(|| panic!("{}", gateway.logs.text()));
    for part in ["WARN", "nobody", "far", &code, "session="] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

#[tokio::test]
async fn the_address_of_a_websocket_says_so_to_whoever_asks_without_an_upgrade() {
    let gateway = Gateway::start(&[]).await;
    for path in [
        "/v1/realtime?model=echo",
        "/v1/pipelines/echo/ws",
        "/v1/pipelines/echo/twilio",
        "/v1/ws",
    ] {
        let answer = gateway.get(path).await;
        assert_eq!(answer.status, 426, "{path}: {}", answer.text());
        assert_eq!(answer.header("upgrade"), "websocket");
        assert!(answer.text().contains("WebSocket"), "{}", answer.text());
    }
    for path in ["/v1/realtime?model=none", "/v1/pipelines/none/ws"] {
        let answer = gateway.get(path).await;
        assert_eq!(answer.json()["code"], "unknown_pipeline", "{path}");
    }
}

#[tokio::test]
async fn what_openai_has_and_a_gateway_has_not_says_so_where_openais_clients_look() {
    let gateway = Gateway::start(&[]).await;
    let answer = gateway
        .post_json("/v1/chat/completions", &json!({"model": "echo"}))
        .await;
    assert_eq!(answer.status, 404);
    let body = answer.json();
    assert_eq!(body["code"], "bad_request", "{body}");
    assert_eq!(body["error"]["code"], "unknown_url", "{body}");
    assert_eq!(body["error"]["type"], "invalid_request_error", "{body}");
    let message = body["error"]["message"].as_str().expect("a text");
    assert!(message.contains("/v1/audio/transcriptions"), "{message}");
}
