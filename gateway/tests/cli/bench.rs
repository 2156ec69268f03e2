//! `bench` against a gateway of this test's own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::support::tidegate;

/// A running gateway; killed when dropped.
struct Gateway {
    child: Child,
    url: String,
}

impl Gateway {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["serve", "--listen", "127.0.0.1:0", "--media", "127.0.0.1:0"])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let out = child.stdout.take().expect("standard output is piped");
        let mut line = String::new();
        BufReader::new(out)
            .read_line(&mut line)
            .expect("it says where it listens");
        let url = line
            .trim()
            .rsplit(' ')
            .next()
            .unwrap_or_default()
            .to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{line}");
        Self { child, url }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Arguments of every run here: two sessions, and JSON.
fn bench(gateway: &Gateway, more: &[&str]) -> serde_json::Value {
    let fixed = ["bench", "--url", &gateway.url, "--sessions", "2", "--json"];
    let arguments: Vec<_> = fixed.into_iter().chain(more.iter().copied()).collect();
    let said = tidegate(&arguments);
    assert_eq!(said.code, 0, "{said:?}");
    said.json()
}

#[test]
fn every_transport_brings_back_what_was_sent_and_says_how_long_it_took() {
    let gateway = Gateway::start();
    for transport in ["ws", "grpc", "webrtc"] {
        let report = bench(&gateway, &["--transport", transport, "--duration", "1"]);
        let number = |name: &str| report[name].as_u64().unwrap_or_default();
        assert_eq!(number("sessions_opened"), 2, "{report:#}");
        // A second of 50 frames a second from two sessions: never more, and on a busy machine, where the last come after the
        // second is over, some fewer.
        assert!((50..=102).contains(&number("frames_sent")), "{report:#}");
        assert!(number("frames_received") > 0, "{report:#}");
        assert!(
            number("frames_received") <= number("frames_sent"),
            "{report:#}"
        );
        let latency = &report["latency_us"];
        let (p50, max) = (latency["p50"].as_f64(), latency["max"].as_f64());
        assert!(p50 > Some(0.0) && p50 <= max, "{report:#}");
        assert_eq!(report["opening_us"]["count"], 2, "{report:#}");
    }
}

#[test]
fn without_a_rate_the_next_frame_follows_the_answer() {
    let gateway = Gateway::start();
    let report = bench(
        &gateway,
        &[
            "--transport",
            "grpc",
            "--rate",
            "0",
            "--window",
            "4",
            "--duration",
            "1",
        ],
    );
    let number = |name: &str| report[name].as_u64().unwrap_or_default();
    assert!(number("frames_received") > 100, "{report:#}");
    assert_eq!(
        number("frames_received"),
        number("frames_sent"),
        "nothing is shed: {report:#}"
    );
}

#[test]
fn what_cannot_be_loaded_is_named_and_fails() {
    let gateway = Gateway::start();
    let unknown = tidegate(&["bench", "--url", &gateway.url, "--pipeline", "no-such"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    assert!(
        unknown.err.contains("404") && unknown.err.contains("'no-such'"),
        "{unknown:?}"
    );
    // Port 1 of loopback: nobody listens there.
    let nobody = tidegate(&["bench", "--url", "http://127.0.0.1:1"]);
    assert_eq!(nobody.code, 1, "{nobody:?}");
    assert!(nobody.err.contains("tidegate serve"), "{nobody:?}");
    let wrong: [&[&str]; 4] = [
        &["bench", "--url", "localhost"],
        &["bench", "--sessions", "0"],
        &["bench", "--transport", "webrtc", "--size", "5000"],
        &["bench", "--duration", "-3"],
    ];
    for arguments in wrong {
        assert_eq!(tidegate(arguments).code, 2, "{arguments:?}");
    }
}
