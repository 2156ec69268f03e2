//! Values of the pipeline's parameters, and their substitution into the parameters of nodes.
//!
//! Before a client has given values, a parameter without a default has a sample value and is *open*: what a node says of a
//! sample is not held against the manifest. Environment variables come from the caller; nothing here reads them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::grants::{Env, Grants};
use crate::error::{Code, Error};
use crate::manifest::diagnostic::{nearest, shown};
use crate::manifest::reference::{Piece, pieces};
use crate::manifest::tree::{Data, Tree};
use crate::manifest::{Manifest, ParameterDecl, ParameterType, Report};

/// A value of each declared parameter.
#[derive(Clone, Debug, Default)]
pub(super) struct Values(BTreeMap<String, Bound>);

#[derive(Clone, Debug)]
struct Bound {
    value: Value,
    open: bool,
}

impl Values {
    /// The defaults, and samples where there are none.
    pub(super) fn defaults(parameters: &[ParameterDecl]) -> Self {
        let bound = |parameter: &ParameterDecl| match &parameter.default {
            Some(value) => Bound {
                value: value.clone(),
                open: false,
            },
            None => Bound {
                value: sample(parameter),
                open: true,
            },
        };
        Self(
            parameters
                .iter()
                .map(|parameter| (parameter.name.value.clone(), bound(parameter)))
                .collect(),
        )
    }

    /// What a client gave, and the defaults for the rest.
    ///
    /// # Errors
    /// `bad_request` that names a parameter that is unknown, missing, of the wrong type or out of its bounds.
    pub(super) fn given(
        parameters: &[ParameterDecl],
        given: &Map<String, Value>,
    ) -> Result<Self, Error> {
        let bad = |message: String| Error::new(Code::BadRequest, message);
        let names = || parameters.iter().map(|p| p.name.value.as_str());
        if let Some(name) = given
            .keys()
            .find(|name| !names().any(|known| known == *name))
        {
            return Err(bad(format!(
                "the pipeline has no parameter '{}': {}; leave it out of 'parameters'",
                shown(name),
                nearest(name, names())
            )));
        }
        let mut values = Self::default();
        for parameter in parameters {
            let name = &parameter.name.value;
            let value = match (given.get(name), &parameter.default) {
                (Some(value), _) => {
                    parameter
                        .check(value)
                        .map_err(|(message, mend)| bad(format!("{message}: {mend}")))?;
                    value
                }
                (None, Some(default)) => default,
                (None, None) => {
                    return Err(bad(format!(
                        "parameter '{name}' has no default: give it a value of type {}",
                        parameter.kind.as_str()
                    )));
                }
            };
            let bound = Bound {
                value: value.clone(),
                open: false,
            };
            values.0.insert(name.clone(), bound);
        }
        Ok(values)
    }
}

/// A value that the parameter admits, to look at ports with.
fn sample(parameter: &ParameterDecl) -> Value {
    if let Some(choice) = parameter.choices.first() {
        return choice.clone();
    }
    let number = parameter.min.or(parameter.max).unwrap_or(0.0);
    match parameter.kind {
        ParameterType::String => Value::String(String::new()),
        ParameterType::Boolean => Value::Bool(false),
        ParameterType::Number => Value::from(number),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float is cast with saturation, and any sample does"
        )]
        ParameterType::Integer => Value::from(number.ceil() as i64),
    }
}

/// What references may lead to.
pub(super) struct Scope<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) values: &'a Values,
    pub(super) grants: &'a Grants,
}

/// A node's parameters with references resolved.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) value: Value,
    /// A sample is in it, or a reference led nowhere.
    pub(super) open: bool,
}

impl Scope<'_> {
    /// Resolves the references in a node's parameters; what leads nowhere goes to the report.
    pub(super) fn resolve(&self, params: Option<&Tree>, report: &mut Report) -> Resolved {
        let mut open = false;
        let value = match params {
            Some(tree) => self.substitute(tree, &mut open, report),
            None => Value::Object(Map::new()),
        };
        Resolved { value, open }
    }

    fn substitute(&self, tree: &Tree, open: &mut bool, report: &mut Report) -> Value {
        match &tree.data {
            Data::List(items) => Value::Array(
                items
                    .iter()
                    .map(|item| self.substitute(item, open, report))
                    .collect(),
            ),
            Data::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, value)| (key.name.clone(), self.substitute(value, open, report)))
                    .collect(),
            ),
            Data::Text(text) if text.contains("${") => self.text(tree, text, open, report),
            _ => tree.to_json(),
        }
    }

    fn text(&self, tree: &Tree, text: &str, open: &mut bool, report: &mut Report) -> Value {
        let pieces = match pieces(text) {
            Ok(pieces) => pieces,
            Err(message) => {
                report.error(
                    tree.at,
                    "reference",
                    message,
                    "write ${param:name}, ${env:NAME} or ${env:NAME:-default}, or $${ for a plain ${",
                );
                *open = true;
                return Value::String(text.to_owned());
            }
        };
        if let [piece @ (Piece::Param(_) | Piece::Env(..))] = pieces.as_slice() {
            return self.piece(piece, tree, open, report);
        }
        let mut whole = String::new();
        for piece in &pieces {
            match self.piece(piece, tree, open, report) {
                Value::String(text) => whole.push_str(&text),
                other => whole.push_str(&other.to_string()),
            }
        }
        Value::String(whole)
    }

    fn piece(&self, piece: &Piece, tree: &Tree, open: &mut bool, report: &mut Report) -> Value {
        match piece {
            Piece::Text(text) => Value::String(text.clone()),
            Piece::Param(name) => {
                if let Some(bound) = self.values.0.get(name) {
                    *open |= bound.open;
                    return bound.value.clone();
                }
                let names = self.manifest.parameters.iter();
                report.error(
                    tree.at,
                    "unknown-parameter",
                    format!("the pipeline has no parameter '{name}'"),
                    nearest(name, names.map(|p| p.name.value.as_str())),
                );
                *open = true;
                Value::String(String::new())
            }
            Piece::Env(name, default) => {
                let set = match &self.grants.env {
                    Env::Values(values) => values.get(name),
                    Env::Assumed => None,
                };
                match set.or(default.as_ref()).filter(|_| !self.grants.stranger) {
                    Some(value) => Value::String(value.clone()),
                    None => self.no_env(name, tree, open, report),
                }
            }
        }
    }

    /// A variable that may not be read or is not set.
    fn no_env(&self, name: &str, tree: &Tree, open: &mut bool, report: &mut Report) -> Value {
        if self.grants.stranger {
            report.error(
                tree.at,
                "stranger",
                format!("a client's manifest may not read the environment ('{name}')"),
                "write the value, or ask the operator to publish the pipeline",
            );
        } else if let Env::Values(_) = &self.grants.env {
            report.error(
                tree.at,
                "unknown-env",
                format!("environment variable '{name}' is not set"),
                format!("set it for the gateway, or write ${{env:{name}:-what it is else}}"),
            );
        }
        *open = true;
        Value::String("sample".to_owned())
    }
}

/// Names of the parameters that a tree refers to.
pub(super) fn mentions(tree: &Tree, names: &mut Vec<String>) {
    match &tree.data {
        Data::List(items) => items.iter().for_each(|item| mentions(item, names)),
        Data::Map(entries) => entries.iter().for_each(|(_, item)| mentions(item, names)),
        Data::Text(text) => {
            names.extend(
                pieces(text)
                    .into_iter()
                    .flatten()
                    .filter_map(|piece| match piece {
                        Piece::Param(name) => Some(name),
                        _ => None,
                    }),
            )
        }
        _ => {}
    }
}
