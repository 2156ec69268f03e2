//! The manifest's sections, each read into its declarations.

use std::sync::Arc;

use tidegate_media::Kind;

use super::diagnostic::{At, Report};
use super::edges::{self, EdgeDecl, EndDecl};
use super::read::{Fields, Located, brief, read_bool, read_choice, read_id, read_list, read_text};
use super::tree::{Data, Tree};
use super::{Manifest, VERSION, formats};
use crate::plan::OutputRole;
use crate::stream::StreamFormat;

/// Keys of the whole.
pub(super) const MANIFEST_KEYS: &[&str] = &[
    "version",
    "name",
    "description",
    "parameters",
    "inputs",
    "outputs",
    "nodes",
    "edges",
    "interrupt",
];
/// Keys of an input.
pub(super) const INPUT_KEYS: &[&str] = &["name", "kind", "format"];
/// Keys of an output.
pub(super) const OUTPUT_KEYS: &[&str] = &["name", "kind", "format", "for", "paced", "role"];
/// Keys of a node.
pub(super) const NODE_KEYS: &[&str] = &["id", "type", "params"];
/// Keys of `interrupt`.
pub(super) const INTERRUPT_KEYS: &[&str] = &["on", "flush"];

/// Most nodes: what a person can still follow, a few times over.
pub(super) const NODES_MAX: usize = 256;
/// Most edges.
pub(super) const EDGES_MAX: usize = 1_024;
/// Most inputs, and most outputs.
pub(super) const PORTS_MAX: usize = 64;
/// The names of the kinds.
pub(super) const KINDS: [(&str, Kind); 6] = [
    ("audio", Kind::Audio),
    ("video", Kind::Video),
    ("text", Kind::Text),
    ("binary", Kind::Binary),
    ("tensor", Kind::Tensor),
    ("json", Kind::Json),
];

/// An input of the pipeline.
#[derive(Clone, Debug)]
pub(crate) struct InputDecl {
    pub(crate) name: Located<String>,
    pub(crate) kind: Kind,
    pub(crate) format: Option<StreamFormat>,
}

/// An output of the pipeline.
#[derive(Clone, Debug)]
pub(crate) struct OutputDecl {
    pub(crate) name: Located<String>,
    pub(crate) kind: Kind,
    pub(crate) format: Option<StreamFormat>,
    pub(crate) seat: Option<Located<String>>,
    pub(crate) paced: Option<bool>,
    pub(crate) role: Option<Located<OutputRole>>,
}

/// An input or output that is declared, but not so that it can be used.
#[derive(Clone, Debug)]
pub(crate) struct Unusable {
    pub(crate) name: String,
    pub(crate) is_input: bool,
}

/// A node. Without a type if that could not be read.
#[derive(Clone, Debug)]
pub(crate) struct NodeDecl {
    pub(crate) id: Located<String>,
    pub(crate) node_type: Option<Located<String>>,
    pub(crate) params: Option<Tree>,
}

impl NodeDecl {
    /// As [`NodeDecl::locate`], but the position of the parameter's key.
    pub(crate) fn locate_key(&self, path: &str) -> At {
        self.params
            .as_ref()
            .map_or(self.id.at, |params| params.locate_key(path))
    }

    /// The position of a parameter, or of the node if it has none.
    pub(crate) fn locate(&self, path: &str) -> At {
        self.params
            .as_ref()
            .map_or(self.id.at, |params| params.locate(path))
    }
}

/// What ends the listener's audio.
#[derive(Clone, Debug)]
pub(crate) struct InterruptDecl {
    pub(crate) on: Option<EndDecl>,
    pub(crate) flush: Vec<Located<String>>,
}

/// Reads the whole. `None` only if it is no map or lacks a usable name.
pub(super) fn manifest(source: Arc<str>, tree: &Tree, report: &mut Report) -> Option<Manifest> {
    let fields = Fields::read(tree, "the manifest", MANIFEST_KEYS, report)?;
    version(&fields, report);
    let name = fields
        .require("name", "add a name such as 'name: my-pipeline'", report)
        .and_then(|name| read_id(name, "a pipeline's name", report));
    let description = description(&fields, report);
    let parameters = super::parameters::parameters(fields.get("parameters"), report);
    let mut unusable = Vec::new();
    let inputs = read_list(fields.get("inputs"), "'inputs'", PORTS_MAX, report)
        .iter()
        .filter_map(|tree| input(tree, &mut unusable, report))
        .collect();
    let outputs: Vec<_> = read_list(fields.get("outputs"), "'outputs'", PORTS_MAX, report)
        .iter()
        .filter_map(|tree| output(tree, &mut unusable, report))
        .collect();
    roles(&outputs, report);
    let nodes = read_list(fields.get("nodes"), "'nodes'", NODES_MAX, report)
        .iter()
        .filter_map(|tree| node(tree, report))
        .collect();
    let mut edges: Vec<EdgeDecl> = Vec::new();
    let mut loose = Vec::new();
    for tree in read_list(fields.get("edges"), "'edges'", EDGES_MAX, report) {
        edges::read(tree, &mut edges, &mut loose, report);
    }
    if edges.len() > EDGES_MAX {
        let message = format!("'edges' joins {} pairs", edges.len());
        report.error(
            fields.at(),
            "limit",
            message,
            format!("keep it to {EDGES_MAX}"),
        );
        edges.truncate(EDGES_MAX);
    }
    let interrupt = fields
        .get("interrupt")
        .and_then(|tree| interrupt(tree, report));
    Some(Manifest {
        source,
        at: fields.at(),
        // A manifest without a usable name is already reported; the rest is still worth checking.
        name: name.unwrap_or_else(|| Located {
            value: "unnamed".to_owned(),
            at: fields.at(),
        }),
        description,
        digest: super::digest(&tree.to_json()),
        parameters,
        inputs,
        outputs,
        unusable,
        nodes,
        edges,
        loose,
        interrupt,
    })
}

fn version(fields: &Fields<'_>, report: &mut Report) {
    let mend = format!("begin with 'version: {VERSION}'");
    let Some(tree) = fields.require("version", &mend, report) else {
        return;
    };
    match &tree.data {
        Data::Text(text) if text == VERSION => {}
        _ => report.error(
            tree.at,
            "version",
            format!("version {} is not known", brief(tree)),
            format!("this build reads '{VERSION}'"),
        ),
    }
}

pub(super) fn description(fields: &Fields<'_>, report: &mut Report) -> String {
    fields
        .get("description")
        .and_then(|tree| read_text(tree, "'description'", report))
        .map(|text| text.value)
        .unwrap_or_default()
}

fn input(tree: &Tree, unusable: &mut Vec<Unusable>, report: &mut Report) -> Option<InputDecl> {
    let fields = Fields::read(tree, "an input", INPUT_KEYS, report)?;
    let (name, kind) = name_and_kind(&fields, true, unusable, report);
    Some(InputDecl {
        format: formats::read(fields.get("format"), kind, report),
        name: name?,
        kind: kind?,
    })
}

fn output(tree: &Tree, unusable: &mut Vec<Unusable>, report: &mut Report) -> Option<OutputDecl> {
    let fields = Fields::read(tree, "an output", OUTPUT_KEYS, report)?;
    let (name, kind) = name_and_kind(&fields, false, unusable, report);
    let seat = fields
        .get("for")
        .and_then(|tree| read_text(tree, "'for'", report));
    let paced = fields
        .get("paced")
        .and_then(|tree| read_bool(tree, "'paced'", report));
    let role = fields.get("role").and_then(|tree| {
        let value = read_choice(tree, "'role'", &OutputRole::NAMES, report)?;
        Some(Located { value, at: tree.at })
    });
    Some(OutputDecl {
        format: formats::read(fields.get("format"), kind, report),
        name: name?,
        kind: kind?,
        seat,
        paced,
        role,
    })
}

/// Refuses roles that outputs cannot have.
fn roles(outputs: &[OutputDecl], report: &mut Report) {
    for (index, output) in outputs.iter().enumerate() {
        let Some(role) = &output.role else { continue };
        let (kind, name) = (role.value.kind(), role.value.as_str());
        if output.kind != kind {
            let message = format!("'role: {name}' of an output of {}", output.kind);
            let mend = format!("leave it out: what has this role is {kind}");
            report.error(role.at, "role", message, mend);
        }
        let seat = |output: &OutputDecl| output.seat.as_ref().map(|seat| seat.value.clone());
        let same = |other: &&OutputDecl| {
            other.role.as_ref().map(|role| role.value) == Some(role.value)
                && seat(other) == seat(output)
        };
        if let Some(first) = outputs[..index].iter().find(same) {
            let message = format!("'role: {name}' is that of '{}' too", first.name.value);
            let mend = "give it to one of them";
            report.error(role.at, "role", message, mend);
        }
    }
}

fn name_and_kind(
    fields: &Fields<'_>,
    is_input: bool,
    unusable: &mut Vec<Unusable>,
    report: &mut Report,
) -> (Option<Located<String>>, Option<Kind>) {
    let name = fields
        .require("name", "name it, such as 'name: mic'", report)
        .and_then(|tree| read_id(tree, "a name", report));
    let kind = fields
        .require(
            "kind",
            "say audio, video, text, binary, tensor or json",
            report,
        )
        .and_then(|tree| read_choice(tree, "'kind'", &KINDS, report));
    if let (Some(name), None) = (&name, kind) {
        let name = name.value.clone();
        unusable.push(Unusable { name, is_input });
    }
    (name, kind)
}

fn node(tree: &Tree, report: &mut Report) -> Option<NodeDecl> {
    let fields = Fields::read(tree, "a node", NODE_KEYS, report)?;
    let id = fields
        .require("id", "name it, such as 'id: vad'", report)
        .and_then(|tree| read_id(tree, "a node's id", report));
    let node_type = fields
        .require(
            "type",
            "say which, such as 'type: audio.vad'; 'tidegate nodes' lists them",
            report,
        )
        .and_then(|tree| read_text(tree, "a node's type", report));
    let params = fields.get("params").filter(|tree| {
        let map = matches!(tree.data, Data::Map(_));
        if !map {
            report.error(
                tree.at,
                "type",
                format!("'params' is {}", tree.what()),
                "write a map of parameters",
            );
        }
        map
    });
    Some(NodeDecl {
        id: id?,
        node_type,
        params: params.cloned(),
    })
}

fn interrupt(tree: &Tree, report: &mut Report) -> Option<InterruptDecl> {
    let fields = Fields::read(tree, "'interrupt'", INTERRUPT_KEYS, report)?;
    let on = fields
        .get("on")
        .and_then(|tree| edges::end(tree, "'on'", report));
    let flush = read_list(fields.get("flush"), "'flush'", NODES_MAX, report)
        .iter()
        .filter_map(|tree| read_text(tree, "an entry of 'flush'", report))
        .collect();
    Some(InterruptDecl { on, flush })
}
