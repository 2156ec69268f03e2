//! The command line.
//!
//! Exit codes: 0 done, 1 the work failed, 2 wrong usage. Output for people goes to standard error, results to standard output.

mod bench;
mod check;
mod graph;
mod nodes;
mod run;
mod serve;
mod source;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A streaming media gateway: WebRTC, WebSocket, gRPC and HTTP through pipelines of nodes and remote hops.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the gateway.
    Serve(serve::Serve),
    /// Runs one pipeline over files or standard input, without a server.
    Run(run::Run),
    /// Finds every error of manifests at once.
    Check(check::Check),
    /// Lists node types: their ports, formats, parameters and cost.
    Nodes(nodes::Nodes),
    /// Draws a pipeline.
    Graph(graph::Draw),
    /// Loads a running gateway and reports latency.
    Bench(bench::Bench),
}

/// Runs the program; the exit code of the process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Serve(serve) => serve.run(),
        Command::Run(run) => run.run(),
        Command::Check(check) => check.run(),
        Command::Nodes(nodes) => nodes.run(),
        Command::Graph(draw) => draw.run(),
        Command::Bench(bench) => bench.run(),
    };
    result.unwrap_or_else(|failure| {
        say(&told(failure.error.as_ref()));
        ExitCode::from(failure.code)
    })
}

/// A command that did not do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: Box<dyn std::error::Error>,
}

impl Failure {
    /// The work failed.
    pub(crate) fn work(error: impl Into<Box<dyn std::error::Error>>) -> Self {
        Self {
            code: 1,
            error: error.into(),
        }
    }

    /// The command was used wrongly.
    pub(crate) fn usage(error: impl Into<Box<dyn std::error::Error>>) -> Self {
        Self {
            code: 2,
            error: error.into(),
        }
    }
}

/// The error with what caused it.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = format!("tidegate: {error}\n");
    let mut source = error.source();
    while let Some(cause) = source {
        let why = cause.to_string();
        // Some errors say their cause themselves.
        if !text.contains(&why) {
            text.push_str(&format!("  because: {why}\n"));
        }
        source = cause.source();
    }
    text
}

/// Says something to people. Standard error that is closed is no failure of ours.
pub(crate) fn say(text: &str) {
    use std::io::Write as _;
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
}

/// Writes a result as JSON that people can read too.
pub(crate) fn print_json(value: &serde_json::Value) {
    print(&format!("{value:#}\n"));
}

/// Writes a result. A reader that went away (`| head`) is no failure of ours.
pub(crate) fn print(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Said {
        text: &'static str,
        source: Option<Box<Said>>,
    }

    #[test]
    fn a_cause_is_told_unless_the_error_has_said_it_already() {
        let root = Said {
            text: "address in use",
            source: None,
        };
        let media = Said {
            text: "media cannot be bound: address in use",
            source: Some(Box::new(root)),
        };
        let top = Said {
            text: "no start",
            source: Some(Box::new(media)),
        };
        let text = told(&top);
        assert_eq!(
            text,
            "tidegate: no start\n  because: media cannot be bound: address in use\n"
        );
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_is_documented() {
        let page = include_str!("../../../docs/cli.md");
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let heading = format!("## `tidegate {name}");
            let (_, section) = page
                .split_once(&heading)
                .unwrap_or_else(|| panic!("docs/cli.md lacks {heading}"));
            let section = section.split("\n## ").next().unwrap_or_default();
            for option in command.get_arguments().filter_map(|arg| arg.get_long()) {
                let shown = format!("`--{option}");
                assert!(
                    section.contains(&shown),
                    "docs/cli.md: {name} lacks {shown}"
                );
            }
            assert!(command.get_about().is_some(), "{name} says what it does");
            assert!(command.get_after_help().is_some(), "{name} has examples");
        }
    }
}
