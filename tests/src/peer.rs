//! A peer that somebody else wrote, run as a process: a script of `tests/peers` or a server.
//!
//! A script prints one JSON object as its last line, the figures it measured; the test judges
//! them. What it prints to stderr is shown when the test fails.

use std::path::Path;
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::clock::Deadline;
use crate::fixtures::{cached, root};
use crate::logs::Logs;
use crate::process;

/// A peer to be started.
#[derive(Debug)]
pub struct Peer {
    name: String,
    command: Command,
}

impl Peer {
    /// A Python script of `tests/peers`, in the environment that `make setup-test` made.
    ///
    /// # Panics
    /// If that is missing.
    #[must_use]
    pub fn python(script: &str) -> Self {
        Self::python_of("venv", script)
    }

    /// The same in another environment that `make setup-test` made.
    ///
    /// # Panics
    /// If that is missing.
    #[must_use]
    pub fn python_of(venv: &str, script: &str) -> Self {
        let mut peer = Self::program(script, &cached(&format!("{venv}/bin/python")));
        peer.command
            .arg("-u")
            .arg(root().join("tests/peers").join(script));
        peer
    }

    /// A Node script of `tests/peers`.
    ///
    /// # Panics
    /// If its packages are missing.
    #[must_use]
    pub fn node(script: &str) -> Self {
        let packages = root().join("tests/peers/node_modules");
        assert!(
            packages.exists(),
            "{} is missing: run `make setup-test`",
            packages.display()
        );
        let mut peer = Self::program(script, Path::new("node"));
        peer.command.arg(root().join("tests/peers").join(script));
        peer
    }

    /// Any program.
    #[must_use]
    pub fn program(name: &str, program: &Path) -> Self {
        Self {
            name: name.to_owned(),
            command: Command::new(program),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<std::ffi::OsStr>>(
        mut self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it to its end: how it ended and what it printed.
    ///
    /// # Panics
    /// If the deadline passes first; the message holds what it printed.
    pub async fn output(self, by: Deadline) -> (ExitStatus, Logs) {
        self.start().output(by).await
    }

    /// Runs it to its end and reads its report.
    ///
    /// # Panics
    /// If it fails, says nothing, or the deadline passes; the message holds what it printed.
    pub async fn report(self, by: Deadline) -> Value {
        self.start().report(by).await
    }

    /// Starts it and leaves it running: a server. It is killed when the result is dropped.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(mut self) -> Running {
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {}: {e}", self.name));
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
        Running {
            name: self.name,
            child,
            logs,
            readers,
        }
    }
}

/// A peer that runs.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    /// What it printed so far.
    pub logs: Logs,
    readers: JoinSet<()>,
}

impl Running {
    /// Waits for its end: how it ended and what it printed.
    ///
    /// # Panics
    /// If the deadline passes first; the message holds what it printed.
    pub async fn output(mut self, by: Deadline) -> (ExitStatus, Logs) {
        let name = &self.name;
        let status = by.wait(self.child.wait()).await;
        // Its pipes may hold lines still; they end with the process.
        while by.wait(self.readers.join_next()).await.flatten().is_some() {}
        let status = status
            .unwrap_or_else(|| panic!("{name} ran past its deadline:\n{}", self.logs.text()))
            .expect("a child can be waited for");
        (status, self.logs)
    }

    /// Waits for its end and reads its report.
    ///
    /// # Panics
    /// If it fails, says nothing, or the deadline passes; the message holds what it printed.
    pub async fn report(self, by: Deadline) -> Value {
        let name = self.name.clone();
        let (status, logs) = self.output(by).await;
        let said = logs.text();
        assert!(status.success(), "{name} failed ({status}):\n{said}");
        let lines = logs.lines();
        let last = lines.iter().rev().find(|line| line.starts_with('{'));
        let last = last.unwrap_or_else(|| panic!("{name} printed no report:\n{said}"));
        serde_json::from_str(last).unwrap_or_else(|e| panic!("{name}'s report ({e}):\n{said}"))
    }

    /// Kills it at once, as a crash would, with all that it started: it is to lead a group of its own.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub async fn kill_group(&mut self) {
        let leader = self.child.id().expect("it runs");
        process::signal_group(leader, "KILL").await;
        self.child.wait().await.expect("a child can be waited for");
    }
}
