//! Servers that do on purpose what no real worker does: they take a connection or a session and then say nothing, nonsense or too little.

use std::net::SocketAddr;
use std::pin::Pin;

use futures_util::StreamExt as _;
use tidegate_media::{Frame, Kind, MediaTime, Payload, Text, Timestamp};
use tidegate_proto::message::{Ack, Direction, Opened, Port, WireError};
use tidegate_proto::v1::gateway_server::{Gateway, GatewayServer};
use tidegate_proto::{ClientMessage, PortFormats, PortName, ServerMessage, protobuf, v1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// An address at which nobody listens.
pub(crate) async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

/// A server on a socket. It ends when this is dropped.
pub(crate) struct Fake {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Fake {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes every connection, reads, and answers with this once something was said; with nothing, it stays silent.
    pub(crate) async fn answering(bytes: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut heard = [0; 4096];
                    while stream.read(&mut heard).await.is_ok_and(|read| read > 0) {
                        if !bytes.is_empty() {
                            stream.write_all(bytes).await.ok();
                            return;
                        }
                    }
                });
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }

    /// A worker by native gRPC that opens every pipeline, text in and text out, and then behaves so.
    pub(crate) async fn worker(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        let service = GatewayServer::new(Worker { manner });
        tasks.spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let server = Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.ok();
        });
        Self {
            address,
            _tasks: tasks,
        }
    }
}

/// What a worker does with a session that it opened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    /// Nothing.
    Mute,
    /// Answers the first frame with the beginning of an utterance, and acknowledges nothing.
    Stalls,
    /// Acknowledges and answers each frame, and never closes an utterance.
    Unfinished,
    /// Says that all is done as soon as the input ends, without any output.
    Empty,
    /// Answers at a port that it does not have.
    Garbage,
    /// Reports a failure of its own.
    Fails,
}

struct Worker {
    manner: Manner,
}

type Outgoing = Pin<Box<dyn futures_util::Stream<Item = Result<v1::ServerMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Gateway for Worker {
    type StreamStream = Outgoing;

    async fn stream(
        &self,
        request: Request<Streaming<v1::ClientMessage>>,
    ) -> Result<Response<Outgoing>, Status> {
        let (sender, outgoing) = mpsc::channel(64);
        let (incoming, manner) = (request.into_inner(), self.manner);
        // It ends with the stream that it feeds.
        let session = async move { session(manner, incoming, sender).await };
        let outgoing = ReceiverStream::new(outgoing).map(Some);
        let session = futures_util::stream::once(session).map(|()| None);
        let both = futures_util::stream::select(outgoing, session);
        Ok(Response::new(both.filter_map(std::future::ready).boxed()))
    }

    async fn execute(
        &self,
        _: Request<v1::ExecuteRequest>,
    ) -> Result<Response<v1::ExecuteResponse>, Status> {
        if self.manner != Manner::Garbage {
            return Err(Status::unimplemented("streams only"));
        }
        let frame = Frame::new(MediaTime::ZERO, Payload::Text(Text::from("x".to_owned())));
        let outputs = vec![(name("nowhere"), vec![frame])];
        Ok(Response::new(protobuf::encode_outputs(
            outputs,
            Timestamp::ZERO,
        )))
    }

    async fn list_pipelines(
        &self,
        _: Request<v1::ListPipelinesRequest>,
    ) -> Result<Response<v1::ListPipelinesResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn describe_pipeline(
        &self,
        _: Request<v1::DescribePipelineRequest>,
    ) -> Result<Response<v1::DescribePipelineResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }
}

fn name(text: &str) -> PortName {
    PortName::new(text).expect("a name")
}

fn opened() -> ServerMessage {
    let port = |text, direction| Port {
        name: name(text),
        direction,
        kind: Kind::Text,
        format: None,
    };
    ServerMessage::Opened(Box::new(Opened {
        session_id: "s1".into(),
        ports: vec![port("in", Direction::Input), port("out", Direction::Output)],
        features: vec!["acks".into()],
        pipeline: "say".into(),
        ..Opened::default()
    }))
}

async fn session(
    manner: Manner,
    mut incoming: Streaming<v1::ClientMessage>,
    sender: mpsc::Sender<Result<v1::ServerMessage, Status>>,
) {
    let say = async |message| {
        let message = protobuf::encode_server(message, Timestamp::ZERO);
        sender.send(Ok(message)).await.ok();
    };
    let mut answers = 0;
    while let Some(Ok(message)) = incoming.next().await {
        let formats = PortFormats::default();
        match protobuf::decode_client(message, Timestamp::ZERO, &formats) {
            Ok(ClientMessage::Open(_)) => say(opened()).await,
            Ok(ClientMessage::Frame { mut frame, .. }) => {
                let seq = frame.meta.seq;
                let port = match manner {
                    Manner::Garbage => "nowhere",
                    Manner::Stalls if answers == 0 => "out",
                    Manner::Unfinished => "out",
                    Manner::Fails => {
                        say(failure()).await;
                        return;
                    }
                    _ => continue,
                };
                answers += 1;
                frame.meta.seq = answers;
                frame.meta.caused_by = seq;
                frame.meta.is_final = false;
                frame.payload = Payload::Text(Text::from("half a".to_owned()));
                let port = name(port);
                say(ServerMessage::Frame {
                    port,
                    caused_port: None,
                    frame,
                })
                .await;
                if manner == Manner::Unfinished {
                    say(ServerMessage::Ack(Ack {
                        port: name("in"),
                        seq,
                    }))
                    .await;
                }
            }
            Ok(ClientMessage::End { .. }) if manner == Manner::Empty => {
                say(ServerMessage::Ended {
                    reason: "finished".into(),
                })
                .await;
                return;
            }
            _ => {}
        }
    }
}

fn failure() -> ServerMessage {
    ServerMessage::Error(Box::new(WireError {
        code: "node_failed".into(),
        message: "the model ran out of memory".into(),
        fault: "gateway".into(),
        ..WireError::default()
    }))
}
