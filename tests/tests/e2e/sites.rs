//! Several gateways that know each other: pipelines are published at running ones, since each has to know the others' addresses.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tidegate_tests::{Deadline, Gateway};

/// A gateway with a folder of pipelines of its own.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    folder: tempfile::TempDir,
}

impl Site {
    /// One that takes manifests of others, which may reach these endpoints.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for manifests");
        let path = folder.path().to_string_lossy().into_owned();
        let gateway = Gateway::start_with(&["--pipelines", &path], settings).await;
        Self { gateway, folder }
    }

    /// Publishes a pipeline, and waits until it is served as it is now.
    pub(crate) async fn publish(&self, manifest: &Value) {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let mut manifest = manifest.clone();
        let mark = format!(
            "published as number {}",
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        manifest["description"] = json!(mark);
        let name = manifest["name"].as_str().expect("a manifest has a name");
        let file = self.folder.path().join(format!("{name}.yaml"));
        std::fs::write(file, manifest.to_string()).expect("the manifest is written");
        self.gateway.signal("HUP").await;
        let by = Deadline::secs(20);
        let served = by.until(|| async {
            let listed = self.gateway.get("/v1/pipelines").await.json();
            let all = listed["pipelines"].as_array().cloned().unwrap_or_default();
            all.iter()
                .any(|one| one["description"] == mark)
                .then_some(())
        });
        let served = served.await;
        assert!(served.is_some(), "{name}: {}", self.gateway.logs.text());
    }

    pub(crate) fn url(&self) -> String {
        self.gateway.url("")
    }

    /// What the gateway calls itself.
    pub(crate) async fn id(&self) -> String {
        let about = self.gateway.get("/v1/pipelines/echo").await.json();
        let id = about["gateway_id"].as_str().expect("an identity");
        id.to_owned()
    }

    /// Sends texts through a pipeline of this shape; the answer's status and body.
    pub(crate) async fn execute(&self, pipeline: &str, texts: &[&str]) -> (u16, Value) {
        let frames = texts.iter().zip(1..).map(|(text, seq)| {
            json!({"port": "in", "seq": seq, "utterance": seq, "final": true, "text": {"text": text}})
        });
        let body = json!({"inputs": {"in": frames.collect::<Vec<_>>()}});
        let path = format!("/v1/pipelines/{pipeline}/execute");
        let answer = self.gateway.post_json(&path, &body).await;
        (answer.status, answer.json())
    }
}

/// A pipeline of text in and text out with this one node between.
pub(crate) fn pipeline(name: &str, node_type: &str, params: Value) -> Value {
    json!({
        "version": "tidegate/v1",
        "name": name,
        "inputs": [{"name": "in", "kind": "text"}],
        "outputs": [{"name": "out", "kind": "text"}],
        "nodes": [{"id": "far", "type": node_type, "params": params}],
        "edges": [
            {"from": "in", "to": "far", "queue": {"when_full": "drop_oldest"}},
            "far -> out",
        ],
    })
}

/// A pipeline whose node is a pipeline of another gateway.
pub(crate) fn relay(name: &str, endpoint: &str, pipeline: &str) -> Value {
    self::pipeline(
        name,
        "remote",
        json!({"endpoints": [endpoint], "pipeline": pipeline}),
    )
}

/// A pipeline that puts a word before each text.
pub(crate) fn greeting(name: &str) -> Value {
    let mut manifest = pipeline(name, "text.template", json!({"template": "hello {{text}}"}));
    manifest["edges"] = json!(["in -> far", "far -> out"]);
    manifest
}

/// The texts of an answer to `execute`.
pub(crate) fn texts(answer: &Value) -> Vec<String> {
    let frames = answer["outputs"]["out"].as_array();
    let text = |frame: &Value| frame["text"]["text"].as_str().map(str::to_owned);
    frames.into_iter().flatten().filter_map(text).collect()
}
