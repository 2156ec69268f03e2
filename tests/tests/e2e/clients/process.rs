//! A gateway's sessions, as it tells itself.

use tidegate_tests::{Deadline, Gateway};

/// How many sessions the gateway has. Not by the list of them: whoever lists sessions wakes them, which would hide a timer that was
/// forgotten.
pub(crate) async fn sessions(gateway: &Gateway) -> u64 {
    gateway.sessions().await
}

/// Waits until the gateway has so many sessions.
///
/// # Panics
/// If it does not come to that in time.
pub(crate) async fn sessions_become(gateway: &Gateway, count: u64, by: Deadline) {
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
