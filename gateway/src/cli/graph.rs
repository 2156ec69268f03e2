//! `tidegate graph`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tidegate_nodes::Registry;
use tidegate_nodes::compile::{Grants, Pipeline};
use tidegate_nodes::draw::{to_mermaid, to_svg};

use super::{Failure, source};

const EXAMPLES: &str = "\
Examples:
  tidegate graph clean-voice > clean-voice.svg
  tidegate graph mine.yaml --format mermaid      for a ```mermaid block of a README

Drawn as a WebRTC client meets it: conversions that the compiler inserts are dashed, nodes that work on a thread or
elsewhere are coloured, thick arrows end at a queue.";

/// Draws a pipeline.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Draw {
    /// The manifest: a file, the name of a shipped pipeline, or - for standard input.
    #[arg(value_name = "MANIFEST")]
    manifest: String,
    /// How it is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    #[default]
    Svg,
    Mermaid,
}

impl Draw {
    /// Prints the picture on standard output.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let source = source::read(&self.manifest).map_err(Failure::usage)?;
        let registry = Registry::builtin();
        let grants = Grants::offline();
        let pipeline = Pipeline::from_text(&source.name, &source.text, &registry, &grants)
            .map_err(Failure::work)?;
        let description = pipeline.describe();
        super::print(&match self.format {
            Format::Svg => to_svg(&description),
            Format::Mermaid => to_mermaid(&description),
        });
        Ok(ExitCode::SUCCESS)
    }
}
