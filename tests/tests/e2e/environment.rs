//! What the gateway's environment may say, and what it cannot break.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;

use serde_json::Value;
use tidegate_tests::fixtures::{recording, root};
use tidegate_tests::gateway::binary;
use tidegate_tests::{Deadline, Gateway};
use tokio::process::Command;

/// Variables that are no text, as a locale of another age leaves them: one by its value, one by its name.
fn no_text(command: &mut Command) {
    command.env("FULL_NAME", OsStr::from_bytes(b"Andr\xe9"));
    command.env(OsStr::from_bytes(b"NA\xcfVE"), "yes");
}

/// Runs `tidegate` with these arguments to its end, which has to be a good one; what it printed.
async fn succeeds(arguments: &[OsString]) -> String {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(root());
    command.stdin(Stdio::null()).kill_on_drop(true);
    no_text(&mut command);
    let by = Deadline::secs(60);
    let output = by.wait(command.output()).await.expect("it ends in time");
    let output = output.expect("tidegate starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_variable_that_is_no_text_stops_no_command() {
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    succeeds(&words(&["check", "pipelines/features.yaml"])).await;
    let mut run = words(&["run", "pipelines/clean-voice.yaml", "--in"]);
    run.push(recording("jfk.wav").into());
    assert!(succeeds(&run).await.contains("speech_start"));

    // With a folder of pipelines, which are read with the environment too.
    let mut serve = Gateway::command(&[("PIPELINES", "tests/pipelines")]);
    no_text(&mut serve);
    let gateway = Gateway::spawn(serve).await;
    let about = gateway.get("/v1/pipelines/louder").await;
    assert_eq!(about.status, 200, "{}", about.text());
}

#[tokio::test]
async fn the_worker_of_features_is_where_the_environment_says() {
    let worker = Gateway::start(&[]).await;
    let address = worker.url("");
    let front = Gateway::start_with(&[], &[("FEATURES_WORKER", &address)]).await;
    let wav = std::fs::read(recording("jfk.wav")).expect("run `make setup-test`");
    let kind = [("content-type", "audio/wav")];
    let path = "/v1/pipelines/features/execute";
    let answer = front.request("POST", path, &kind, wav).await;
    let shown = format!("{}\n{}", front.logs.text(), worker.logs.text());
    assert_eq!(answer.status, 200, "{}\n{shown}", answer.text());
    let answer = answer.json();
    let summaries = answer["outputs"]["summaries"].as_array().expect("a list");
    assert_eq!(summaries.len(), 110, "11 s in windows of 100 ms: {shown}");
    let finite = |one: &Value| one["json"]["value"]["finite"] == one["json"]["value"]["elements"];
    assert!(summaries.iter().all(finite), "{answer}");
    let endpoint = format!("endpoint=\"{address}\"");
    // The answer goes out before the session's last figures reach the page.
    let (by, labels) = (Deadline::secs(30), [&*endpoint]);
    let moved = by.until(|| async {
        let moved = front.metric("tidegate_hop_frames_total", &labels).await;
        moved.filter(|moved| *moved > 0.0)
    });
    assert!(moved.await.is_some(), "{}", front.metrics().await);
}
