//! What a process holds, as Linux tells: memory and file descriptors. And its sessions, as it tells itself.

use tidegate_tests::{Deadline, Gateway};

/// Resident memory in bytes.
pub(crate) fn resident(gateway: &Gateway) -> u64 {
    let path = format!("/proc/{}/status", gateway.pid());
    let text = std::fs::read_to_string(path).expect("the process runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .expect("VmRSS in kB")
        * 1024
}

/// Open file descriptors.
pub(crate) fn descriptors(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.pid()))
        .expect("the process runs")
        .count()
}

/// How many sessions the gateway has.
pub(crate) async fn sessions(gateway: &Gateway) -> usize {
    let list = gateway.get("/v1/sessions").await.json();
    let list = list.as_array().or_else(|| list["sessions"].as_array());
    list.map_or(0, Vec::len)
}

/// Waits until the gateway has so many sessions.
///
/// # Panics
/// If it does not come to that in time.
pub(crate) async fn sessions_become(gateway: &Gateway, count: usize, by: Deadline) {
    let reached = by
        .until(|| async { (sessions(gateway).await == count).then_some(()) })
        .await;
    if reached.is_none() {
        let left = gateway.get("/v1/sessions").await.text();
        panic!(
            "not {count} sessions in time: {left}\n{}",
            gateway.logs.text()
        );
    }
}
