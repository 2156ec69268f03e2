//! What a worker says of a pipeline before anything is opened there, and what that pipeline refers to in turn.
//!
//! Plain data; asking is a transport's affair (`grpc::describe`).

use serde::Serialize;
use tidegate_nodes::registry::Ports;

/// A pipeline at a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// Its name there.
    pub pipeline: String,
    /// Its ports, in the worker's order.
    pub ports: Ports,
    /// Digest of its manifest.
    pub digest: String,
    /// Identity of the worker.
    pub gateway_id: String,
    /// Version of the worker; empty if it does not say.
    pub version: String,
    /// Node types that the worker knows.
    pub node_types: Vec<String>,
    /// What its remote hops refer to.
    pub references: Vec<Reference>,
}

/// A pipeline on the way through several gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Identity of the gateway.
    pub gateway_id: String,
    /// The pipeline's name; of a manifest that was sent, `name@` and the beginning of its digest.
    pub pipeline: String,
    /// The address by which the one before reaches it; empty for the first.
    pub endpoint: String,
}

impl Step {
    /// Whether both are the same pipeline of the same gateway, however it was reached.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (&self.gateway_id, &self.pipeline) == (&other.gateway_id, &other.pipeline)
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // An identity is as long as a UUID; its beginning tells a few gateways apart.
        let id: String = self.gateway_id.chars().take(8).collect();
        write!(f, "{id}/{}", self.pipeline)?;
        if self.endpoint.is_empty() {
            return Ok(());
        }
        write!(f, " at {}", self.endpoint)
    }
}

/// What one pool of a remote hop refers to. No credentials are in it, and addresses come without their query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reference {
    /// The hop's id.
    pub hop: String,
    /// 0 for the hop's own endpoints, 1 for its first fallback, and so on.
    pub tier: u32,
    /// `grpc`, `websocket`, `http` or `webrtc`; of somebody else's server, the protocol, such as `openai.chat`.
    pub transport: String,
    /// Addresses as configured.
    pub endpoints: Vec<String>,
    /// What runs there, by its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pipeline: String,
    /// Or a manifest, by its digest.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Where that manifest is fetched from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manifest_url: String,
    /// What the endpoints say, as far as they could be asked.
    pub found: Vec<Referent>,
}

/// What one endpoint says of the pipeline there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Referent {
    /// Its address as configured.
    pub endpoint: String,
    /// Identity of the gateway there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway_id: String,
    /// The pipeline's name there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pipeline: String,
    /// Digest of its manifest.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// What its remote hops refer to.
    pub references: Vec<Reference>,
    /// Why it says nothing; empty if it does.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

/// An address without what may be secret in it.
#[must_use]
pub fn shown(address: &str) -> String {
    let end = address.find(['?', '#']).unwrap_or(address.len());
    let address = &address[..end];
    match address.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or(authority);
            format!("{scheme}://{host}{path}")
        }
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_in_an_address_is_not_shown() {
        let cases = [
            ("http://w:1", "http://w:1"),
            ("https://me:pass@w/x?key=k#f", "https://w/x"),
            ("https://w?key=k", "https://w"),
            ("https://w/a@b", "https://w/a@b"),
        ];
        for (address, expected) in cases {
            assert_eq!(shown(address), expected);
        }
    }
}
