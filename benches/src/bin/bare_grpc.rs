//! A gRPC echo of `tonic` and nothing else, over the gateway's own messages: the reference for its
//! streams. `bare_grpc ADDRESS [tuned] [URL]`: with a URL it is the first of two chained echoes
//! and passes messages on to the second, decoded and encoded once each way.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use tidegate_benches::{Failure, net};
use tidegate_proto::v1::gateway_client::GatewayClient;
use tidegate_proto::v1::gateway_server::{Gateway, GatewayServer};
use tidegate_proto::v1::{
    ClientMessage, DescribePipelineRequest, DescribePipelineResponse, ExecuteRequest,
    ExecuteResponse, ListPipelinesRequest, ListPipelinesResponse, Opened, ServerMessage,
    client_message, server_message,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

/// As the gateway's own: a tensor of 1 MiB and some.
const MESSAGE_MAX: usize = 64 << 20;

struct Echo {
    next: Option<GatewayClient<Channel>>,
}

#[tonic::async_trait]
impl Gateway for Echo {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<ServerMessage, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<ClientMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let incoming = request.into_inner();
        if let Some(mut next) = self.next.clone() {
            let passed_on = incoming.filter_map(|message| std::future::ready(message.ok()));
            let answers = next.stream(passed_on).await?.into_inner();
            return Ok(Response::new(Box::pin(answers)));
        }
        Ok(Response::new(Box::pin(
            incoming.filter_map(|message| std::future::ready(echo(message))),
        )))
    }

    async fn execute(
        &self,
        _: Request<ExecuteRequest>,
    ) -> Result<Response<ExecuteResponse>, Status> {
        Err(Status::unimplemented("this is a bare echo"))
    }

    async fn list_pipelines(
        &self,
        _: Request<ListPipelinesRequest>,
    ) -> Result<Response<ListPipelinesResponse>, Status> {
        Err(Status::unimplemented("this is a bare echo"))
    }

    async fn describe_pipeline(
        &self,
        _: Request<DescribePipelineRequest>,
    ) -> Result<Response<DescribePipelineResponse>, Status> {
        Err(Status::unimplemented("this is a bare echo"))
    }
}

fn echo(message: Result<ClientMessage, Status>) -> Option<Result<ServerMessage, Status>> {
    let message = match message {
        Ok(message) => message,
        Err(status) => return Some(Err(status)),
    };
    let message = match message.message? {
        client_message::Message::Open(_) => server_message::Message::Opened(Opened::default()),
        client_message::Message::Frame(frame) => server_message::Message::Frame(frame),
        _ => return None,
    };
    Some(Ok(ServerMessage {
        message: Some(message),
    }))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let listener = net::listen().await?;
    let tuned = std::env::args().any(|argument| argument == "tuned");
    let next = match std::env::args().find(|argument| argument.starts_with("http://")) {
        Some(url) => Some(GatewayClient::new(
            Endpoint::from_shared(url)?.connect().await?,
        )),
        None => None,
    };
    let service = GatewayServer::new(Echo { next })
        .max_decoding_message_size(MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX);
    let mut server = Server::builder();
    if tuned {
        let window = Some(8 << 20);
        server = server
            .max_frame_size(Some(1 << 20))
            .initial_stream_window_size(window)
            .initial_connection_window_size(window);
    }
    // tonic leaves Nagle on for listeners that it did not make.
    let incoming = TcpListenerStream::new(listener)
        .map(|stream| stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream)));
    Ok(server
        .add_service(service)
        .serve_with_incoming(incoming)
        .await?)
}
