//! How long a caller hears nothing when the worker behind it is killed or stalls, and whether it hears everything once.
//!
//! One live session speaks, a frame each 20 ms. A worker's death is the instant before it is killed, or after it was stopped, and it is
//! made up for when the first frame that was *sent after it* is back: frames from before may still have come from the dead.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tidegate_proto::v1::{Mode, frame::Payload};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Report, Row, folder, identity, metric, remote, workers};
use crate::figures::Times;
use crate::load::grpc::{self, Kind, Session};
use crate::server::Server;
use crate::{Failure, clock};

const FRAME: Duration = Duration::from_millis(20);
/// The hop's gap timeout.
const GAP: Duration = Duration::from_millis(500);
/// What is owed on top of what it takes to see that a worker is gone.
const OWED: Duration = Duration::from_millis(100);
/// How long all workers live between two deaths, and a little more each time, so that deaths meet every phase of a frame.
const BREATH: Duration = Duration::from_millis(800);
const PHASE: Duration = Duration::from_millis(7);
/// Nothing takes longer than this, or it is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a worker fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Killed,
    Stopped,
}

/// What the session sent and heard so far.
#[derive(Debug, Default)]
struct Heard {
    sent: Vec<Instant>,
    /// When each frame came back, and which it was by its payload.
    came: Vec<(Instant, usize)>,
}

type Shared = Arc<Mutex<Heard>>;

/// Kills workers in use, then stalls some.
///
/// # Errors
/// If the session breaks, or a worker does not come back.
pub async fn run(kills: usize) -> Result<Report, Failure> {
    let mut report = Report::default();
    for (fault, faults) in [(Fault::Killed, kills), (Fault::Stopped, kills.div_ceil(2))] {
        report.rows.push(one(fault, faults).await?);
    }
    Ok(report)
}

async fn one(fault: Fault, faults: usize) -> Result<Row, Failure> {
    let pipelines = folder(&[identity("audio")])?;
    let mut workers = workers(pipelines.path()).await?;
    let endpoints = [0, 1, 2].map(|index: usize| workers[index].url(""));
    let timeouts = json!({"first_output": "500ms", "gap": "500ms"});
    let params = json!({"endpoints": endpoints, "pipeline": "identity", "timeout": timeouts});
    let manifests = folder(&[remote("audio", params)])?;
    let front = Server::tidegate(manifests.path()).await?;

    let mut client = grpc::connect(&front, false).await?;
    let session = Session::open_as(&mut client, "remote", Mode::Live).await?;
    let heard = Shared::default();
    let (progress, mut seen) = watch::channel(0);
    let (stop, stopped) = watch::channel(false);
    let mut speaker = JoinSet::new();
    speaker.spawn(speak(session, Arc::clone(&heard), progress, stopped));

    let mut times = Times::default();
    for index in 0..faults {
        let breath = BREATH + PHASE * u32::try_from(index)?;
        tokio::time::sleep(breath).await;
        let victim = in_use(&workers).await?;
        let worker = &mut workers[victim];
        let death = match fault {
            Fault::Killed => {
                let death = clock::now();
                worker.shoot()?;
                death
            }
            Fault::Stopped => {
                // What is sent meanwhile may still be answered, and is no frame of a stall.
                worker.stop_short().await?;
                clock::now()
            }
        };
        times.record(served_after(death, &heard, &mut seen).await?);
        if fault == Fault::Killed {
            worker.gone().await?;
            *worker = Server::tidegate_at(worker.address, pipelines.path()).await?;
        } else {
            worker.signal("CONT").await?;
        }
    }
    stop.send(true).ok();
    let ended = timeout(PATIENCE, speaker.join_next()).await?;
    ended.ok_or("there is a speaker")???;
    let failovers = metric(&front, "tidegate_hop_failovers_total", &[]).await?;
    let row = row(fault, faults, &times, &heard, failovers);
    for server in workers.into_iter().chain([front]) {
        server.stop().await;
    }
    Ok(row)
}

/// Speaks and listens until told to stop, and then until all has come that was said, or nothing more comes.
async fn speak(
    mut session: Session,
    heard: Shared,
    progress: watch::Sender<usize>,
    stopped: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let mut beat = interval(FRAME);
    beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut silent_since = clock::now();
    loop {
        tokio::select! {
            _ = beat.tick() => {
                let spoken = lock(&heard).sent.len();
                if !*stopped.borrow() {
                    lock(&heard).sent.push(clock::now());
                    session.send(Kind::Audio, numbered(spoken)).await?;
                } else if lock(&heard).came.len() >= spoken || silent_since.elapsed() > GAP * 3 {
                    return Ok(());
                }
            }
            frame = session.receive() => {
                let Some(Payload::Audio(audio)) = frame?.payload else {
                    return Err("something else than sound came".into());
                };
                let number = audio.data.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
                let number = usize::try_from(number.ok_or("a frame without its number")?)?;
                silent_since = clock::now();
                lock(&heard).came.push((silent_since, number));
                progress.send_replace(number);
            }
        }
    }
}

/// A frame that says which it is.
fn numbered(index: usize) -> Bytes {
    let mut data = vec![7; 640];
    data[..8].copy_from_slice(&(index as u64).to_le_bytes());
    data.into()
}

fn lock(heard: &Shared) -> std::sync::MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The worker that has the session.
async fn in_use(workers: &[Server; 3]) -> Result<usize, Failure> {
    let begun = clock::now();
    while begun.elapsed() < PATIENCE {
        let mut busy = Vec::new();
        for (index, worker) in workers.iter().enumerate() {
            if metric(worker, "tidegate_sessions_active", &[]).await? > 0.0 {
                busy.push(index);
            }
        }
        // One that has just come back may not have noticed yet that its stream is gone.
        if let [index] = busy[..] {
            return Ok(index);
        }
        tokio::time::sleep(FRAME).await;
    }
    Err("no single worker has the session".into())
}

/// Waits until a frame has come back that was sent after this instant, and says how long after.
async fn served_after(
    death: Instant,
    heard: &Shared,
    seen: &mut watch::Receiver<usize>,
) -> Result<Duration, Failure> {
    let before = lock(heard)
        .sent
        .iter()
        .filter(|sent| **sent <= death)
        .count();
    // Counted from 0: the first that was sent after it.
    timeout(PATIENCE, seen.wait_for(|number| *number >= before))
        .await
        .map_err(|_| "the session did not recover")??;
    let heard = lock(heard);
    let first = heard.came.iter().find(|(_, number)| *number >= before);
    let (came, _) = first.ok_or("a frame that was seen was heard")?;
    Ok(*came - death)
}

fn row(fault: Fault, faults: usize, times: &Times, heard: &Shared, failovers: f64) -> Row {
    let heard = lock(heard);
    let spoken = heard.sent.len();
    let mut counts = vec![0_usize; spoken];
    for (_, number) in &heard.came {
        if let Some(count) = counts.get_mut(*number) {
            *count += 1;
        }
    }
    let lost = counts.iter().filter(|count| **count == 0).count();
    let twice = counts.iter().filter(|count| **count > 1).count();
    let ordered = heard.came.is_sorted_by_key(|(_, number)| *number);
    let (p50, max) = (times.micros(50.0) / 1e3, times.micros(100.0) / 1e3);
    let (what, owed, limit) = match fault {
        Fault::Killed => (
            "next frame after SIGKILL of the worker in use",
            "≤ 100 ms; none lost, none twice",
            OWED,
        ),
        Fault::Stopped => (
            "next frame after SIGSTOP of the worker in use, gap timeout 500 ms",
            "≤ 600 ms; none lost, none twice",
            GAP + OWED,
        ),
    };
    let order = if ordered { "" } else { ", out of order" };
    Row {
        id: "SC-003",
        what: what.into(),
        owed,
        measured: format!(
            "p50 {p50:.1} ms, max {max:.1} ms of {faults} ({failovers} failovers); \
             of {spoken} frames {lost} lost, {twice} twice{order}"
        ),
        met: max <= limit.as_secs_f64() * 1e3 && lost + twice == 0 && ordered,
    }
}
