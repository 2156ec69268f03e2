//! `tidegate nodes`.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use tidegate_nodes::Registry;

use super::Failure;
use super::table::Table;
use crate::http::api::describe_types;

const EXAMPLES: &str = "\
Examples:
  tidegate nodes                         all types, one a line
  tidegate nodes audio.gain              ports, formats, parameters and cost of one
  tidegate nodes --json | jq '.nodes[].type'";

/// Lists node types: their ports, formats, parameters and cost.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Nodes {
    /// Show this type alone, with everything about it.
    #[arg(value_name = "TYPE")]
    node_type: Option<String>,
    /// Print JSON, parameters as JSON Schema.
    #[arg(long)]
    json: bool,
}

/// A type that is not there.
#[derive(Debug, thiserror::Error)]
#[error("there is no node type '{0}': `tidegate nodes` lists what there is")]
struct Unknown(String);

impl Nodes {
    /// Prints on standard output.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let all = describe_types(&Registry::builtin());
        match self.node_type {
            Some(name) => {
                let Some(found) = all.iter().find(|node| node["type"] == name.as_str()) else {
                    return Err(Failure::usage(Unknown(name)));
                };
                if self.json {
                    super::print_json(found);
                } else {
                    super::print(&page(found));
                }
            }
            None if self.json => super::print_json(&json!({ "nodes": all })),
            None => super::print(&listing(&all)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// All types, one a line.
fn listing(types: &[Value]) -> String {
    let mut table = Table::new(["TYPE", "IN", "OUT", "PLACE", "WHAT IT DOES"]);
    for node in types {
        let (inputs, outputs) = (ports(&node["inputs"]), ports(&node["outputs"]));
        let shown = |names: String| match names.as_str() {
            "" if is_remote(node) => "(there)".to_owned(),
            "" => "-".to_owned(),
            _ => names,
        };
        table.row([
            word(&node["type"]),
            shown(inputs),
            shown(outputs),
            word(&node["placement"]),
            first_sentence(&word(&node["summary"])),
        ]);
    }
    table.to_string()
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What fits on a line.
fn first_sentence(text: &str) -> String {
    text.split_inclusive(". ")
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}

/// What a remote node's ports are.
const THERE: &str = "those of the pipeline there";

/// Whether another process decides its ports.
fn is_remote(about: &Value) -> bool {
    about["placement"] == "remote"
}

/// Names of ports.
fn ports(list: &Value) -> String {
    let names: Vec<_> = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|port| port["name"].as_str())
        .collect();
    names.join(",")
}

/// Everything about one type.
fn page(about: &Value) -> String {
    let mut text = format!(
        "{}\n  {}\n\nplacement  {}\ncost       {}\nreplayed   it {}\n",
        word(&about["type"]),
        word(&about["summary"]),
        word(&about["placement"]),
        word(&about["cost"]),
        word(&about["replay"]),
    );
    let with = match about["example"].as_object() {
        Some(example) if !example.is_empty() => format!(" with {}", about["example"]),
        _ => String::new(),
    };
    for title in ["inputs", "outputs"] {
        let _ = write!(text, "\n{title}{with}\n{}", port_rows(about, title));
    }
    let _ = write!(
        text,
        "\nparameters\n{}",
        parameter_rows(&about["parameters"])
    );
    text
}

fn port_rows(about: &Value, side: &str) -> String {
    let mut table = Table::indented(["PORT", "ACCEPTS", "JOINED", "MEANING"]);
    for port in about[side].as_array().into_iter().flatten() {
        let required = port["required"].as_bool().unwrap_or_default();
        table.row([
            word(&port["name"]),
            word(&port["accepts"]),
            if required { "must be" } else { "may be" }.to_owned(),
            word(&port["doc"]),
        ]);
    }
    if table.is_empty() {
        let none = if is_remote(about) { THERE } else { "none" };
        return format!("  {none}\n");
    }
    table.to_string()
}

fn parameter_rows(schema: &Value) -> String {
    let required: Vec<_> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut table = Table::indented(["NAME", "TYPE", "DEFAULT", "MEANING"]);
    for (name, value) in schema["properties"].as_object().into_iter().flatten() {
        let default = match &value["default"] {
            Value::Null if required.contains(&name.as_str()) => "(required)".to_owned(),
            Value::Null => "-".to_owned(),
            default => default.to_string(),
        };
        table.row([
            name.clone(),
            type_of(schema, value),
            default,
            meaning(value),
        ]);
    }
    if table.is_empty() {
        return "  none\n".to_owned();
    }
    table.to_string()
}

/// The type as people write it: `string`, `number 0..1`, `one of a, b`. `schema` has the definitions.
fn type_of(schema: &Value, value: &Value) -> String {
    if let Some(path) = value["$ref"].as_str() {
        let found = schema.pointer(path.trim_start_matches('#'));
        return found.map_or_else(|| "any".to_owned(), |found| type_of(schema, found));
    }
    if let Some(choices) = value["enum"].as_array() {
        let choices: Vec<_> = choices.iter().map(plain).collect();
        return format!("one of {}", choices.join(", "));
    }
    let alternatives = value["oneOf"].as_array().or(value["anyOf"].as_array());
    if let Some(alternatives) = alternatives {
        let part = |part: &Value| match &part["const"] {
            Value::Null => type_of(schema, part),
            constant => plain(constant),
        };
        // The word "null" is a value like others.
        let alternatives = alternatives.iter().filter(|one| one["type"] != "null");
        let parts: Vec<_> = alternatives.map(part).collect();
        return parts.join(" or ");
    }
    let mut text = match &value["type"] {
        Value::Array(types) => {
            let types = types.iter().map(plain).filter(|name| name != "null");
            types.collect::<Vec<_>>().join(" or ")
        }
        Value::String(name) => name.clone(),
        _ => "any".to_owned(),
    };
    let (least, most) = (&value["minimum"], &value["maximum"]);
    // Every unsigned number has the bound 0, which says nothing by itself.
    let bounded = !most.is_null() || least.as_f64().is_some_and(|least| least != 0.0);
    if bounded {
        let bound = |bound: &Value| match bound {
            Value::Null => String::new(),
            bound => bound.to_string(),
        };
        let _ = write!(text, " {}..{}", bound(least), bound(most));
    }
    text
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// The description in one line.
fn meaning(value: &Value) -> String {
    let text = word(&value["description"]);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_listed_and_has_a_page() {
        let types = describe_types(&Registry::builtin());
        let all = listing(&types);
        assert!(types.iter().any(|node| node["type"] == "remote"));
        for node in &types {
            assert!(all.contains(&word(&node["type"])), "{node}");
            let page = page(node);
            let cost = word(&node["cost"]);
            assert!(
                page.contains(&cost) && page.contains("parameters"),
                "{page}"
            );
        }
    }

    #[test]
    fn a_parameter_says_its_type_range_and_default() {
        let schema = json!({
            "required": ["mode"],
            "$defs": {"Size": {"oneOf": [{"const": "s"}, {"type": "number"}]}},
            "properties": {
                "gain": {"type": "number", "minimum": -60, "maximum": 20, "default": 0, "description": "In dB."},
                "mode": {"enum": ["a", "b"]},
                "size": {"$ref": "#/$defs/Size"},
                "many": {"type": ["integer", "null"], "minimum": 0},
                "lost": {"anyOf": [{"oneOf": [{"const": "drop", "type": "string"}, {"const": "null", "type": "string"}]}, {"type": "null"}]},
            },
        });
        let rows = parameter_rows(&schema);
        assert!(rows.contains("number -60..20"), "{rows}");
        assert!(rows.contains("one of a, b"), "{rows}");
        assert!(rows.contains("s or number"), "{rows}");
        assert!(rows.contains("integer  "), "no bound of no meaning: {rows}");
        assert!(rows.contains("(required)"), "{rows}");
        assert!(rows.contains("drop or null "), "{rows}");
    }
}
