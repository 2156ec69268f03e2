//! The Open Inference Protocol ("KServe v2"): `tritonclient`, unmodified, against pipelines.

use serde_json::{Value, json};
use tidegate_tests::{Deadline, Peer};

use crate::hops::Server;

const NAMES: [&str; 10] = [
    "model",
    "input",
    "output",
    "kind",
    "datatype",
    "json",
    "utf8",
    "twice",
    "parameter",
    "version",
];

/// Pipelines of every kind of frame, without models.
fn pipelines() -> Vec<Value> {
    let port = |name: &str, kind: &str| json!({"name": name, "kind": kind});
    let pipeline = |name: &str, inputs: Value, outputs: Value, nodes: Value, edges: &[&str]| {
        json!({
            "version": "tidegate/v1", "name": name, "inputs": inputs, "outputs": outputs,
            "nodes": nodes, "edges": edges,
        })
    };
    let (tensor, text) = (
        |name| json!([port(name, "tensor")]),
        |name| json!([port(name, "text")]),
    );
    let sound = json!([port("sound", "audio")]);
    let word = json!([{"id": "word", "type": "text.template", "params": {"template": "${param:word} {{text}}"}}]);
    let mut texts = pipeline(
        "texts",
        text("in"),
        text("out"),
        word,
        &["in -> word -> out"],
    );
    texts["parameters"] = json!({"word": {"type": "string", "default": "said"}});
    let windows = json!([
        {"id": "mel", "type": "audio.log_mel"},
        {"id": "windows", "type": "tensor.window", "params": {"size": 10, "pad": true}},
    ]);
    vec![
        pipeline(
            "tensors",
            tensor("in"),
            tensor("out"),
            json!([]),
            &["in -> out"],
        ),
        texts,
        pipeline(
            "mixed",
            json!([
                port("sound", "audio"),
                port("notes", "json"),
                port("blob", "binary")
            ]),
            json!([
                port("heard", "audio"),
                port("seen", "json"),
                port("bytes", "binary")
            ]),
            json!([]),
            &["sound -> heard", "notes -> seen", "blob -> bytes"],
        ),
        telephone(),
        pipeline(
            "windows",
            sound,
            tensor("features"),
            windows,
            &["sound -> mel -> windows -> features"],
        ),
        pipeline(
            "video",
            json!([port("cam", "video")]),
            json!([port("view", "video")]),
            json!([]),
            &["cam -> view"],
        ),
    ]
}

/// One whose sound has a rate of its own.
fn telephone() -> Value {
    json!({
        "version": "tidegate/v1", "name": "telephone",
        "inputs": [{"name": "sound", "kind": "audio", "format": "pcm_s16/8000/1"}],
        "outputs": [{"name": "heard", "kind": "audio"}],
        "nodes": [], "edges": ["sound -> heard"],
    })
}

/// What the client saw.
async fn report(server: &Server, arguments: &[&str]) -> Value {
    let address = server.gateway.address.to_string();
    let (what, rest) = arguments.split_first().expect("what to do");
    let peer = Peer::python_of("kserve-venv", "kserve_client.py");
    let peer = peer.args([what, address.as_str()]).args(rest);
    peer.report(Deadline::secs(120)).await
}

#[tokio::test]
async fn tritonclient_infers_by_grpc_with_every_datatype_and_kind() {
    let server = Server::start(&pipelines()).await;
    let report = report(&server, &["grpc"]).await;
    check_about(
        &report["about"],
        "StatusCode.NOT_FOUND",
        "StatusCode.FAILED_PRECONDITION",
    );
    check_infer(
        &report["infer"],
        "StatusCode.INVALID_ARGUMENT",
        "StatusCode.NOT_FOUND",
    );
    check_stream(&report["stream"]);
    check_extensions(
        &report["extensions"],
        "StatusCode.NOT_FOUND",
        "StatusCode.UNIMPLEMENTED",
    );
    // Of two requests, in the stream and by themselves.
    let streamed = &report["streamed"];
    assert!(streamed["success"].as_u64() > Some(3), "{streamed}");
    assert!(streamed["last"].as_u64() > Some(0), "{streamed}");
    // They were sessions like any other.
    let label = ["transport=\"grpc\"", "outcome=\"finished\""];
    let sessions = server
        .gateway
        .metric("tidegate_sessions_total", &label)
        .await;
    assert!(sessions.is_some_and(|count| count > 20.0), "{sessions:?}");
}

#[tokio::test]
async fn tritonclient_infers_by_rest_as_bytes_and_as_json() {
    let server = Server::start(&pipelines()).await;
    let report = report(&server, &["http"]).await;
    check_about(&report["about"], "404", "409");
    check_infer(&report["infer"], "400", "404");
    check_extensions(&report["extensions"], "404", "501");
    let json = &report["json"];
    assert_eq!(json["same"], true, "{json}");
    let response = json!({
        "id": "as JSON", "model_name": "tensors", "model_version": "1",
        "outputs": [{"name": "out", "shape": [2, 3], "datatype": "FP32", "data": [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]}],
    });
    assert_eq!(json["response"], response);
    let texts =
        json!([{"name": "out", "shape": [2], "datatype": "BYTES", "data": ["said a", "said b"]}]);
    assert_eq!(report["json_texts"], texts);
    refused(&report["half_as_json"], "400", "binary_data");
}

#[tokio::test]
async fn keys_grant_models_as_they_grant_pipelines_and_health_needs_none() {
    let key = "0123456789abcdef0123456789abcdef";
    let settings = [("TIDEGATE_AUTH_TOKEN", key)];
    let server = Server::with(&pipelines(), &settings).await;
    let with = report(&server, &["key", key]).await;
    let without = report(&server, &["key", ""]).await;
    for way in ["grpc", "http"] {
        for health in ["live", "ready"] {
            assert_eq!(with[way][health], true, "{way}: {with:#}");
            assert_eq!(without[way][health], true, "{way}: {without:#}");
        }
        for call in ["granted", "other", "metadata"] {
            assert!(with[way][call].is_null(), "{way}: {with:#}");
            let status = if way == "grpc" {
                "StatusCode.UNAUTHENTICATED"
            } else {
                "401"
            };
            assert_eq!(without[way][call]["status"], status, "{way}: {without:#}");
        }
    }
}

#[tokio::test]
async fn a_key_for_one_model_neither_sees_nor_asks_another() {
    let (key, folder) = (
        "token-for-tensors-only",
        tempfile::tempdir().expect("a folder"),
    );
    let tokens = json!([{"name": "one", "token": key, "pipelines": ["tensors"]}]);
    let config = folder.path().join("tidegate.yaml");
    std::fs::write(&config, json!({"auth": {"tokens": tokens}}).to_string()).expect("written");
    let config = config.to_string_lossy();
    let server = Server::with(&pipelines(), &[("TIDEGATE_CONFIG", &*config)]).await;
    let seen = report(&server, &["key", key]).await;
    for (way, status) in [("grpc", "StatusCode.PERMISSION_DENIED"), ("http", "403")] {
        let seen = &seen[way];
        assert!(seen["granted"].is_null(), "{way}: {seen:#}");
        assert_eq!(seen["index"], json!(["tensors"]), "{way}: {seen:#}");
        assert_eq!(seen["figures"], json!(["tensors"]), "{way}: {seen:#}");
        // Whether there is one that may not be used is not told.
        for call in ["other", "metadata", "config", "statistics", "unknown"] {
            assert_eq!(seen[call]["status"], status, "{way} {call}: {seen:#}");
        }
    }
    let stream = seen["grpc"]["stream"]["status"]
        .as_str()
        .unwrap_or_default();
    assert_eq!(stream, "StatusCode.PERMISSION_DENIED", "{seen:#}");
}

#[track_caller]
fn refused(seen: &Value, status: &str, says: &str) {
    assert_eq!(seen["status"], status, "{seen}");
    let message = seen["message"].as_str().unwrap_or_default();
    assert!(message.contains(says), "'{says}' is not in: {seen}");
}

fn check_about(about: &Value, unknown: &str, unfit: &str) {
    for what in ["live", "ready", "model_ready", "model_ready_version"] {
        assert_eq!(about[what], true, "{what}: {about:#}");
    }
    assert_eq!(about["unknown_ready"], false);
    assert_eq!(about["server"]["name"], "tidegate");
    let tensors = &about["tensors"];
    assert_eq!(tensors["versions"], json!(["1"]));
    assert_eq!(tensors["inputs"][0]["datatype"], "FP32", "{tensors}");
    let outputs = about["mixed"]["outputs"].as_array().expect("a list");
    let outputs: Vec<_> = outputs
        .iter()
        .map(|o| (&o["name"], &o["datatype"]))
        .collect();
    let expected = [("heard", "FP32"), ("seen", "BYTES"), ("bytes", "BYTES")];
    let expected = expected.map(|(name, datatype)| (json!(name), json!(datatype)));
    assert!(
        outputs
            .iter()
            .copied()
            .eq(expected.iter().map(|(n, d)| (n, d))),
        "{about:#}"
    );
    refused(&about["unknown"], unknown, "no-such-model");
    refused(&about["version"], unknown, "no version '7'");
    refused(&about["video"], unfit, "video");
}

fn check_extensions(seen: &Value, unknown: &str, unserved: &str) {
    let index = seen["index"].as_object().expect("by name");
    assert_eq!(index["tensors"], json!(["1", "READY", ""]), "{index:?}");
    assert_eq!(index["video"][1], "UNAVAILABLE", "{index:?}");
    let why = index["video"][2].as_str().unwrap_or_default();
    assert!(why.contains("takes video"), "{index:?}");
    let config = &seen["config"];
    assert_eq!(config["name"], "mixed", "{config:#}");
    assert_eq!(config["backend"], "tidegate", "{config:#}");
    let types = |list: &str| {
        let tensors = config[list].as_array().expect("a list").iter();
        let named = tensors.map(|t| (t["name"].clone(), t["data_type"].clone()));
        named.collect::<Vec<_>>()
    };
    let (sound, text) = (json!("TYPE_FP32"), json!("TYPE_STRING"));
    let expected = |names: [&str; 3]| {
        let types = [&sound, &text, &text].map(Clone::clone);
        let named = names.into_iter().map(Value::from).zip(types);
        named.collect::<Vec<_>>()
    };
    assert_eq!(types("input"), expected(["sound", "notes", "blob"]));
    assert_eq!(types("output"), expected(["heard", "seen", "bytes"]));
    assert_eq!(seen["rates"], json!([[16_000, 16_000], [8_000, 8_000]]));
    refused(&seen["unknown_config"], unknown, "no-such-model");
    let (before, after) = (&seen["before"], &seen["after"]);
    let more = |key: &str| {
        let of = |stats: &Value| stats[key].as_u64().expect("a number");
        of(after) - of(before)
    };
    assert_eq!(more("success"), 3, "{before} {after}");
    assert_eq!(more("inferences"), 3, "{before} {after}");
    assert_eq!(more("fail"), 1, "{before} {after}");
    assert!(more("success_ns") > 0, "{before} {after}");
    assert!(after["last"].as_u64() > Some(0), "{after}");
    let all = seen["all"].as_array().expect("names");
    assert!(all.contains(&json!("windows")), "{all:?}");
    assert!(!all.contains(&json!("video")), "it is no model: {all:?}");
    for (what, says) in [
        ("load", "--pipelines"),
        ("unload", "--pipelines"),
        ("memory", "no shared memory"),
        ("register", "no shared memory"),
        ("cuda", "no shared memory"),
        ("trace", "tracing settings"),
        ("log", "log settings"),
    ] {
        refused(&seen["unserved"][what], unserved, says);
    }
}

fn check_infer(infer: &Value, wrong: &str, unknown: &str) {
    let dtypes = infer["dtypes"].as_object().expect("an object");
    assert_eq!(dtypes.len(), 12);
    assert!(dtypes.values().all(|same| *same == true), "{dtypes:?}");
    assert_eq!(infer["id"], "id float64");
    for same in ["scalar", "empty", "large", "stereo"] {
        assert_eq!(infer[same], true, "{same}: {infer:#}");
    }
    assert_eq!(
        infer["texts"],
        json!(["said one", "said zwei", "said três"])
    );
    assert_eq!(infer["parameter"], json!(["louder one"]));
    let mixed = json!({"sound": true, "rate": 16_000, "notes": [{"a": 1}, 2], "blob": true});
    assert_eq!(infer["mixed"], mixed);
    assert_eq!(infer["notes_of_none"], json!([0]));
    refused(&infer["two_tensors"], wrong, "ModelStreamInfer");
    for name in NAMES {
        let status = if matches!(name, "model" | "version") {
            unknown
        } else {
            wrong
        };
        refused(&infer["wrong"][name], status, "");
    }
    refused(
        &infer["wrong"]["input"],
        wrong,
        "the pipeline's inputs are [in]",
    );
    refused(&infer["wrong"]["parameter"], wrong, "did you mean 'word'?");
}

fn check_stream(stream: &Value) {
    assert_eq!(stream["in_order"], json!(["0", "1", "2", "3", "4"]));
    assert_eq!(stream["final"], json!([false, false, false, false, false]));
    for same in ["same", "big"] {
        assert_eq!(stream[same], true, "{same}: {stream:#}");
    }
    let wrong = stream["wrong"]["error"].as_str().unwrap_or_default();
    assert!(wrong.contains("BYTES"), "{stream:#}");
    let other = stream["other_model"]["error"].as_str().unwrap_or_default();
    assert!(other.contains("'tensors'"), "{stream:#}");
    assert_eq!(stream["after"], "after", "the stream goes on: {stream:#}");
    let said = |id: &str, said: &str| json!({"id": id, "final": false, "said": [said]});
    let last = |id: &str| json!({"id": id, "final": true, "said": []});
    let mut decoupled = stream["decoupled"].as_array().expect("a list").clone();
    // The word at a request's end may come before or after what the next one brings.
    decoupled.sort_by_key(|item| item["id"] == "of 1");
    let expected = [
        said("of 3", "said 3.0"),
        said("of 3", "said 3.1"),
        said("of 3", "said 3.2"),
        last("of 3"),
        said("of 1", "said 1.0"),
        last("of 1"),
    ];
    assert_eq!(decoupled, expected);
    let unknown = stream["unknown"]["error"].as_str().unwrap_or_default();
    assert!(unknown.contains("no-such-model"), "{stream:#}");
    for rest in ["left_over", "decoupled_left_over", "silent_left_over"] {
        assert_eq!(stream[rest], 0, "{rest}: {stream:#}");
    }
}
