//! What docs/hops.md tells a newcomer to run, run: pipelines of examples/hops with their workers.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tidegate_tests::fixtures::{cached, recording, root};
use tidegate_tests::gateway::binary;
use tidegate_tests::logs::Logs;
use tidegate_tests::{Deadline, Gateway, Peer};

fn voice() -> PathBuf {
    recording("jfk.wav")
}

/// The address at the end of the line with this text in it.
async fn address(logs: &Logs, text: &str) -> String {
    let line = Deadline::secs(30).wait(logs.find(text)).await;
    let line = line.unwrap_or_else(|| panic!("no line with '{text}':\n{}", logs.text()));
    line.rsplit(' ').next().unwrap_or_default().to_owned()
}

/// The messages among what was printed.
fn frames(lines: &[String]) -> Vec<Value> {
    let messages = lines.iter().filter(|line| line.starts_with('{'));
    let read = messages.map(|line| serde_json::from_str(line).expect("JSON"));
    read.collect()
}

/// Runs a pipeline of examples/hops over a file, with the worker at `endpoint` instead of where the guide starts it. Gives what
/// it printed.
async fn run(manifest: &str, endpoint: &str, input: &Path, out: Option<&Path>) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("examples/hops").join(manifest));
    let text = text.expect("the example is there");
    let usual = [
        "http://127.0.0.1:7001",
        "http://127.0.0.1:7004",
        "http://127.0.0.1:8090",
    ];
    let usual = usual.iter().find(|usual| text.contains(**usual));
    let text = text.replace(usual.expect("an endpoint"), endpoint);
    let folder = tempfile::tempdir().expect("a folder for the manifest");
    let file = folder.path().join(manifest);
    std::fs::write(&file, text).expect("the manifest is written");
    let mut arguments: Vec<OsString> = vec!["run".into(), file.into(), "--in".into()];
    arguments.push(input.into());
    if let Some(out) = out {
        arguments.extend(["--out".into(), out.into()]);
    }
    let peer = Peer::program("tidegate", &binary()).args(arguments);
    let (status, logs) = peer.output(Deadline::secs(60)).await;
    assert!(status.success(), "{status}\n{}", logs.text());
    logs.lines()
}

#[tokio::test]
async fn two_tidegates_clean_a_recording() {
    let worker = Gateway::start(&[]).await;
    let folder = tempfile::tempdir().expect("a folder for the sound");
    let out = folder.path().join("clean.wav");
    let endpoint = worker.url("");
    let endpoint = endpoint.trim_end_matches('/');
    run("clean.yaml", endpoint, &voice(), Some(&out)).await;
    let length = |path: &Path| std::fs::metadata(path).expect("a file").len();
    let (sent, came) = (length(Path::new(&recording("jfk.wav"))), length(&out));
    assert!(
        came.abs_diff(sent) < 4_000,
        "{came} bytes came of {sent}: as long as it was, give or take a block"
    );
}

#[tokio::test]
async fn the_worker_in_python_is_a_hop() {
    let python = cached("venv/bin/python");
    let script = root().join("examples/python/worker.py");
    let arguments = [
        "-u".into(),
        script.into(),
        "--listen".into(),
        "127.0.0.1:0".into(),
    ];
    let worker = Peer::program("worker.py", &python)
        .args::<OsString>(arguments)
        .start();
    let address = address(&worker.logs, "worker of pipeline").await;
    let endpoint = format!("http://{address}");
    let lines = run("loudness.yaml", &endpoint, &voice(), None).await;
    let shown = format!("{lines:#?}\n{}", worker.logs.text());
    let frames = frames(&lines);
    let finals = frames.iter().filter(|line| line["frame"]["final"] == true);
    assert!(finals.count() >= 3, "an answer to each utterance: {shown}");
    for line in &frames {
        let frame = &line["frame"];
        let text = frame["text"]["text"].as_str().unwrap_or_default();
        assert!(text.contains(" s at "), "{shown}");
        assert!(frame["caused_by"].as_u64() > Some(0), "{shown}");
        assert!(frame["revision"].as_u64() > Some(0), "{shown}");
    }
}

#[tokio::test]
async fn the_service_that_answers_a_post_is_a_hop() {
    let script = root().join("examples/python/shout.py");
    let arguments = [script.into(), "--listen".into(), "127.0.0.1:0".into()];
    let service = Peer::program("shout.py", &cached("venv/bin/python"))
        .args::<OsString>(arguments)
        .start();
    let address = address(&service.logs, "service on").await;
    let folder = tempfile::tempdir().expect("a folder for the words");
    let words = folder.path().join("words.txt");
    std::fs::write(&words, "hello\nworld\n").expect("written");
    let lines = run("shout.yaml", &format!("http://{address}"), &words, None).await;
    let said: Vec<_> = frames(&lines)
        .iter()
        .map(|line| line["frame"]["text"]["text"].clone())
        .collect();
    assert_eq!(said, ["HELLO", "WORLD"], "{}", service.logs.text());
}
