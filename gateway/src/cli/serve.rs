//! `tidegate serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use super::Failure;
use crate::config;
use crate::config::layers::Layered;
use crate::logs;
use crate::serve::{Again, Server};
use clap::Args;
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Examples:
  tidegate serve                                 http://127.0.0.1:8080, with the pipelines that ship
  tidegate serve --pipelines ./pipelines         with your own beside them
  TIDEGATE_LIMITS_SESSIONS=50 tidegate serve     any setting as a variable
  tidegate serve --config gateway.yaml --print-config
                                                 what is set, and where each value came from

SIGHUP and changed files reload pipelines, SIGHUP also who may come in; SIGTERM drains.";

/// Runs the gateway. No option is needed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Serve {
    /// Settings, as YAML or JSON.
    #[arg(long, env = "TIDEGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of pipelines, beside those that ship.
    #[arg(long, value_name = "DIR")]
    pipelines: Option<PathBuf>,
    /// Where HTTP, WebSocket and gRPC are served [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR", value_parser = crate::config::address)]
    listen: Option<SocketAddr>,
    /// Where all WebRTC media is received [default: 127.0.0.1:0].
    #[arg(long, value_name = "ADDR", value_parser = crate::config::address)]
    media: Option<SocketAddr>,
    /// Where Wyoming is served, such as 127.0.0.1:10300 [default: nowhere].
    #[arg(long, value_name = "ADDR", value_parser = crate::config::address)]
    wyoming: Option<SocketAddr>,
    /// Serve a non-loopback address without TLS and authentication.
    #[arg(long)]
    insecure: bool,
    /// Print the settings with where each value came from, and stop.
    #[arg(long)]
    print_config: bool,
}

impl Serve {
    /// Runs until a signal.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let layered = Layered::read(self.config.as_deref(), config::environment(), self.flags())
            .map_err(Failure::usage)?;
        if self.print_config {
            super::print(&layered.print());
        }
        layered.check().map_err(Failure::usage)?;
        if self.print_config {
            return Ok(ExitCode::SUCCESS);
        }
        logs::begin(&layered.config.log).map_err(Failure::usage)?;
        for stray in &layered.strays {
            tracing::warn!("{stray}");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(Failure::work)?;
        let again = self.again();
        runtime.block_on(async {
            let server = Server::bind(layered.config).await.map_err(Failure::work)?;
            let server = server.again(again);
            super::print(&format!("tidegate listening on {}\n", server.url()));
            if let Some(media) = server.media() {
                super::print(&format!("media on udp {media}\n"));
            }
            if let Some(wyoming) = server.wyoming() {
                super::print(&format!("wyoming on tcp {wyoming}\n"));
            }
            server.run().await.map_err(Failure::work)
        })?;
        Ok(ExitCode::SUCCESS)
    }

    /// Reads the settings again, as at the start.
    fn again(&self) -> Again {
        let (file, flags) = (self.config.clone(), self.flags());
        Box::new(move || {
            let layered = Layered::read(file.as_deref(), config::environment(), flags.clone());
            let checked = layered.and_then(|layered| layered.check().map(|()| layered.config));
            checked.map_err(|error| error.to_string())
        })
    }

    fn flags(&self) -> Vec<(&'static str, &'static str, Value)> {
        let mut flags = Vec::new();
        if let Some(path) = &self.pipelines {
            flags.push(("pipelines", "--pipelines", json!(path)));
        }
        if let Some(address) = self.listen {
            flags.push(("listen", "--listen", json!(address)));
        }
        if let Some(address) = self.media {
            flags.push(("media", "--media", json!(address)));
        }
        if let Some(address) = self.wyoming {
            flags.push(("wyoming.listen", "--wyoming", json!(address)));
        }
        if self.insecure {
            flags.push(("insecure", "--insecure", json!(true)));
        }
        flags
    }
}
