//! How evenly requests are shared: round robin among real gateways, least connections among workers of unequal speed.

use std::time::Duration;

use tidegate_proto::v1::Mode;

use super::calls::{Caller, front, stop};
use super::faulty::{self, Control};
use super::{Report, Row, folder, identity, metric, workers};
use crate::load::grpc::{self, Session};
use crate::{Failure, clock};

/// Calls and sessions of round robin: whole rounds of three.
const CALLS: u32 = 300;
const SESSIONS: usize = 99;
/// How long the last sessions may take to be counted.
const PATIENCE: Duration = Duration::from_secs(2);
/// 500 requests a second against workers that take so many milliseconds.
const PACE: Duration = Duration::from_millis(2);
const UNEQUAL: [u64; 3] = [20, 40, 100];
/// Least connections is looked at over so many requests, so many times.
const REQUESTS: u32 = 100;
const WINDOWS: usize = 20;

/// Both ways of sharing.
///
/// # Errors
/// If a server breaks off.
pub async fn run() -> Result<Report, Failure> {
    Ok(Report {
        rows: vec![calls().await?, sessions().await?, least().await?],
        details: String::new(),
    })
}

async fn calls() -> Result<Row, Failure> {
    let folder = folder(&[identity("text")])?;
    let workers = workers(folder.path()).await?;
    let (front, _folder) = front(&workers, "round_robin").await?;
    let mut caller = Caller::new(&front).await?;
    caller.call(PACE, CALLS, None).await;
    let failed = caller.settle().await;
    let mut shares = Vec::new();
    let begun = clock::now();
    // A session is counted when it has ended, a moment after its answer.
    while shares.iter().sum::<f64>() < f64::from(CALLS) && begun.elapsed() < PATIENCE {
        shares.clear();
        for worker in &workers {
            shares.push(metric(worker, "tidegate_sessions_total", &[]).await?);
        }
    }
    stop(front, workers).await;
    Ok(exact("calls", f64::from(CALLS), &shares, failed))
}

async fn sessions() -> Result<Row, Failure> {
    let folder = folder(&[identity("audio")])?;
    let workers = workers(folder.path()).await?;
    let endpoints = [0, 1, 2].map(|index: usize| workers[index].url(""));
    let params = serde_json::json!({"endpoints": endpoints, "pipeline": "identity"});
    let manifests = super::folder(&[super::remote("audio", params)])?;
    let front = crate::server::Server::tidegate(manifests.path()).await?;
    let mut client = grpc::connect(&front, false).await?;
    let mut open = Vec::new();
    for _ in 0..SESSIONS {
        open.push(Session::open_as(&mut client, "remote", Mode::Live).await?);
    }
    let mut shares = Vec::new();
    for worker in &workers {
        shares.push(metric(worker, "tidegate_sessions_active", &[]).await?);
    }
    drop(open);
    stop(front, workers).await;
    #[expect(clippy::cast_precision_loss, reason = "99")]
    let sum = SESSIONS as f64;
    Ok(exact("sessions", sum, &shares, 0))
}

fn exact(what: &str, sum: f64, shares: &[f64], failed: u32) -> Row {
    let counts: Vec<_> = shares.iter().map(f64::to_string).collect();
    Row {
        id: "SC-008",
        what: format!("round robin, {sum} {what} among three gateways"),
        owed: "exact",
        measured: format!("{} ({failed} failed)", counts.join(", ")),
        met: shares.iter().all(|share| (share * 3.0 - sum).abs() < 0.5),
    }
}

async fn least() -> Result<Row, Failure> {
    let controls = UNEQUAL.map(|millis| Control { fail: 0.0, millis });
    let workers = faulty::three(controls).await?;
    let (front, _folder) = front(&workers, "least_connections").await?;
    let mut caller = Caller::new(&front).await?;
    caller.call(PACE, 500, None).await;
    let (mut spreads, mut sums) = (Vec::new(), [0.0; 3]);
    let begun = clock::now();
    let mut before = Vec::new();
    for (worker, control) in workers.iter().zip(controls) {
        before.push(faulty::tell(worker, control).await?);
    }
    let first = before.clone();
    for _ in 0..WINDOWS {
        caller.call(PACE, REQUESTS, None).await;
        let mut busy = Vec::new();
        for ((worker, control), before) in workers.iter().zip(controls).zip(&mut before) {
            let counts = faulty::tell(worker, control).await?;
            busy.push(counts.busy_seconds - before.busy_seconds);
            *before = counts;
        }
        for (sum, busy) in sums.iter_mut().zip(&busy) {
            *sum += busy;
        }
        spreads.push(spread(&busy) * 100.0);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let failed = caller.settle().await;
    stop(front, workers).await;
    spreads.sort_by(f64::total_cmp);
    let (median, worst) = (spreads[WINDOWS / 2], spreads[WINDOWS - 1]);
    let busy = sums.map(|sum| format!("{:.1}", sum / seconds)).join(", ");
    let calls = first.iter().zip(&before);
    let calls: Vec<_> = calls
        .map(|(a, b)| (b.calls - a.calls).to_string())
        .collect();
    Ok(Row {
        id: "SC-008",
        what: "least connections, workers of 20, 40 and 100 ms, 500 requests/s: deviation of what is open at each, over 100 requests"
            .into(),
        owed: "< 10 %",
        measured: format!(
            "{median:.1} %, {worst:.1} % in the worst of {WINDOWS}; {busy} open at each, {} calls; {failed} failed",
            calls.join(", ")
        ),
        met: median < 10.0,
    })
}

/// The standard deviation, relative to the mean.
fn spread(values: &[f64]) -> f64 {
    let count = f64::from(u32::try_from(values.len()).unwrap_or(u32::MAX));
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / count;
    variance.sqrt() / mean
}
