//! The document against the routes and against what they answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use tidegate_signaling::{Certificate, ClientPeer, Offer, PeerConfig};
use tower::ServiceExt as _;

use super::describe;
use super::fits::fits;
use crate::config::Config;
use crate::gateway::Gateway;

const METHODS: [Method; 6] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];
/// More than any answer here.
const BODY: usize = 1 << 20;

/// The routes as the sources write them.
fn routes() -> BTreeSet<String> {
    let sources = [
        include_str!("../mod.rs"),
        include_str!("../page.rs"),
        include_str!("../kserve.rs"),
    ];
    let calls = sources
        .iter()
        .flat_map(|text| text.split(".route(").skip(1));
    calls
        .map(|call| {
            let path = call.split('"').nth(1).expect("a path in quotes");
            path.replace("{*", "{")
        })
        .collect()
}

/// A gateway's routes, and the document that describes them.
struct Bench {
    router: Router,
    document: Value,
}

/// An answer that was held against the document.
struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

impl Bench {
    fn new() -> Self {
        let gateway = Gateway::new(Config::default(), true).expect("a gateway");
        Self {
            router: crate::http::router(&Arc::clone(&gateway)),
            document: describe(),
        }
    }

    /// The operation of the document that a request meets.
    fn operation(&self, method: &Method, path: &str) -> Option<&Value> {
        let parts: Vec<_> = path.split('/').collect();
        let paths = self.document["paths"].as_object().expect("paths");
        let meets = |template: &str| {
            let wanted: Vec<_> = template.split('/').collect();
            wanted.len() == parts.len()
                && wanted
                    .iter()
                    .zip(&parts)
                    .all(|(wanted, part)| wanted.starts_with('{') || wanted == part)
        };
        let mut found: Vec<_> = paths.iter().filter(|(path, _)| meets(path)).collect();
        // A path without parameters goes first.
        found.sort_by_key(|(path, _)| path.matches('{').count());
        let (_, path) = found.first()?;
        path.get(method.as_str().to_lowercase())
    }

    /// Sends a request and holds the answer against the document.
    async fn ask(&self, method: Method, path: &str, kind: &str, body: &str) -> Answer {
        let request = Request::builder()
            .method(&method)
            .uri(path)
            .header(header::HOST, "127.0.0.1")
            .header(header::CONTENT_TYPE, kind);
        // An answer by lines where there is one.
        let request = match path.strip_suffix("#lines") {
            Some(path) => request
                .uri(path)
                .header(header::ACCEPT, "application/x-ndjson"),
            None => request,
        };
        let request = request
            .body(Body::from(body.to_owned()))
            .expect("a request");
        let path = request.uri().path().to_owned();
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        let answer = take(response).await;
        if answer.status != StatusCode::METHOD_NOT_ALLOWED {
            let at = format!("{method} {path} {}", answer.status);
            let operation = self.operation(&method, &path);
            let operation = operation.unwrap_or_else(|| panic!("{at} is not described"));
            self.hold(&answer, &operation["responses"], &at);
        }
        answer
    }

    fn hold(&self, answer: &Answer, responses: &Value, at: &str) {
        let listed = responses.get(answer.status.as_str());
        let response = listed.unwrap_or(&responses["default"]);
        for (name, rule) in response["headers"].as_object().into_iter().flatten() {
            let value = answer
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok());
            if rule["required"] == true {
                let value = json!(value.unwrap_or_else(|| panic!("{at}: no header {name}")));
                fits(&self.document, &rule["schema"], &value, name).expect("a header that fits");
            }
        }
        let kind = answer.headers.get(header::CONTENT_TYPE);
        let kind = kind.map_or("", |kind| kind.to_str().expect("text"));
        let kind = kind.split(';').next().unwrap_or_default();
        let Some(kinds) = response["content"].as_object() else {
            assert_eq!(answer.body, "", "{at}: a body that is not described");
            return;
        };
        let described = kinds.get(kind).or_else(|| kinds.get("*/*"));
        let described = described.unwrap_or_else(|| panic!("{at}: content type '{kind}'"));
        let values = match kind {
            "application/x-ndjson" => answer.body.lines().map(read).collect(),
            kind if kind.ends_with("json") => vec![read(&answer.body)],
            _ => vec![json!(answer.body)],
        };
        for value in values {
            let fit = fits(&self.document, &described["schema"], &value, at);
            fit.unwrap_or_else(|misfit| panic!("{misfit}"));
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, "", "").await
    }
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

async fn take(response: Response<Body>) -> Answer {
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, BODY).await.expect("a body");
    Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

#[tokio::test]
async fn every_route_is_described_with_its_methods_and_nothing_else_is() {
    let bench = Bench::new();
    let paths = bench.document["paths"].as_object().expect("paths");
    let described: BTreeSet<_> = paths.keys().cloned().collect();
    assert_eq!(described, routes());
    for path in &described {
        let address = path.replace('{', "no-such-").replace('}', "");
        for method in METHODS {
            // What it answers is held against the document by the way.
            let answer = bench.ask(method.clone(), &address, "", "").await;
            let served = answer.status != StatusCode::METHOD_NOT_ALLOWED;
            let described = bench.operation(&method, &address).is_some();
            assert_eq!(served, described, "{method} {path}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn what_there_is_fits_its_description() {
    let bench = Bench::new();
    for path in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/v1/nodes",
        "/v2",
        "/v2/models/summarise",
        "/v2/models/summarise/config",
        "/v2/models/summarise/stats",
        "/v2/models/stats",
    ] {
        assert_eq!(bench.get(path).await.status, 200, "{path}");
    }
    let all = bench.get("/v1/pipelines").await.json();
    let all = all["pipelines"].as_array().expect("a list");
    assert!(all.len() >= 4, "those that ship: {all:?}");
    for pipeline in all {
        let path = format!(
            "/v1/pipelines/{}",
            pipeline["name"].as_str().expect("a name")
        );
        assert_eq!(bench.get(&path).await.status, 200, "{path}");
    }
    let path = "/v2/repository/index";
    let answer = bench.ask(Method::POST, path, "application/json", "{}");
    assert_eq!(answer.await.status, 200);
    assert_eq!(bench.get("/v1/sessions").await.status, 200);
    assert_eq!(bench.get("/v1/pipelines/nope").await.status, 404);
}

#[tokio::test]
async fn what_execute_answers_fits_its_description() {
    let bench = Bench::new();
    let path = "/v1/pipelines/summarise/execute";
    let tensor = json!({"tensor": {"dtype": "f32", "shape": [2], "data": "AAAAAAAAgD8="}});
    let body = json!({"inputs": {"tensors": [tensor]}});
    let request = &bench.document["components"]["schemas"]["Execute"];
    fits(&bench.document, request, &body, "body").expect("the body is described");
    let body = body.to_string();
    for path in [path.to_owned(), format!("{path}#lines")] {
        let answer = bench
            .ask(Method::POST, &path, "application/json", &body)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.body.contains("\"finite\":2"), "{}", answer.body);
    }
    for (kind, body, status) in [("application/json", "{", 400), ("text/html", "", 415)] {
        let answer = bench.ask(Method::POST, path, kind, body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}

#[tokio::test]
async fn a_session_fits_its_description_from_offer_to_end() {
    let bench = Bench::new();
    let address = "127.0.0.1:9".parse().expect("an address");
    let config = PeerConfig::new(Certificate::generate().expect("one"), vec![address]);
    let client = ClientPeer::offer(&config, &Offer::voice());
    let ping = bench
        .ask(
            Method::POST,
            "/v1/whip/ping",
            "application/sdp",
            client.sdp(),
        )
        .await;
    assert_eq!(ping.status, 201, "{}", ping.body);
    let path = "/v1/pipelines/echo/whip";
    let answer = bench
        .ask(Method::POST, path, "application/sdp", client.sdp())
        .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let named = |name: &str| answer.headers[name].to_str().expect("text").to_owned();
    let session = format!("/v1/sessions/{}", named("tidegate-session"));
    let seen = bench.get(&session).await.json();
    assert!(seen["webrtc"].is_object(), "{seen}");
    let listed = bench.get("/v1/sessions").await.json();
    assert_eq!(listed["sessions"][0]["transports"], json!(["webrtc"]));

    let resource = named("location");
    assert_eq!(bench.get(&resource).await.status, 204);
    let fragment = "application/trickle-ice-sdpfrag";
    let unnamed = bench
        .ask(Method::PATCH, &resource, fragment, "a=mid:0\r\n")
        .await;
    assert!(unnamed.status.is_client_error(), "{}", unnamed.body);
    let left = bench.ask(Method::DELETE, &resource, "", "").await;
    assert_eq!(left.status, 200, "{}", left.body);

    let second = bench
        .ask(Method::POST, path, "application/sdp", client.sdp())
        .await;
    let id = second.headers["tidegate-session"].to_str().expect("text");
    let ended = bench
        .ask(Method::DELETE, &format!("/v1/sessions/{id}"), "", "")
        .await;
    assert_eq!(ended.status, 204, "{}", ended.body);
}
