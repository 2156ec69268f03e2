//! What a process holds and does, as Linux tells; and signals to it.

use tokio::process::Command;

use crate::clock::Deadline;

/// Seconds that a process may take to stand still.
const STOP_SECONDS: u64 = 10;

/// Sends a signal by its name (`TERM`, `HUP`). After `STOP` no thread of the process runs any more.
///
/// # Panics
/// If the process has ended.
pub async fn signal(pid: u32, name: &str) {
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &pid.to_string()])
        .status()
        .await;
    assert!(status.is_ok_and(|s| s.success()), "cannot send SIG{name}");
    if name == "STOP" {
        // A thread that runs on another core goes on for a moment.
        let by = Deadline::secs(STOP_SECONDS);
        let still = by.until(|| async { stands_still(pid).then_some(()) });
        assert!(still.await.is_some(), "it does not stop");
    }
}

/// Sends a signal to a process and all others of the group that it leads.
///
/// # Panics
/// If there is no such group.
pub async fn signal_group(leader: u32, name: &str) {
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$0\" -- \"-$1\"", name, &leader.to_string()])
        .status()
        .await;
    assert!(status.is_ok_and(|s| s.success()), "cannot send SIG{name}");
}

/// Whether every thread is stopped.
fn stands_still(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let mut states = threads.map(|thread| std::fs::read_to_string(thread.path().join("stat")));
    // The state stands behind the name, which is in parentheses.
    states.all(|stat| {
        stat.is_ok_and(|stat| {
            let rest = stat.rsplit_once(") ").map(|(_, rest)| rest);
            rest.is_some_and(|rest| rest.starts_with('T'))
        })
    })
}

/// Resident memory in bytes.
///
/// # Panics
/// If the process has ended.
#[must_use]
pub fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.expect("a running process has a status");
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = kib.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("a running process has memory") * 1024
}

/// Open files and sockets.
///
/// # Panics
/// If the process has ended.
#[must_use]
pub fn descriptors(pid: u32) -> usize {
    let folder = std::fs::read_dir(format!("/proc/{pid}/fd"));
    folder.expect("a running process has descriptors").count()
}
