//! Declared ports of a remote hop.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_media::Kind;

use super::checks::Problems;
use crate::manifest::formats;
use crate::manifest::read::is_id;
use crate::registry::ParamError;
use crate::stream::StreamFormat;

/// Most ports on one side.
const PORTS_MAX: usize = 64;

/// A declared port of a remote hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemotePort {
    /// Its name at the worker.
    pub name: String,
    /// Its kind.
    #[schemars(with = "KindName")]
    pub kind: Kind,
    /// Its format, as `codec/rate/channels` for audio or the codec for video.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

impl RemotePort {
    /// The declared format.
    ///
    /// # Errors
    /// It is malformed, or the kind has none.
    pub fn stream_format(&self) -> Result<Option<StreamFormat>, ParamError> {
        self.format
            .as_deref()
            .map(|text| formats::parse(text, self.kind))
            .transpose()
            .map_err(|(message, mend)| ParamError::mended("format", message, mend))
    }
}

/// The kinds' names, for the schema.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its schema is used")]
enum KindName {
    Audio,
    Video,
    Text,
    Binary,
    Tensor,
    Json,
}

/// Checks the ports of one side.
pub(super) fn check(side: &str, ports: Option<&[RemotePort]>, problems: &mut Problems) {
    let ports = ports.unwrap_or_default();
    if ports.len() > PORTS_MAX {
        let what = format!("{} ports are declared", ports.len());
        problems.add(side, what, format!("keep it to {PORTS_MAX}"));
    }
    for (index, port) in ports.iter().enumerate() {
        let at = format!("{side}[{index}].name");
        if !is_id(&port.name) {
            let name = crate::manifest::diagnostic::shown(&port.name);
            let what = format!("'{name}' is not usable as a port's name");
            let mend = "start with a to z, go on with a to z, 0 to 9, _ or -";
            problems.add(&at, what, mend);
        }
        if ports[..index].iter().any(|other| other.name == port.name) {
            let what = format!("port '{}' is declared twice", port.name);
            problems.add(at, what, "rename one");
        }
        if let Err(error) = port.stream_format() {
            let at = format!("{side}[{index}].format");
            problems.add(at, error.message, error.mend.unwrap_or_default());
        }
    }
}
