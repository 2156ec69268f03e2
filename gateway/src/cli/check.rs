//! `tidegate check`.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use tidegate_nodes::Registry;
use tidegate_nodes::compile::{Grants, Pipeline};
use tidegate_nodes::manifest::{Diagnostic, Severity, schema};

use super::{Failure, source};

const EXAMPLES: &str = "\
Examples:
  tidegate check pipelines/*.yaml        every error of every file, as file:line:column: rule: what; mend
  tidegate check --json mine.yaml        the same for a program
  tidegate check --schema > tidegate.schema.json
                                         for an editor: `# yaml-language-server: $schema=tidegate.schema.json`

Nothing is connected to: remote nodes are believed what they declare, environment variables count as set.
Exit codes: 0 no errors (warnings may be), 1 errors, 2 wrong usage.";

/// Finds every error of manifests at once.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Check {
    /// Manifests: files, names of shipped pipelines, or - for standard input.
    #[arg(value_name = "MANIFEST", required_unless_present = "schema")]
    manifests: Vec<String>,
    /// Print findings as JSON: {"manifests": [{file, name, ok, findings: […]}]}.
    #[arg(long)]
    json: bool,
    /// Print the JSON Schema of manifests, and stop.
    #[arg(long, conflicts_with = "manifests")]
    schema: bool,
}

/// What was found in one manifest.
struct Checked {
    file: String,
    /// The pipeline's name, if it compiles.
    name: Option<String>,
    findings: Vec<Diagnostic>,
}

impl Check {
    /// Prints findings on standard output.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let registry = Registry::builtin();
        if self.schema {
            super::print_json(&schema(&registry));
            return Ok(ExitCode::SUCCESS);
        }
        let all = self.manifests.iter();
        let checked: Vec<_> = all
            .map(|manifest| match source::read(manifest) {
                Ok(source) => check(&source, &registry),
                Err(error) => unreadable(manifest, &error),
            })
            .collect();
        if self.json {
            let manifests: Vec<_> = checked.iter().map(Checked::to_json).collect();
            super::print_json(&json!({ "manifests": manifests }));
        } else {
            super::print(&text(&checked));
        }
        let wrong = checked.iter().any(|checked| checked.name.is_none());
        Ok(ExitCode::from(u8::from(wrong)))
    }
}

fn check(source: &source::Source, registry: &Registry) -> Checked {
    let grants = Grants::offline();
    let (name, findings) = match Pipeline::from_text(&source.name, &source.text, registry, &grants)
    {
        Ok(pipeline) => (
            Some(pipeline.name().to_owned()),
            pipeline.warnings().clone(),
        ),
        Err(findings) => (None, findings),
    };
    Checked {
        file: source.name.clone(),
        name,
        findings: findings.iter().cloned().collect(),
    }
}

/// A file that cannot be read is a finding like another: it hides none of the other files'.
fn unreadable(manifest: &str, error: &source::SourceError) -> Checked {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    let mend = if std::path::Path::new(manifest).is_dir() {
        format!(
            "name its files, such as {}/*.yaml",
            manifest.trim_end_matches('/')
        )
    } else {
        String::new()
    };
    Checked {
        file: manifest.to_owned(),
        name: None,
        findings: vec![Diagnostic {
            file: manifest.to_owned(),
            line: 1,
            column: 1,
            severity: Severity::Error,
            rule: "unreadable",
            message: format!("{error}{}", cause.unwrap_or_default()),
            mend,
        }],
    }
}

impl Checked {
    fn to_json(&self) -> Value {
        json!({
            "file": self.file,
            "name": self.name,
            "ok": self.name.is_some(),
            "findings": self.findings,
        })
    }
}

/// The findings, one a line, and for each file without errors a line that says so.
fn text(checked: &[Checked]) -> String {
    let mut text = String::new();
    for one in checked {
        for finding in &one.findings {
            text.push_str(&format!("{finding}\n"));
        }
        if let Some(name) = &one.name {
            text.push_str(&format!("{}: ok: pipeline '{name}'\n", one.file));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Checked {
        let source = source::Source {
            name: "m.yaml".to_owned(),
            text: text.to_owned(),
        };
        check(&source, &Registry::builtin())
    }

    #[test]
    fn all_errors_are_lines_with_their_places() {
        let manifest = "version: tidegate/v1\nname: bad\ninputs: [{name: mic, kind: audio}]\n\
                        outputs: [{name: out, kind: audio}]\nnodes:\n  - {id: a, type: no.such}\n\
                        edges:\n  - mic -> nowhere\n";
        let checked = of(manifest);
        assert_eq!(checked.name, None);
        let text = text(&[checked]);
        assert!(text.contains("m.yaml:6:"), "{text}");
        assert!(text.contains("m.yaml:8:"), "{text}");
    }

    #[test]
    fn a_file_that_cannot_be_read_hides_no_other() {
        let folder = env!("CARGO_MANIFEST_DIR");
        let error = source::read(folder).expect_err("a folder");
        let checked = [
            unreadable(folder, &error),
            of("version: tidegate/v1\nname: 1\n"),
        ];
        let text = text(&checked);
        assert!(
            text.contains("1:1: unreadable: ") && text.contains("/*.yaml"),
            "{text}"
        );
        assert!(text.contains("m.yaml:2:"), "{text}");
        let json = checked[0].to_json();
        assert_eq!(json["findings"][0]["rule"], "unreadable", "{json}");
        assert_eq!(json["ok"], false);
    }

    #[test]
    fn an_unset_variable_is_no_error_of_the_manifest() {
        let manifest = "version: tidegate/v1\nname: t\ninputs: [{name: i, kind: text}]\n\
                        outputs: [{name: o, kind: text}]\nnodes:\n\
                        \x20 - {id: c, type: text.constant, params: {text: \"${env:TIDEGATE_TEST_UNSET}\"}}\n\
                        edges: [i -> c, c -> o]\n";
        let checked = of(manifest);
        let said = text(std::slice::from_ref(&checked));
        let unset = checked
            .findings
            .iter()
            .any(|finding| finding.rule.contains("env"));
        assert!(!unset, "{said}");
    }
}
