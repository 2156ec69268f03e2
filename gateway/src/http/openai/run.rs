//! One run of a pipeline: one input that is fed, one output that is heard. Its other outputs are nobody's.

use std::sync::Arc;

use serde_json::{Map, Value};
use tidegate_nodes::{Accepts, Error, StreamFormat};
use tidegate_proto::message::Source as Wanted;

use crate::auth::Caller;
use crate::gateway::Gateway;
use crate::links::memory::{CHANNEL, MemoryEvent, MemoryLink, Source};
use crate::links::outbox::{Delivery, outbox};
use crate::session::link::Transport;
use crate::session::open::Request;
use crate::session::ports::PortFacts;

pub(super) struct Run {
    pub(super) caller: Caller,
    pub(super) pipeline: String,
    pub(super) parameters: Map<String, Value>,
    pub(super) input: (String, StreamFormat),
    pub(super) frames: Box<dyn Source>,
    pub(super) output: (String, Accepts),
}

impl Run {
    /// Opens the session.
    ///
    /// # Errors
    /// As for any session.
    pub(super) async fn start(
        self,
        gateway: &Arc<Gateway>,
    ) -> Result<Delivery<MemoryEvent>, Error> {
        let (events, receiver) = outbox(CHANNEL);
        let ((input, format), (output, accepts)) = (self.input, self.output);
        let ports = vec![input.clone(), output.clone()];
        // Who names an input gets the outputs that are everybody's, too.
        let (fed, heard) = (input.clone(), output);
        let feeds = Box::new(move |port: &PortFacts| (port.name == fed).then_some(format));
        let listens =
            Box::new(move |port: &PortFacts| (port.name == heard).then(|| accepts.clone()));
        let link = MemoryLink::new(Transport::Http, self.frames, feeds, listens, events)
            .with_ports(ports)
            .feeding(vec![input]);
        let request = Request {
            caller: self.caller,
            source: Wanted::Pipeline(self.pipeline),
            parameters: self.parameters,
            key: None,
            hop_count: 0,
            deadline: None,
            link: Box::new(link),
        };
        gateway.open(request).await?;
        Ok(receiver)
    }
}
