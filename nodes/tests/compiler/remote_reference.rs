//! The reference of a remote node's parameters in docs/manifest.md has every key with its default.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tidegate_nodes::compile::RemoteParams;
use tidegate_nodes::{Grants, Pipeline};

/// Rows of the section by key: the default and the consequence.
fn rows() -> BTreeMap<String, (String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/manifest.md");
    let text = std::fs::read_to_string(file).expect("the documentation");
    let section = text.split("## Remote nodes").nth(1).expect("the section");
    let section = section.split("\n## ").next().unwrap_or(section);
    let mut rows = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.trim_matches('|').splitn(3, " | ").collect();
        let [keys, default, consequence] = cells[..] else {
            panic!("three columns: {line}");
        };
        for key in keys.split(',') {
            let key = key.trim().trim_matches('`').to_owned();
            let row = (default.trim().to_owned(), consequence.trim().to_owned());
            assert!(
                rows.insert(key.clone(), row).is_none(),
                "{key} stands twice"
            );
        }
    }
    rows
}

/// Every key of a schema with its default, below a path. What is a choice has the keys of each alternative.
fn keys(schema: &Value, whole: &Value, path: &str, found: &mut BTreeMap<String, Value>) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = name.trim_start_matches('#');
        return keys(
            whole.pointer(target).expect("a definition"),
            whole,
            path,
            found,
        );
    }
    for form in ["anyOf", "oneOf"] {
        for one in schema[form].as_array().into_iter().flatten() {
            keys(one, whole, path, found);
        }
    }
    if schema["items"].is_object() {
        keys(&schema["items"], whole, &format!("{path}[]"), found);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        found.insert(path.clone(), property["default"].clone());
        // A fallback's endpoints and credentials are written as the node's.
        if !["fallback[].auth", "fallback[].endpoints"].contains(&path.as_str()) {
            keys(property, whole, &path, found);
        }
    }
}

#[test]
fn every_parameter_of_a_remote_node_is_in_the_reference_with_its_default() {
    let schema = schemars::schema_for!(RemoteParams).to_value();
    let mut known = BTreeMap::new();
    keys(&schema, &schema, "", &mut known);
    assert!(known.len() > 50, "{known:?}");
    let mut rows = rows();
    let mut wrong = Vec::new();
    for (path, default) in &known {
        let group = known.keys().any(|other| {
            let rest = other.strip_prefix(path.as_str());
            rest.is_some_and(|rest| rest.starts_with(['.', '[']))
        });
        let Some((said, consequence)) = rows.remove(path) else {
            if !group {
                wrong.push(format!("{path} is missing"));
            }
            continue;
        };
        if consequence.is_empty() {
            wrong.push(format!("{path} has no consequence"));
        }
        let default = match default {
            Value::Null | Value::Object(_) | Value::Array(_) => continue,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if said != format!("`{default}`") {
            wrong.push(format!("{path}: default is {default}, but {said} is said"));
        }
    }
    wrong.extend(
        rows.keys()
            .map(|key| format!("there is no parameter {key}")),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_manifest_of_the_design_compiles() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/design.yaml");
    let text = std::fs::read_to_string(file).expect("the manifest");
    let grants = Grants::operator([("STT_TOKEN".to_owned(), "secret".to_owned())]);
    let pipeline = Pipeline::from_text("design.yaml", &text, &crate::types::registry(), &grants);
    let pipeline = pipeline.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(pipeline.name(), "interpreter");
}
