//! A thousand sessions come and go, and leave nothing behind.

use std::sync::Arc;

use serde_json::json;
use tidegate_proto::v1;
use tidegate_tests::{Deadline, Gateway};
use tokio::task::JoinSet;

use crate::clients::process::sessions_become;
use crate::clients::rpc::{self, Rpc};
use crate::clients::ws::Ws;
use crate::clients::{frame, hostile, webrtc};

/// Sessions before anything is measured: allocators and caches settle.
const WARM: usize = 200;
const SESSIONS: usize = 1000;
/// Sessions at a time.
const AT_ONCE: usize = 8;
/// Growth of memory over all sessions after the warm-up that is taken for noise: under 16 KiB a session, where a session
/// has some hundred.
const GROWTH_MAX: u64 = (SESSIONS * 16) as u64 * 1024;

#[tokio::test]
async fn a_thousand_sessions_leave_no_memory_no_tasks_and_no_sockets() {
    let gateway = Arc::new(Gateway::start(&[]).await);
    let fresh = Held::by(&gateway).await;
    churn(&gateway, WARM).await;
    fresh.returns(&gateway).await;
    let before = gateway.memory();
    churn(&gateway, SESSIONS).await;
    fresh.returns(&gateway).await;
    let grown = gateway.memory().saturating_sub(before);
    assert!(
        grown < GROWTH_MAX,
        "{grown} bytes more after {SESSIONS} sessions"
    );
    let active = gateway.metric("tidegate_sessions_active", &[]).await;
    assert_eq!(active, Some(0.0), "sessions_active");
    let total = gateway.metric("tidegate_sessions_total", &[]).await;
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let wanted = (WARM + SESSIONS) as f64;
    assert_eq!(total, Some(wanted), "every session is counted by its end");
}

/// What a gateway holds besides memory.
#[derive(Debug, PartialEq)]
struct Held {
    tasks: f64,
    descriptors: usize,
}

impl Held {
    async fn by(gateway: &Gateway) -> Self {
        let tasks = gateway.metric("tidegate_tasks", &[]).await;
        Self {
            tasks: tasks.expect("a gauge"),
            descriptors: gateway.descriptors(),
        }
    }

    /// Waits until all sessions and what belonged to them are gone.
    async fn returns(&self, gateway: &Gateway) {
        sessions_become(gateway, 0, Deadline::secs(40)).await;
        // A connection ends a little after its session.
        let mut last = None;
        let by = Deadline::secs(20);
        while last.as_ref() != Some(self) {
            assert!(!by.left().is_zero(), "{last:?} where {self:?} was at first");
            last = by.wait(Self::by(gateway)).await;
        }
    }
}

/// Opens, uses and leaves so many sessions, in every way.
async fn churn(gateway: &Arc<Gateway>, count: usize) {
    let mut workers = JoinSet::new();
    for worker in 0..AT_ONCE {
        let gateway = Arc::clone(gateway);
        workers.spawn(async move {
            for at in (worker..count).step_by(AT_ONCE) {
                one(&gateway, at / AT_ONCE + worker).await;
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done.expect("no worker fails");
    }
}

async fn one(gateway: &Gateway, kind: usize) {
    let waits = json!({"pipeline": "echo", "mode": "waits"});
    match kind % 5 {
        0 => {
            let mut caller = webrtc::Rtc::open(gateway, "echo").await;
            caller.echo().await;
            caller.leave(gateway).await;
        }
        1 => {
            let stream = Rpc::open(gateway, "echo", v1::Mode::Waits).await;
            assert!(stream.send(rpc::audio(1, vec![0; 640])).await);
        }
        2 => {
            let (mut ws, _) = Ws::open(gateway, "echo", waits).await;
            ws.send(&frame("mic", 1, &[0; 640])).await;
            ws.send(&json!({"end": {}})).await;
            assert_eq!(ws.ending().await.close, 1000);
        }
        3 => {
            let (ws, _) = Ws::open(gateway, "echo", waits).await;
            hostile::reset(ws.stream.into_inner());
        }
        _ => {
            let inputs = json!({"inputs": {"mic": [frame("mic", 1, &[0; 640])["frame"]]}});
            let path = "/v1/pipelines/echo/execute";
            let answer = gateway.post_json(path, &inputs).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
}
