//! Unary calls while workers fail: how much reaches one that always fails, and how many calls survive workers that fail at random.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_proto::v1::gateway_client::GatewayClient;
use tidegate_proto::v1::{self, ExecuteRequest, Frame, Frames, frame::Payload};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tonic::transport::Channel;

use super::faulty::{self, Control};
use super::{Report, Row, folder, identity, metric, remote, workers};
use crate::load::grpc;
use crate::server::Server;
use crate::{Failure, clock};

/// 200 requests a second.
const PACE: Duration = Duration::from_millis(5);
/// How long all is well before the fault.
const BEFORE: Duration = Duration::from_secs(2);
/// What is counted begins so long after the fault…
const SETTLING: Duration = Duration::from_secs(1);
/// …and lasts so long.
const COUNTED: Duration = Duration::from_secs(10);
/// Calls against workers that fail at random.
const RANDOM_CALLS: u32 = 10_000;
const RANDOM_PACE: Duration = Duration::from_millis(2);
const RANDOM_SHARE: f64 = 0.1;

/// The gateway whose calls go to these, and its manifests.
pub(super) async fn front(
    workers: &[Server; 3],
    balance: &str,
) -> Result<(Server, TempDir), Failure> {
    let endpoints = [0, 1, 2].map(|index: usize| workers[index].url(""));
    let params = json!({
        "mode": "unary", "endpoints": endpoints, "pipeline": "identity", "balance": balance,
    });
    let mut manifest: Value = remote("text", params);
    // A call waits for its answer: nothing of it is too old.
    manifest["edges"] = json!(["mic -> far -> speaker"]);
    let folder = folder(&[manifest])?;
    Ok((Server::tidegate(folder.path()).await?, folder))
}

/// Makes calls one by one at a pace, without waiting for their answers.
pub(super) struct Caller {
    client: GatewayClient<Channel>,
    open: JoinSet<bool>,
    /// Calls so far, and those that failed.
    pub(super) made: u32,
    failed: u32,
}

impl Caller {
    pub(super) async fn new(front: &Server) -> Result<Self, Failure> {
        Ok(Self {
            client: grpc::connect(front, false).await?,
            open: JoinSet::new(),
            made: 0,
            failed: 0,
        })
    }

    /// Makes `count` calls, or as many as fit before an instant.
    pub(super) async fn call(&mut self, pace: Duration, count: u32, until: Option<Instant>) {
        let mut beat = interval(pace);
        beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for _ in 0..count {
            if until.is_some_and(|until| clock::now() >= until) {
                break;
            }
            beat.tick().await;
            let mut client = self.client.clone();
            self.made += 1;
            let request = request(self.made);
            self.open
                .spawn(async move { client.execute(request).await.is_ok_and(answered) });
            while let Some(ended) = self.open.try_join_next() {
                self.failed += u32::from(!ended.unwrap_or(false));
            }
        }
    }

    /// Waits for all answers; gives how many calls failed.
    pub(super) async fn settle(&mut self) -> u32 {
        while let Some(ended) = self.open.join_next().await {
            self.failed += u32::from(!ended.unwrap_or(false));
        }
        self.failed
    }
}

fn request(number: u32) -> ExecuteRequest {
    let text = v1::Text {
        text: number.to_string(),
    };
    let frame = Frame {
        seq: 1,
        payload: Some(Payload::Text(text)),
        ..Default::default()
    };
    let frames = Frames {
        frames: vec![frame],
    };
    ExecuteRequest {
        source: Some(v1::execute_request::Source::Pipeline("remote".into())),
        inputs: [("mic".to_owned(), frames)].into(),
        ..Default::default()
    }
}

/// Exactly one frame came back.
fn answered(response: tonic::Response<v1::ExecuteResponse>) -> bool {
    let frames = response.into_inner().outputs.remove("speaker");
    frames.is_some_and(|frames| frames.frames.len() == 1)
}

/// A worker that refuses every call although its checks pass, and one that is dead.
///
/// # Errors
/// If the gateway does not start or stop.
pub async fn failing() -> Result<Report, Failure> {
    Ok(Report {
        rows: vec![refusing().await?, dead().await?],
        details: String::new(),
    })
}

async fn refusing() -> Result<Row, Failure> {
    let well = Control::default();
    let workers = faulty::three([well; 3]).await?;
    let (front, _folder) = front(&workers, "round_robin").await?;
    let mut caller = Caller::new(&front).await?;
    caller
        .call(PACE, u32::MAX, Some(clock::now() + BEFORE))
        .await;
    let onset = clock::now();
    let fails = Control { fail: 1.0, ..well };
    let before = faulty::tell(&workers[0], fails).await?;
    caller.call(PACE, u32::MAX, Some(onset + SETTLING)).await;
    let (since, made) = (faulty::tell(&workers[0], fails).await?, caller.made);
    let until = onset + SETTLING + COUNTED;
    caller.call(PACE, u32::MAX, Some(until)).await;
    let after = faulty::tell(&workers[0], fails).await?;
    let made = caller.made - made;
    let failed = caller.settle().await;
    stop(front, workers).await;
    let met = (after.calls - since.calls) + (after.checks - since.checks);
    let first = since.calls - before.calls;
    Ok(kept(
        "refuses each call and passes its checks",
        made,
        u32::try_from(met)?,
        &format!("in the first second it got {first}"),
        failed,
    ))
}

async fn dead() -> Result<Row, Failure> {
    let folder = folder(&[identity("text")])?;
    let mut workers = workers(folder.path()).await?;
    let (front, _folder) = front(&workers, "round_robin").await?;
    let mut caller = Caller::new(&front).await?;
    caller
        .call(PACE, u32::MAX, Some(clock::now() + BEFORE))
        .await;
    let onset = clock::now();
    workers[0].shoot()?;
    let endpoint = format!("endpoint=\"{}", workers[0].url(""));
    let labels = [endpoint.as_str()];
    let attempts = || metric(&front, "tidegate_hop_attempts_total", &labels);
    caller.call(PACE, u32::MAX, Some(onset + SETTLING)).await;
    let (since, made) = (attempts().await?, caller.made);
    let until = onset + SETTLING + COUNTED;
    caller.call(PACE, u32::MAX, Some(until)).await;
    sleep_until(until.into()).await;
    let met = attempts().await? - since;
    let made = caller.made - made;
    let failed = caller.settle().await;
    stop(front, workers).await;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of a few"
    )]
    let met = met as u32;
    Ok(kept(
        "was killed",
        made,
        met,
        "by the gateway's count",
        failed,
    ))
}

fn kept(how: &str, made: u32, met: u32, note: &str, failed: u32) -> Row {
    let share = 1.0 - f64::from(met) / f64::from(made.max(1));
    Row {
        id: "SC-004",
        what: format!("kept from one of three that {how}, from 1 s after onset, 200 requests/s"),
        owed: "> 99 %",
        measured: format!(
            "{:.2} %: {met} of {made} got there ({note}); {failed} calls failed",
            share * 100.0
        ),
        met: share > 0.99,
    }
}

/// Three workers that each fail one call in ten.
///
/// # Errors
/// If a server breaks off.
pub async fn random() -> Result<Report, Failure> {
    let flaky = Control {
        fail: RANDOM_SHARE,
        millis: 0,
    };
    let workers = faulty::three([flaky; 3]).await?;
    let (front, _folder) = front(&workers, "round_robin").await?;
    let mut caller = Caller::new(&front).await?;
    caller.call(RANDOM_PACE, RANDOM_CALLS, None).await;
    let failed = caller.settle().await;
    let (mut attempts, mut failures) = (0, 0);
    for worker in &workers {
        let counts = faulty::tell(worker, flaky).await?;
        attempts += counts.calls;
        failures += counts.failed;
    }
    stop(front, workers).await;
    let share = 1.0 - f64::from(failed) / f64::from(RANDOM_CALLS);
    let row = Row {
        id: "SC-005",
        what: "calls that succeed where each of three workers fails 10 % at random".into(),
        owed: "≥ 99.9 % of 10,000",
        measured: format!(
            "{:.2} %: {failed} of {RANDOM_CALLS} failed; {failures} of {attempts} attempts did",
            share * 100.0
        ),
        met: share >= 0.999,
    };
    Ok(Report {
        rows: vec![row],
        details: String::new(),
    })
}

pub(super) async fn stop(front: Server, workers: [Server; 3]) {
    for server in workers.into_iter().chain([front]) {
        server.stop().await;
    }
}
