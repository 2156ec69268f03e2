//! A server under measurement: a process pinned to one core, with its CPU time and memory.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::Failure;

/// The core that servers run on; loads run on [`LOAD_CORE`].
pub const SERVER_CORE: &str = "0";
/// The core that loads run on.
pub const LOAD_CORE: &str = "1";
/// Python with Pipecat takes seconds to import.
const START_MAX: Duration = Duration::from_secs(40);
/// How long a server may take to end when it is told to.
const END_MAX: Duration = Duration::from_secs(5);

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pid: u32,
    /// Where it listens.
    pub address: SocketAddr,
    readers: JoinSet<()>,
}

impl Server {
    /// Starts it on [`SERVER_CORE`] and waits for its line `… listening on http://ADDRESS`. A line
    /// `pid N` before that names the process to be measured, if it is another.
    ///
    /// # Errors
    /// If it ends or stays silent.
    pub async fn start(program: &Path, arguments: &[String]) -> Result<Self, Failure> {
        Self::start_on(SERVER_CORE, program, arguments).await
    }

    /// The same on another core.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_on(
        core: &str,
        program: &Path,
        arguments: &[String],
    ) -> Result<Self, Failure> {
        let mut child = Command::new("taskset")
            .args(["-c", core])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut pid = child.id().ok_or("it ended at once")?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let address = tokio::time::timeout(START_MAX, async {
            while let Some(line) = lines.next_line().await? {
                if let Some(other) = line.strip_prefix("pid ") {
                    pid = other.trim().parse()?;
                } else if let Some((_, address)) = line.split_once("listening on http://") {
                    return Ok::<SocketAddr, Failure>(
                        address.trim().trim_end_matches('/').parse()?,
                    );
                }
            }
            Err(format!(
                "{} ended without saying where it listens",
                program.display()
            )
            .into())
        });
        let address = address
            .await
            .map_err(|_| format!("{} did not start", program.display()))??;
        // Whatever it says later is read, or it would block on a full pipe.
        let mut readers = JoinSet::new();
        readers.spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self {
            child,
            pid,
            address,
            readers,
        })
    }

    /// The gateway with the manifests of this folder beside the shipped ones.
    ///
    /// # Errors
    /// If it was not built or does not start.
    pub async fn tidegate(pipelines: &Path) -> Result<Self, Failure> {
        Self::tidegate_at(SocketAddr::from(([127, 0, 0, 1], 0)), pipelines).await
    }

    /// The same where another one listened before.
    ///
    /// # Errors
    /// As [`Server::tidegate`].
    pub async fn tidegate_at(address: SocketAddr, pipelines: &Path) -> Result<Self, Failure> {
        let (address, pipelines) = (address.to_string(), pipelines.display().to_string());
        let arguments = [
            "serve",
            "--listen",
            &address,
            "--media",
            "127.0.0.1:0",
            "--pipelines",
            &pipelines,
        ];
        let arguments: Vec<String> = arguments.map(str::to_owned).into();
        Self::start(&beside("tidegate")?, &arguments).await
    }

    /// A bare peer of the benchmark's own.
    ///
    /// # Errors
    /// If it was not built or does not start.
    pub async fn bare(name: &str, arguments: &[&str]) -> Result<Self, Failure> {
        let mut all = vec!["127.0.0.1:0".to_owned()];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        Self::start(&beside(name)?, &all).await
    }

    /// `http://ADDRESS` and this path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// CPU time of all its threads so far, in steps of 10 ms.
    ///
    /// # Errors
    /// If it has ended.
    pub fn cpu(&self) -> Result<Duration, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The name in brackets may hold spaces; the fields after it are counted from 3.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .split_whitespace()
            .collect();
        let ticks = |field: usize| {
            fields
                .get(field - 3)
                .and_then(|text| text.parse::<u64>().ok())
        };
        let ticks = ticks(14)
            .zip(ticks(15))
            .ok_or("proc(5) stat without utime")?;
        Ok(Duration::from_millis(10 * (ticks.0 + ticks.1)))
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// If it has ended.
    pub fn memory(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line
            .and_then(|line| line.split_whitespace().next())
            .ok_or("no VmRSS")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// Sends it a signal, by its name without `SIG`.
    ///
    /// # Errors
    /// If there is no `kill`, or no such signal.
    pub async fn signal(&self, name: &str) -> Result<(), Failure> {
        let pid = self.pid.to_string();
        let told = Command::new("kill").args(["-s", name, &pid]).status();
        if told.await?.success() {
            Ok(())
        } else {
            Err(format!("process {pid} took no {name}").into())
        }
    }

    /// Stops it until it is told `CONT`, and waits until it stands still: a thread on another core goes on for a moment.
    ///
    /// # Errors
    /// If it has ended, or does not stop.
    pub async fn stop_short(&self) -> Result<(), Failure> {
        self.signal("STOP").await?;
        for _ in 0..10_000 {
            if self.stands_still()? {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
        Err(format!("process {} does not stop", self.pid).into())
    }

    fn stands_still(&self) -> Result<bool, Failure> {
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let stat = std::fs::read_to_string(thread?.path().join("stat"))?;
            // The state stands behind the name, which is in parentheses.
            let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
            if !state.is_some_and(|state| state.starts_with('T')) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// SIGKILL, without waiting for what follows.
    ///
    /// # Errors
    /// If it has ended already.
    pub fn shoot(&mut self) -> Result<(), Failure> {
        Ok(self.child.start_kill()?)
    }

    /// Waits until it is gone, so that its port is free.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub async fn gone(&mut self) -> Result<(), Failure> {
        self.child.wait().await?;
        Ok(())
    }

    /// Ends it, politely first: a script cleans up after itself.
    pub async fn stop(mut self) {
        if let Some(pid) = self.child.id() {
            let tell = ["-c", "kill -s TERM \"$0\"", &pid.to_string()];
            Command::new("sh").args(tell).status().await.ok();
        }
        if tokio::time::timeout(END_MAX, self.child.wait())
            .await
            .is_err()
        {
            self.child.kill().await.ok();
        }
        self.readers.shutdown().await;
    }
}

/// A binary beside the running one: the bare peers and the gateway.
///
/// # Errors
/// If it was not built.
pub fn beside(name: &str) -> Result<PathBuf, Failure> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is missing: run `make bench`", path.display()).into())
    }
}
