//! What somebody may do.

use tidegate_nodes::{Code, Error};

/// What somebody may do. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grants {
    /// Names of pipelines, or their beginnings with a `*` behind.
    pipelines: Vec<String>,
    /// Manifests of their own, where the gateway takes any.
    inline: bool,
    /// All sessions: to list, inspect and end them.
    sessions: bool,
    metrics: bool,
}

impl Grants {
    /// These. The patterns have been [checked](is_pattern).
    pub(super) fn new(pipelines: Vec<String>, inline: bool, sessions: bool, metrics: bool) -> Self {
        Self {
            pipelines,
            inline,
            sessions,
            metrics,
        }
    }

    /// Everything.
    pub(crate) fn all() -> Self {
        Self::new(vec!["*".to_owned()], true, true, true)
    }

    /// Whether the pipeline may be used: opened, executed, described, listed.
    pub(crate) fn covers(&self, pipeline: &str) -> bool {
        self.pipelines
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(beginning) => pipeline.starts_with(beginning),
                None => pattern == pipeline,
            })
    }

    /// As [`Grants::covers`]. To be asked before it is looked up: who may not use it is not told whether there is one.
    ///
    /// # Errors
    /// The pipeline is not among those granted.
    pub(crate) fn may_use(&self, pipeline: &str) -> Result<(), Error> {
        let shown: String = pipeline.chars().take(64).collect();
        let text = format!("this token does not grant pipeline '{shown}'");
        granted(self.covers(pipeline), text)
    }

    /// # Errors
    /// There is nothing at all that could be opened.
    pub(crate) fn may_open(&self) -> Result<(), Error> {
        let text = "this token grants no pipeline";
        granted(self.inline || !self.pipelines.is_empty(), text)
    }

    /// # Errors
    /// Manifests of their own are not granted.
    pub(crate) fn may_send_manifests(&self) -> Result<(), Error> {
        granted(self.inline, "this token does not grant inline manifests")
    }

    /// # Errors
    /// The administration of sessions is not granted.
    pub(crate) fn may_administer(&self) -> Result<(), Error> {
        granted(self.sessions, "this token does not grant 'sessions'")
    }

    /// # Errors
    /// `/metrics` is not granted.
    pub(crate) fn may_scrape(&self) -> Result<(), Error> {
        granted(self.metrics, "this token does not grant 'metrics'")
    }
}

fn granted(granted: bool, refusal: impl Into<String>) -> Result<(), Error> {
    if granted {
        return Ok(());
    }
    Err(Error::new(Code::PermissionDenied, refusal))
}

/// Whether this can be a pattern: what a pipeline's name begins with, and a `*` at its end at most.
pub(crate) fn is_pattern(text: &str) -> bool {
    let beginning = text.strip_suffix('*').unwrap_or(text);
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && beginning.chars().all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pipelines: &[&str]) -> Grants {
        let pipelines = pipelines.iter().map(|&text| text.to_owned()).collect();
        Grants::new(pipelines, false, false, false)
    }

    #[test]
    fn a_name_grants_that_pipeline_and_a_star_all_that_begin_so() {
        let grants = of(&["echo", "voice-*"]);
        for granted in ["echo", "voice-agent", "voice-"] {
            assert!(grants.covers(granted), "{granted}");
        }
        for refused in ["echo2", "ech", "voice", "a-voice-agent", "", "Echo"] {
            assert!(!grants.covers(refused), "{refused}");
        }
        assert!(of(&["*"]).covers("anything"));
        assert!(!of(&[]).covers("anything"), "nothing is granted by default");
    }

    #[test]
    fn each_grant_is_refused_by_name_where_it_is_missing() {
        let none = Grants::default();
        let refusals = [
            (none.may_use("echo"), "'echo'"),
            (none.may_open(), "no pipeline"),
            (none.may_send_manifests(), "inline"),
            (none.may_administer(), "'sessions'"),
            (none.may_scrape(), "'metrics'"),
        ];
        for (refusal, word) in refusals {
            let error = refusal.expect_err("refused");
            assert_eq!(error.code, Code::PermissionDenied);
            assert!(error.message.contains(word), "{}", error.message);
        }
        let all = Grants::all();
        assert!(all.may_use("echo").is_ok() && all.may_send_manifests().is_ok());
        assert!(all.may_administer().is_ok() && all.may_scrape().is_ok());
    }

    #[test]
    fn a_star_stands_at_the_end_of_a_pattern_only() {
        for fine in ["*", "echo", "voice-*", "a.b_c*"] {
            assert!(is_pattern(fine), "{fine}");
        }
        for wrong in ["", "**", "*echo", "a*b", "a b", "a/b"] {
            assert!(!is_pattern(wrong), "{wrong}");
        }
    }
}
