//! JSON Schema of manifests, for editors and for `check --schema`.
//!
//! The structs here are the written form; they are never read into. A test holds their keys against those that the reader
//! knows. Node types are alternatives by `type`, each with its own parameters.

use std::collections::BTreeMap;

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::compile::RemoteParams;
use crate::registry::Registry;

/// JSON Schema (draft 2020-12) of a manifest whose nodes are of the registry's types.
#[must_use]
pub fn schema(registry: &Registry) -> Value {
    let mut generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
    let mut root = generator.root_schema_for::<ManifestForm>().to_value();
    let mut definitions = Map::new();
    let mut alternatives = Vec::new();
    for node_type in registry.iter() {
        let params = hoisted(node_type.schema(), node_type.name(), &mut definitions);
        alternatives.push(node(node_type.name(), node_type.summary(), params));
    }
    let remote = schemars::schema_for!(RemoteParams).to_value();
    let remote = hoisted(remote, "remote", &mut definitions);
    alternatives.push(node(
        "remote",
        "A node that another process serves.",
        remote,
    ));
    if let Some(Value::Object(known)) = root.get_mut("$defs") {
        known.extend(definitions);
        known.insert("Node".to_owned(), json!({"oneOf": alternatives}));
    }
    root["title"] = "Tidegate pipeline manifest".into();
    root
}

/// One alternative of a node.
fn node(name: &str, summary: &str, mut params: Value) -> Value {
    references(&mut params);
    let required = params["required"]
        .as_array()
        .is_some_and(|required| !required.is_empty());
    let mut keys = vec!["id", "type"];
    if required {
        keys.push("params");
    }
    json!({
        "type": "object",
        "title": name,
        "description": summary,
        "properties": {
            "id": {"$ref": "#/$defs/Id"},
            "type": {"const": name},
            "params": params,
        },
        "required": keys,
        "additionalProperties": false,
    })
}

/// Lets each parameter be a reference instead of its own type.
fn references(params: &mut Value) {
    let Some(Value::Object(properties)) = params.get_mut("properties") else {
        return;
    };
    for property in properties.values_mut() {
        let own = property.take();
        *property = json!({"anyOf": [own, {"$ref": "#/$defs/Reference"}]});
    }
}

/// A schema of its own as a part of another: its definitions are renamed and moved to the whole's.
fn hoisted(mut schema: Value, prefix: &str, definitions: &mut Map<String, Value>) -> Value {
    rename(&mut schema, prefix);
    if let Value::Object(map) = &mut schema {
        map.remove("$schema");
        map.remove("title");
        if let Some(Value::Object(own)) = map.remove("$defs") {
            definitions.extend(own.into_iter().map(|(k, v)| (format!("{prefix}.{k}"), v)));
        }
    }
    schema
}

fn rename(value: &mut Value, prefix: &str) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get_mut("$ref")
                && let Some(name) = target.strip_prefix("#/$defs/")
            {
                *target = format!("#/$defs/{prefix}.{name}");
            }
            map.values_mut().for_each(|value| rename(value, prefix));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| rename(value, prefix)),
        _ => {}
    }
}

/// A pipeline: what clients send and hear, the nodes between, and how they are joined.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct ManifestForm {
    /// The manifest's version.
    #[schemars(extend("const" = super::VERSION))]
    version: String,
    /// The pipeline's name.
    name: Id,
    /// One sentence for people.
    description: Option<String>,
    /// Values that a client may give when it opens the pipeline, by name.
    parameters: Option<BTreeMap<Id, ParameterForm>>,
    /// What a client may send to.
    #[schemars(length(max = super::sections::PORTS_MAX))]
    inputs: Option<Vec<InputForm>>,
    /// What a client may listen to.
    #[schemars(length(max = super::sections::PORTS_MAX))]
    outputs: Option<Vec<OutputForm>>,
    /// What is done between.
    #[schemars(length(max = super::sections::NODES_MAX))]
    nodes: Option<Vec<Node>>,
    /// What is joined to what.
    #[schemars(length(max = super::sections::EDGES_MAX))]
    edges: Option<Vec<EdgeForm>>,
    /// What ends the listener's audio.
    interrupt: Option<InterruptForm>,
}

/// A name: a to z, then a to z, 0 to 9, _ or -.
#[derive(JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
struct Id(#[schemars(regex(pattern = "^[a-z][a-z0-9_-]{0,63}$"))] String);

/// A value from elsewhere: `${param:name}`, `${env:NAME}` or `${env:NAME:-default}`, alone or within text.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Reference(
    #[schemars(regex(pattern = r"\$\{(param:[A-Za-z0-9_-]+|env:[A-Za-z0-9_]+(:-[^}]*)?)\}"))]
    String,
);

/// A parameter of the pipeline.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct ParameterForm {
    /// What values it takes; string if absent.
    r#type: Option<TypeName>,
    /// Its value unless the client gives one; without it the client must.
    default: Option<Value>,
    /// One sentence for people.
    description: Option<String>,
    /// The values that it may have.
    r#enum: Option<Vec<Value>>,
    /// Its least value.
    min: Option<f64>,
    /// Its greatest value.
    max: Option<f64>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its schema is used")]
enum TypeName {
    String,
    Integer,
    Number,
    Boolean,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its schema is used")]
enum KindName {
    Audio,
    Video,
    Text,
    Binary,
    Tensor,
    Json,
}

/// `codec/rate/channels` for audio, the codec for video.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum FormatForm {
    /// Such as `pcm_s16/16000/1`, or `vp8`.
    Short(
        #[schemars(regex(
            pattern = r"^((pcm_s16|pcm_f32|opus|pcmu|pcma)/[0-9]+(/[0-9]+)?|vp8|h264)$"
        ))]
        String,
    ),
    /// An audio format key by key.
    Long(AudioForm),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct AudioForm {
    codec: CodecName,
    /// Samples a second, in Hz.
    #[schemars(range(min = 4_000, max = 384_000))]
    sample_rate: u32,
    /// Interleaved channels; 1 if absent.
    #[schemars(range(min = 1, max = 16))]
    channels: Option<u8>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum CodecName {
    PcmS16,
    PcmF32,
    Opus,
    Pcmu,
    Pcma,
}

/// An input of the pipeline.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct InputForm {
    /// Its name in edges and to clients.
    name: Id,
    /// What frames it takes.
    kind: KindName,
    /// What flows from it; what a client sends is converted to this.
    format: Option<FormatForm>,
}

/// An output of the pipeline.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct OutputForm {
    /// Its name in edges and to clients.
    name: Id,
    /// What frames it gives.
    kind: KindName,
    /// What reaches it; what flows there is converted to this.
    format: Option<FormatForm>,
    /// The input whose client is meant to hear it, in a shared session.
    r#for: Option<Id>,
    /// Released by media time rather than as fast as it comes; audio is unless this says otherwise.
    paced: Option<bool>,
    /// Its part in a conversation, for clients that do not know the names of ports.
    role: Option<RoleName>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum RoleName {
    /// Text: what was understood of what the client said.
    InputTranscript,
    /// Text: what is answered, in words.
    OutputTranscript,
    /// JSON: when speech starts and stops, as `audio.vad` says it.
    SpeechEvents,
}

/// A node; its alternatives by type replace this.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Node(Reference);

/// `a -> b`, `a.port -> b.port -> c`, or with the bounds of the queue before the target.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum EdgeForm {
    /// Joins from left to right; a port may be left out when there is one.
    Short(#[schemars(regex(pattern = "->"))] String),
    /// One edge key by key.
    Long(LongEdgeForm),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct LongEdgeForm {
    /// An input, `node` or `node.port`.
    from: String,
    /// An output, `node` or `node.port`.
    to: String,
    /// Bounds of the queue before an offloaded or remote node, or at an output.
    queue: Option<QueueForm>,
}

/// Bounds of a queue, and what happens when it is full.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct QueueForm {
    /// Most frames; 64 if absent.
    #[schemars(range(min = 1, max = 65_536))]
    frames: Option<u32>,
    /// Most payload bytes with their unit; 4MiB if absent.
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)? ?([KMG]i|[kMG])?B$"))]
    bytes: Option<String>,
    /// Longest wait of a frame; none if absent.
    age: Option<super::units::Span>,
    /// What happens when it is full; block if absent.
    when_full: Option<WhenFullName>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum WhenFullName {
    /// Whoever sends waits, up to the client. A live client cannot.
    Block,
    /// The listener hears a gap, then what is new.
    DropOldest,
    /// The listener hears what is old, then a gap.
    DropNewest,
}

/// What ends the listener's audio.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct InterruptForm {
    /// A frame on this port interrupts, besides a client's `interrupt`.
    on: Option<String>,
    /// Nodes that forget what they hold; others keep their data.
    flush: Option<Vec<Id>>,
}

#[cfg(test)]
mod tests {
    use super::super::{edges, formats, parameters, sections};
    use super::*;

    fn keys(schema: &Value) -> Vec<String> {
        let properties = schema["properties"].as_object().expect("an object");
        let mut keys: Vec<_> = properties.keys().cloned().collect();
        keys.sort();
        keys
    }

    #[test]
    fn the_schema_has_the_keys_that_the_reader_knows() {
        let schema = schema(&Registry::builtin());
        let check = |found: &Value, known: &[&str]| {
            let mut known: Vec<String> = known.iter().map(|key| (*key).to_owned()).collect();
            known.sort();
            assert_eq!(keys(found), known);
            assert_eq!(found["additionalProperties"], false);
        };
        let defs = &schema["$defs"];
        check(&schema, sections::MANIFEST_KEYS);
        check(&defs["ParameterForm"], parameters::PARAMETER_KEYS);
        check(&defs["InputForm"], sections::INPUT_KEYS);
        check(&defs["OutputForm"], sections::OUTPUT_KEYS);
        check(&defs["InterruptForm"], sections::INTERRUPT_KEYS);
        check(&defs["LongEdgeForm"], edges::EDGE_KEYS);
        check(&defs["QueueForm"], edges::QUEUE_KEYS);
        check(&defs["AudioForm"], formats::FORMAT_KEYS);
        for node in defs["Node"]["oneOf"].as_array().expect("alternatives") {
            check(node, sections::NODE_KEYS);
        }
    }

    #[test]
    fn each_reference_leads_to_a_definition() {
        fn walk(value: &Value, root: &Value) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(target)) = map.get("$ref") {
                        let pointer = target.strip_prefix('#').expect("a local reference");
                        assert!(root.pointer(pointer).is_some(), "{target}");
                    }
                    map.values().for_each(|value| walk(value, root));
                }
                Value::Array(items) => items.iter().for_each(|value| walk(value, root)),
                _ => {}
            }
        }
        let schema = schema(&Registry::builtin());
        walk(&schema, &schema);
        let kinds = schema["$defs"]["Node"]["oneOf"].as_array().expect("types");
        assert_eq!(kinds.len(), Registry::builtin().iter().count() + 1);
    }
}
