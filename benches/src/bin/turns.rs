//! A voice agent's turns, beside Pipecat: callers over WebRTC say a recording and wait for the answer; before the same speech services
//! of constant cost. `make bench-turns`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use tidegate_benches::figures::{self, Figures};
use tidegate_benches::load::Load;
use tidegate_benches::load::turns::Recording;
use tidegate_benches::load::webrtc::{self, Callers, Speech};
use tidegate_benches::server::{self, Server};
use tidegate_benches::{Failure, machine};

/// How long it must be quiet until it is the agent's turn.
const HANGOVER: Duration = Duration::from_millis(500);
/// How long the stub takes to understand.
const UNDERSTANDING: Duration = Duration::from_millis(200);
/// Callers begin so many packets apart: 260 ms.
const APART: u32 = 13;
/// A turn that takes so many times what it takes alone is too slow.
const TOO_SLOW: f64 = 2.0;
const SUBJECTS: [&str; 2] = ["Tidegate", "Pipecat"];

/// Turn latency of Tidegate and of Pipecat by the number of sessions.
#[derive(Parser)]
struct Options {
    /// Seconds that each run counts.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Numbers of sessions, until a turn takes twice as long as alone.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,2,4,6,8,12,16,24,32,48,64,96,128,192,256"
    )]
    sessions: Vec<usize>,
    /// Only this one.
    #[arg(long, value_parser = SUBJECTS)]
    only: Option<String>,
    /// Pipecat with the VAD that it comes with (Silero) in the place of the gateway's.
    #[arg(long)]
    silero: bool,
    /// What callers say.
    #[arg(long)]
    recording: Option<PathBuf>,
    /// Write the tables to this file too.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what this program is for, and it takes minutes"
)]
async fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let fixture = root().join(".cache/fixtures/audioeval/en/quick_brown_fox.wav");
    let recording = Recording::open(options.recording.as_deref().unwrap_or(&fixture))?;
    let mut rows: Vec<(String, Vec<Figures>)> = Vec::new();
    let mut alone: [Option<f64>; 2] = [None; 2];
    let mut done = [false; 2];
    // Both by turns, so that what else the machine does hits them alike.
    for count in &options.sessions {
        for (index, subject) in SUBJECTS.into_iter().enumerate() {
            if done[index] || options.only.as_deref().is_some_and(|only| only != subject) {
                continue;
            }
            let load = machine::load();
            eprintln!("{subject}, {count} sessions (load average {load})");
            let figures = measure(subject, *count, &recording, &options).await?;
            let turn = figures.get("turn p50 ms").copied().unwrap_or(f64::MAX);
            let first = *alone[index].get_or_insert(turn);
            let answered = figures.get("turns").is_some_and(|turns| *turns > 0.0);
            done[index] = turn > first * TOO_SLOW || !answered;
            rows.push((format!("{subject}, {count}"), vec![figures]));
            // A run takes long, and what a cut one has measured counts too.
            if let Some(path) = &options.out {
                std::fs::write(path, report(&rows))?;
            }
        }
    }
    println!("{}", report(&rows));
    Ok(())
}

fn report(rows: &[(String, Vec<Figures>)]) -> String {
    let mut rows: Vec<_> = rows
        .iter()
        .map(|(name, runs)| (name.as_str(), runs.clone()))
        .collect();
    rows.sort_by_key(|(name, _)| !name.starts_with("Tidegate"));
    format!("{}\n\n{}", machine::describe(), figures::table(&rows))
}

/// One run: a fresh server before fresh services.
async fn measure(
    subject: &str,
    count: usize,
    recording: &Recording,
    options: &Options,
) -> Result<Figures, Failure> {
    let millis = UNDERSTANDING.as_millis().to_string();
    // On the callers' core, so that it takes nothing from the server.
    let services = Server::start_on(
        server::LOAD_CORE,
        &server::beside("fixed_voice")?,
        &["127.0.0.1:0".to_owned(), millis],
    )
    .await?;
    let folder = tempfile::tempdir()?;
    let (server, path) = match subject {
        "Tidegate" => {
            let template = std::fs::read_to_string(root().join("benches/peers/agent.yaml"))?;
            let manifest = template
                .replace("SERVICE", &services.url(""))
                .replace("HANGOVER", &format!("{}ms", HANGOVER.as_millis()));
            std::fs::write(folder.path().join("agent.yaml"), manifest)?;
            let path = "/v1/pipelines/agent/whip";
            (Server::tidegate(folder.path()).await?, path)
        }
        _ => (pipecat(&services, options.silero).await?, "/"),
    };
    let callers = Callers {
        path,
        from: IpAddr::from([127, 0, 0, 1]),
        count,
        speech: Speech::Turns(recording.clone(), APART),
    };
    let load = Load {
        // Until all have begun, and what a first turn loads is there.
        warm_up: Duration::from_secs(6) + Duration::from_millis(20) * APART * u32::try_from(count)?,
        measured: Duration::from_secs(options.seconds),
        payload: 0,
        window: 1,
    };
    let result = webrtc::run(&server, &callers, load).await;
    server.stop().await;
    services.stop().await;
    let mut figures = result?;
    let spent = (HANGOVER + UNDERSTANDING).as_secs_f64() * 1e3;
    if let Some(turn) = figures.get("turn p50 ms").copied() {
        figures.insert("added p50 ms", turn - spent);
    }
    Ok(figures)
}

async fn pipecat(services: &Server, silero: bool) -> Result<Server, Failure> {
    let python = root().join(".cache/bench-venv/bin/python");
    if !python.exists() {
        return Err("its Python environment is missing: run `make bench-setup`".into());
    }
    let script = root().join("benches/peers/pipecat_agent.py");
    let arguments = [
        script.display().to_string(),
        services.url(""),
        HANGOVER.as_secs_f64().to_string(),
        if silero {
            "silero".to_owned()
        } else {
            server::beside("libtidegate_bench_vad.so")?
                .display()
                .to_string()
        },
    ];
    Server::start(&python, &arguments).await
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
