//! What is wrong with a manifest, where, and how to mend it.
//!
//! Each diagnostic has a position and a rule; the rule's name is stable, so that people can search for it. Diagnostics are
//! collected, not thrown: whoever checks goes on, so that all errors show at once. At most [`MOST`] are kept.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::error::{Code, Error};

/// No more than this many diagnostics are kept: a manifest with so many errors is not read to the last.
pub const MOST: usize = 200;

/// A position in a text, counted from 1 in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct At {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in characters.
    pub column: u32,
}

/// Whether a diagnostic keeps the pipeline from being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, but is probably not what was meant.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The manifest's name, as the caller gave it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in characters.
    pub column: u32,
    /// Error or warning.
    pub severity: Severity,
    /// The rule's stable name.
    pub rule: &'static str,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// How to mend it; may be empty.
    pub mend: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        write!(f, "{}: {}", self.rule, self.message)?;
        if !self.mend.is_empty() {
            write!(f, "; {}", self.mend)?;
        }
        Ok(())
    }
}

/// Findings in the order of their positions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// All findings.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any finding is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl From<Diagnostics> for Error {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::new(Code::ManifestInvalid, diagnostics.to_string())
    }
}

/// Collects findings about one text.
#[derive(Debug)]
pub(crate) struct Report {
    file: Arc<str>,
    items: Vec<Diagnostic>,
    /// Values that no text may show, and what stands for each.
    secrets: Vec<(String, String)>,
}

impl Report {
    pub(crate) const fn new(file: Arc<str>) -> Self {
        Self {
            file,
            items: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// Keeps values of environment variables, given by name, out of all texts. A value of few characters is no secret, and
    /// may well be a word of the text.
    pub(crate) fn hide<'a>(&mut self, env: impl Iterator<Item = (&'a String, &'a String)>) {
        const SHORTEST: usize = 6;
        self.secrets = env
            .filter(|(_, value)| value.len() >= SHORTEST)
            .map(|(name, value)| (value.clone(), format!("${{env:{name}}}")))
            .collect();
    }

    fn hidden(&self, mut text: String) -> String {
        for (secret, name) in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), name);
            }
        }
        text
    }

    pub(crate) fn error(
        &mut self,
        at: At,
        rule: &'static str,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.push(at, Severity::Error, rule, message.into(), mend.into());
    }

    pub(crate) fn warn(
        &mut self,
        at: At,
        rule: &'static str,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.push(at, Severity::Warning, rule, message.into(), mend.into());
    }

    fn push(
        &mut self,
        at: At,
        severity: Severity,
        rule: &'static str,
        message: String,
        mend: String,
    ) {
        let diagnostic = Diagnostic {
            file: self.file.to_string(),
            line: at.line,
            column: at.column,
            severity,
            rule,
            message: self.hidden(message),
            mend: self.hidden(mend),
        };
        if self.items.len() < MOST && !self.items.contains(&diagnostic) {
            self.items.push(diagnostic);
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.items.iter().any(|d| d.severity == Severity::Error)
    }

    /// The findings by position; errors and warnings together.
    pub(crate) fn finish(mut self) -> Diagnostics {
        // What is unused or waits because an edge could not be read is no finding of its own.
        if self.has_errors() {
            self.items
                .retain(|d| !matches!(d.rule, "unused" | "live-block"));
        }
        self.items
            .sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
        Diagnostics(self.items)
    }
}

/// The candidate that is most probably meant by `given`, as a mend; else the list of all.
pub(crate) fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let short: String = given.chars().take(64).collect();
    let best = candidates
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&short, candidate), *candidate))
        .min_by_key(|(distance, _)| *distance);
    match best {
        None => "there are none".to_owned(),
        Some((distance, name)) if close(&short, name, distance) => {
            format!("did you mean '{name}'?")
        }
        Some(_) => {
            let mut known = candidates
                .iter()
                .take(12)
                .map(|name| format!("'{name}'"))
                .collect::<Vec<_>>()
                .join(", ");
            if candidates.len() > 12 {
                known.push_str(", …");
            }
            format!("known are {known}")
        }
    }
}

/// Whether one was probably written for the other: few letters differ, or one is the other's beginning.
fn close(given: &str, name: &str, distance: usize) -> bool {
    let length = name.chars().count();
    let begins = given.len() > 2 && (name.starts_with(given) || given.starts_with(name));
    begins || (distance <= (length / 3).max(1) && distance < length)
}

/// A text of unknown origin, short enough for a message and on one line.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
