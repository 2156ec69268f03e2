//! Running the built binary.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// What a run of the binary gave.
#[derive(Debug)]
pub(crate) struct Said {
    /// Exit code.
    pub(crate) code: i32,
    /// Standard output: results.
    pub(crate) out: String,
    /// Standard error: what is for people.
    pub(crate) err: String,
}

impl Said {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Standard output as one JSON value a line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let line = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"));
        self.out.lines().map(line).collect()
    }
}

/// Runs `tidegate` with these arguments and nothing on standard input.
pub(crate) fn tidegate(arguments: &[&str]) -> Said {
    tidegate_fed(arguments, b"")
}

/// Runs `tidegate` with these arguments and standard input. No variable of the caller's reaches it.
pub(crate) fn tidegate_fed(arguments: &[&str], input: &[u8]) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // It may have ended before it read everything.
        drop(stdin.write_all(&input));
    });
    let output = child.wait_with_output().expect("the binary ends");
    writer.join().expect("the writer ends");
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A file of this test's own with this content. `test` keeps tests that run side by side apart.
pub(crate) fn file(test: &str, name: &str, content: &[u8]) -> String {
    let path = place(test, name);
    std::fs::write(&path, content).expect("the folder for tests can be written");
    path
}

/// Where a file of this test's own may be written.
pub(crate) fn place(test: &str, name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::create_dir_all(&folder).expect("the folder for tests can be made");
    folder.join(name).to_string_lossy().into_owned()
}
