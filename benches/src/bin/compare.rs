//! Measures the gateway and its peers in the same run, interleaved, and prints Markdown tables.
//! `make bench` builds everything and runs it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Parser;
use tidegate_benches::figures::{self, Figures};
use tidegate_benches::load::grpc::{self, Kind};
use tidegate_benches::load::webrtc::{self, Callers, Speech};
use tidegate_benches::load::{Load, chain, ws};
use tidegate_benches::server::Server;
use tidegate_benches::{Failure, machine};

/// Runs the measurements of docs/performance.md.
#[derive(Parser)]
struct Options {
    /// Which to run, by name; none means all.
    names: Vec<String>,
    /// Seconds that each run counts.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Runs of each subject.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Write the tables to this file too.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// A measurement: a name, what it is, and those who take part.
struct Scenario {
    name: &'static str,
    about: &'static str,
    subjects: &'static [&'static str],
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "chain",
        about: "A frame of 640 B through 16 identity nodes, in this process",
        subjects: &["graph, metrics on", "tokio tasks and bounded channels"],
    },
    Scenario {
        name: "webrtc-echo",
        about: "WebRTC echo without decoding, 50 sessions of 50 packets/s",
        subjects: &["tidegate", "bare webrtc", "Janus echotest"],
    },
    Scenario {
        name: "webrtc-gain",
        about: "WebRTC decode → gain → encode, 10 sessions, bursts of a tone",
        subjects: &["tidegate", "Pipecat", "aiortc"],
    },
    Scenario {
        name: "grpc",
        about: "gRPC echo of 640 B, ping-pong",
        subjects: &["tidegate", "bare tonic", "Envoy before bare tonic"],
    },
    Scenario {
        name: "remote",
        about: "A remote hop of 640 B, ping-pong",
        subjects: &["tidegate → tidegate", "bare tonic → bare tonic"],
    },
    Scenario {
        name: "tensor",
        about: "gRPC echo of a tensor of 1 MiB, ping-pong",
        subjects: &[
            "tidegate",
            "bare tonic, default settings",
            "bare tonic, tuned alike",
        ],
    },
    Scenario {
        name: "websocket",
        about: "WebSocket echo of 640 B, 32 on their way",
        subjects: &["tidegate", "bare tokio-tungstenite"],
    },
    Scenario {
        name: "memory",
        about: "Memory of an idle session, over 500 open ones",
        subjects: &["tidegate, gRPC", "tidegate, WebRTC"],
    },
];

#[tokio::main(flavor = "current_thread")]
#[expect(
    clippy::print_stdout,
    reason = "the tables are what this program is for"
)]
async fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let mut text = format!("{}\n", machine::describe());
    let named = |scenario: &&Scenario| {
        options.names.is_empty() || options.names.iter().any(|name| name == scenario.name)
    };
    for scenario in SCENARIOS.iter().filter(named) {
        let table = measure(scenario, &options).await;
        writeln!(text, "\n### {}\n\n{table}", scenario.about)?;
        println!("\n### {}\n\n{table}", scenario.about);
    }
    if let Some(path) = options.out {
        std::fs::write(path, text)?;
    }
    Ok(())
}

/// All runs of a scenario: every subject once, then every subject again, so that what else the
/// machine does hits all alike.
#[expect(clippy::print_stderr, reason = "progress of a long run")]
async fn measure(scenario: &Scenario, options: &Options) -> String {
    let mut subjects: Vec<(&str, Vec<Figures>)> = scenario
        .subjects
        .iter()
        .map(|subject| (*subject, Vec::new()))
        .collect();
    let mut failures = String::new();
    for round in 1..=options.repeat {
        for (subject, runs) in &mut subjects {
            let load = machine::load();
            eprintln!(
                "{} round {round}, {subject} (load average {load})",
                scenario.name
            );
            match run(scenario.name, subject, options.seconds).await {
                Ok(figures) => runs.push(figures),
                Err(e) => {
                    eprintln!("  failed: {e}");
                    let _ = writeln!(failures, "\n{subject}, round {round}: not measured: {e}");
                }
            }
        }
    }
    figures::table(&subjects) + &failures
}

async fn run(scenario: &str, subject: &str, seconds: u64) -> Result<Figures, Failure> {
    let load = Load::ping_pong(seconds);
    match scenario {
        "chain" if subject.starts_with("graph") => chain::graph(),
        "chain" => chain::channels().await,
        "webrtc-echo" => callers(subject, "echo", 50, Speech::Numbered, load).await,
        "webrtc-gain" => callers(subject, "gain", 10, Speech::Bursts, load).await,
        "grpc" => grpc_echo(subject, load).await,
        "remote" => remote(subject, load).await,
        "tensor" => {
            tensor(
                subject,
                Load {
                    payload: 1 << 20,
                    ..load
                },
            )
            .await
        }
        "websocket" => websocket(subject, Load { window: 32, ..load }).await,
        _ => memory(subject).await,
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn pipelines() -> PathBuf {
    root().join("benches/pipelines")
}

async fn python(script: &str) -> Result<Server, Failure> {
    let python = root().join(".cache/bench-venv/bin/python");
    if !python.exists() {
        return Err("its Python environment is missing: run `make bench-setup`".into());
    }
    let script = root()
        .join("benches/peers")
        .join(script)
        .display()
        .to_string();
    Server::start(&python, &[script]).await
}

async fn callers(
    subject: &str,
    pipeline: &str,
    count: usize,
    speech: Speech,
    load: Load,
) -> Result<Figures, Failure> {
    let mut from = IpAddr::from([127, 0, 0, 1]);
    let mut path = "/";
    let server = match subject {
        "tidegate" => {
            path = if pipeline == "echo" {
                "/v1/pipelines/echo/whip"
            } else {
                "/v1/pipelines/gain/whip"
            };
            Server::tidegate(&pipelines()).await?
        }
        "bare webrtc" => Server::bare("bare_webrtc", &[]).await?,
        "Pipecat" => python("pipecat_echo.py").await?,
        "aiortc" => python("aiortc_echo.py").await?,
        _ => {
            // Janus ignores loopback; janus.sh gives our side of its network this address.
            from = IpAddr::from([198, 18, 77, 1]);
            Server::start(&root().join("benches/peers/janus.sh"), &[]).await?
        }
    };
    let callers = Callers {
        path,
        from,
        count,
        speech,
    };
    let result = webrtc::run(&server, &callers, load).await;
    server.stop().await;
    result
}

async fn grpc_echo(subject: &str, load: Load) -> Result<Figures, Failure> {
    if subject == "tidegate" {
        return grpc_run(
            Server::tidegate(&pipelines()).await?,
            "echo",
            load,
            Kind::Audio,
            false,
        )
        .await;
    }
    let echo = Server::bare("bare_grpc", &[]).await?;
    if subject == "bare tonic" {
        return grpc_run(echo, "echo", load, Kind::Audio, false).await;
    }
    let result = async {
        let folder = tempfile::tempdir()?;
        let envoy = envoy(&echo, folder.path()).await?;
        grpc_run(envoy, "echo", load, Kind::Audio, false).await
    };
    let result = result.await;
    echo.stop().await;
    result
}

/// Envoy as a plain HTTP/2 proxy. It does not say where it listens, so the port is chosen here.
async fn envoy(upstream: &Server, folder: &Path) -> Result<Server, Failure> {
    let envoy = root().join(".cache/bench-venv/bin/envoy");
    if !envoy.exists() {
        return Err("Envoy is missing: run `make bench-setup`".into());
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port();
    let template = std::fs::read_to_string(root().join("benches/peers/envoy.yaml"))?;
    let upstream = upstream.address.port().to_string();
    let config = template
        .replace("LISTEN", &port.to_string())
        .replace("UPSTREAM", &upstream);
    let file = folder.join("envoy.yaml");
    std::fs::write(&file, config)?;
    let script = root().join("benches/peers/envoy.sh");
    let arguments = [
        envoy.display().to_string(),
        file.display().to_string(),
        port.to_string(),
    ];
    Server::start(&script, &arguments).await
}

async fn grpc_run(
    server: Server,
    pipeline: &str,
    load: Load,
    kind: Kind,
    tuned: bool,
) -> Result<Figures, Failure> {
    let result = grpc::run(&server, pipeline, load, kind, tuned).await;
    server.stop().await;
    result
}

async fn remote(subject: &str, load: Load) -> Result<Figures, Failure> {
    if subject != "tidegate → tidegate" {
        let worker = Server::bare("bare_grpc", &[]).await?;
        let first = Server::bare("bare_grpc", &[&worker.url("")]).await?;
        let result = grpc_run(first, "echo", load, Kind::Audio, false).await;
        worker.stop().await;
        return result;
    }
    let worker = Server::tidegate(&pipelines()).await?;
    let folder = tempfile::tempdir()?;
    let template = std::fs::read_to_string(root().join("benches/peers/remote.yaml"))?;
    let manifest = template.replace("WORKER", &worker.url(""));
    std::fs::write(folder.path().join("remote.yaml"), manifest)?;
    let first = Server::tidegate(folder.path()).await?;
    let result = grpc_run(first, "remote", load, Kind::Audio, false).await;
    worker.stop().await;
    result
}

async fn tensor(subject: &str, load: Load) -> Result<Figures, Failure> {
    let (server, tuned) = match subject {
        "tidegate" => (Server::tidegate(&pipelines()).await?, true),
        "bare tonic, tuned alike" => (Server::bare("bare_grpc", &["tuned"]).await?, true),
        _ => (Server::bare("bare_grpc", &[]).await?, false),
    };
    grpc_run(server, "tensor", load, Kind::Tensor, tuned).await
}

async fn websocket(subject: &str, load: Load) -> Result<Figures, Failure> {
    let server = match subject {
        "tidegate" => Server::tidegate(&pipelines()).await?,
        _ => Server::bare("bare_ws", &[]).await?,
    };
    let opened = match subject {
        "tidegate" => ws::open(&server, "echo").await,
        _ => ws::open_bare(&server).await,
    };
    let result = match opened {
        Ok(opened) => ws::run(&server, opened, load).await,
        Err(e) => Err(e),
    };
    server.stop().await;
    result
}

/// Memory that 500 idle sessions add, after some came and went so that allocators are warm.
#[expect(
    clippy::cast_precision_loss,
    reason = "500 sessions and their memory fit f64"
)]
async fn memory(subject: &str) -> Result<Figures, Failure> {
    const SESSIONS: usize = 500;
    let server = Server::tidegate(&pipelines()).await?;
    let before;
    let mut kept_grpc = Vec::new();
    let mut kept_webrtc = Vec::new();
    if subject == "tidegate, gRPC" {
        let mut client = grpc::connect(&server, false).await?;
        drop(grpc::Session::open(&mut client, "echo").await?);
        before = server.memory()?;
        for _ in 0..SESSIONS {
            kept_grpc.push(grpc::Session::open(&mut client, "echo").await?);
        }
    } else {
        let path = "/v1/pipelines/echo/whip";
        let from = IpAddr::from([127, 0, 0, 1]);
        let callers = Callers {
            path,
            from,
            count: SESSIONS,
            speech: Speech::Numbered,
        };
        kept_webrtc.push(webrtc::connect_one(&server, &callers).await?);
        before = server.memory()?;
        for _ in 0..SESSIONS {
            kept_webrtc.push(webrtc::connect_one(&server, &callers).await?);
        }
    }
    let added = server.memory()?.saturating_sub(before);
    let result = Figures::from([("KiB/session", added as f64 / 1024.0 / SESSIONS as f64)]);
    drop((kept_grpc, kept_webrtc));
    server.stop().await;
    Ok(result)
}
