//! Remote hops of a session: what the manifest says becomes open streams to workers.
//!
//! Ports that a manifest does not declare are asked of the worker before the session is planned; all of them are checked again by
//! what the worker says on opening.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_nodes::compile::remote::Timeout;
use tidegate_nodes::compile::{Binding, RemoteParams};
use tidegate_nodes::graph::Mode;
use tidegate_nodes::plan::PlanHop;
use tidegate_nodes::{Code, Error, Placement, Plan, Ports};
use tidegate_proto::message;
use tidegate_remote::{
    Auth, ConnectorConfig, HopConfig, HopPorts, OpenContext, RemoteConfig, RemoteHop, Target,
    Timeouts,
};

use crate::gateway::Gateway;
use crate::session::hops::Hop;
use crate::session::notes::{CountedHop, Notes};
use crate::session::open::Prepared;

/// Connections to workers, shared by all sessions.
pub(crate) fn connector(message_bytes: usize) -> tidegate_remote::Connector {
    let config = ConnectorConfig::default();
    let message_bytes = message_bytes.max(config.message_bytes);
    tidegate_remote::Connector::new(ConnectorConfig {
        message_bytes,
        ..config
    })
}

impl Gateway {
    /// Binds a session's plan, asking workers for the ports that the manifest leaves open.
    pub(crate) async fn bind(
        &self,
        prepared: &Prepared,
        mut binding: Binding,
    ) -> Result<Plan, Error> {
        let plan = prepared.pipeline.bind(&binding)?;
        binding.remote_ports = self.remote_ports(&plan).await?;
        if binding.remote_ports.is_empty() {
            Ok(plan)
        } else {
            prepared.pipeline.bind(&binding)
        }
    }

    /// Ports of remote hops that declare none, as their workers say.
    async fn remote_ports(&self, plan: &Plan) -> Result<BTreeMap<String, Ports>, Error> {
        let mut known = BTreeMap::new();
        for hop in plan
            .hops
            .iter()
            .filter(|hop| hop.placement == Placement::Remote)
        {
            let params = params(hop)?;
            let declared = params.inputs.is_some() && params.outputs.is_some();
            if declared || params.pipeline.is_none() {
                continue;
            }
            let config = config(hop, params)?;
            let described = tidegate_remote::describe(&self.remotes, &config, &hop.id).await?;
            known.insert(hop.id.clone(), described.ports);
        }
        Ok(known)
    }

    /// Opens every remote hop of a plan.
    pub(crate) async fn open_remotes(
        &self,
        plan: &Plan,
        prepared: &Prepared,
        hops: &mut Vec<(usize, Box<dyn Hop>)>,
    ) -> Result<(), Error> {
        let remotes = plan.hops.iter().enumerate();
        for (index, hop) in remotes.filter(|(_, hop)| hop.placement == Placement::Remote) {
            let config = config(hop, params(hop)?)?;
            let now = self.clock.now();
            let context = OpenContext {
                now,
                hop_count: prepared.hop_count,
                mode: match prepared.mode {
                    Mode::Live => message::Mode::Live,
                    Mode::Waits => message::Mode::Waits,
                },
                deadline: prepared.deadline.map(|limit| now + limit),
            };
            let ports = HopPorts::from(hop);
            let (pipeline, id) = prepared.labels(hop);
            let notes = Notes::new(Arc::clone(&self.metrics), pipeline, id);
            let config = HopConfig::new(config);
            let clock = || self.clock.now();
            match RemoteHop::open(&self.remotes, &config, &ports, context, clock).await {
                Ok(hop) => hops.push((index, Box::new(CountedHop { hop, notes }))),
                Err(refused) => {
                    refused.notes.iter().for_each(|note| notes.count(note));
                    return Err(refused.error);
                }
            }
        }
        Ok(())
    }
}

fn params(hop: &PlanHop) -> Result<RemoteParams, Error> {
    RemoteParams::read(&hop.params).map_err(|problems| {
        let texts: Vec<_> = problems
            .iter()
            .map(|p| format!("'{}': {p}", p.path))
            .collect();
        Error::new(Code::ManifestInvalid, texts.join("; ")).at_hop(&hop.id)
    })
}

fn config(hop: &PlanHop, params: RemoteParams) -> Result<RemoteConfig, Error> {
    let (waits, mode) = (params.waits(), params.mode());
    let target = match (params.pipeline, params.manifest) {
        (Some(name), _) => Target::Pipeline(name),
        (None, Some(manifest)) => Target::Manifest(serde_json::Value::Object(manifest).to_string()),
        (None, None) if params.manifest_url.is_none() => Target::Endpoint,
        (None, None) => {
            let text =
                "manifest_url is not served by this version: name a pipeline or give a manifest";
            return Err(Error::new(Code::Incompatible, text).at_hop(&hop.id));
        }
    };
    let call = match params.timeout {
        Some(Timeout::Each(each)) => each.call.map(|span| span.0),
        _ => None,
    };
    Ok(RemoteConfig {
        transport: params.transport,
        mode,
        endpoints: params.endpoints.into_iter().map(|e| e.url).collect(),
        target,
        parameters: params.parameters,
        timeouts: Timeouts {
            connect: waits.connect,
            first_output: waits.first_output,
            gap: waits.gap,
            call,
        },
        auth: params.auth.as_ref().map(Auth::from).unwrap_or_default(),
    })
}
