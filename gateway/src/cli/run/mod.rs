//! `tidegate run`: one pipeline over files, in this process, without a network.
//!
//! The session is the gateway's own, with a client in memory that can be told to wait: nothing is shed, and the run goes as fast as
//! its slowest hop. Results go to files and standard output; progress and figures to standard error.

mod input;
mod output;
mod parameters;
pub(super) mod report;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidegate_media::Kind;
use tidegate_nodes::compile::{Description, Grants, Pipeline};
use tidegate_nodes::{Accepts, Code, Error, Registry};
use tidegate_proto::message::Source;

use self::output::Outputs;
use super::{Failure, source};
use crate::config::{Config, Span};
use crate::gateway::Gateway;
use crate::http::formats::untouched;
use crate::links::file::{Feed, Feeds};
use crate::links::memory::{CHANNEL, MemoryEvent, MemoryLink};
use crate::links::outbox::{Delivery, outbox};
use crate::session::link::{HopFigures, Transport};
use crate::session::open::Request;

/// How long the session's tasks may take to end after its last message.
const LAST_TASKS: Duration = Duration::from_secs(2);
/// How long whoever reads the output may read nothing.
const READER: Duration = Duration::from_secs(24 * 60 * 60);
/// What must never pass for success.
const CUT_OFF: &str = "the session ended without a word; what was written is not all";

const EXAMPLES: &str = "\
Examples:
  tidegate run clean-voice --in speech.wav --out clean.wav
                                         the sound to a file, events as JSON lines to standard output
  tidegate run mine.yaml --in talk.mp3 --out talk.ogg --param voice=es
  tidegate run conference --in a=anna.wav --in b=ben.wav --out to-a=mix.wav
  ffmpeg -i film.mkv -f wav - | tidegate run clean-voice --in - | jq .frame
  tidegate run mine.yaml --in frames.ndjson --out -
                                         native messages in and out, one a line

Sound is read from WAV, FLAC, MP3, AAC, M4A, Ogg/Vorbis and Ogg/Opus and written as WAV or Ogg/Opus, by the file's name. Text goes in
line by line, JSON value by value; any input takes native messages ({\"frame\": {\"port\": …}}) from an .ndjson file, with PORT= whatever
port they name.
Exit codes: 0 done, 1 the run failed, 2 wrong usage.";

/// Runs one pipeline over files or standard input, without a server.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Run {
    /// The manifest: a file, the name of a shipped pipeline, or - for standard input.
    #[arg(value_name = "MANIFEST")]
    manifest: String,
    /// What feeds an input; - for standard input. PORT may be left out where one fits. Repeatable.
    #[arg(long = "in", value_name = "[PORT=]FILE", required = true)]
    inputs: Vec<String>,
    /// Where an output goes: .wav, .ogg, .opus for sound, .ndjson or - for messages. Repeatable.
    #[arg(long = "out", value_name = "[PORT=]FILE")]
    outputs: Vec<String>,
    /// A value for a parameter of the pipeline. Repeatable.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// No progress bar and no table.
    #[arg(long, short)]
    quiet: bool,
}

/// What a run did.
struct Done {
    hops: Vec<HopFigures>,
    outputs: Vec<String>,
    took: Duration,
}

impl Run {
    /// Runs the pipeline to its end.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let source = source::read(&self.manifest).map_err(Failure::usage)?;
        let registry = Registry::builtin();
        let grants = Grants::operator(crate::config::environment());
        let pipeline = Pipeline::from_text(&source.name, &source.text, &registry, &grants)
            .map_err(Failure::work)?;
        let about = pipeline.describe();
        let parameters = parameters::read(&self.parameters, &about).map_err(Failure::usage)?;
        pipeline
            .check_parameters(&parameters)
            .map_err(Failure::usage)?;
        let outputs = Outputs::plan(&self.outputs, &about).map_err(Failure::usage)?;
        let feeds = input::open(&self.inputs, &about)?;
        outputs.spare(feeds.paths.iter()).map_err(Failure::usage)?;
        let name = pipeline.name().to_owned();
        let pipelines = crate::pipelines::Pipelines::only(pipeline, registry);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(Failure::work)?;
        let bar = self.bar(&feeds.feeds);
        let done = runtime.block_on(async {
            let gateway = Gateway::with(config(), pipelines, false).map_err(Failure::work)?;
            let begun = gateway.clock.now();
            let link = connect(&about, feeds.feeds, &outputs, &bar);
            let request = Request {
                caller: crate::auth::Caller::anyone(),
                source: Source::Pipeline(name),
                parameters,
                key: None,
                hop_count: 0,
                deadline: None,
                link: Box::new(link.0),
            };
            gateway.open(request).await.map_err(Failure::work)?;
            let mut done = follow(&gateway, link.1, outputs).await?;
            done.took = gateway.clock.now().saturating_since(begun);
            // What is still running has nothing to say any more.
            drop(tokio::time::timeout(LAST_TASKS, gateway.tasks.idle()).await);
            Ok::<_, Failure>(done)
        });
        bar.finish_and_clear();
        let done = done?;
        if !self.quiet {
            super::say(&report::text(&done.hops, &done.outputs, done.took));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// A bar on a terminal, nothing elsewhere.
    fn bar(&self, feeds: &[Feed]) -> ProgressBar {
        let target = if self.quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let length = feeds.iter().map(|feed| feed.duration).max().flatten();
        let millis = length.and_then(|length| u64::try_from(length.as_millis()).ok());
        let bar = ProgressBar::with_draw_target(millis, target);
        let template = if millis.is_some() {
            "{wide_bar} {percent}% · {elapsed}"
        } else {
            "{spinner} {elapsed} · {msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar
    }
}

/// The client in memory, and what it hears.
fn connect(
    about: &Description,
    feeds: Vec<Feed>,
    outputs: &Outputs,
    bar: &ProgressBar,
) -> (MemoryLink, Delivery<MemoryEvent>) {
    let (events, receiver) = outbox(CHANNEL);
    let formats: Vec<_> = feeds
        .iter()
        .map(|feed| (feed.port.clone(), feed.format))
        .collect();
    let fed_names = feeds.iter().map(|feed| feed.port.clone()).collect();
    let fed = |name: &String| formats.iter().any(|(port, _)| port == name);
    let names = || about.inputs.iter().map(|input| input.name.clone());
    let without = names().filter(|name| !fed(name)).collect();
    // Every port by its name: a pipeline with seats would give one seat otherwise.
    let ports = names()
        .chain(about.outputs.iter().map(|output| output.name.clone()))
        .collect();
    let progress = bar.clone();
    let source = Feeds::new(feeds, without).watched(move |at| {
        let millis = u64::try_from(at.as_micros() / 1000).unwrap_or_default();
        progress.set_position(millis);
        if progress.length().is_none() {
            progress.set_message(format!(
                "{:.1} s",
                Duration::from_millis(millis).as_secs_f64()
            ));
        }
    });
    let wishes = outputs.wishes();
    let link = MemoryLink::new(
        Transport::Local,
        Box::new(source),
        Box::new(move |port| {
            let found = formats.iter().find(|(name, _)| *name == port.name);
            found
                .map(|(_, format)| *format)
                .or_else(|| untouched(port.kind))
        }),
        Box::new(move |port| {
            let found = wishes.iter().find(|(name, _)| *name == port.name);
            Some(match found {
                Some((_, pattern)) if port.kind == Kind::Audio => Accepts::Audio(pattern.clone()),
                _ => Accepts::Kind(port.kind),
            })
        }),
        events,
    );
    let link = link.with_ports(ports).feeding(fed_names);
    (link.measured(), receiver)
}

/// The limits of a session that nobody else waits for: whoever reads its output may take a day over it.
fn config() -> Config {
    let mut config = Config::default();
    config.limits.idle = Span(Duration::ZERO);
    config.limits.stalled = Span(READER);
    config
}

/// Writes what comes until the session's end.
async fn follow(
    gateway: &Arc<Gateway>,
    mut events: Delivery<MemoryEvent>,
    mut outputs: Outputs,
) -> Result<Done, Failure> {
    let mut hops = Vec::new();
    let mut whole = false;
    while let Some(event) = events.next().await {
        match event {
            MemoryEvent::Opened(info) => {
                outputs.open(&info.outputs).map_err(Failure::work)?;
            }
            MemoryEvent::Frame { output, frame } => {
                let now = gateway.clock.now();
                let more = outputs.write(&output, frame, now).map_err(Failure::work)?;
                if !more {
                    // Who reads has seen enough.
                    whole = true;
                    break;
                }
                if events.is_empty() {
                    outputs.flush().map_err(Failure::work)?;
                }
            }
            MemoryEvent::Stats(figures) => hops = figures,
            MemoryEvent::Failed(error) => return Err(Failure::work(error)),
            MemoryEvent::Ended { .. } => {
                whole = true;
                break;
            }
        }
    }
    if !whole {
        return Err(Failure::work(Error::new(Code::Internal, CUT_OFF)));
    }
    let outputs = outputs.finish().map_err(Failure::work)?;
    Ok(Done {
        hops,
        outputs,
        took: Duration::ZERO,
    })
}
