//! The real `tidegate serve` as a child process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::clock::Deadline;
use crate::fixtures;
use crate::http::{self, Response};
use crate::logs::Logs;
use crate::process;
use crate::turn::{self, Turn};

/// A debug binary starts in well under a second; the rest is for a loaded machine.
const START_SECONDS: u64 = 30;
const METRIC_SECONDS: u64 = 30;

/// A running gateway. It is killed when this is dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    /// Where HTTP, WebSocket and gRPC listen.
    pub address: SocketAddr,
    /// Where WebRTC media arrives.
    pub media: SocketAddr,
    /// What it printed so far.
    pub logs: Logs,
    _readers: JoinSet<()>,
    _turn: Arc<Turn>,
}

impl Gateway {
    /// Starts one on ports of the operating system's choice and waits until it is ready.
    ///
    /// # Panics
    /// If it does not come up; the message holds its output.
    pub async fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[]).await
    }

    /// The same with settings by their `TIDEGATE_*` variables.
    ///
    /// # Panics
    /// If it does not come up; the message holds its output.
    pub async fn start_with(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary());
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--media", "127.0.0.1:0"])
            .args(arguments)
            .envs(settings.iter().copied())
            .current_dir(fixtures::root());
        Self::spawn(command).await
    }

    /// Starts one where another one listened before, as an operator restarts a server that died.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub async fn start_at(address: SocketAddr, arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command
            .args(["serve", "--media", "127.0.0.1:0", "--listen"])
            .arg(address.to_string())
            .args(arguments)
            .current_dir(fixtures::root());
        Self::spawn(command).await
    }

    /// Starts one that serves TLS, by settings that say with what; it is taken for ready once it
    /// listens, since [`Gateway::request`] and all that stands on it speak no TLS.
    ///
    /// # Panics
    /// If it does not come up; the message holds its output.
    pub async fn start_tls(settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary());
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--media", "127.0.0.1:0"])
            .envs(settings.iter().copied())
            .current_dir(fixtures::root());
        Self::listening(command).await
    }

    /// Starts one with these settings, each named as its variable without the `TIDEGATE_`:
    /// `("LIMITS_SESSIONS", "2")`.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        Self::spawn(Self::command(settings)).await
    }

    /// The command that [`Gateway::with`] starts.
    #[must_use]
    pub fn command(settings: &[(&str, &str)]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--media", "127.0.0.1:0"])
            .current_dir(fixtures::root());
        for (name, value) in settings {
            command.env(format!("TIDEGATE_{name}"), value);
        }
        command
    }

    /// Starts one by this command, which has to be some form of `tidegate serve`.
    ///
    /// # Panics
    /// If it does not come up; the message holds its output.
    pub async fn spawn(command: Command) -> Self {
        let gateway = Self::listening(command).await;
        gateway.wait_ready(Deadline::secs(START_SECONDS)).await;
        gateway
    }

    /// As [`Gateway::spawn`] but without asking whether it is ready, which takes clear text and no token.
    ///
    /// # Panics
    /// If it does not say where it listens; the message holds its output.
    pub async fn listening(mut command: Command) -> Self {
        let turn = turn::together().await;
        let by = Deadline::secs(START_SECONDS);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        let logs = Logs::default();
        let mut readers = JoinSet::new();
        logs.follow(
            "",
            child.stdout.take().expect("stdout is piped"),
            &mut readers,
        );
        logs.follow(
            "! ",
            child.stderr.take().expect("stderr is piped"),
            &mut readers,
        );

        let lines = async {
            (
                logs.find("listening on http").await,
                logs.find("media on udp").await,
            )
        };
        let (listening, media) = tokio::select! {
            lines = by.wait(lines) => lines
                .unwrap_or_else(|| panic!("tidegate never said where it listens:\n{}", logs.text())),
            status = child.wait() => {
                panic!("tidegate ended at once with {status:?}:\n{}", logs.text())
            }
        };
        Self {
            child,
            address: address_at_end(&listening),
            media: address_at_end(&media),
            logs,
            _readers: readers,
            _turn: turn,
        }
    }

    /// `http://127.0.0.1:PORT` and this path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The process's id.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child
            .id()
            .unwrap_or_else(|| panic!("tidegate has ended:\n{}", self.logs.text()))
    }

    /// One request.
    ///
    /// # Panics
    /// If there is no answer; the message holds the gateway's output.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response {
        http::send(self.address, method, path, headers, body)
            .await
            .unwrap_or_else(|e| panic!("{method} {path}: {e}\n{}", self.logs.text()))
    }

    /// `GET`.
    ///
    /// # Panics
    /// As [`Gateway::request`].
    pub async fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], Bytes::new()).await
    }

    /// `POST` of a JSON value.
    ///
    /// # Panics
    /// As [`Gateway::request`].
    pub async fn post_json(&self, path: &str, body: &serde_json::Value) -> Response {
        self.request(
            "POST",
            path,
            &[("content-type", "application/json")],
            body.to_string(),
        )
        .await
    }

    /// The metrics page as Prometheus would read it.
    ///
    /// # Panics
    /// If it is not answered by 200.
    pub async fn metrics(&self) -> String {
        let response = self.get("/metrics").await;
        assert_eq!(response.status, 200, "{}", response.text());
        response.text()
    }

    /// The sum of a metric's samples whose line holds all of `labels` (`hop="vad"` …); `None` if
    /// there is no such sample.
    ///
    /// # Panics
    /// As [`Gateway::metrics`].
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        sum_of(&self.metrics().await, name, labels)
    }

    /// Waits until [`Gateway::metric`] gives this, and says what it gave last: a session counts a moment after its client has seen it.
    pub async fn metric_becomes(&self, name: &str, labels: &[&str], value: f64) -> Option<f64> {
        let last = std::cell::Cell::new(None);
        let by = Deadline::secs(METRIC_SECONDS);
        let seen = by.until(|| async {
            last.set(self.metric(name, labels).await);
            last.get().filter(|last| *last == value)
        });
        seen.await.or_else(|| last.get())
    }

    /// As [`process::signal`].
    ///
    /// # Panics
    /// If the process has ended.
    pub async fn signal(&self, name: &str) {
        process::signal(self.pid(), name).await;
    }

    /// Resident memory in bytes.
    ///
    /// # Panics
    /// If the process has ended.
    #[must_use]
    pub fn memory(&self) -> u64 {
        process::memory(self.pid())
    }

    /// Open files and sockets.
    ///
    /// # Panics
    /// If the process has ended.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        process::descriptors(self.pid())
    }

    /// How many sessions there are, those that are being opened included, as the gateway itself says.
    ///
    /// # Panics
    /// As [`Gateway::metrics`], or if there is no such metric.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of places"
    )]
    pub async fn sessions(&self) -> u64 {
        let taken = self.metric("tidegate_sessions_taken", &[]).await;
        taken.expect("a gauge") as u64
    }

    /// Kills it at once, as a crash would.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("a child can be killed");
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Panics
    /// If the deadline passes first.
    pub async fn ended(&mut self, by: Deadline) -> ExitStatus {
        let ended = by.wait(self.child.wait()).await;
        ended
            .unwrap_or_else(|| panic!("tidegate did not end:\n{}", self.logs.text()))
            .expect("a child can be waited for")
    }

    async fn wait_ready(&self, by: Deadline) {
        let ready = by
            .until(|| async {
                let answer = http::send(self.address, "GET", "/readyz", &[], Bytes::new())
                    .await
                    .ok()?;
                (answer.status == 200).then_some(())
            })
            .await;
        assert!(
            ready.is_some(),
            "tidegate never became ready:\n{}",
            self.logs.text()
        );
    }
}

/// Adds up the samples of `name` whose labels hold all of `labels`.
#[must_use]
pub fn sum_of(metrics: &str, name: &str, labels: &[&str]) -> Option<f64> {
    metrics
        .lines()
        .filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label))
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .reduce(|a, b| a + b)
}

/// The `tidegate` binary: `TIDEGATE_BIN`, or else built now, so that a test never runs an old one.
///
/// # Panics
/// If it does not build.
pub fn binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY
        .get_or_init(|| match std::env::var_os("TIDEGATE_BIN") {
            Some(path) => PathBuf::from(path),
            None => build(),
        })
        .clone()
}

/// `cargo build` into the folder that this test runs from. `--workspace` makes it choose the same
/// features as `cargo test --workspace`, or it would compile half of the dependencies again.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its binary");
    let profile = test
        .parent()
        .and_then(|deps| deps.parent())
        .expect("tests lie in PROFILE/deps");
    let target = profile.parent().expect("a profile lies in a target folder");
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo
        .args([
            "build",
            "--quiet",
            "--locked",
            "--workspace",
            "--bin",
            "tidegate",
            "--target-dir",
        ])
        .arg(target)
        .current_dir(fixtures::root());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "the gateway does not build");
    profile.join("tidegate")
}

/// Reads the address at the end of `… on http://127.0.0.1:8080` or `… on udp 127.0.0.1:8081`.
fn address_at_end(line: &str) -> SocketAddr {
    let word = line.split_whitespace().last().unwrap_or_default();
    let word = word
        .trim_start_matches("http://")
        .trim_start_matches("https://");
    word.trim_end_matches('/')
        .parse()
        .unwrap_or_else(|e| panic!("no address ({e}) in: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_what_serve_prints() {
        let http = address_at_end("tidegate listening on http://127.0.0.1:8080");
        assert_eq!(http, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(address_at_end("media on udp 127.0.0.1:9").port(), 9);
    }

    #[test]
    fn samples_are_added_by_name_and_labels() {
        let page = "# TYPE a counter\na{hop=\"x\",p=\"1\"} 2\na{hop=\"y\"} 3\na_total 9\na 1\n";
        assert_eq!(sum_of(page, "a", &[]), Some(6.0));
        assert_eq!(sum_of(page, "a", &["hop=\"x\""]), Some(2.0));
        assert_eq!(sum_of(page, "b", &[]), None);
    }
}
