//! Parameters of a pipeline: their declarations, and whether a value may be given to one.

use serde_json::Value;

use super::diagnostic::{At, Report, nearest, shown};
use super::read::{Fields, Located, brief_json, read_choice, read_id, read_list, read_number};
use super::sections::description;
use super::tree::{Data, Tree};

/// Keys of a parameter.
pub(super) const PARAMETER_KEYS: &[&str] =
    &["type", "default", "description", "enum", "min", "max"];
/// Most parameters.
pub(super) const PARAMETERS_MAX: usize = 64;
/// Most values of a parameter's `enum`.
const CHOICES_MAX: usize = 256;

/// What values a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ParameterType {
    String,
    Integer,
    Number,
    Boolean,
}

const TYPES: [(&str, ParameterType); 4] = [
    ("string", ParameterType::String),
    ("integer", ParameterType::Integer),
    ("number", ParameterType::Number),
    ("boolean", ParameterType::Boolean),
];

impl ParameterType {
    pub(crate) fn as_str(self) -> &'static str {
        TYPES
            .iter()
            .find(|(_, known)| *known == self)
            .map_or("string", |(name, _)| name)
    }
}

/// A parameter of the pipeline.
#[derive(Clone, Debug)]
pub(crate) struct ParameterDecl {
    pub(crate) name: Located<String>,
    pub(crate) kind: ParameterType,
    pub(crate) default: Option<Value>,
    pub(crate) description: String,
    pub(crate) choices: Vec<Value>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
}

/// Reads the parameters.
pub(super) fn parameters(tree: Option<&Tree>, report: &mut Report) -> Vec<ParameterDecl> {
    let Some(tree) = tree else { return Vec::new() };
    let Data::Map(entries) = &tree.data else {
        report.error(
            tree.at,
            "type",
            format!("'parameters' is {}", tree.what()),
            "write a map from name to {type, default, description}",
        );
        return Vec::new();
    };
    if entries.len() > PARAMETERS_MAX {
        let message = format!("'parameters' has {} entries", entries.len());
        report.error(
            tree.at,
            "limit",
            message,
            format!("keep it to {PARAMETERS_MAX}"),
        );
    }
    entries
        .iter()
        .take(PARAMETERS_MAX)
        .filter_map(|(key, value)| {
            let key = Tree {
                at: key.at,
                width: 0,
                data: Data::Text(key.name.clone()),
            };
            let name = read_id(&key, "a parameter's name", report);
            parameter(name?, value, report)
        })
        .collect()
}

fn parameter(name: Located<String>, tree: &Tree, report: &mut Report) -> Option<ParameterDecl> {
    let fields = Fields::read(tree, "a parameter", PARAMETER_KEYS, report)?;
    let kind = fields
        .get("type")
        .map_or(Some(ParameterType::String), |tree| {
            read_choice(tree, "a parameter's type", &TYPES, report)
        });
    let bound = |key: &str, report: &mut Report| {
        let tree = fields.get(key)?;
        if matches!(kind, Some(ParameterType::String | ParameterType::Boolean)) {
            let message = format!("'{key}' says nothing about this type");
            report.error(
                tree.at,
                "parameter",
                message,
                "use it with integer or number",
            );
        }
        read_number(tree, "a bound", report)
    };
    let mut declared = ParameterDecl {
        kind: kind.unwrap_or(ParameterType::String),
        min: bound("min", report),
        max: bound("max", report),
        description: description(&fields, report),
        default: None,
        choices: Vec::new(),
        name,
    };
    if let (Some(min), Some(max)) = (declared.min, declared.max)
        && min > max
    {
        let message = format!("min {min} is above max {max}");
        report.error(tree.at, "parameter", message, "exchange them");
    }
    // A value is checked against what is already declared: the choices by type and bounds, the default by all.
    let known_type = kind.is_some();
    let mut choices = Vec::new();
    for tree in read_list(fields.get("enum"), "'enum'", CHOICES_MAX, report) {
        let value = tree.to_json();
        check_default(&declared, known_type, tree.at, &value, report);
        choices.push(value);
    }
    declared.choices = choices;
    if declared.choices.is_empty()
        && let Some(tree) = fields.get("enum")
        && matches!(tree.data, Data::List(_))
    {
        report.error(
            tree.at,
            "parameter",
            "'enum' is empty",
            "list the values, or leave it out",
        );
    }
    if let Some(tree) = fields.get("default") {
        let value = tree.to_json();
        // A default that does not do is left out, so that nodes are not checked with it.
        if check_default(&declared, known_type, tree.at, &value, report) {
            declared.default = Some(value);
        }
    }
    Some(declared)
}

fn check_default(
    declared: &ParameterDecl,
    known_type: bool,
    at: At,
    value: &Value,
    report: &mut Report,
) -> bool {
    if !known_type {
        return false;
    }
    if let Err((message, mend)) = declared.check(value) {
        report.error(at, "parameter", message, mend);
        return false;
    }
    true
}

impl ParameterDecl {
    /// Whether a value may be given to it; else what is wrong and the mend.
    pub(crate) fn check(&self, value: &Value) -> Result<(), (String, String)> {
        let given = brief_json(value);
        let name = &self.name.value;
        let fits = match self.kind {
            ParameterType::String => value.is_string(),
            ParameterType::Integer => value.is_i64() || value.is_u64(),
            ParameterType::Number => value.is_number(),
            ParameterType::Boolean => value.is_boolean(),
        };
        if !fits {
            return Err((
                format!("parameter '{name}' is {given}"),
                format!("give it a value of type {}", self.kind.as_str()),
            ));
        }
        let number = value.as_f64();
        if let (Some(number), Some(min)) = (number, self.min)
            && number < min
        {
            return Err((
                format!("parameter '{name}' is {given}"),
                format!("give it {min} or more"),
            ));
        }
        if let (Some(number), Some(max)) = (number, self.max)
            && number > max
        {
            return Err((
                format!("parameter '{name}' is {given}"),
                format!("give it {max} or less"),
            ));
        }
        if !self.choices.is_empty() && !self.choices.contains(value) {
            let mend = match value.as_str() {
                Some(text) => nearest(text, self.choices.iter().filter_map(Value::as_str)),
                None => {
                    let choices = Value::Array(self.choices.clone());
                    format!("choose from {}", shown(&choices.to_string()))
                }
            };
            return Err((format!("parameter '{name}' is {given}"), mend));
        }
        Ok(())
    }
}
