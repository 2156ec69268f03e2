//! Hops at servers of the Open Inference Protocol: a real Triton, a real MLServer, and another Tidegate.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate_tests::peer::Running;
use tidegate_tests::{Deadline, Peer};

use super::{Server, pipeline, say, texts_of, utterance};

/// A server that somebody else wrote.
struct Foreign {
    url: String,
    process: Running,
}

impl Foreign {
    async fn start(venv: &str, script: &str, arguments: &[&str]) -> Self {
        let process = Peer::python_of(venv, script).args(arguments).start();
        // Each of Triton's models is a Python of its own, which loads some libraries.
        let by = Deadline::secs(300);
        let ready = by.until(|| async {
            let lines = process.logs.lines();
            lines.iter().find_map(|line| {
                let said: Value = serde_json::from_str(line).ok()?;
                said["grpc"].as_str().map(str::to_owned)
            })
        });
        let address = ready.await;
        let address = address.unwrap_or_else(|| panic!("{script}:\n{}", process.logs.text()));
        let url = format!("http://{address}");
        Self { url, process }
    }

    async fn triton(models: &[&str]) -> Self {
        Self::start("triton-venv", "triton_server.py", models).await
    }

    async fn mlserver() -> Self {
        Self::start("kserve-venv", "mlserver_server.py", &[]).await
    }
}

/// A node at a model of these endpoints, with ports by name and kind.
fn node(endpoints: &[&str], model: &str, inputs: &[[&str; 2]], outputs: &[[&str; 2]]) -> Value {
    let ports = |ports: &[[&str; 2]]| {
        let one = |[name, kind]: &[&str; 2]| json!({"name": name, "kind": kind});
        ports.iter().map(one).collect::<Vec<_>>()
    };
    json!({"id": "far", "type": "remote", "params": {
        "protocol": "kserve", "endpoints": endpoints, "pipeline": model,
        "inputs": ports(inputs), "outputs": ports(outputs), "retry": {"attempts": 2, "backoff": "50ms"},
    }})
}

/// A pipeline that is one node with ports of these names.
fn alone(name: &str, node: &Value) -> Value {
    let params = &node["params"];
    let names = |key: &str| {
        let ports = params[key].as_array().cloned().unwrap_or_default();
        let names = ports
            .iter()
            .map(|port| port["name"].as_str().expect("a name").to_owned());
        names.collect::<Vec<_>>()
    };
    let into = names("inputs")
        .into_iter()
        .map(|port| format!("{port} -> far.{port}"));
    let out = names("outputs")
        .into_iter()
        .map(|port| format!("far.{port} -> {port}"));
    json!({
        "version": "tidegate/v1", "name": name, "inputs": params["inputs"], "outputs": params["outputs"],
        "nodes": [node], "edges": into.chain(out).collect::<Vec<_>>(),
    })
}

fn with(mut node: Value, params: &Value) -> Value {
    for (key, value) in params.as_object().expect("an object") {
        node["params"][key] = value.clone();
    }
    node
}

fn tensor(dtype: &str, shape: &[usize], data: &[u8]) -> Value {
    json!({"tensor": {"dtype": dtype, "shape": shape, "data": STANDARD.encode(data)}})
}

fn floats(values: &[f32]) -> Value {
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor("f32", &[values.len()], &data)
}

fn integers(values: &[i32]) -> Value {
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor("i32", &[values.len() / 2, 2], &data)
}

/// The elements of the tensors of an output.
fn numbers<const N: usize, T>(frames: &Value, number: impl Fn([u8; N]) -> T) -> Vec<Vec<T>> {
    let frames = frames.as_array().expect("a list");
    let of = |frame: &Value| {
        let data = frame["tensor"]["data"].as_str().expect("a tensor");
        let data = STANDARD.decode(data).expect("base64");
        let elements = data.chunks_exact(N);
        elements
            .map(|bytes| number(bytes.try_into().expect("whole")))
            .collect()
    };
    frames.iter().map(of).collect()
}

fn shout(endpoints: &[&str]) -> Value {
    let node = node(endpoints, "shout", &[["in", "text"]], &[["out", "text"]]);
    with(
        node,
        &json!({"options": {"tensors": {"in": "TEXT", "out": "SAID"}}}),
    )
}

fn double(endpoints: &[&str]) -> Value {
    let node = node(
        endpoints,
        "double",
        &[["in", "tensor"]],
        &[["out", "tensor"]],
    );
    with(
        node,
        &json!({"options": {"tensors": {"in": "INPUT", "out": "OUTPUT"}}}),
    )
}

/// A pipeline for each model of the Triton at an address.
fn models_of_triton(url: &[&str]) -> Vec<Value> {
    let add = node(
        url,
        "add",
        &[["left", "tensor"], ["right", "tensor"]],
        &[["sum", "tensor"], ["difference", "tensor"]],
    );
    let tensors =
        json!({"left": "LEFT", "right": "RIGHT", "sum": "SUM", "difference": "DIFFERENCE"});
    let add = with(add, &json!({"options": {"tensors": tensors}}));
    let spell = node(url, "spell", &[["in", "text"]], &[["out", "text"]]);
    let letters =
        json!({"mode": "stream", "options": {"tensors": {"in": "TEXT", "out": "LETTER"}}});
    let spell = with(spell, &letters);
    let length = node(url, "length", &[["sound", "audio"]], &[["count", "tensor"]]);
    let length = with(
        length,
        &json!({
            "inputs": [{"name": "sound", "kind": "audio", "format": "pcm_f32/8000/1"}],
            "options": {"tensors": {"sound": "SOUND", "count": "COUNT"}},
        }),
    );
    let missing = with(
        shout(url),
        &json!({"pipeline": "no-such-model", "health": "off"}),
    );
    vec![
        alone("double", &double(url)),
        alone("add", &add),
        pipeline("hop", &shout(url)),
        alone("spell", &spell),
        alone("length", &length),
        alone("missing", &missing),
    ]
}

#[tokio::test]
async fn a_real_triton_is_a_hop_for_tensors_text_and_sound() {
    let models = ["double", "add", "shout", "spell", "length"];
    let triton = Foreign::triton(&models).await;
    let front = Server::start(&models_of_triton(&[&triton.url])).await;
    check_tensors(&front).await;
    check_texts_and_sound(&front).await;
    let problem = front.call(&["fail"]).await.expect_err("the model fails");
    assert_eq!(problem["hop"], "far", "{problem:#}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("asked to fail"), "{problem:#}");
    let body = json!({"inputs": {"in": [utterance(1, "x")]}});
    let problem = front
        .execute("missing", &body)
        .await
        .expect_err("no such model");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("no-such-model"), "{problem:#}");
}

async fn check_tensors(front: &Server) {
    let body = json!({"inputs": {"in": [floats(&[1.0, -2.5]), floats(&[4.0])]}});
    let outputs = front.execute("double", &body).await.expect("an answer");
    let doubled = numbers(&outputs["out"], f32::from_le_bytes);
    assert_eq!(doubled, [vec![2.0, -5.0], vec![8.0]]);

    // A request has a frame of each input, whichever comes first.
    let body = json!({"inputs": {
        "left": [integers(&[1, 2]), integers(&[3, 4])],
        "right": [integers(&[10, 20]), integers(&[30, 40])],
    }});
    let outputs = front.execute("add", &body).await.expect("an answer");
    let sums = numbers(&outputs["sum"], i32::from_le_bytes);
    assert_eq!(sums, [vec![11, 22], vec![33, 44]]);
    let differences = numbers(&outputs["difference"], i32::from_le_bytes);
    assert_eq!(differences, [vec![-9, -18], vec![-27, -36]]);
}

async fn check_texts_and_sound(front: &Server) {
    let said = front.call(&["one", "zwei"]).await.expect("an answer");
    let said: Vec<_> = said.iter().filter(|text| !text.is_empty()).collect();
    assert_eq!(said, ["ONE", "ZWEI"]);

    // Several responses to one request; each utterance is closed by its hop.
    let body = json!({"inputs": {"in": [utterance(1, "abc"), utterance(2, "de")]}});
    let outputs = front.execute("spell", &body).await.expect("an answer");
    assert_eq!(texts_of(&outputs["out"]), ["a", "b", "c", "", "d", "e", ""]);
    let finals = outputs["out"].as_array().expect("a list").iter();
    let finals: Vec<_> = finals
        .map(|frame| (&frame["utterance"], frame["final"] == true))
        .collect();
    assert_eq!(finals[3], (&json!(1), true), "{outputs:#}");
    assert_eq!(finals[6], (&json!(2), true), "{outputs:#}");

    // An utterance of sound is one request.
    let frame = |seq: u64, last: bool| {
        let data = STANDARD.encode(vec![0; 320]);
        let format = json!({"codec": "pcm_s16", "sample_rate": 8000, "channels": 1});
        json!({"seq": seq, "utterance": 1, "final": last, "audio": {"format": format, "data": data}})
    };
    let body = json!({"inputs": {"sound": [frame(1, false), frame(2, false), frame(3, true)]}});
    let outputs = front.execute("length", &body).await.expect("an answer");
    assert_eq!(numbers(&outputs["count"], i64::from_le_bytes), [vec![480]]);
}

#[tokio::test]
async fn a_triton_that_dies_is_seen_and_another_takes_over() {
    let (mut first, second) =
        tokio::join!(Foreign::triton(&["shout"]), Foreign::triton(&["shout"]));
    let node = with(
        shout(&[&first.url, &second.url]),
        &json!({"health": {"interval": "2s", "timeout": "2s"}, "retry": {"attempts": 4, "backoff": "50ms"}}),
    );
    let front = Server::start(&[pipeline("hop", &node)]).await;
    let words = ["one", "two", "three", "four", "five", "six"];
    let heard = async || {
        let said = front.call(&words).await.expect("an answer");
        said.into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
    };
    let expected = words.map(str::to_uppercase);
    assert_eq!(heard().await, expected);
    let _client = front.open().await;
    let by = Deadline::secs(60);
    let up = async |url: &str, expected: f64| {
        let seen = by.until(|| async {
            let up = front.metric("tidegate_endpoint_up", url, "").await;
            (up == expected).then_some(())
        });
        assert!(
            seen.await.is_some(),
            "{url} is not {expected}\n{}",
            front.gateway.metrics().await
        );
    };
    up(&first.url, 1.0).await;
    up(&second.url, 1.0).await;
    // Without the group, Triton itself would go on for a moment, take a call and never answer it.
    first.process.kill_group().await;
    assert_eq!(heard().await, expected);
    up(&first.url, 0.0).await;
    assert!(front.attempts(&second.url, "ok").await > 0.0);
}

#[tokio::test]
async fn a_real_mlserver_is_a_hop_by_calls_and_by_its_own_dialect_of_streams() {
    let server = Foreign::mlserver().await;
    let url: &[&str] = &[&server.url];
    let words = |more: &Value| {
        let node = node(url, "words", &[["in", "text"]], &[["out", "text"]]);
        let tensors = json!({"in": "TEXT", "out": "SAID"});
        let mut node = with(node, &json!({"options": {"tensors": tensors}}));
        if more.is_string() {
            node["params"]["mode"] = json!("stream");
            node["params"]["options"]["dialect"] = more.clone();
        }
        node
    };
    let front = Server::start(&[
        alone("whole", &words(&Value::Null)),
        alone("words", &words(&json!("mlserver"))),
        alone("double", &double(url)),
    ])
    .await;
    let body = json!({"inputs": {"in": [utterance(1, "one two three"), utterance(2, "four")]}});
    let outputs = front.execute("whole", &body).await.expect("an answer");
    assert_eq!(texts_of(&outputs["out"]), ["ONE TWO THREE", "FOUR"]);
    let outputs = front.execute("words", &body).await.expect("an answer");
    assert_eq!(
        texts_of(&outputs["out"]),
        ["ONE", "TWO", "THREE", "", "FOUR", ""]
    );
    let body = json!({"inputs": {"in": [floats(&[1.5])]}});
    let outputs = front.execute("double", &body).await.expect("an answer");
    assert_eq!(numbers(&outputs["out"], f32::from_le_bytes), [vec![3.0]]);
}

#[tokio::test]
async fn another_tidegate_is_a_kserve_server_too_and_large_tensors_pass() {
    let pass = json!({
        "version": "tidegate/v1", "name": "pass", "edges": ["in -> out"],
        "inputs": [{"name": "in", "kind": "tensor"}], "outputs": [{"name": "out", "kind": "tensor"}],
    });
    let worker = Server::start(&[say("far"), pass]).await;
    let url = worker.url();
    let say = |mode: &str| {
        let node = node(&[&url], "say", &[["in", "text"]], &[["out", "text"]]);
        with(node, &json!({"mode": mode}))
    };
    let pass = node(&[&url], "pass", &[["in", "tensor"]], &[["out", "tensor"]]);
    let front = Server::start(&[
        alone("calls", &say("unary")),
        alone("stream", &say("stream")),
        alone("pass", &with(pass, &json!({"mode": "stream"}))),
    ])
    .await;
    for name in ["calls", "stream"] {
        let body = json!({"inputs": {"in": [utterance(1, "one"), utterance(2, "two")]}});
        let outputs = front.execute(name, &body).await.expect("an answer");
        let texts = texts_of(&outputs["out"]);
        let texts: Vec<_> = texts.iter().filter(|text| !text.is_empty()).collect();
        assert_eq!(texts, ["far one", "far two"], "{name}");
        let last = outputs["out"].as_array().and_then(|frames| frames.last());
        assert_eq!(
            last.map(|frame| &frame["final"]),
            Some(&json!(true)),
            "{name}"
        );
    }
    let values: Vec<_> = (0..2_000)
        .flat_map(|_| (0..1_000_u16).map(f32::from))
        .collect();
    let body = json!({"inputs": {"in": [floats(&values)]}});
    let outputs = front.execute("pass", &body).await.expect("an answer");
    assert_eq!(numbers(&outputs["out"], f32::from_le_bytes), [values]);
}

#[tokio::test]
async fn tensors_that_the_node_does_not_name_are_told() {
    let worker = Server::saying("far").await;
    let node = node(
        &[&worker.url()],
        "say",
        &[["in", "text"]],
        &[["said", "text"]],
    );
    let front = Server::start(&[alone("hop", &node)]).await;
    let body = json!({"inputs": {"in": [utterance(1, "one")]}});
    let problem = front
        .execute("hop", &body)
        .await
        .expect_err("nobody hears it");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains("[out]") && detail.contains("options.tensors"),
        "{problem:#}"
    );
}
