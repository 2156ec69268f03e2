//! What a hop costs: gateways in a row, beside bare tonic relays in a row, at the same depths in the same run.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{Report, Row, folder, identity, remote};
use crate::figures::Times;
use crate::load::grpc::{self, Kind, Session};
use crate::server::Server;
use crate::{Failure, clock};

/// Remote hops between the client's gateway and the echo; 0 is the direct call.
const DEPTHS: [usize; 5] = [0, 1, 2, 4, 8];
/// The most that a hop may add, in microseconds.
const HOP_MAX: f64 = 300.0;
/// Nothing counts before.
const WARM_UP: Duration = Duration::from_millis(500);
/// Sessions that speak at the same time where frames come at their playing time.
const SPEAKERS: u32 = 10;
const FRAME: Duration = Duration::from_millis(20);

/// How frames follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// One session, the next frame when the last is back.
    PingPong,
    /// Ten sessions, a frame each 20 ms.
    Speech,
}

/// p50 and p99 in microseconds.
type Point = [f64; 2];

/// All that was measured of one depth: rounds of both subjects.
#[derive(Debug, Default)]
struct Depth {
    ours: Vec<Point>,
    bare: Vec<Point>,
}

/// Measures both paces.
///
/// # Errors
/// If a server breaks off.
pub async fn run(seconds: u64, rounds: usize) -> Result<Report, Failure> {
    let (gateways, _folders) = gateways().await?;
    let relays = relays().await?;
    let mut report = Report::default();
    for pace in [Pace::PingPong, Pace::Speech] {
        let mut depths: [Depth; DEPTHS.len()] = Default::default();
        for _ in 0..rounds {
            for (measured, depth) in depths.iter_mut().zip(DEPTHS) {
                let span = Duration::from_secs(seconds);
                let ours = load(&gateways[depth], pipeline(depth), pace, span);
                measured.ours.push(ours.await?);
                let bare = load(&relays[depth], "echo", pace, span);
                measured.bare.push(bare.await?);
            }
        }
        add(&mut report, pace, &depths);
    }
    for server in gateways.into_iter().chain(relays) {
        server.stop().await;
    }
    Ok(report)
}

/// What a gateway at this distance from the echo serves.
const fn pipeline(depth: usize) -> &'static str {
    if depth == 0 { "identity" } else { "remote" }
}

/// A gateway with an echo, one before it, one before that…
async fn gateways() -> Result<(Vec<Server>, Vec<TempDir>), Failure> {
    let mut folders = vec![folder(&[identity("audio")])?];
    let mut all = vec![Server::tidegate(folders[0].path()).await?];
    for depth in 1..=DEPTHS[DEPTHS.len() - 1] {
        let next = all[depth - 1].url("");
        let params = json!({"endpoints": [next], "pipeline": pipeline(depth - 1)});
        let folder = folder(&[remote("audio", params)])?;
        all.push(Server::tidegate(folder.path()).await?);
        folders.push(folder);
    }
    Ok((all, folders))
}

async fn relays() -> Result<Vec<Server>, Failure> {
    let mut all = vec![Server::bare("bare_grpc", &[]).await?];
    for depth in 1..=DEPTHS[DEPTHS.len() - 1] {
        let next = all[depth - 1].url("");
        all.push(Server::bare("bare_grpc", &[&next]).await?);
    }
    Ok(all)
}

async fn load(server: &Server, name: &str, pace: Pace, span: Duration) -> Result<Point, Failure> {
    let mut client = grpc::connect(server, false).await?;
    let mut times = Times::default();
    if pace == Pace::PingPong {
        let session = Session::open(&mut client, name).await?;
        times.add(&echoes(session, None, span).await?);
    } else {
        let mut sessions = JoinSet::new();
        for speaker in 0..SPEAKERS {
            let session = Session::open(&mut client, name).await?;
            let phase = FRAME * speaker / SPEAKERS;
            sessions.spawn(echoes(session, Some(phase), span));
        }
        while let Some(session) = sessions.join_next().await {
            times.add(&session??);
        }
    }
    Ok([times.micros(50.0), times.micros(99.0)])
}

/// One session's frames there and back, at their playing time if they have a phase.
async fn echoes(
    mut session: Session,
    phase: Option<Duration>,
    span: Duration,
) -> Result<Times, Failure> {
    let data = Bytes::from(vec![7_u8; 640]);
    let mut beat = interval_at(Instant::now() + phase.unwrap_or_default(), FRAME);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let begin = clock::now() + WARM_UP;
    let mut times = Times::default();
    loop {
        if phase.is_some() {
            beat.tick().await;
        }
        let sent = clock::now();
        if sent >= begin + span {
            return Ok(times);
        }
        session.send(Kind::Audio, data.clone()).await?;
        session.receive().await?;
        if sent >= begin {
            times.record(sent.elapsed());
        }
    }
}

fn add(report: &mut Report, pace: Pace, depths: &[Depth]) {
    let about = match pace {
        Pace::PingPong => "one session, ping-pong",
        Pace::Speech => "ten sessions, a frame each 20 ms",
    };
    let mut text = format!(
        "\n### Chains of 640 B frames, {about}\n\n\
         | remote hops | tidegate p50 µs | more per hop µs | bare tonic p50 µs | more per hop µs | \
         tidegate p99 µs | bare p99 µs | p99 ratio |\n|---|---|---|---|---|---|---|---|\n"
    );
    let mut worst: f64 = 0.0;
    let mut first = [0.0; 2];
    let mut ratios = Vec::new();
    for (depth, hops) in depths.iter().zip(DEPTHS) {
        let (ours, bare) = (Summary::of(&depth.ours), Summary::of(&depth.bare));
        let ratio = paired(&depth.ours, &depth.bare, |ours, bare| ours[1] / bare[1]);
        ratios.push(format!("{ratio:.1}"));
        let more = [
            per_hop(&depth.ours, &depths[0].ours, hops),
            per_hop(&depth.bare, &depths[0].bare, hops),
        ];
        let cells = more.map(|more| more.map_or("–".to_owned(), |more| format!("{more:.0}")));
        let _ = writeln!(
            text,
            "| {hops} | {} | {} | {} | {} | {} | {} | {ratio:.2} |",
            ours.p50, cells[0], bare.p50, cells[1], ours.p99, bare.p99
        );
        worst = worst.max(more[0].unwrap_or(0.0));
        if hops == 1 {
            first = more.map(Option::unwrap_or_default);
        }
    }
    report.details += &text;
    report.rows.push(Row {
        id: "SC-002",
        what: format!("a remote hop against the direct call, p50, {about}"),
        owed: "< 0.3 ms",
        measured: format!(
            "{:.3} ms (bare tonic {:.3})",
            first[0] / 1e3,
            first[1] / 1e3
        ),
        met: first[0] < HOP_MAX,
    });
    report.rows.push(Row {
        id: "SC-007",
        what: format!("each hop of chains of 1, 2, 4, 8, p50, {about}"),
        owed: "< 0.3 ms, p99 beside a bare relay's",
        measured: format!(
            "at most {:.3} ms; p99 of 0, 1, 2, 4, 8 hops {} × a bare relay's",
            worst / 1e3,
            ratios.join(", ")
        ),
        met: worst < HOP_MAX,
    });
}

/// What each hop adds to the direct call: the median over rounds.
fn per_hop(rounds: &[Point], direct: &[Point], hops: usize) -> Option<f64> {
    let hops = u32::try_from(hops).ok().filter(|hops| *hops > 0)?;
    Some(paired(rounds, direct, |with, without| {
        (with[0] - without[0]) / f64::from(hops)
    }))
}

/// The median of what each round says.
fn paired(one: &[Point], other: &[Point], of: impl Fn(&Point, &Point) -> f64) -> f64 {
    let mut values: Vec<f64> = one.iter().zip(other).map(|(a, b)| of(a, b)).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Summary {
    p50: String,
    p99: String,
}

impl Summary {
    fn of(rounds: &[Point]) -> Self {
        let cell = |index: usize| {
            let mut values: Vec<f64> = rounds.iter().map(|round| round[index]).collect();
            values.sort_by(f64::total_cmp);
            let (low, high) = (values[0], values[values.len() - 1]);
            format!("{:.0} ({low:.0}–{high:.0})", values[values.len() / 2])
        };
        Self {
            p50: cell(0),
            p99: cell(1),
        }
    }
}
