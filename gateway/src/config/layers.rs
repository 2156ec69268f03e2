//! The layers of settings: flags, then `TIDEGATE_*` variables, then the config file, then defaults; and where each value came from.
//!
//! Layers are merged as JSON values, leaf by leaf, and read into [`Config`] once at the end, so that each layer is checked by the
//! same rules and an error can name the layer.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use self::file::read;
use super::wrong::problem;
use super::{Config, standard};

mod file;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File(PathBuf),
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "${name}"),
            Self::Flag(name) => write!(f, "{name}"),
        }
    }
}

/// Settings with the origin of each.
#[derive(Debug)]
pub(crate) struct Layered {
    pub(crate) config: Config,
    merged: Value,
    origins: BTreeMap<String, Origin>,
    /// Variables that look like settings and are none: what each is called, and the setting that is called most like it.
    pub(crate) strays: Vec<Stray>,
}

/// A variable that names no setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stray {
    pub(crate) name: String,
    pub(crate) nearest: String,
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, nearest } = self;
        write!(
            f,
            "variable {name} names no setting and is ignored: the nearest is {nearest}"
        )
    }
}

/// Why settings cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConfigError {
    #[error("config file {path} cannot be read")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("config file {path} is not valid YAML or JSON: {message}")]
    Syntax { path: PathBuf, message: String },
    #[error("unknown setting '{path}' from {origin}: known ones are {known}")]
    Unknown {
        path: String,
        origin: Origin,
        known: String,
    },
    #[error("setting '{path}' from {origin}: {message}")]
    Value {
        path: String,
        origin: Origin,
        message: String,
    },
    #[error(transparent)]
    Unsafe(#[from] super::UnsafeConfig),
    /// All of them at once.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<ConfigError>),
}

impl ConfigError {
    /// Nothing, one error, or all of them as one.
    fn all(mut wrong: Vec<Self>) -> Result<(), Self> {
        match wrong.len() {
            0 => Ok(()),
            1 => Err(wrong.remove(0)),
            _ => Err(Self::Several(wrong)),
        }
    }
}

/// Names of settings whose values are not shown.
const SECRETS: [&str; 6] = [
    "token",
    "auth_tokens",
    "token_sha256",
    "credential",
    "shared_secret",
    "secret",
];
/// What the variables of settings begin with.
const PREFIX: &str = "TIDEGATE_";
/// Variables of ours that are not settings: where the file is, and where the browser tests find the program.
const NOT_SETTINGS: [&str; 2] = ["TIDEGATE_CONFIG", "TIDEGATE_BIN"];
/// The first of the variables in which Kubernetes describes a service named `tidegate`.
const SERVICE_LINK: &str = "TIDEGATE_SERVICE_HOST";

impl Layered {
    /// As [`Layered::read`], and what that leaves open is checked too.
    ///
    /// # Errors
    /// As for [`Layered::read`] and [`Layered::check`].
    #[cfg(test)]
    pub(crate) fn load(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
        flags: Vec<(&'static str, &'static str, Value)>,
    ) -> Result<Self, ConfigError> {
        let layered = Self::read(file, variables, flags)?;
        layered.check().map(|()| layered)
    }

    /// Refuses settings that each do, and do not together.
    ///
    /// # Errors
    /// All such combinations.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let problems = self.config.problems();
        ConfigError::all(problems.into_iter().map(ConfigError::Unsafe).collect())
    }

    /// Merges the layers, whether or not the settings do together: who prints them wants to see those that do not.
    ///
    /// # Errors
    /// A layer cannot be read, names an unknown setting, or has a value that does not do.
    pub(crate) fn read(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
        flags: Vec<(&'static str, &'static str, Value)>,
    ) -> Result<Self, ConfigError> {
        let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
        let mut layered = Self {
            config: Config::default(),
            merged: defaults.clone(),
            origins: BTreeMap::new(),
            strays: Vec::new(),
        };
        let mut wrong = Vec::new();
        if let Some(path) = file {
            let value = read(path)?;
            layered.merge("", &value, &Origin::File(path.to_owned()), &mut wrong);
        }
        let known = known_variables(&defaults);
        let variables: Vec<_> = variables.into_iter().collect();
        let known_collector = layered.origins.contains_key("tracing.endpoint");
        for (name, path, text) in standard::settings(&variables, known_collector) {
            let value = scalar(&defaults, path, text);
            layered.set(path, value, Origin::Variable(name.to_owned()));
        }
        let linked = variables.iter().any(|(name, _)| name == SERVICE_LINK);
        for (name, text) in variables {
            let Some(path) = known.get(&name).cloned() else {
                layered.strays.extend(stray(&known, name, linked));
                continue;
            };
            let value = scalar(&defaults, &path, text);
            layered.set(&path, value, Origin::Variable(name));
        }
        for (path, flag, value) in flags {
            layered.set(path, value, Origin::Flag(flag));
        }
        wrong.extend(layered.wrong(&defaults));
        match serde_json::from_value::<Config>(layered.merged.clone()) {
            Ok(config) => layered.config = config,
            Err(error) if wrong.is_empty() => wrong.push(ConfigError::Value {
                path: String::new(),
                origin: Origin::Default,
                message: error.to_string(),
            }),
            Err(_) => {}
        }
        ConfigError::all(wrong).map(|()| layered)
    }

    /// Every value that does not do.
    fn wrong(&self, defaults: &Value) -> Vec<ConfigError> {
        let mut wrong = Vec::new();
        for (path, origin) in &self.origins {
            let name = path.rsplit('.').next().unwrap_or(path);
            let value = at(&self.merged, path).unwrap_or(&Value::Null);
            // A list of settings may have secrets inside, and what was written for one may be one.
            let listed = matches!(path.as_str(), "auth.tokens" | "auth.certificates")
                || hide(value) != *value;
            let secret = listed || SECRETS.contains(&name);
            let message = problem(defaults.clone(), path, value, secret);
            wrong.extend(message.map(|message| ConfigError::Value {
                path: path.clone(),
                origin: origin.clone(),
                message,
            }));
        }
        wrong
    }

    /// All settings with their origins, secrets hidden; one a line.
    pub(crate) fn print(&self) -> String {
        let mut lines = String::new();
        walk("", &self.merged, &mut |path, value| {
            let name = path.rsplit('.').next().unwrap_or(path);
            let empty = matches!(value, Value::String(text) if text.is_empty())
                || matches!(value, Value::Array(items) if items.is_empty());
            let shown = if SECRETS.contains(&name) && !empty {
                "\"(hidden)\"".to_owned()
            } else {
                hide(value).to_string()
            };
            let origin = self.origins.get(path).unwrap_or(&Origin::Default);
            lines.push_str(&format!("{path}: {shown}  # {origin}\n"));
        });
        for stray in &self.strays {
            lines.push_str(&format!("# {stray}\n"));
        }
        lines
    }

    /// Lays a file's values over what there is; names that there are not are `wrong`.
    fn merge(
        &mut self,
        prefix: &str,
        value: &Value,
        origin: &Origin,
        wrong: &mut Vec<ConfigError>,
    ) {
        let Value::Object(object) = value else {
            self.set(prefix, value.clone(), origin.clone());
            return;
        };
        for (key, value) in object {
            let path = if prefix.is_empty() {
                key.clone()
            } else {
                format!("{prefix}.{key}")
            };
            match at(&self.merged, &path) {
                None => {
                    let known = at(&self.merged, prefix).and_then(Value::as_object);
                    let known: Vec<_> = known.into_iter().flat_map(Map::keys).cloned().collect();
                    wrong.push(ConfigError::Unknown {
                        path,
                        origin: origin.clone(),
                        known: known.join(", "),
                    });
                }
                Some(Value::Object(_)) => self.merge(&path, value, origin, wrong),
                Some(_) => self.set(&path, value.clone(), origin.clone()),
            }
        }
    }

    fn set(&mut self, path: &str, value: Value, origin: Origin) {
        let pointer = format!("/{}", path.replace('.', "/"));
        if let Some(place) = self.merged.pointer_mut(&pointer) {
            *place = value;
            self.origins.insert(path.to_owned(), origin);
        }
    }
}

fn at<'a>(root: &'a Value, path: &str) -> Option<&'a Value> {
    if path.is_empty() {
        Some(root)
    } else {
        root.pointer(&format!("/{}", path.replace('.', "/")))
    }
}

/// The variables that are read, with the setting that each names: `TIDEGATE_LIMITS_SESSIONS` is `limits.sessions`.
fn known_variables(defaults: &Value) -> BTreeMap<String, String> {
    let mut known = BTreeMap::new();
    walk("", defaults, &mut |path, _| {
        known.insert(variable_of(path), path.to_owned());
    });
    known
}

fn variable_of(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "_").to_uppercase())
}

/// A variable as one that names no setting, if it looks as if it should. `linked` says that Kubernetes describes a service of our
/// name in variables.
fn stray(known: &BTreeMap<String, String>, name: String, linked: bool) -> Option<Stray> {
    let tail = name.strip_prefix(PREFIX)?;
    if NOT_SETTINGS.contains(&name.as_str()) {
        return None;
    }
    if linked && (tail.starts_with("SERVICE_") || tail.starts_with("PORT")) {
        return None;
    }
    let nearest = known
        .keys()
        .min_by_key(|candidate| strsim::damerau_levenshtein(candidate, &name))?;
    Some(Stray {
        nearest: nearest.clone(),
        name,
    })
}

/// A variable's text as the type that the default has.
fn scalar(defaults: &Value, path: &str, text: String) -> Value {
    match at(defaults, path) {
        Some(Value::Array(_)) => {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            items.map(|item| Value::String(item.to_owned())).collect()
        }
        Some(Value::Bool(_) | Value::Number(_)) => {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        }
        _ => Value::String(text),
    }
}

/// Calls `visit` for every leaf.
fn walk(prefix: &str, value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = if prefix.is_empty() {
                    key.clone()
                } else {
                    format!("{prefix}.{key}")
                };
                walk(&path, value, visit);
            }
        }
        leaf => visit(prefix, leaf),
    }
}

/// A list of settings with the secrets inside hidden.
fn hide(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(hide).collect(),
        Value::Object(object) => {
            let hidden = |(key, value): (&String, &Value)| {
                let secret = SECRETS.contains(&key.as_str());
                let value = if secret {
                    Value::String("(hidden)".into())
                } else {
                    hide(value)
                };
                (key.clone(), value)
            };
            Value::Object(object.iter().map(hidden).collect())
        }
        leaf => leaf.clone(),
    }
}

#[cfg(test)]
mod tests;
