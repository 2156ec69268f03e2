//! What a process printed, kept for the moment when a test fails.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Lines kept of one process. The oldest go first; a test that needs more is a test of logs.
const LINES_MAX: usize = 5_000;

/// The lines of a process's output, growing while it runs. Clones share them.
#[derive(Clone, Debug)]
pub struct Logs {
    lines: Arc<Mutex<Vec<String>>>,
    grown: watch::Sender<u64>,
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            lines: Arc::default(),
            grown: watch::Sender::new(0),
        }
    }
}

impl Logs {
    /// Reads `from` line by line, each marked with `mark`, in a task of `tasks`.
    pub fn follow<R>(&self, mark: &'static str, from: R, tasks: &mut JoinSet<()>)
    where
        R: AsyncRead + Unpin + Send + 'static,
    {
        let logs = self.clone();
        tasks.spawn(async move {
            let mut lines = BufReader::new(from).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                logs.push(format!("{mark}{line}"));
            }
        });
    }

    /// Everything so far, a line each.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// A copy of the lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for a line with this text in it. Cancel safe; the caller brings the deadline.
    pub async fn find(&self, text: &str) -> String {
        let mut grown = self.grown.subscribe();
        loop {
            if let Some(line) = self.lines().into_iter().find(|line| line.contains(text)) {
                return line;
            }
            // The sender lives in `self`, so this only ever wakes for a new line.
            if grown.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn push(&self, line: String) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES_MAX {
            lines.remove(0);
        }
        lines.push(line);
        drop(lines);
        self.grown.send_modify(|count| *count += 1);
    }
}
