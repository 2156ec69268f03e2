//! Measures what is owed of remote hops, with gateways and workers as processes of their own, and prints Markdown tables.
//! `make bench-hops` builds everything and runs it.

use std::path::PathBuf;

use clap::Parser;
use tidegate_benches::hops::{Report, calls, chain, kills, newcomer, shares, table};
use tidegate_benches::{Failure, machine};

/// Runs the measurements of docs/performance.md that are about remote hops.
#[derive(Parser)]
struct Options {
    /// Which to run (newcomer, chain, kills, failing, random, shares); none means all.
    names: Vec<String>,
    /// Seconds that each run of a chain counts.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Runs of each chain.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Workers that are killed; half as many are stalled.
    #[arg(long, default_value_t = 24)]
    kills: usize,
    /// Write the tables to this file too.
    #[arg(long)]
    out: Option<PathBuf>,
}

const NAMES: [&str; 6] = ["newcomer", "chain", "kills", "failing", "random", "shares"];

#[tokio::main(flavor = "current_thread")]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the tables are what this program is for, and it takes minutes"
)]
async fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let asked = &options.names;
    if let Some(unknown) = asked.iter().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(format!("no measurement {unknown}; there are {}", NAMES.join(", ")).into());
    }
    let machine = machine::describe();
    let (mut rows, mut details, mut broken) = (Vec::new(), String::new(), Vec::new());
    for name in NAMES {
        if !asked.is_empty() && !asked.iter().any(|asked| asked == name) {
            continue;
        }
        eprintln!("{name} (load average {})", machine::load());
        match measure(name, &options).await {
            Ok(report) => {
                rows.extend(report.rows);
                details += &report.details;
            }
            Err(e) => broken.push(format!("{name}: {e}")),
        }
    }
    rows.sort_by_key(|row| row.id);
    let text = format!("{machine}\n\n{}{details}", table(&rows));
    println!("{text}");
    if let Some(path) = options.out {
        std::fs::write(path, text)?;
    }
    if broken.is_empty() {
        Ok(())
    } else {
        Err(broken.join("\n").into())
    }
}

async fn measure(name: &str, options: &Options) -> Result<Report, Failure> {
    match name {
        "newcomer" => newcomer::run().await,
        "chain" => chain::run(options.seconds, options.repeat).await,
        "kills" => kills::run(options.kills).await,
        "failing" => calls::failing().await,
        "random" => calls::random().await,
        _ => shares::run().await,
    }
}
