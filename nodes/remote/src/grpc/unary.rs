//! Mode `unary`: each call is `tidegate.v1.Gateway/Execute`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tidegate_media::Timestamp;
use tidegate_proto::message::{Execute, Opened};
use tidegate_proto::v1::gateway_client::GatewayClient;
use tidegate_proto::{protobuf, v1};
use tonic::{Response, Status};

use super::{authorised, status};
use crate::auth::Credential;
use crate::calls::{Answer, CallLink, Caller, Gather, opened};
use crate::config::{HopPorts, OpenContext, RemoteConfig};
use crate::connector::{Connector, Lease};
use crate::error::RemoteError;
use crate::link::Link;
use crate::opening;
use crate::pool::Member;

/// A call under way.
type Calling = Pin<Box<dyn Future<Output = Result<Response<v1::ExecuteResponse>, Status>> + Send>>;

/// Makes ready to call. Nothing is sent before there is something to call with, so an endpoint that is not there shows at the first
/// call.
pub(crate) fn open_unary(
    connector: &Connector,
    member: &Member,
    config: &RemoteConfig,
    ports: &HopPorts,
    context: OpenContext<'_>,
) -> Result<(Box<dyn Link>, Opened), RemoteError> {
    let credential = opening::credential(connector, config, context)?;
    let lease = connector.lease(member, credential.tls())?;
    let message_bytes = connector.config().message_bytes;
    let gather = Gather::new(ports, config.mode, message_bytes)?;
    let terms = opening::terms(config, context);
    let caller = GrpcCaller {
        lease,
        credential: credential.clone(),
        message_bytes,
        state: State::Idle,
    };
    let opened = opened(&gather, &terms.source);
    let link = CallLink::new(caller, terms, gather, credential);
    Ok((Box::new(link), opened))
}

struct GrpcCaller {
    lease: Lease,
    credential: Credential,
    message_bytes: usize,
    state: State,
}

enum State {
    Idle,
    Calling(Calling),
    Giving(VecDeque<Answer>),
}

impl Caller for GrpcCaller {
    fn call(&mut self, execute: Execute, now: Timestamp) -> Result<(), RemoteError> {
        let mut client = GatewayClient::new(self.lease.channel.clone())
            .max_decoding_message_size(self.message_bytes);
        let request = authorised(protobuf::encode_execute(execute, now), &self.credential);
        self.state = State::Calling(Box::pin(async move { client.execute(request).await }));
        Ok(())
    }

    fn poll(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Poll<Result<Answer, RemoteError>> {
        loop {
            match &mut self.state {
                State::Idle => return Poll::Ready(Ok(Answer::Done)),
                State::Giving(answers) => {
                    let answer = answers.pop_front();
                    if answer.is_none() {
                        self.state = State::Idle;
                    }
                    return Poll::Ready(Ok(answer.unwrap_or(Answer::Done)));
                }
                State::Calling(calling) => {
                    let response = ready!(calling.as_mut().poll(cx));
                    let response = response.map_err(|status| status::error(&status))?;
                    let outputs = protobuf::decode_outputs(response.into_inner(), now)?;
                    let answers = outputs.into_iter().flat_map(|(port, frames)| {
                        frames.into_iter().map(move |frame| Answer::Output {
                            port: port.clone(),
                            caused_port: None,
                            frame,
                        })
                    });
                    self.state = State::Giving(answers.collect());
                }
            }
        }
    }

    fn cancel(&mut self) {
        self.state = State::Idle;
    }
}
