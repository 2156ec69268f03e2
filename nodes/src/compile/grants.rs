//! What the author of a manifest is trusted with.

use std::collections::BTreeMap;
use std::fmt;

/// What a manifest may reach.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// A client sent it, or it was fetched: no environment, no files, listed endpoints only.
    pub stranger: bool,
    /// Environment variables that `${env:…}` may name.
    pub env: Env,
    /// Endpoints that a stranger's remote nodes may reach, compared as written; empty means none.
    pub endpoints: Vec<String>,
}

/// Environment variables.
#[derive(Clone)]
pub enum Env {
    /// These are set, no others.
    Values(BTreeMap<String, String>),
    /// Any is taken to be set: an offline check, whose pipeline cannot be run.
    Assumed,
}

impl Default for Env {
    fn default() -> Self {
        Self::Values(BTreeMap::new())
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Values(values) => write!(f, "Values({} hidden)", values.len()),
            Self::Assumed => f.write_str("Assumed"),
        }
    }
}

impl Grants {
    /// An operator's own manifest, with these environment variables.
    #[must_use]
    pub fn operator(env: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            env: Env::Values(env.into_iter().collect()),
            ..Self::default()
        }
    }

    /// A manifest from a client or from elsewhere, which may reach these endpoints.
    #[must_use]
    pub fn stranger(endpoints: impl IntoIterator<Item = String>) -> Self {
        Self {
            stranger: true,
            endpoints: endpoints.into_iter().collect(),
            ..Self::default()
        }
    }

    /// For `check` and `graph`: any environment variable counts as set.
    #[must_use]
    pub fn offline() -> Self {
        Self {
            env: Env::Assumed,
            ..Self::default()
        }
    }
}
