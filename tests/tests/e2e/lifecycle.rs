//! How a gateway starts, drains and ends.

use std::path::Path;

use tidegate_tests::fixtures::{manifests, root};
use tidegate_tests::gateway::binary;
use tidegate_tests::{Deadline, Gateway, Peer};

#[tokio::test]
async fn sigterm_ends_an_idle_gateway_with_success() {
    let mut gateway = Gateway::start(&[]).await;
    gateway.signal("TERM").await;
    let status = gateway.ended(Deadline::secs(10)).await;
    assert_eq!(status.code(), Some(0), "{}", gateway.logs.text());
}

#[tokio::test]
async fn an_open_address_without_tls_is_refused() {
    let serve = Peer::program("tidegate", &binary());
    let serve = serve.args(["serve", "--listen", "0.0.0.0:0", "--media", "127.0.0.1:0"]);
    let (status, said) = serve.output(Deadline::secs(20)).await;
    assert_eq!(status.code(), Some(2), "{}", said.text());
    assert!(
        said.text().contains("--insecure"),
        "it says what would allow it: {}",
        said.text()
    );
}

#[tokio::test]
async fn a_taken_port_is_one_clear_error() {
    let gateway = Gateway::start(&[]).await;
    let serve = Peer::program("tidegate", &binary());
    let address = gateway.address.to_string();
    let serve = serve.args(["serve", "--listen", &address, "--media", "127.0.0.1:0"]);
    let (status, said) = serve.output(Deadline::secs(20)).await;
    assert_eq!(status.code(), Some(1), "{}", said.text());
    assert!(
        said.text().contains(&address),
        "it names the address: {}",
        said.text()
    );
}

#[tokio::test]
async fn check_names_each_error_with_its_place_and_exits_1() {
    let bad = manifests().join("two-errors.yaml");
    let check = Peer::program("tidegate", &binary()).args(["check".as_ref(), bad.as_os_str()]);
    let (status, said) = check.output(Deadline::secs(20)).await;
    assert_eq!(status.code(), Some(1), "{}", said.text());
    for place in ["two-errors.yaml:6:", "two-errors.yaml:8:"] {
        assert!(said.text().contains(place), "{place} in:\n{}", said.text());
    }
}

#[tokio::test]
async fn every_shipped_and_example_pipeline_passes_check() {
    let mut files = manifests_in(&root().join("pipelines"));
    assert!(files.len() >= 4, "four pipelines ship: {files:?}");
    files.extend(manifests_in(&root().join("examples")));
    let check = Peer::program("tidegate", &binary())
        .args(["check"])
        .args(files);
    let (status, said) = check.output(Deadline::secs(20)).await;
    assert_eq!(status.code(), Some(0), "{}", said.text());
}

/// The manifests of a folder, none if it does not exist.
fn manifests_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let manifests = paths.filter(|path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .any(|line| line.trim() == "version: tidegate/v1")
    });
    manifests
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}
