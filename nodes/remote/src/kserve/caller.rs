//! The call of a request, and its responses as they come.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream as _;
use http::uri::PathAndQuery;
use tidegate_media::Timestamp;
use tidegate_nodes::compile::remote::KserveDialect;
use tidegate_proto::inference as pb;
use tidegate_proto::kserve::{InferRequest, grpc};
use tidegate_proto::message::{Execute, WireError};
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Extensions, Request, Response, Status, Streaming};

use super::asked::Asked;
use super::codec::InferCodec;
use crate::auth::Credential;
use crate::calls::{Answer, Caller};
use crate::connector::Lease;
use crate::error::RemoteError;
use crate::grpc::status;
use crate::trouble;

/// Gateways that the session has passed, for a server that is another Tidegate.
const HOP_COUNT: &str = "tidegate-hop-count";

/// A call that goes out.
type Begun<T> = Pin<Box<dyn Future<Output = Result<T, RemoteError>> + Send>>;

/// Makes calls at one place.
pub(super) struct KserveCaller {
    lease: Lease,
    credential: Credential,
    message_bytes: usize,
    encrypted: bool,
    asked: Asked,
    state: State,
    answers: VecDeque<Answer>,
}

enum State {
    Idle,
    /// The one response is waited for.
    Calling(Begun<pb::ModelInferResponse>),
    /// The server has not begun to answer.
    Opening(Begun<Box<Responses>>),
    /// It answers.
    Reading(Box<Responses>),
}

/// The responses of a stream, as a server sends them.
enum Responses {
    Wrapped(Streaming<pb::ModelStreamInferResponse>),
    Bare(Streaming<pb::ModelInferResponse>),
}

impl KserveCaller {
    pub(super) fn new(
        lease: Lease,
        credential: Credential,
        message_bytes: usize,
        encrypted: bool,
        asked: Asked,
    ) -> Self {
        Self {
            lease,
            credential,
            message_bytes,
            encrypted,
            asked,
            state: State::Idle,
            answers: VecDeque::new(),
        }
    }

    fn begin(&self, request: InferRequest, execute: &Execute) -> State {
        let message = grpc::encode_request(request);
        let mut metadata = MetadataMap::from_headers(self.credential.headers().clone());
        metadata.insert(HOP_COUNT, execute.hop_count.into());
        let mut request = Request::from_parts(metadata, Extensions::default(), message);
        if let Some(deadline) = execute.deadline {
            request.set_timeout(deadline);
        }
        let client =
            Grpc::new(self.lease.channel.clone()).max_decoding_message_size(self.message_bytes);
        let encrypted = self.encrypted;
        match self.asked.streamed() {
            None => State::Calling(Box::pin(unary(client, request, encrypted))),
            Some(KserveDialect::Triton) => State::Opening(Box::pin(async move {
                let responses = stream(client, request, encrypted).await?;
                Ok(Box::new(Responses::Wrapped(responses)))
            })),
            Some(KserveDialect::Mlserver) => State::Opening(Box::pin(async move {
                let responses = stream(client, request, encrypted).await?;
                Ok(Box::new(Responses::Bare(responses)))
            })),
        }
    }
}

async fn reachable(client: &mut Grpc<Channel>, encrypted: bool) -> Result<(), RemoteError> {
    client.ready().await.map_err(|error| {
        let said = trouble::before_answer(&error, encrypted);
        RemoteError::Network(format!("worker cannot be reached: {said}"))
    })
}

async fn unary(
    mut client: Grpc<Channel>,
    request: Request<pb::ModelInferRequest>,
    encrypted: bool,
) -> Result<pb::ModelInferResponse, RemoteError> {
    reachable(&mut client, encrypted).await?;
    let path = PathAndQuery::from_static("/inference.GRPCInferenceService/ModelInfer");
    let response = client.unary(request, path, InferCodec::default()).await;
    response
        .map(Response::into_inner)
        .map_err(|status| refused(&status, encrypted))
}

async fn stream<T: prost::Message + Default + 'static>(
    mut client: Grpc<Channel>,
    request: Request<pb::ModelInferRequest>,
    encrypted: bool,
) -> Result<Streaming<T>, RemoteError> {
    reachable(&mut client, encrypted).await?;
    let path = PathAndQuery::from_static("/inference.GRPCInferenceService/ModelStreamInfer");
    // The stream has one request, so that its end is the end of what comes of it, whatever the server says of that.
    let request = request.map(|message| futures_util::stream::iter([message]));
    let response = client.streaming(request, path, InferCodec::default()).await;
    response
        .map(Response::into_inner)
        .map_err(|status| refused(&status, encrypted))
}

/// A status as an error.
fn refused(status: &Status, encrypted: bool) -> RemoteError {
    if status.code() == Code::Unimplemented {
        return RemoteError::Incompatible(format!(
            "the server does not serve this call of inference.GRPCInferenceService: point 'endpoints' at one that does, or change 'mode' ({})",
            status.message()
        ));
    }
    if status.code() == Code::NotFound && status.details().is_empty() {
        // Models are loaded and unloaded at each server by itself: another one may have it.
        return RemoteError::Worker(Box::new(WireError {
            code: "unknown_pipeline".to_owned(),
            message: status.message().to_owned(),
            fault: "worker".to_owned(),
            retryable: true,
            ..WireError::default()
        }));
    }
    status::before_answer(status, encrypted)
}

/// What a stream says of a request that failed; it has no code.
fn failed(message: String) -> RemoteError {
    RemoteError::Worker(Box::new(WireError {
        code: "remote_execution".to_owned(),
        message,
        fault: "worker".to_owned(),
        retryable: true,
        ..WireError::default()
    }))
}

impl Responses {
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<pb::ModelInferResponse, RemoteError>>> {
        let next = match self {
            Self::Bare(stream) => ready!(Pin::new(stream).poll_next(cx)),
            Self::Wrapped(stream) => match ready!(Pin::new(stream).poll_next(cx)) {
                Some(Ok(wrapped)) if !wrapped.error_message.is_empty() => {
                    return Poll::Ready(Some(Err(failed(wrapped.error_message))));
                }
                Some(Ok(wrapped)) => Some(Ok(wrapped.infer_response.unwrap_or_default())),
                Some(Err(status)) => Some(Err(status)),
                None => None,
            },
        };
        Poll::Ready(next.map(|next| next.map_err(|status| refused(&status, false))))
    }
}

impl Caller for KserveCaller {
    fn call(&mut self, execute: Execute, _now: Timestamp) -> Result<(), RemoteError> {
        self.answers.clear();
        let request = self.asked.request(&execute)?;
        self.state = self.begin(request, &execute);
        Ok(())
    }

    fn poll(&mut self, cx: &mut Context<'_>, _now: Timestamp) -> Poll<Result<Answer, RemoteError>> {
        loop {
            if let Some(answer) = self.answers.pop_front() {
                return Poll::Ready(Ok(answer));
            }
            let is_over = match &mut self.state {
                State::Idle => return Poll::Ready(Ok(Answer::Done)),
                State::Calling(call) => {
                    let response = ready!(call.as_mut().poll(cx))?;
                    let response = grpc::decode_response(response)?;
                    self.asked.response(response, &mut self.answers)?;
                    true
                }
                State::Opening(call) => {
                    self.state = State::Reading(ready!(call.as_mut().poll(cx))?);
                    false
                }
                State::Reading(responses) => match ready!(responses.poll_next(cx)) {
                    Some(response) => {
                        let response = grpc::decode_response(response?)?;
                        self.asked.response(response, &mut self.answers)?
                    }
                    None => true,
                },
            };
            if is_over {
                self.state = State::Idle;
                self.asked.done(&mut self.answers)?;
            }
        }
    }

    fn cancel(&mut self) {
        self.answers.clear();
        // Dropping what is under way resets its stream, which is how the server hears of it.
        self.state = State::Idle;
    }
}
