//! Keeps `docs/nodes.md` in step with the registry: it is written by this test when `UPDATE_DOCS` is set, and compared else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value};
use tidegate_nodes::{Accepts, NodeType, Placement, Port, Registry};

#[test]
fn the_reference_of_node_types_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/nodes.md");
    let fresh = reference(&Registry::builtin());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &fresh).expect("docs/nodes.md can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == fresh,
        "docs/nodes.md is out of date: run UPDATE_DOCS=1 cargo test -p tidegate-nodes --test nodes_doc"
    );
}

fn reference(registry: &Registry) -> String {
    let mut text = String::from(
        "# Node types\n\n\
         What a manifest's `type` may name, besides `remote`. Made from the registry by a test; `tidegate nodes TYPE` shows the same.\n\n\
         Parameters stand below `params`. Durations are written with their unit (`200ms`, `1.5s`). Media times are in microseconds. Costs \
         are medians of `cargo run --release -p tidegate-nodes --example cost` on one core of a small cloud machine.\n\n\
         A worker is deterministic, and says so when a session opens, if all nodes of its pipeline make the same again when their input is replayed \
         after a failover, no two paths meet and no frame interrupts. Of sound in utterances a replay begins where the utterance did; of other sound \
         what a node kept is lost then, some milliseconds.\n\n\
         What a node makes in one call, of one frame say, is bounded: 64 MiB with the frames' own size, or as much as came in where that is more. \
         A node that would make more fails (`node_failed`): send smaller frames there.\n\n\
         | type | does |\n| --- | --- |\n",
    );
    for node_type in registry.iter() {
        let name = node_type.name();
        let anchor = name.replace('.', "");
        let summary = node_type.summary();
        let _written = writeln!(text, "| [`{name}`](#{anchor}) | {summary} |");
    }
    for node_type in registry.iter() {
        section(&mut text, node_type.as_ref());
    }
    text
}

fn section(text: &mut String, node_type: &dyn NodeType) {
    let place = match node_type.placement() {
        Placement::InPlace => "in place",
        Placement::Offload => "on a thread of its own",
        Placement::Remote => "in another process",
    };
    let files = if node_type.caps().files {
        " Touches files: refused in a stranger's manifest."
    } else {
        ""
    };
    let (name, summary, cost) = (node_type.name(), node_type.summary(), node_type.cost());
    let _written = writeln!(
        text,
        "\n## {name}\n\n{summary}\n\nRuns {place}. Costs {cost}.{files}\n"
    );
    let again = node_type.replay_doc();
    let _written = writeln!(text, "When its input is replayed it {again}.\n");
    let schema = node_type.schema();
    parameters(text, &schema);
    ports(text, node_type, &schema);
}

fn parameters(text: &mut String, schema: &Value) {
    let empty = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    if properties.is_empty() {
        text.push_str("No parameters.\n\n");
        return;
    }
    text.push_str("| parameter | type | default | meaning |\n| --- | --- | --- | --- |\n");
    for (name, property) in sorted(properties) {
        row(text, name, property, schema);
        let inner = resolve(property, schema);
        for (field, property) in sorted(inner["properties"].as_object().unwrap_or(&empty)) {
            row(text, &format!("{name}.{field}"), property, schema);
        }
    }
    text.push('\n');
}

/// By name, whatever order the map keeps.
fn sorted(map: &Map<String, Value>) -> BTreeMap<&String, &Value> {
    map.iter().collect()
}

fn row(text: &mut String, name: &str, property: &Value, schema: &Value) {
    let required = schema["required"].as_array();
    let required = required.is_some_and(|names| names.iter().any(|n| n == name));
    let default = match property.get("default") {
        _ if required => "required".to_owned(),
        None | Some(Value::Null) => String::new(),
        Some(value) => format!("`{value}`"),
    };
    let meaning = property["description"].as_str().unwrap_or_default();
    let kind = kind(property, schema).replace('|', "\\|");
    let meaning = meaning.replace('\n', " ").replace('|', "\\|");
    let _written = writeln!(text, "| `{name}` | {kind} | {default} | {meaning} |");
}

/// The schema behind a reference, or the one alternative that is not null.
fn resolve<'a>(property: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(name) = property["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
        return &schema["$defs"][name];
    }
    let alternatives = property["anyOf"]
        .as_array()
        .or(property["allOf"].as_array());
    let real = alternatives.and_then(|list| list.iter().find(|a| a["type"] != "null"));
    real.map_or(property, |real| resolve(real, schema))
}

fn kind(property: &Value, schema: &Value) -> String {
    let inner = resolve(property, schema);
    if let Some(choices) = choices(inner) {
        return choices;
    }
    if let Some(either) = inner["anyOf"].as_array() {
        let kinds: Vec<_> = either.iter().map(|e| kind(e, schema)).collect();
        return kinds.join(" or ");
    }
    match inner["pattern"].as_str() {
        Some(pattern) if pattern.contains("ms") => return "duration".to_owned(),
        Some(pattern) if pattern.contains("KiB") => return "size".to_owned(),
        _ => {}
    }
    let name = match &inner["type"] {
        Value::String(name) => name.as_str(),
        Value::Array(names) => names[0].as_str().unwrap_or("any"),
        _ => "any",
    };
    match name {
        "array" => format!("list of {}", kind(&inner["items"], schema)),
        "object" if inner["properties"].is_null() => "map".to_owned(),
        name => name.to_owned(),
    }
}

/// Names that a value may have.
fn choices(schema: &Value) -> Option<String> {
    let names: Vec<_> = match (&schema["enum"], &schema["oneOf"]) {
        (Value::Array(names), _) => names.iter().filter_map(Value::as_str).collect(),
        (_, Value::Array(each)) => each.iter().filter_map(|e| e["const"].as_str()).collect(),
        _ => return None,
    };
    Some(
        names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", "),
    )
}

fn ports(text: &mut String, node_type: &dyn NodeType, schema: &Value) {
    let params = node_type.example();
    let known = schema["properties"].as_object();
    for name in params.as_object().expect("a map").keys() {
        assert!(known.is_some_and(|k| k.contains_key(name)), "{name}");
    }
    let ports = node_type.ports(&params).unwrap_or_else(|error| {
        panic!("{}: {}: {error}", node_type.name(), error.path);
    });
    let with = match params.as_object().is_some_and(Map::is_empty) {
        true => String::new(),
        false => format!(" with `{params}`"),
    };
    let _written = writeln!(
        text,
        "Ports{with}:\n\n| port | | carries | |\n| --- | --- | --- | --- |"
    );
    let sides = [("in", &ports.inputs), ("out", &ports.outputs)];
    for (side, ports) in sides {
        for port in ports {
            let Port {
                name, accepts, doc, ..
            } = port;
            let accepts = match accepts {
                Accepts::Anything => "any kind".to_owned(),
                accepts => format!("`{}`", accepts.to_string().replace('|', "\\|")),
            };
            let doc = doc.replace('|', "\\|");
            let _written = writeln!(text, "| `{name}` | {side} | {accepts} | {doc} |");
        }
    }
}
