//! What remote hops owe, with real workers: each test is named after what it holds. The number in front (`fr_…` of a function, `sc_…` of
//! a figure) is the same in all tests of one promise; `edge_…` are edge cases.
//!
//! Workers are real gateways. What no real one does on purpose (garbage, silence, an empty success) is in [`fake`].

mod balance;
mod breakers;
mod calls;
pub(crate) mod credentials;
mod drains;
mod edges;
mod errors;
mod fake;
mod fallback;
mod gatekeeper;
mod health;
mod kserve;
mod long;
mod metrics;
mod misconfigured;
mod mistakes;
mod names;
mod nodes;
mod pictures;
mod pings;
mod retries;
mod timeouts;
mod tokens;

use serde_json::{Value, json};
use tidegate_tests::{Gateway, Ws};

/// A real gateway with pipelines of its own.
pub(crate) struct Server {
    pub(crate) gateway: Gateway,
    folder: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start(manifests: &[Value]) -> Self {
        Self::with(manifests, &[]).await
    }

    pub(crate) async fn with(manifests: &[Value], settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for manifests");
        for manifest in manifests {
            let name = manifest["name"].as_str().expect("a name");
            let file = folder.path().join(format!("{name}.yaml"));
            std::fs::write(file, manifest.to_string()).expect("the manifest is written");
        }
        let path = folder.path().to_string_lossy().into_owned();
        let gateway = Gateway::start_with(&["--pipelines", &path], settings).await;
        Self { gateway, folder }
    }

    /// A worker whose pipeline `say` puts this word before each text.
    pub(crate) async fn saying(word: &str) -> Self {
        Self::start(&[say(word)]).await
    }

    /// A gateway whose pipeline `hop` is one remote node with these parameters.
    pub(crate) async fn hop(params: Value) -> Self {
        Self::start(&[hop("hop", params)]).await
    }

    /// Changes a manifest while it runs, as an operator does.
    pub(crate) fn rewrite(&self, manifest: &Value) {
        let name = manifest["name"].as_str().expect("a name");
        let file = self.folder.path().join(format!("{name}.yaml"));
        let whole = file.with_extension("new");
        std::fs::write(&whole, manifest.to_string()).expect("the manifest is written");
        std::fs::rename(whole, file).expect("it takes the place of the old one");
    }

    /// Starts it again where it listened before.
    pub(crate) async fn again(&mut self) {
        let path = self.folder.path().to_string_lossy().into_owned();
        self.gateway = Gateway::start_at(self.gateway.address, &["--pipelines", &path]).await;
    }

    pub(crate) fn url(&self) -> String {
        self.gateway.url("")
    }

    /// Sends texts to `hop`, each an utterance of its own: what came out, or the problem.
    pub(crate) async fn call(&self, texts: &[&str]) -> Result<Vec<String>, Value> {
        let frames: Vec<_> = texts
            .iter()
            .zip(1..)
            .map(|(text, n)| utterance(n, text))
            .collect();
        let body = json!({"inputs": {"in": frames}});
        let outputs = self.execute("hop", &body).await?;
        Ok(texts_of(&outputs["out"]))
    }

    /// Runs a pipeline once: its outputs, or the problem.
    pub(crate) async fn execute(&self, pipeline: &str, body: &Value) -> Result<Value, Value> {
        let path = format!("/v1/pipelines/{pipeline}/execute");
        let answer = self.gateway.post_json(&path, body).await;
        match answer.status {
            200 => Ok(answer.json()["outputs"].clone()),
            _ => Err(answer.json()),
        }
    }

    /// A session of `hop` whose client waits.
    pub(crate) async fn open(&self) -> Ws {
        let open = json!({"pipeline": "hop", "mode": "waits"});
        Ws::open(&self.gateway, "hop", open).await.0
    }

    /// What a metric of the hop `far` says of an endpoint.
    pub(crate) async fn metric(&self, name: &str, endpoint: &str, more: &str) -> f64 {
        let endpoint = format!("endpoint=\"{endpoint}\"");
        let labels = ["hop=\"far\"", &endpoint, more];
        self.gateway.metric(name, &labels).await.unwrap_or(0.0)
    }

    /// Attempts on an endpoint that came out so (`ok`, or an error's code).
    pub(crate) async fn attempts(&self, endpoint: &str, outcome: &str) -> f64 {
        let outcome = format!("outcome=\"{outcome}\"");
        self.metric("tidegate_hop_attempts_total", endpoint, &outcome)
            .await
    }
}

/// A text frame that is a whole utterance, for `execute` and for streams.
pub(crate) fn utterance(number: u64, text: &str) -> Value {
    json!({"port": "in", "seq": number, "utterance": number, "final": true, "text": {"text": text}})
}

/// The texts of an output's frames.
pub(crate) fn texts_of(frames: &Value) -> Vec<String> {
    let text = |frame: &Value| frame["text"]["text"].as_str().map(str::to_owned);
    frames
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(text)
        .collect()
}

/// The pipeline `say`.
pub(crate) fn say(word: &str) -> Value {
    let template = format!("{word} {{{{text}}}}");
    pipeline(
        "say",
        &json!({"id": "word", "type": "text.template", "params": {"template": template}}),
    )
}

/// A pipeline with a node `far` that is remote; `pipeline` is `say` and its ports are declared unless the parameters say otherwise.
pub(crate) fn hop(name: &str, params: Value) -> Value {
    let mut all = json!({
        "inputs": [{"name": "in", "kind": "text"}],
        "outputs": [{"name": "out", "kind": "text"}],
    });
    let targets = ["pipeline", "manifest", "manifest_url"];
    if !targets.iter().any(|key| params.get(key).is_some()) {
        all["pipeline"] = json!("say");
    }
    for (key, value) in params.as_object().expect("an object") {
        all[key] = value.clone();
    }
    pipeline(name, &json!({"id": "far", "type": "remote", "params": all}))
}

/// Text in, this node, text out.
pub(crate) fn pipeline(name: &str, node: &Value) -> Value {
    let id = node["id"].as_str().expect("an id");
    json!({
        "version": "tidegate/v1",
        "name": name,
        "inputs": [{"name": "in", "kind": "text"}],
        "outputs": [{"name": "out", "kind": "text"}],
        "nodes": [node],
        "edges": [format!("in -> {id} -> out")],
    })
}
