//! Asking a worker what one of its pipelines looks like, before anything is opened there.

use tidegate_media::{Kind, Timestamp};
use tidegate_nodes::registry::{Port, Ports};
use tidegate_nodes::{Accepts, Error, Phase};
use tidegate_proto::message::{Direction, StreamSpec};
use tidegate_proto::v1::gateway_client::GatewayClient;
use tidegate_proto::{protobuf, v1};

use super::{authorised, status};
use crate::config::{RemoteConfig, Target};
use crate::connector::Connector;
use crate::error::RemoteError;

/// A pipeline at a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its ports, in the worker's order.
    pub ports: Ports,
    /// Digest of its manifest.
    pub digest: String,
    /// Identity of the worker.
    pub gateway_id: String,
    /// Node types that the worker knows.
    pub node_types: Vec<String>,
}

/// Asks the first endpoint that answers. Waits at most `config.timeouts.connect` for each.
///
/// # Errors
/// No endpoint answered, the pipeline is unknown there or its description cannot be, or the hop runs an inline manifest, whose
/// ports nobody can tell before it is opened.
pub async fn describe(
    connector: &Connector,
    config: &RemoteConfig,
    hop: &str,
) -> Result<Described, Error> {
    let Target::Pipeline(pipeline) = &config.target else {
        let text = "ports of an inline manifest are not known before it is opened: declare 'inputs' and 'outputs'";
        return Err(Error::from(RemoteError::Incompatible(text.into())).at_hop(hop));
    };
    let mut last =
        RemoteError::Config("the remote hop names no endpoint: list one in 'endpoints'".into());
    let mut place = None;
    for endpoint in &config.endpoints {
        let limit = config.timeouts.connect;
        let phase = Phase::Connect;
        let asked = tokio::time::timeout(limit, ask(connector, endpoint, config, pipeline)).await;
        match asked.unwrap_or(Err(RemoteError::Timeout { phase, limit })) {
            Ok(described) => return Ok(described),
            Err(error) => (place, last) = (Some(endpoint), error),
        }
    }
    let error = Error::from(last).at_hop(hop);
    Err(match place {
        Some(endpoint) => error.at_endpoint(endpoint),
        None => error,
    })
}

async fn ask(
    connector: &Connector,
    endpoint: &str,
    config: &RemoteConfig,
    pipeline: &str,
) -> Result<Described, RemoteError> {
    // Nothing lives long enough here for its token to end.
    let credential = config.auth.read(connector.files(), Timestamp::ZERO)?;
    let lease = connector.lease(endpoint, credential.tls())?;
    let mut client = GatewayClient::new(lease.channel.clone())
        .max_decoding_message_size(connector.config().message_bytes);
    let request = v1::DescribePipelineRequest {
        pipeline: pipeline.to_owned(),
    };
    let request = authorised(request, &credential);
    let response = client.describe_pipeline(request).await;
    let response = response
        .map_err(|status| status::error(&status))?
        .into_inner();
    let summary = response
        .summary
        .ok_or_else(|| RemoteError::Protocol("a description without its summary".into()))?;
    Ok(Described {
        ports: ports(summary.ports)?,
        digest: summary.digest,
        gateway_id: response.gateway_id,
        node_types: response.node_types,
    })
}

fn ports(listed: Vec<v1::Port>) -> Result<Ports, RemoteError> {
    if listed.len() > tidegate_proto::limits::PORTS {
        return Err(RemoteError::Protocol(format!("{} ports", listed.len())));
    }
    let mut ports = Ports::default();
    for port in listed {
        let port = protobuf::decode_port(port)?;
        let name = port.name.into_string();
        match port.direction {
            Direction::Input => {
                let accepts = match port.format {
                    Some(StreamSpec::Audio(format)) => Accepts::exactly(format),
                    _ => Accepts::Kind(port.kind),
                };
                ports.inputs.push(Port {
                    required: false,
                    ..Port::input(name, accepts, "of the worker's pipeline")
                });
            }
            Direction::Output => {
                let kind: Kind = port.kind;
                ports
                    .outputs
                    .push(Port::output(name, kind, "of the worker's pipeline"));
            }
        }
    }
    Ok(ports)
}
