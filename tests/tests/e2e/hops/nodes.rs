//! A remote pipeline is a node like any other.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_tests::Gateway;

use super::{Server, hop, say, texts_of, utterance};

/// A remote node of a worker's pipeline, without declared ports: they are asked of the worker.
fn far(id: &str, worker: &Server, pipeline: &str) -> Value {
    json!({"id": id, "type": "remote", "params": {"endpoints": [worker.url()], "pipeline": pipeline}})
}

fn template(id: &str, template: &str) -> Value {
    json!({"id": id, "type": "text.template", "params": {"template": template}})
}

/// A pipeline of texts.
fn texts(name: &str, inputs: &[&str], outputs: &[&str], nodes: &[Value], edges: &[&str]) -> Value {
    let ports = |names: &[&str]| {
        let ports = names
            .iter()
            .map(|name| json!({"name": name, "kind": "text"}));
        ports.collect::<Vec<_>>()
    };
    json!({
        "version": "tidegate/v1", "name": name, "inputs": ports(inputs), "outputs": ports(outputs),
        "nodes": nodes, "edges": edges,
    })
}

#[tokio::test]
async fn fr_001_a_remote_pipeline_is_a_node_between_local_ones() {
    let worker = Server::saying("far").await;
    let mut far = far("far", &worker, "say");
    far["params"]["inputs"] = json!([{"name": "in", "kind": "text"}]);
    far["params"]["outputs"] = json!([{"name": "out", "kind": "text"}]);
    let before = template("before", "{{text}}, asked");
    let nodes = [before, far, template("after", "{{text}}, answered")];
    let edges = ["in -> before -> far -> after -> out"];
    let front = Server::start(&[texts("hop", &["in"], &["out"], &nodes, &edges)]).await;
    let said = front.call(&["one", "two"]).await.expect("an answer");
    let expected = ["one", "two"].map(|text| format!("far {text}, asked, answered"));
    assert_eq!(said, expected);
}

#[tokio::test]
async fn fr_004_a_predefined_pipeline_runs_by_its_name_with_parameters() {
    let mut named = say("${param:word}");
    named["parameters"] = json!({"word": {"type": "string", "default": "nothing"}});
    let worker = Server::start(&[named]).await;
    let params = |word| json!({"endpoints": [worker.url()], "pipeline": "say", "parameters": word});
    let given = params(json!({"word": "given"}));
    let front = Server::start(&[hop("hop", given), hop("plain", params(json!({})))]).await;
    assert_eq!(
        front.call(&["word"]).await,
        Ok(vec!["given word".to_owned()])
    );
    let body = json!({"inputs": {"in": [utterance(1, "word")]}});
    let outputs = front.execute("plain", &body).await.expect("an answer");
    assert_eq!(texts_of(&outputs["out"]), ["nothing word"]);
}

#[tokio::test]
async fn fr_004_an_inline_manifest_runs_where_the_worker_allows_it_and_nowhere_else() {
    let open = Server::with(&[], &[("TIDEGATE_INLINE", "true")]).await;
    let shut = Server::start(&[]).await;
    let params = |worker: &Server| json!({"endpoints": [worker.url()], "manifest": say("inline")});
    let front = Server::start(&[hop("hop", params(&open)), hop("shut", params(&shut))]).await;
    assert_eq!(
        front.call(&["word"]).await,
        Ok(vec!["inline word".to_owned()])
    );
    let body = json!({"inputs": {"in": [utterance(1, "word")]}});
    let problem = front.execute("shut", &body).await.expect_err("a refusal");
    assert_eq!(problem["code"], "permission_denied", "{problem:#}");
    assert_eq!(problem["endpoint"], shut.url(), "{problem:#}");
}

#[tokio::test]
async fn fr_011_answers_come_while_the_question_goes_on_and_bursts_keep_their_order() {
    let worker = Server::saying("far").await;
    let front = Server::hop(json!({"endpoints": [worker.url()]})).await;
    let mut client = front.open().await;
    // Each answer before the next question …
    for seq in 1..=50 {
        client.send("frame", utterance(seq, "turn")).await;
        let frame = client.until("frame").await;
        assert_eq!(
            (&frame["seq"], &frame["caused_by"]),
            (&json!(seq), &json!(seq))
        );
    }
    // … and many questions before the first answer is read.
    for seq in 51..=250 {
        client
            .send("frame", utterance(seq, &format!("burst {seq}")))
            .await;
    }
    client.send("end", json!({})).await;
    for seq in 51..=250 {
        let frame = client.until("frame").await;
        assert_eq!(frame["text"]["text"], format!("far burst {seq}"));
        assert_eq!(frame["seq"], seq);
    }
    assert_eq!(client.until("ended").await["reason"], "finished");
}

#[tokio::test]
async fn fr_014_one_output_goes_to_several_hops_and_several_hops_to_one_output() {
    let (left, right) = (Server::saying("left").await, Server::saying("right").await);
    let nodes = [far("left", &left, "say"), far("right", &right, "say")];
    let edges = ["in -> left", "in -> right", "left -> out", "right -> out"];
    let front = Server::start(&[texts("hop", &["in"], &["out"], &nodes, &edges)]).await;
    let said = front.call(&["one", "two"]).await.expect("an answer");
    let by = |word: &str| {
        let of = said.iter().filter(|text| text.starts_with(word));
        of.cloned().collect::<Vec<_>>()
    };
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(by("left"), ["left one", "left two"]);
    assert_eq!(by("right"), ["right one", "right two"]);
}

#[tokio::test]
async fn fr_014_a_hop_with_several_inputs_and_outputs_joins_each_where_the_edges_say() {
    let nodes = [
        template("both", "both {{text}}"),
        template("second", "second {{text}}"),
    ];
    let edges = [
        "x -> both",
        "y -> both",
        "y -> second",
        "both -> p",
        "second -> q",
    ];
    let worker = Server::start(&[texts("cross", &["x", "y"], &["p", "q"], &nodes, &edges)]).await;
    // The outputs are swapped on this side.
    let edges = ["a -> far.x", "b -> far.y", "far.p -> d", "far.q -> c"];
    let nodes = [far("far", &worker, "cross")];
    let manifest = texts("swap", &["a", "b"], &["c", "d"], &nodes, &edges);
    let front = Server::start(&[manifest]).await;
    let frame = |text| json!([{"text": {"text": text}}]);
    let body = json!({"inputs": {"a": frame("of a"), "b": frame("of b")}});
    let outputs = front.execute("swap", &body).await.expect("an answer");
    assert_eq!(texts_of(&outputs["c"]), ["second of b"]);
    let joined: BTreeSet<_> = texts_of(&outputs["d"]).into_iter().collect();
    let expected = ["both of a", "both of b"].map(str::to_owned);
    assert_eq!(joined, BTreeSet::from(expected));
}

#[tokio::test]
async fn fr_018_the_same_hop_runs_as_a_stream_and_as_calls() {
    let worker = Server::saying("far").await;
    let hops = ["stream", "unary"]
        .map(|mode| hop(mode, json!({"endpoints": [worker.url()], "mode": mode})));
    let front = Server::start(&hops).await;
    let frames = [utterance(1, "one"), utterance(2, "two")];
    let body = json!({"inputs": {"in": frames}});
    for mode in ["stream", "unary"] {
        let outputs = front.execute(mode, &body).await.expect("an answer");
        assert_eq!(texts_of(&outputs["out"]), ["far one", "far two"], "{mode}");
    }
    assert_sessions(&worker.gateway, 0).await;
}

async fn assert_sessions(gateway: &Gateway, expected: u64) {
    let by = tidegate_tests::Deadline::secs(10);
    let come = by.until(|| async { (gateway.sessions().await == expected).then_some(()) });
    assert!(
        come.await.is_some(),
        "{}",
        gateway.get("/v1/sessions").await.text()
    );
}
