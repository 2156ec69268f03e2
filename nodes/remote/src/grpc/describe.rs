//! Asking a worker what one of its pipelines looks like, before anything is opened there.

use std::time::Duration;

use tidegate_media::Timestamp;
use tidegate_nodes::registry::{Port, Ports};
use tidegate_nodes::{Accepts, Error, Phase};
use tidegate_proto::message::{Direction, StreamSpec};
use tidegate_proto::v1::gateway_client::GatewayClient;
use tidegate_proto::{protobuf, v1};

use super::{authorised, status};
use crate::auth::Auth;
use crate::config::{HOP_COUNT_MAX, Target};
use crate::connector::Connector;
use crate::describe::{Described, Reference, Referent, Step};
use crate::error::RemoteError;

/// What is asked, of whom.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The worker's address as configured.
    pub endpoint: &'a str,
    /// How to prove who asks.
    pub auth: &'a Auth,
    /// The pipeline there, or the manifest that is to run there.
    pub target: &'a Target,
    /// The pipelines that lead there, the outermost first.
    pub path: &'a [Step],
    /// How long to wait for the answer.
    pub limit: Duration,
}

/// Asks one endpoint. Cancel safe.
///
/// # Errors
/// It did not answer, the pipeline is unknown there, the manifest cannot run there, or there is a circle (`manifest_cycle`).
pub async fn describe(connector: &Connector, question: Question<'_>) -> Result<Described, Error> {
    let limit = question.limit;
    let phase = Phase::Connect;
    let asked = tokio::time::timeout(limit, ask(connector, question)).await;
    asked
        .unwrap_or(Err(RemoteError::Timeout { phase, limit }))
        .map_err(|error| Error::from(error).at_endpoint(question.endpoint))
}

async fn ask(connector: &Connector, question: Question<'_>) -> Result<Described, RemoteError> {
    // Nothing lives long enough here for its token to end.
    let credential = question.auth.read(connector.files(), Timestamp::ZERO)?;
    let lease = connector.lease(&origin(question.endpoint), credential.tls())?;
    let mut client = GatewayClient::new(lease.channel.clone())
        .max_decoding_message_size(connector.config().message_bytes);
    let (pipeline, manifest) = match question.target {
        Target::Pipeline(name) => (name.clone(), String::new()),
        Target::Manifest(text) => (String::new(), text.clone()),
        Target::Endpoint => {
            let text = "what an endpoint's path leads to is not described: name it in 'pipeline'";
            return Err(RemoteError::Incompatible(text.into()));
        }
    };
    let request = v1::DescribePipelineRequest {
        pipeline,
        manifest,
        path: question.path.iter().map(step).collect(),
        endpoint: crate::describe::shown(question.endpoint),
    };
    let request = authorised(request, &credential);
    let response = client.describe_pipeline(request).await;
    let encrypted = origin(question.endpoint).starts_with("https");
    let response = response
        .map_err(|status| status::before_answer(&status, encrypted))?
        .into_inner();
    let summary = response
        .summary
        .ok_or_else(|| RemoteError::Protocol("a description without its summary".into()))?;
    Ok(Described {
        pipeline: summary.name,
        ports: ports(summary.ports)?,
        digest: summary.digest,
        gateway_id: response.gateway_id,
        version: response.gateway,
        node_types: response.node_types,
        references: references(response.references, HOP_COUNT_MAX),
    })
}

/// Where a gateway that is reached by another transport serves gRPC: at the same address.
fn origin(endpoint: &str) -> String {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("http", endpoint));
    let scheme = match scheme {
        "ws" => "http",
        "wss" => "https",
        other => other,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    format!("{scheme}://{authority}")
}

fn step(step: &Step) -> v1::Step {
    v1::Step {
        gateway_id: step.gateway_id.clone(),
        pipeline: step.pipeline.clone(),
        endpoint: step.endpoint.clone(),
    }
}

/// References as this crate has them, `depth` levels of them: who sends more, sends it in vain.
fn references(sent: Vec<v1::Reference>, depth: u32) -> Vec<Reference> {
    let Some(depth) = depth.checked_sub(1) else {
        return Vec::new();
    };
    let one = |sent: v1::Reference| Reference {
        hop: sent.hop,
        tier: sent.tier,
        transport: sent.transport,
        endpoints: sent.endpoints,
        pipeline: sent.pipeline,
        digest: sent.digest,
        manifest_url: sent.manifest_url,
        found: sent
            .found
            .into_iter()
            .map(|found| Referent {
                endpoint: found.endpoint,
                gateway_id: found.gateway_id,
                pipeline: found.pipeline,
                digest: found.digest,
                references: references(found.references, depth),
                problem: found.problem,
            })
            .collect(),
    };
    sent.into_iter().map(one).collect()
}

fn ports(listed: Vec<v1::Port>) -> Result<Ports, RemoteError> {
    if listed.len() > tidegate_proto::limits::PORTS {
        return Err(RemoteError::Protocol(format!("{} ports", listed.len())));
    }
    let mut ports = Ports::default();
    for port in listed {
        let port = protobuf::decode_port(port)?;
        let side = match port.direction {
            Direction::Input => &mut ports.inputs,
            Direction::Output => &mut ports.outputs,
        };
        side.push(Port {
            name: port.name.into_string(),
            // Who names a format converts nothing: what goes there is converted to it here, and what comes from there is of it.
            accepts: match port.format {
                Some(StreamSpec::Audio(format)) => Accepts::exactly(format),
                _ => Accepts::Kind(port.kind),
            },
            required: false,
            doc: "of the worker's pipeline",
        });
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use tidegate_media::{AudioFormat, Kind};
    use tidegate_proto::PortName;
    use tidegate_proto::message;

    use super::*;

    #[test]
    fn ports_keep_the_formats_that_a_worker_names_on_both_sides() {
        let speech = AudioFormat::pcm_s16(22_050, 1);
        let port = |name: &str, direction, format: Option<AudioFormat>| message::Port {
            name: PortName::new(name).expect("a name"),
            direction,
            kind: Kind::Audio,
            format: format.map(StreamSpec::Audio),
        };
        let listed = [
            port("in", Direction::Input, Some(speech)),
            port("any", Direction::Input, None),
            port("out", Direction::Output, Some(speech)),
            port("all", Direction::Output, None),
        ];
        let listed = listed.into_iter().map(protobuf::encode_port).collect();
        let ports = ports(listed).expect("four ports");
        let accepts = |side: &[Port]| side.iter().map(|p| p.accepts.clone()).collect::<Vec<_>>();
        let expected = [Accepts::exactly(speech), Accepts::Kind(Kind::Audio)];
        assert_eq!(accepts(&ports.inputs), expected);
        assert_eq!(accepts(&ports.outputs), expected);
    }
}
