//! The draft of a plan: nodes with their types, parameters and ports, and edges with their ends resolved.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;
use tidegate_media::Kind;

use super::grants::Grants;
use super::params::{all_errors, report_error, report_errors};
use super::remote::{RemoteParams, Tier, Transport};
use super::values::{Resolved, Scope};
use crate::manifest::diagnostic::nearest;
use crate::manifest::{Located, Manifest, NodeDecl, Report};
use crate::plan::{Placement, Source, Target};
use crate::registry::{NodeType, ParamError, Port, Ports, Registry};
use crate::stream::{Accepts, StreamFormat};

/// The type of nodes that another process serves.
pub(super) const REMOTE: &str = "remote";

/// What a name in the manifest stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Input(usize),
    Output(usize),
    Node(usize),
}

impl Name {
    const fn what(self) -> &'static str {
        match self {
            Self::Input(_) => "an input",
            Self::Output(_) => "an output",
            Self::Node(_) => "a node",
        }
    }
}

/// The one namespace of inputs, outputs and nodes.
pub(super) type Names<'a> = HashMap<&'a str, Name>;

/// Collects the names; a name that is taken goes to the report. What bears it has no edges: it cannot be named.
pub(super) fn names<'a>(manifest: &'a Manifest, report: &mut Report) -> Names<'a> {
    let mut names = Names::new();
    let mut add = |located: &'a Located<String>, name: Name, report: &mut Report| {
        if let Some(first) = names.get(located.value.as_str()) {
            report.error(
                located.at,
                "duplicate-id",
                format!(
                    "'{}' is already the name of {}",
                    located.value,
                    first.what()
                ),
                "rename one: inputs, outputs and nodes share their names",
            );
        } else {
            names.insert(&located.value, name);
        }
    };
    for (index, input) in manifest.inputs.iter().enumerate() {
        add(&input.name, Name::Input(index), report);
    }
    for (index, output) in manifest.outputs.iter().enumerate() {
        add(&output.name, Name::Output(index), report);
    }
    for (index, node) in manifest.nodes.iter().enumerate() {
        add(&node.id, Name::Node(index), report);
    }
    names
}

/// A node of the draft.
#[derive(Debug)]
pub(super) struct DraftNode {
    pub(super) body: Body,
    pub(super) params: Arc<Value>,
    pub(super) ports: Ports,
    pub(super) placement: Placement,
    /// Its type is known, even where it could not be made.
    pub(super) known: bool,
    /// Of a broken node: the ports that it has whatever its parameters are, as far as they are known.
    pub(super) likely: Option<Ports>,
}

/// What does a node's work.
pub(super) enum Body {
    /// A type of the registry.
    Local(Arc<dyn NodeType>),
    /// Another process.
    Remote(Remote),
    /// It could not be read; nothing is said about what depends on it.
    Broken,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(node_type) => f.write_str(node_type.name()),
            Self::Remote(_) => f.write_str(REMOTE),
            Self::Broken => f.write_str("broken"),
        }
    }
}

/// What is known of a remote hop's ports.
#[derive(Debug, Default)]
pub(super) struct Remote {
    /// Inputs come from the edges.
    pub(super) infer_inputs: bool,
    /// Outputs come from the edges.
    pub(super) infer_outputs: bool,
    /// A WebRTC peer may serve it.
    pub(super) webrtc: bool,
    /// Formats of the outputs, where they are said.
    pub(super) formats: Vec<Option<StreamFormat>>,
}

/// An edge whose ends exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DraftEdge {
    pub(super) from: Source,
    pub(super) to: Target,
    /// Its place in the manifest.
    pub(super) decl: usize,
}

/// Makes the draft's nodes.
pub(super) fn nodes(
    scope: &Scope<'_>,
    names: &Names<'_>,
    registry: &Registry,
    remote_ports: &BTreeMap<String, Ports>,
    report: &mut Report,
) -> Vec<DraftNode> {
    scope
        .manifest
        .nodes
        .iter()
        .enumerate()
        .map(|(index, decl)| {
            let resolved = scope.resolve(decl.params.as_ref(), report);
            let nameable = names.get(decl.id.value.as_str()) == Some(&Name::Node(index));
            let Some(named) = decl.node_type.as_ref().filter(|_| nameable) else {
                return broken(resolved);
            };
            if named.value == REMOTE {
                let learnt = remote_ports.get(&decl.id.value);
                return remote(decl, resolved, learnt, (registry, scope.grants), report);
            }
            let Some(node_type) = registry.get(&named.value) else {
                let known = registry.iter().map(|t| t.name());
                report.error(
                    named.at,
                    "unknown-type",
                    format!("there is no node type '{}'", named.value),
                    nearest(&named.value, known.chain([REMOTE])),
                );
                return broken(resolved);
            };
            if scope.grants.stranger && node_type.caps().files {
                report.error(
                    named.at,
                    "stranger",
                    format!("a client's manifest may not use '{}'", named.value),
                    "leave it out: it touches the gateway's files",
                );
            }
            local(decl, node_type, resolved, report)
        })
        .collect()
}

fn broken(resolved: Resolved) -> DraftNode {
    DraftNode {
        body: Body::Broken,
        params: Arc::new(resolved.value),
        ports: Ports::default(),
        placement: Placement::InPlace,
        known: false,
        likely: None,
    }
}

fn local(
    decl: &NodeDecl,
    node_type: &Arc<dyn NodeType>,
    resolved: Resolved,
    report: &mut Report,
) -> DraftNode {
    match node_type.ports(&resolved.value) {
        Ok(ports) => DraftNode {
            placement: node_type.placement(),
            body: Body::Local(Arc::clone(node_type)),
            params: Arc::new(resolved.value),
            ports,
            known: true,
            likely: None,
        },
        Err(first) => {
            let (errors, mended) = all_errors(node_type.as_ref(), &resolved.value, first);
            report_errors(decl, node_type.name(), &errors, resolved.open, report);
            let plain = node_type.ports(&Value::Object(serde_json::Map::new())).ok();
            DraftNode {
                placement: node_type.placement(),
                known: true,
                likely: mended.filter(|ports| plain.is_none_or(|plain| plain == *ports)),
                ..broken(resolved)
            }
        }
    }
}

fn remote(
    decl: &NodeDecl,
    resolved: Resolved,
    learnt: Option<&Ports>,
    (registry, grants): (&Registry, &Grants),
    report: &mut Report,
) -> DraftNode {
    let params = match RemoteParams::read(&resolved.value) {
        Ok(params) => params,
        Err(problems) => {
            report_errors(decl, REMOTE, &problems, resolved.open, report);
            return broken(resolved);
        }
    };
    allow_listed(decl, &params, grants, report);
    let params = params.with_ports_of_protocol();
    local_tiers(decl, &params, (registry, grants), report);
    let mut body = Remote {
        infer_inputs: params.inputs.is_none() && learnt.is_none(),
        infer_outputs: params.outputs.is_none() && learnt.is_none(),
        webrtc: params.may_use(Transport::Webrtc),
        formats: Vec::new(),
    };
    let ports = remote_ports(decl, &params, learnt, &mut body, report);
    DraftNode {
        body: Body::Remote(body),
        params: Arc::new(resolved.value),
        ports,
        placement: Placement::Remote,
        known: true,
        likely: None,
    }
}

/// What a stranger may not reach.
fn allow_listed(decl: &NodeDecl, params: &RemoteParams, grants: &Grants, report: &mut Report) {
    if !grants.stranger {
        return;
    }
    for (path, endpoint) in params.all_endpoints() {
        if !grants.endpoints.contains(&endpoint.url) {
            report.error(
                decl.locate(&path),
                "stranger",
                format!("a client's manifest may not reach '{}'", endpoint.url),
                "use an endpoint that the operator has listed",
            );
        }
    }
    let listed = |url: &str| grants.endpoints.iter().any(|known| is_below(url, known));
    if let Some(url) = params.manifest_url.as_deref().filter(|url| !listed(url)) {
        report.error(
            decl.locate("manifest_url"),
            "stranger",
            format!("a client's manifest may not have '{url}' fetched"),
            "give the manifest itself in 'manifest', or name a 'pipeline'",
        );
    }
    for path in params.files() {
        report.error(
            decl.locate(&path),
            "stranger",
            format!("a client's manifest may not read the gateway's files ('{path}')"),
            "write the value itself, or ask the operator to publish the pipeline",
        );
    }
}

/// Whether an address is an endpoint's, or below it.
fn is_below(url: &str, endpoint: &str) -> bool {
    let rest = url.strip_prefix(endpoint.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
}

/// Local nodes that the hop falls back to exist and take their parameters.
fn local_tiers(
    decl: &NodeDecl,
    params: &RemoteParams,
    (registry, grants): (&Registry, &Grants),
    report: &mut Report,
) {
    for (index, tier) in params.fallback.iter().enumerate() {
        let Some(Tier::Local { node_type, params }) = tier.tier(params) else {
            continue;
        };
        let place = format!("fallback[{index}]");
        let at = decl.locate(&format!("{place}.type"));
        let Some(found) = registry.get(node_type) else {
            report.error(
                at,
                "unknown-type",
                format!("there is no node type '{node_type}'"),
                nearest(node_type, registry.iter().map(|t| t.name())),
            );
            continue;
        };
        if grants.stranger && found.caps().files {
            let mend = "leave it out: it touches the gateway's files";
            let message = format!("a client's manifest may not use '{node_type}'");
            report.error(at, "stranger", message, mend);
        }
        if let Err(error) = found.ports(&Value::Object(params.clone())) {
            let path = format!("{place}.params.{}", error.path);
            let path = path.trim_end_matches('.').to_owned();
            report_error(decl, node_type, &ParamError { path, ..error }, report);
        }
    }
}

/// Declared ports, checked against what the worker says where it was asked; what it says for the rest.
fn remote_ports(
    decl: &NodeDecl,
    params: &RemoteParams,
    learnt: Option<&Ports>,
    body: &mut Remote,
    report: &mut Report,
) -> Ports {
    let mut ports = learnt.cloned().unwrap_or_default();
    let declared = |side: &Option<Vec<super::remote::RemotePort>>| {
        side.as_ref().map(|side| {
            side.iter()
                .map(|port| {
                    let format = port.stream_format().ok().flatten();
                    (
                        remote_port(&port.name, Accepts::Kind(port.kind), format),
                        format,
                    )
                })
                .collect::<Vec<_>>()
        })
    };
    let sides = [
        ("inputs", declared(&params.inputs), &mut ports.inputs),
        ("outputs", declared(&params.outputs), &mut ports.outputs),
    ];
    for (side, declared, ports) in sides {
        let Some(declared) = declared else {
            // By WebRTC sound travels as Opus, whatever the worker makes of it.
            let sound = ports.iter_mut().filter(|_| body.webrtc);
            let sound = sound.filter(|port| port.accepts.kind() == Some(Kind::Audio));
            sound.for_each(|port| port.accepts = Accepts::Kind(Kind::Audio));
            continue;
        };
        let wrong = declared.iter().find_map(|(port, _)| misfit(port, ports));
        if let (Some((what, mend)), true) = (wrong, learnt.is_some()) {
            let text = format!("the worker of '{}' {what}", decl.id.value);
            report.error(decl.locate(side), "incompatible", text, mend);
        }
        if side == "outputs" {
            body.formats = declared.iter().map(|(_, format)| *format).collect();
        }
        *ports = declared.into_iter().map(|(port, _)| port).collect();
    }
    ports
}

/// Why a declared port is none of the worker's, and the mend.
fn misfit(declared: &Port, real: &[Port]) -> Option<(String, String)> {
    let name = &declared.name;
    let Some(found) = real.iter().find(|port| port.name == *name) else {
        let mend = nearest(name, real.iter().map(|port| port.name.as_str()));
        return Some((format!("has no such port '{name}'"), mend));
    };
    let (there, here) = (found.accepts.kind()?, declared.accepts.kind()?);
    (there != here).then(|| {
        let mend = format!("declare it as {there}, or run another pipeline there");
        (format!("has {there} at port '{name}', not {here}"), mend)
    })
}

/// A port of a remote hop.
pub(super) fn remote_port(name: &str, accepts: Accepts, format: Option<StreamFormat>) -> Port {
    Port {
        name: name.to_owned(),
        accepts: format.map_or(accepts, |format| Accepts::just(&format)),
        required: false,
        doc: "",
    }
}
