//! Mistakes that people make with remote hops. What each is called, and what is printed of it, is in docs/troubleshooting.md.

use serde_json::{Value, json};
use tidegate_tests::{Gateway, Ws};

use super::fake::{Fake, Manner, nobody};
use super::{Server, hop, say};

/// Where a mistake shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// `tidegate check`: nothing is connected to.
    Check,
    /// `tidegate run`.
    Run,
}

/// One mistake.
pub(super) struct Mistake {
    /// As the page calls it.
    pub(super) what: &'static str,
    pub(super) manifest: Value,
    pub(super) at: At,
    /// Words that say what is wrong and where, and what to do about it.
    pub(super) words: Vec<String>,
}

/// As the page calls it; parameters of the node; words of the cause; words of the mend. Words are separated by ` & `. What begins with `$`
/// is a server's address, or a file. `_edges` and `_inputs` are the pipeline's own.
type Row = (At, &'static str, &'static str, &'static str, &'static str);

use At::{Check, Run};

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // What the manifest alone shows.
    (Check, "a parameter that does not exist", r#"{"endpoint": "http://w:7001"}"#, "'endpoint'", "'endpoints'"),
    (Check, "no endpoint", r#"{"endpoints": []}"#, "'endpoints' & 0 endpoints", "list 1"),
    (Check, "an address without its scheme", r#"{"endpoints": ["10.0.0.1:7001"]}"#, "10.0.0.1:7001 & no scheme", "http://"),
    (Check, "an address of another protocol", r#"{"endpoints": ["ftp://w:21"]}"#, "ftp://w:21 & 'ftp'", "http://"),
    (Check, "a WebSocket's address for gRPC", r#"{"endpoints": ["ws://w:7001"]}"#, "ws://w:7001 & 'grpc'", "transport: websocket"),
    (Check, "a port that does not exist", r#"{"endpoints": ["http://w:70000"]}"#, "'70000'", "1 to 65535"),
    (Check, "a path for gRPC", r#"{"endpoints": ["http://w:7001/stt"]}"#, "/stt & path", "'pipeline'"),
    (Check, "a password in the address", r#"{"endpoints": ["http://me:secret@w:7001"]}"#, "credentials", "'auth'"),
    (Check, "one endpoint twice", r#"{"endpoints": ["http://w:7001", "http://w:7001"]}"#, "http://w:7001 & twice", "remove & weighted"),
    (Check, "nothing that is to run there", r#"{"endpoints": ["http://w:7001"], "pipeline": null}"#, "what to run", "'pipeline' & 'manifest'"),
    (Check, "two things that are to run there", r#"{"endpoints": ["http://w:7001"], "pipeline": "a", "manifest_url": "https://w/a"}"#, "exclude", "keep one"),
    (Check, "a time without its unit", r#"{"endpoints": ["http://w:7001"], "timeout": {"gap": 30}}"#, "timeout.gap & 30", "30s"),
    (Check, "no attempt at all", r#"{"endpoints": ["http://w:7001"], "retry": {"attempts": 0}}"#, "retry.attempts & 0", "1 (nothing is tried again)"),
    (Check, "a share in per cent", r#"{"endpoints": ["http://w:7001"], "breaker": {"success": 60}}"#, "60 & share", "0.6"),
    (Check, "a weight that nobody looks at", r#"{"endpoints": [{"url": "http://w:7001", "weight": 2}]}"#, "weight & round_robin", "balance: weighted"),
    (Check, "a balance that there is not", r#"{"endpoints": ["http://w:7001"], "balance": "random"}"#, "balance & 'random'", "round_robin & p2c_ewma"),
    (Check, "calls by WebRTC", r#"{"endpoints": ["http://w:7001"], "transport": "webrtc", "mode": "unary"}"#, "WebRTC", "mode: stream"),
    (Check, "a pin that is no SHA-256", r#"{"endpoints": ["http://w:7001"], "manifest_url": "https://w/a", "manifest_sha256": "abc"}"#, "'abc' & SHA-256", "sha256sum"),
    (Check, "a manifest's address of another protocol", r#"{"endpoints": ["http://w:7001"], "manifest_url": "ftp://w/a"}"#, "ftp://w/a & 'ftp'", "https://"),
    (Check, "an edge to a port that is not declared", r#"{"endpoints": ["http://w:7001"], "_edges": ["in -> far.text", "far -> out"]}"#, "'far' & 'text'", "'in'"),
    (Check, "a sample rate that no port has", r#"{"endpoints": ["http://w:7001"], "_inputs": [{"name": "in", "kind": "audio", "format": "pcm_s16/16/1"}]}"#, "'16' & rate", "4000 to 384000"),
    // What stands between the two.
    (Run, "nobody listens there", r#"{"endpoints": ["$nobody"]}"#, "$nobody & refused", "port"),
    (Run, "a host that does not exist", r#"{"endpoints": ["http://worker.invalid:7001"]}"#, "worker.invalid", "name"),
    (Run, "https:// where clear text is spoken", r#"{"endpoints": ["$https"]}"#, "$https & TLS", "write http://"),
    (Run, "the same by HTTP", r#"{"endpoints": ["$https"], "transport": "http"}"#, "$https & TLS", "write http://"),
    (Run, "the same by WebSocket", r#"{"endpoints": ["$https"], "transport": "websocket"}"#, "$https & TLS", "write http://"),
    (Run, "the same by WebRTC", r#"{"endpoints": ["$https"], "transport": "webrtc"}"#, "$https & TLS", "write http://"),
    (Run, "http:// where TLS is spoken", r#"{"endpoints": ["$http"]}"#, "$http", "write https://"),
    (Run, "the same the other way round by HTTP", r#"{"endpoints": ["$http"], "transport": "http"}"#, "$http", "write https://"),
    (Run, "somebody else's server", r#"{"endpoints": ["$foreign"]}"#, "$foreign & gRPC", "'endpoints'"),
    (Run, "somebody else's server by WebSocket", r#"{"endpoints": ["$foreign"], "transport": "websocket"}"#, "$foreign & 404", "'endpoints' & 'pipeline'"),
    (Run, "somebody else's server by WebRTC", r#"{"endpoints": ["$created"], "transport": "webrtc"}"#, "$created & SDP", "WHIP"),
    (Run, "a server that takes connections and never answers", r#"{"endpoints": ["$silent"], "timeout": {"connect": "500ms"}}"#, "$silent & 500ms", "timeout.connect"),
    // Who asks, and whom he trusts.
    (Run, "no token", r#"{"endpoints": ["$guarded"]}"#, "$guarded & token", "auth.bearer"),
    (Run, "a wrong token", r#"{"endpoints": ["$guarded"], "auth": {"bearer": "another"}}"#, "$guarded & token is wrong", "auth.bearer"),
    (Run, "a token's file that is missing", r#"{"endpoints": ["$guarded"], "auth": {"bearer_file": "/missing/token"}}"#, "auth.bearer & /missing/token", "file"),
    (Run, "a variable that is not set", r#"{"endpoints": ["$guarded"], "auth": {"bearer": "${env:TIDEGATE_TEST_UNSET}"}}"#, "TIDEGATE_TEST_UNSET & not set", "set it for the gateway"),
    (Run, "a certificate whose authority is not known", r#"{"endpoints": ["$encrypted"]}"#, "$encrypted & UnknownIssuer", "auth.tls.ca"),
    (Run, "a certificate of another host", r#"{"endpoints": ["$encrypted"], "auth": {"tls": {"ca": "$certificate"}}}"#, "$encrypted & another host's", "a name"),
    // What the worker has, and how it is.
    (Run, "a pipeline that the worker lacks", r#"{"endpoints": ["$plain"], "pipeline": "sey"}"#, "$plain & 'sey'", "/v1/pipelines"),
    (Run, "an inline manifest where none is taken", r#"{"endpoints": ["$plain"], "manifest": {"version": "tidegate/v1", "name": "inner", "inputs": [{"name": "in", "kind": "text"}], "outputs": [{"name": "out", "kind": "text"}], "edges": ["in -> out"]}}"#, "$plain & manifests of clients", "inline to true"),
    (Run, "a port that the worker lacks", r#"{"endpoints": ["$plain"], "outputs": [{"name": "answer", "kind": "text"}]}"#, "'answer'", "known are 'out'"),
    (Run, "a port of another kind", r#"{"endpoints": ["$plain"], "pipeline": "echo", "inputs": [{"name": "mic", "kind": "text"}], "outputs": [{"name": "speaker", "kind": "text"}]}"#, "'mic' & audio & text", "declare it"),
    (Run, "a parameter that the pipeline lacks", r#"{"endpoints": ["$plain"], "parameters": {"loud": 3}}"#, "$plain & 'loud'", "leave it out"),
    (Run, "a worker that is full", r#"{"endpoints": ["$full"]}"#, "$full & slots", "limits.sessions"),
    (Run, "a worker that never says anything", r#"{"endpoints": ["$mute"], "timeout": {"first_output": "500ms"}}"#, "$mute & 500ms", "timeout.first_output"),
    (Run, "an answer on an output that the node does not declare", r#"{"endpoints": ["$elsewhere"], "mode": "unary"}"#, "$elsewhere & answered on output 'nowhere'", "'outputs' & 'out'"),
    // Manifests by URL.
    (Run, "a manifest at a private address", r#"{"endpoints": ["http://127.0.0.1:1"], "manifest_url": "$nobody/a.yaml"}"#, "$nobody/a.yaml & private", "manifest_hosts"),
    (Run, "a manifest at a host that does not exist", r#"{"endpoints": ["http://127.0.0.1:1"], "manifest_url": "https://files.invalid/a.yaml"}"#, "files.invalid", "name"),
];

/// All mistakes, and the servers that they are made with.
pub(super) async fn all() -> (Vec<Mistake>, Workers) {
    let workers = Workers::start().await;
    let nobody = nobody().await;
    let places = workers.places(&nobody);
    let all = ROWS.iter().map(|row| mistake(row, &places)).collect();
    (all, workers)
}

fn mistake(&(at, what, params, cause, mend): &Row, places: &[(&str, String)]) -> Mistake {
    let placed = |text: &str| {
        let places = places.iter();
        places.fold(text.to_owned(), |text, (name, place)| {
            text.replace(name, place)
        })
    };
    let mut params: Value = serde_json::from_str(&placed(params)).expect("parameters");
    let own = params.as_object_mut().expect("an object");
    let (edges, inputs) = (own.remove("_edges"), own.remove("_inputs"));
    if at == Run && params.get("retry").is_none() {
        params["retry"] = json!({"attempts": 1});
    }
    let mut manifest = hop("mine", params);
    for (key, value) in [("edges", edges), ("inputs", inputs)] {
        if let Some(value) = value {
            manifest[key] = value;
        }
    }
    let words = [cause, mend].into_iter().flat_map(|text| text.split(" & "));
    Mistake {
        what,
        manifest,
        at,
        words: words.map(placed).collect(),
    }
}

/// Servers that mistakes are made with. They live as long as this.
pub(super) struct Workers {
    plain: Server,
    guarded: Server,
    full: Server,
    _visitor: Ws,
    encrypted: Gateway,
    certificate: String,
    foreign: Fake,
    silent: Fake,
    mute: Fake,
    elsewhere: Fake,
    created: Fake,
    _folder: tempfile::TempDir,
}

impl Workers {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let names = vec!["worker.example".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.to_string_lossy().into_owned()
        };
        let certificate = file("cert.pem", &made.cert.pem());
        let key = file("key.pem", &made.signing_key.serialize_pem());
        let encrypted = Gateway::start_tls(&[
            ("TIDEGATE_TLS_CERTIFICATE", &certificate),
            ("TIDEGATE_TLS_KEY", &key),
        ])
        .await;
        let token = [("TIDEGATE_AUTH_TOKEN", "a-token-of-the-test")];
        let full = Server::with(&[say("far")], &[("TIDEGATE_LIMITS_SESSIONS", "1")]).await;
        let (visitor, _) = Ws::open(&full.gateway, "say", json!({"pipeline": "say"})).await;
        let missing =
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\nconnection: close\r\n\r\nnot here\n";
        let made = b"HTTP/1.1 201 Created\r\ncontent-length: 5\r\nconnection: close\r\n\r\nmade\n";
        Self {
            plain: Server::saying("far").await,
            guarded: Server::with(&[say("far")], &token).await,
            full,
            _visitor: visitor,
            encrypted,
            certificate,
            foreign: Fake::answering(missing).await,
            silent: Fake::answering(b"").await,
            mute: Fake::worker(Manner::Mute).await,
            elsewhere: Fake::worker(Manner::Garbage).await,
            created: Fake::answering(made).await,
            _folder: folder,
        }
    }

    /// What stands for what in a row.
    fn places(&self, nobody: &str) -> Vec<(&'static str, String)> {
        let port = self.encrypted.address.port();
        vec![
            ("$nobody", nobody.to_owned()),
            ("$plain", self.plain.url()),
            ("$https", self.plain.url().replace("http://", "https://")),
            // Its certificate lacks this name.
            ("$http", format!("http://localhost:{port}")),
            ("$encrypted", format!("https://localhost:{port}")),
            ("$certificate", self.certificate.clone()),
            ("$guarded", self.guarded.url()),
            ("$full", self.full.url()),
            ("$foreign", self.foreign.url()),
            ("$silent", self.silent.url()),
            ("$mute", self.mute.url()),
            ("$elsewhere", self.elsewhere.url()),
            ("$created", self.created.url()),
        ]
    }
}
