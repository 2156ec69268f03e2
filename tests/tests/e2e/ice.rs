//! Paths of a call: ICE restarts while it runs, and the STUN and TURN servers that clients are told of.

use std::net::UdpSocket;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::fixtures::cached;
use tidegate_tests::peer::Running;
use tidegate_tests::{Deadline, Gateway, Peer, turn};

const SECRET: &str = "north by northwest";

/// Runs a peer of a call in a browser and expects no problem.
async fn call(peer: Peer, gateway: &Gateway) -> (Value, String) {
    let report = peer.report(Deadline::secs(300)).await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    assert_eq!(report["problems"], json!([]), "{shown}");
    (report, shown)
}

/// Whether a STUN server answers a Binding request (RFC 8489 §6) there.
async fn answers(port: u16, by: Deadline) -> bool {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await;
    let socket = socket.expect("a port");
    socket.connect(("127.0.0.1", port)).await.expect("loopback");
    let mut request = [0; 20];
    request[1] = 1;
    request[4..8].copy_from_slice(&0x2112_A442_u32.to_be_bytes());
    let ask = || async {
        socket.send(&request).await.ok()?;
        let mut answer = [0; 64];
        let look = Deadline::after(Duration::from_millis(200));
        look.wait(socket.recv(&mut answer)).await?.ok()?;
        (answer[..2] == [1, 1]).then_some(())
    };
    by.until(ask).await.is_some()
}

/// coturn on loopback, where it knows nobody but who has credentials made with [`SECRET`].
struct Turn {
    port: u16,
    _server: Running,
    _folder: tempfile::TempDir,
}

impl Turn {
    async fn start() -> Self {
        // It cannot be told to take a port of the system's choice; so one that was free a moment ago, and another if somebody took it.
        for _ in 0..5 {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            let port = socket.local_addr().expect("it is bound").port();
            drop(socket);
            let folder = tempfile::tempdir().expect("a folder for its files");
            let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
            let libraries = std::fs::read_dir(cached("coturn/usr/lib")).expect("its libraries");
            let libraries = libraries.flatten().map(|entry| entry.path());
            let path = std::env::join_paths(libraries.filter(|path| path.is_dir()));
            let peer = Peer::program("turnserver", &cached("coturn/usr/bin/turnserver"))
                .env("LD_LIBRARY_PATH", path.expect("folders without a colon"))
                .args(["-n", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp"])
                .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1"])
                .args(["--allow-loopback-peers", "--relay-threads=1"])
                .args(["--log-file=stdout", "--simple-log", "--realm=tidegate.test"])
                .args(["--use-auth-secret".to_owned()])
                .args([format!("--static-auth-secret={SECRET}")])
                .args([format!("--listening-port={port}")])
                .args([format!("--pidfile={}", file("pid"))])
                .args([format!("--userdb={}", file("db"))]);
            let server = peer.start();
            if answers(port, Deadline::secs(30)).await {
                return Self {
                    port,
                    _server: server,
                    _folder: folder,
                };
            }
        }
        panic!("coturn does not come up");
    }

    /// A gateway that tells its clients of this server.
    async fn named_by(&self) -> (Gateway, tempfile::TempDir) {
        let port = self.port;
        let servers = json!([
            {"urls": [format!("stun:127.0.0.1:{port}")]},
            {"urls": [format!("turn:127.0.0.1:{port}?transport=udp")], "shared_secret": SECRET, "lifetime": "10m"},
        ]);
        let folder = tempfile::tempdir().expect("a folder for the configuration");
        let file = folder.path().join("tidegate.yaml");
        let config = json!({"webrtc": {"ice_servers": servers}});
        std::fs::write(&file, config.to_string()).expect("the configuration is written");
        let file = file.to_string_lossy().into_owned();
        (Gateway::start(&["--config", &file]).await, folder)
    }
}

#[tokio::test]
async fn a_running_call_goes_on_after_an_ice_restart() {
    let _turn = turn::alone().await;
    let gateway = Gateway::start(&[]).await;
    let url = gateway.url("/v1/pipelines/echo/whip");
    let (report, shown) = call(Peer::node("restart.mjs").args([url]), &gateway).await;
    let [before, after] = ["before", "after"].map(|when| &report[when]);
    assert_eq!(
        report["restart"]["stale"], 412,
        "the ETag of before is over: {shown}"
    );
    let etags = &report["restart"]["etags"];
    assert_ne!(etags[0], etags[1], "{shown}");
    let fragment = |path: &Value| {
        path["path"]["remote"]
            .as_str()
            .map(|name| json!(format!("\"{name}\"")))
    };
    assert_eq!(fragment(before).as_ref(), Some(&etags[0]), "{shown}");
    assert_eq!(
        fragment(after).as_ref(),
        Some(&etags[1]),
        "media flows by the new credentials: {shown}"
    );
    assert_eq!(before["tone"]["hertz"], 440, "{shown}");
    assert_eq!(
        after["tone"]["hertz"], 660,
        "what was said afterwards is heard: {shown}"
    );
    assert_eq!(
        report["states"],
        json!(["connecting", "connected"]),
        "{shown}"
    );
    assert_eq!(report["deleted"], 200, "one session all the time: {shown}");
    let count = gateway.metric("tidegate_sessions_total", &["webrtc"]).await;
    assert!(count <= Some(1.0), "{count:?} sessions: {shown}");
}

#[tokio::test]
async fn a_browser_that_may_only_relay_talks_with_the_servers_and_credentials_of_the_configuration()
{
    let _turn = turn::alone().await;
    let turn = Turn::start().await;
    let (gateway, _folder) = turn.named_by().await;
    let peer = Peer::node("voice.mjs").args([gateway.url("/").as_str(), "relay"]);
    let (report, shown) = call(peer, &gateway).await;
    let port = turn.port;
    let servers = &report["servers"];
    assert_eq!(
        servers[0]["urls"],
        json!([format!("stun:127.0.0.1:{port}")]),
        "{shown}"
    );
    let relay = json!([format!("turn:127.0.0.1:{port}?transport=udp")]);
    assert_eq!(servers[1]["urls"], relay, "{shown}");
    assert_eq!(report["path"]["local"], "relay", "{shown}");
    assert_eq!(report["tone"]["hertz"], 440, "{shown}");
    assert!(
        !gateway.logs.text().contains(SECRET),
        "the secret is not logged"
    );
}

#[tokio::test]
async fn what_a_page_loses_it_gets_back_within_the_session() {
    let _turn = turn::alone().await;
    let gateway = Gateway::start(&[]).await;
    let peer = Peer::node("voice.mjs").args([gateway.url("/").as_str(), "lose"]);
    let (report, shown) = call(peer, &gateway).await;
    assert_eq!(report["tone"]["hertz"], 440, "{shown}");
    assert_eq!(report["after"]["tone"]["hertz"], 660, "{shown}");
    assert_eq!(report["session"], report["after"]["session"], "{shown}");
    assert_ne!(
        report["path"]["remote"], report["after"]["path"]["remote"],
        "{shown}"
    );
    let states = report["states"].as_array().expect("a list");
    let last = &states[states.len() - 2..];
    assert_eq!(last, [json!("reconnecting"), json!("connected")], "{shown}");
}
