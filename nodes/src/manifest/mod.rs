//! The manifest: YAML or JSON text that declares a pipeline, read into typed declarations that know their positions.
//!
//! Reading checks the form (keys, types, ids, units); what needs the whole or the node types is checked by the
//! [compiler](crate::compile). Nothing here resolves a reference or reads an environment variable.

pub mod diagnostic;
mod edges;
pub(crate) mod formats;
mod parameters;
pub(crate) mod read;
pub(crate) mod reference;
mod schema;
mod sections;
pub(crate) mod tree;
pub mod units;

use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

pub(crate) use diagnostic::{At, Report};
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub(crate) use edges::{EdgeDecl, EndDecl};
pub(crate) use parameters::{ParameterDecl, ParameterType};
pub(crate) use read::Located;
pub use schema::schema;
pub(crate) use sections::{InputDecl, InterruptDecl, NodeDecl, OutputDecl, Unusable};
pub use tree::TEXT_BYTES_MAX;

use tree::Tree;

/// The version that this build reads.
pub const VERSION: &str = "tidegate/v1";

/// A manifest whose form is right.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub(crate) source: Arc<str>,
    pub(crate) at: At,
    pub(crate) name: Located<String>,
    pub(crate) description: String,
    pub(crate) digest: String,
    pub(crate) parameters: Vec<ParameterDecl>,
    pub(crate) inputs: Vec<InputDecl>,
    pub(crate) outputs: Vec<OutputDecl>,
    /// Names of inputs and outputs that are declared, but not so that they can be used: already reported.
    pub(crate) unusable: Vec<Unusable>,
    pub(crate) nodes: Vec<NodeDecl>,
    pub(crate) edges: Vec<EdgeDecl>,
    /// What edges name that could not be read: it is joined to something. Already reported.
    pub(crate) loose: Vec<EndDecl>,
    pub(crate) interrupt: Option<InterruptDecl>,
}

impl Manifest {
    /// Reads a manifest; `source_name` stands before each diagnostic, usually the file's name.
    ///
    /// # Errors
    /// All errors in the text's form. [`Pipeline::from_text`](crate::compile::Pipeline::from_text) reports errors of form and
    /// of meaning together.
    pub fn parse(source_name: &str, text: &str) -> Result<Self, Diagnostics> {
        let mut report = Report::new(source_name.into());
        match Self::read(source_name, text, &mut report) {
            Some(manifest) if !report.has_errors() => Ok(manifest),
            _ => Err(report.finish()),
        }
    }

    /// Reads as much as can be read; what is wrong goes to the report.
    pub(crate) fn read(source_name: &str, text: &str, report: &mut Report) -> Option<Self> {
        let tree = Tree::read(text, report)?;
        sections::manifest(source_name.into(), &tree, report)
    }

    /// The pipeline's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name.value
    }

    /// SHA-256 of the canonical form, in hexadecimal: the same for the same content in YAML or JSON, whatever its layout.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// SHA-256 of a value written as JSON without spaces, keys in order.
fn digest(value: &Value) -> String {
    // `serde_json::Map` keeps its keys sorted unless a crate asks for insertion order, so they are sorted here.
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_by_key(|(key, _)| *key);
                Value::Object(
                    entries
                        .into_iter()
                        .map(|(key, value)| (key.clone(), sorted(value)))
                        .collect(),
                )
            }
            Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
            other => other.clone(),
        }
    }
    use std::fmt::Write as _;
    let hash = Sha256::digest(sorted(value).to_string().as_bytes());
    hash.iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}
