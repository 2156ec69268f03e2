//! A compiled pipeline: immutable, shared by its sessions, listed before any client is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bind::{self, Binding};
use super::describe::{self, Description};
use super::grants::{Env, Grants};
use super::values::{Values, mentions};
use crate::error::{Code, Error};
use crate::manifest::diagnostic::Severity;
use crate::manifest::reference::{Piece, pieces};
use crate::manifest::tree::{Data, Tree};
use crate::manifest::{Diagnostics, Manifest, Report};
use crate::plan::Plan;
use crate::registry::Registry;

/// A pipeline that can be bound to sessions. Cheap to share in an [`Arc`].
#[derive(Clone, Debug)]
pub struct Pipeline {
    manifest: Manifest,
    registry: Registry,
    grants: Grants,
    warnings: Diagnostics,
    outline: Plan,
}

impl Pipeline {
    /// Compiles a manifest whose form is right.
    ///
    /// # Errors
    /// All errors of meaning, and the warnings beside them.
    pub fn compile(
        manifest: Manifest,
        registry: &Registry,
        grants: &Grants,
    ) -> Result<Self, Diagnostics> {
        let report = Report::new(Arc::clone(&manifest.source));
        Self::finish(manifest, registry, grants, report)
    }

    /// Reads and compiles a text; `source_name` stands before each diagnostic.
    ///
    /// # Errors
    /// All errors of form and of meaning, and the warnings beside them.
    pub fn from_text(
        source_name: &str,
        text: &str,
        registry: &Registry,
        grants: &Grants,
    ) -> Result<Self, Diagnostics> {
        let mut report = Report::new(source_name.into());
        match Manifest::read(source_name, text, &mut report) {
            Some(manifest) => Self::finish(manifest, registry, grants, report),
            None => Err(report.finish()),
        }
    }

    fn finish(
        manifest: Manifest,
        registry: &Registry,
        grants: &Grants,
        mut report: Report,
    ) -> Result<Self, Diagnostics> {
        let grants = &restricted(grants, &manifest);
        hide(grants, &mut report);
        unused_parameters(&manifest, &mut report);
        let values = Values::defaults(&manifest.parameters);
        let binding = Binding::default();
        let planned = bind::plan(&manifest, registry, grants, &values, &binding, &mut report);
        for &edge in planned.iter().flat_map(|planned| &planned.waits) {
            let (message, mend) = waiting(&manifest, edge);
            let decl = &manifest.edges[edge];
            let at = decl.queue.map_or(decl.to.at, |queue| queue.at);
            report.warn(at, "live-block", message, mend);
        }
        match planned {
            Some(planned) if !report.has_errors() => Ok(Self {
                grants: grants.clone(),
                manifest,
                registry: registry.clone(),
                warnings: report.finish(),
                outline: planned.plan,
            }),
            _ => Err(report.finish()),
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.manifest.name.value
    }

    /// One sentence for people; may be empty.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.manifest.description
    }

    /// SHA-256 of the manifest's canonical form, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.manifest.digest
    }

    /// What is probably not meant: unused parts, edges at which a live input would have to wait.
    #[must_use]
    pub const fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }

    /// The plan for defaults: parameters at their defaults (or samples), what WebRTC carries at the inputs. For listing names,
    /// kinds and the order of inputs and outputs; a session is run from [`Pipeline::bind`].
    #[must_use]
    pub const fn outline(&self) -> &Plan {
        &self.outline
    }

    /// The number of the input with this name.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<usize> {
        self.outline
            .inputs
            .iter()
            .position(|input| input.name == name)
    }

    /// The number of the output with this name.
    #[must_use]
    pub fn output(&self, name: &str) -> Option<usize> {
        self.outline
            .outputs
            .iter()
            .position(|output| output.name == name)
    }

    /// Whether a session can have these parameters.
    ///
    /// # Errors
    /// `bad_request`: one is unknown, missing, of the wrong type or out of its bounds.
    pub fn check_parameters(
        &self,
        given: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), Error> {
        Values::given(&self.manifest.parameters, given).map(drop)
    }

    /// Makes the plan of one session.
    ///
    /// # Errors
    /// `bad_request` for parameters, `incompatible` where formats do not go together or a live input would have to wait.
    pub fn bind(&self, binding: &Binding) -> Result<Plan, Error> {
        if matches!(self.grants.env, Env::Assumed) {
            return Err(Error::new(
                Code::Internal,
                "the pipeline was compiled for an offline check and cannot be run",
            ));
        }
        let values = Values::given(&self.manifest.parameters, &binding.parameters)?;
        let mut report = Report::new(Arc::clone(&self.manifest.source));
        hide(&self.grants, &mut report);
        let planned = bind::plan(
            &self.manifest,
            &self.registry,
            &self.grants,
            &values,
            binding,
            &mut report,
        );
        if let Some(planned) = planned
            && !report.has_errors()
        {
            return match planned.waits.first() {
                None => Ok(planned.plan),
                Some(&edge) => {
                    let (message, mend) = waiting(&self.manifest, edge);
                    Err(Error::new(Code::Incompatible, format!("{message}; {mend}")))
                }
            };
        }
        Err(refused(&report.finish()))
    }

    /// What is shown of it before any client is there, per-client conversions included.
    #[must_use]
    pub fn describe(&self) -> Description {
        describe::describe(&self.manifest, &self.registry, &self.outline)
    }
}

/// The first error of a binding, as a client sees it.
fn refused(diagnostics: &Diagnostics) -> Error {
    let first = diagnostics
        .iter()
        .find(|diagnostic| diagnostic.severity == Severity::Error);
    let Some(first) = first else {
        return Error::new(Code::Internal, "the pipeline cannot be planned");
    };
    let code = match first.rule {
        "params" => Code::BadRequest,
        "unknown-kind" | "incompatible" | "unknown-port" | "missing-edge" => Code::Incompatible,
        _ => Code::ManifestInvalid,
    };
    let mut message = first.message.clone();
    if !first.mend.is_empty() {
        message.push_str("; ");
        message.push_str(&first.mend);
    }
    Error::new(code, message)
}

/// What is said of an edge at which a live input would have to wait.
fn waiting(manifest: &Manifest, edge: usize) -> (String, String) {
    let decl = &manifest.edges[edge];
    (
        format!(
            "a live input would have to wait at '{} -> {}'",
            decl.from, decl.to
        ),
        format!(
            "shed there: {{from: {}, to: {}, queue: {{when_full: drop_oldest}}}}",
            decl.from, decl.to
        ),
    )
}

fn unused_parameters(manifest: &Manifest, report: &mut Report) {
    let mut used = Vec::new();
    for params in manifest
        .nodes
        .iter()
        .filter_map(|node| node.params.as_ref())
    {
        mentions(params, &mut used);
    }
    for parameter in &manifest.parameters {
        if !used.contains(&parameter.name.value) {
            report.warn(
                parameter.name.at,
                "unused",
                format!("no node uses parameter '{}'", parameter.name.value),
                format!(
                    "write ${{param:{}}} in a node's params, or remove it",
                    parameter.name.value
                ),
            );
        }
    }
}

fn hide(grants: &Grants, report: &mut Report) {
    if let Env::Values(values) = &grants.env {
        report.hide(values.iter());
    }
}

/// The grants without the environment variables that the manifest does not name.
fn restricted(grants: &Grants, manifest: &Manifest) -> Grants {
    let Env::Values(values) = &grants.env else {
        return grants.clone();
    };
    let mut named = Vec::new();
    for params in manifest
        .nodes
        .iter()
        .filter_map(|node| node.params.as_ref())
    {
        env_names(params, &mut named);
    }
    let kept: BTreeMap<_, _> = values
        .iter()
        .filter(|(name, _)| named.contains(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Grants {
        env: Env::Values(kept),
        stranger: grants.stranger,
        endpoints: grants.endpoints.clone(),
    }
}

fn env_names(tree: &Tree, names: &mut Vec<String>) {
    match &tree.data {
        Data::List(items) => items.iter().for_each(|item| env_names(item, names)),
        Data::Map(entries) => entries.iter().for_each(|(_, item)| env_names(item, names)),
        Data::Text(text) => {
            names.extend(
                pieces(text)
                    .into_iter()
                    .flatten()
                    .filter_map(|piece| match piece {
                        Piece::Env(name, _) => Some(name),
                        _ => None,
                    }),
            )
        }
        _ => {}
    }
}
