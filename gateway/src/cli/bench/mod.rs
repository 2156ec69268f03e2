//! `tidegate bench`: load on a running gateway, and what it cost each frame.
//!
//! Open sessions send numbered frames; what comes back says by `caused_by` (WebRTC: by a mark in the packet) which frame caused it.
//! At a rate, a frame's latency counts from when it was due, so a gateway that falls behind is not flattered; without one, each session
//! keeps a fixed number of frames in flight. Client and gateway share the machine's cores if they share the machine.

mod connect;
mod frames;
mod native;
mod report;
mod tally;
mod webrtc;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::Value;

use self::connect::{Target, TargetError};
use self::tally::Tally;
use super::Failure;
use crate::clock::Clock;
use crate::tasks::Tasks;

const EXAMPLES: &str = "\
Examples:
  tidegate bench                                 10 WebSocket sessions, 50 frames a second each, for 10 s
  tidegate bench --transport webrtc --sessions 50
  tidegate bench --transport grpc --rate 0       as fast as answers come: one frame in flight
  tidegate bench --rate 0 --window 64 --sessions 1 --json | jq .frames_per_second

The gateway is given by --url; --token is its bearer token. Certificates are checked against the system's (SSL_CERT_FILE).
Exit codes: 0 done, 1 a session failed or nothing came back, 2 wrong usage.";

/// Loads a running gateway and reports latency.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Bench {
    /// The gateway.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The pipeline.
    #[arg(long, default_value = "echo")]
    pipeline: String,
    /// How sessions reach it.
    #[arg(long, value_enum, default_value_t)]
    transport: Transport,
    /// Sessions at a time.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sessions: u32,
    /// Frames a second of each session; 0: the next when one comes back.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    rate: u32,
    /// With --rate 0: frames in flight of each session.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    window: u32,
    /// Payload bytes of a frame. WebRTC: of a packet, at most 1200.
    #[arg(long, default_value_t = 640, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    size: u32,
    /// How long is measured, in seconds, after a second of warming up.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    duration: f64,
    /// The bearer token.
    #[arg(long, env = "TIDEGATE_AUTH_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// What carries a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Transport {
    /// The native stream on WebSocket, as protobuf.
    #[default]
    Ws,
    /// The native stream on gRPC.
    Grpc,
    /// Opus packets on WebRTC, by WHIP.
    Webrtc,
}

/// What all sessions of a run share.
struct Load {
    target: Target,
    bench: Bench,
    clock: Clock,
    /// The pipeline as the gateway describes it.
    about: Value,
}

/// Sent before it counts: sessions are there and caches warm.
const WARM_UP: Duration = Duration::from_secs(1);
/// Between the starts of two sessions: opening them is not what is measured.
const STAGGER: Duration = Duration::from_millis(5);
/// How long frames may still come back after the last was sent, and how long a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest run.
const SECONDS_MAX: f64 = 86_400.0;

/// Why a session, or the whole run, did not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
enum BenchError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("{0}")]
    Session(String),
    #[error("--size {0} is too large for WebRTC: a packet carries 16 to 1200 bytes")]
    PacketSize(u32),
    #[error("--rate 0 is not for WebRTC: media has a rate, such as --rate 50")]
    NoRate,
}

impl Bench {
    /// Runs the load and prints the report.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let target = Target::new(&self.url, self.token.clone()).map_err(Failure::usage)?;
        if self.transport == Transport::Webrtc {
            if !(16..=1200).contains(&self.size) {
                return Err(Failure::usage(BenchError::PacketSize(self.size)));
            }
            if self.rate == 0 {
                return Err(Failure::usage(BenchError::NoRate));
            }
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(Failure::work)?;
        let json = self.json;
        let tally = runtime.block_on(self.load(target))?;
        let ok = tally.0.failures().is_empty() && tally.0.received > 0;
        if json {
            super::print_json(&report::json(&tally.1, &tally.0));
        } else {
            super::print(&report::text(&tally.1, &tally.0));
        }
        Ok(ExitCode::from(u8::from(!ok)))
    }

    async fn load(self, target: Target) -> Result<(Tally, Self), Failure> {
        let about = target
            .pipeline(&self.pipeline)
            .await
            .map_err(Failure::work)?;
        let clock = Clock::start();
        let load = Arc::new(Load {
            target,
            bench: self,
            clock,
            about,
        });
        let tasks = Tasks::default();
        let first = clock.now();
        let ramp = STAGGER * load.bench.sessions;
        let measured_from = first + ramp + WARM_UP;
        let span = (measured_from, measured_from + load.bench.duration());
        let mut running = Vec::new();
        for session in 0..load.bench.sessions {
            let load = Arc::clone(&load);
            running.push(tasks.spawn(async move {
                let start = load.clock.instant(first + STAGGER * session);
                tokio::time::sleep_until(start.into()).await;
                let mut tally = Tally::new(span);
                if let Err(error) = load.session(&mut tally).await {
                    tally.failed(&error);
                }
                tally
            }));
        }
        let mut total = Tally::new(span);
        for session in running {
            match session.await {
                Ok(tally) => total.add(&tally),
                Err(panic) => total.failed(&panic),
            }
        }
        Ok((total, load.bench.clone()))
    }

    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.duration)
    }
}

impl Load {
    async fn session(&self, tally: &mut Tally) -> Result<(), BenchError> {
        match self.bench.transport {
            Transport::Ws => native::websocket(self, tally).await,
            Transport::Grpc => native::grpc(self, tally).await,
            Transport::Webrtc => webrtc::session(self, tally).await,
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let text = text.strip_suffix('s').unwrap_or(text);
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=SECONDS_MAX).contains(&seconds) => Ok(seconds),
        _ => Err(format!(
            "'{text}' is not a number of seconds from 0.1 to {SECONDS_MAX}"
        )),
    }
}
