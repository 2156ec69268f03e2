//! A worker on a socket and a runtime of its own, so that it can be killed as a process is.

use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::mpsc;

use futures_util::StreamExt as _;
use tidegate_media::{Kind, Timestamp};
use tidegate_proto::message::{Direction, Open, Port};
use tidegate_proto::v1::gateway_server::{Gateway, GatewayServer};
use tidegate_proto::{ClientMessage, PortName, ServerMessage, protobuf, v1};
use tokio::runtime::Runtime;
use tokio::sync::mpsc as queue;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use self::session::Session;

mod session;

/// The worker's own time for each frame.
pub(crate) const SERVICE: std::time::Duration = std::time::Duration::from_micros(250);
/// Frames that the worker takes ahead.
pub(crate) const CREDIT: u32 = 4;

/// How a worker behaves once it is called.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Manner {
    /// Sends each frame back; gives credit for [`CREDIT`] frames at a time and notes who oversteps it.
    Echo,
    /// The same, but leaves bounds to the transport, and reads only when a permit comes.
    SlowEcho,
    /// The same as [`Manner::Echo`], and acknowledges each frame after its answer; equal input gives equal output.
    Acks,
    /// Refuses the call with a status.
    Refuse(tonic::Code),
    /// Answers `open` with an error message.
    Error,
    /// Takes the call and says nothing.
    Mute,
    /// Opens and then says nothing more.
    Deaf,
    /// Opens, then sends this.
    Says(Vec<ServerMessage>),
    /// Opens, then closes the stream.
    Leaves,
}

/// What a worker saw.
#[derive(Debug)]
pub(crate) enum Seen {
    Open {
        open: Box<Open>,
        authorization: Option<String>,
    },
    Message(ClientMessage),
    Overstepped,
}

impl Seen {
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }
}

pub(crate) struct Worker {
    pub(crate) address: SocketAddr,
    pub(crate) seen: mpsc::Receiver<Seen>,
    /// Each lets a [`Manner::SlowEcho`] read one frame.
    pub(crate) permits: queue::Sender<()>,
    runtime: Option<Runtime>,
}

impl Worker {
    pub(crate) fn start(manner: Manner) -> Self {
        Self::start_with(manner, None)
    }

    pub(crate) fn start_with(manner: Manner, identity: Option<Identity>) -> Self {
        Self::start_at("127.0.0.1:0", manner, identity)
    }

    pub(crate) fn start_at(address: &str, manner: Manner, identity: Option<Identity>) -> Self {
        let listener = TcpListener::bind(address).expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (service, seen, permits) = Service::new(manner);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let mut server = Server::builder();
            if let Some(identity) = identity {
                let tls = ServerTlsConfig::new().identity(identity);
                server = server.tls_config(tls).expect("a certificate");
            }
            server
                .initial_stream_window_size(64 << 10)
                .add_service(GatewayServer::new(service))
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
        });
        Self {
            address,
            seen,
            permits,
            runtime: Some(runtime),
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it in the middle of whatever it does; its sockets are closed.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// The `open` that it saw and the token that came with it.
    pub(crate) fn opened_with(&self) -> (Open, Option<String>) {
        match self.seen.recv().expect("it was called") {
            Seen::Open {
                open,
                authorization,
            } => (*open, authorization),
            other => panic!("{other:?} before open"),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) struct Service {
    manner: Manner,
    saw: mpsc::Sender<Seen>,
    permitted: std::sync::Mutex<Option<queue::Receiver<()>>>,
}

/// What a client sends, whatever carries it.
pub(crate) type Incoming =
    Pin<Box<dyn futures_util::Stream<Item = Result<v1::ClientMessage, Status>> + Send + Sync>>;

impl Service {
    /// A service that tells what it sees.
    pub(crate) fn new(manner: Manner) -> (Self, mpsc::Receiver<Seen>, queue::Sender<()>) {
        let (saw, seen) = mpsc::channel();
        let (permits, permitted) = queue::channel(1_024);
        let service = Self {
            manner,
            saw,
            permitted: std::sync::Mutex::new(Some(permitted)),
        };
        (service, seen, permits)
    }

    /// Begins a session; what it answers comes out of the receiver.
    pub(crate) fn begin(
        &self,
        incoming: Incoming,
        token: Option<String>,
    ) -> queue::Receiver<Result<v1::ServerMessage, Status>> {
        let (sender, outgoing) = queue::channel(64);
        let mut session = Session {
            incoming,
            sender,
            saw: self.saw.clone(),
            credit: 0,
            taken: 0,
            acks: false,
        };
        let manner = self.manner.clone();
        let permitted = self.permitted.lock().expect("not poisoned").take();
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends with the worker's runtime, which the test ends"
        )]
        tokio::spawn(async move { session.run(manner, token, permitted).await });
        outgoing
    }
}

type Outgoing = Pin<Box<dyn futures_util::Stream<Item = Result<v1::ServerMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Gateway for Service {
    type StreamStream = Outgoing;

    async fn stream(
        &self,
        request: Request<Streaming<v1::ClientMessage>>,
    ) -> Result<Response<Outgoing>, Status> {
        if let Manner::Refuse(code) = self.manner {
            return Err(Status::new(code, "as told"));
        }
        let token = request.metadata().get("authorization");
        let token = token.and_then(|value| value.to_str().ok().map(str::to_owned));
        let outgoing = self.begin(Box::pin(request.into_inner()), token);
        Ok(Response::new(ReceiverStream::new(outgoing).boxed()))
    }

    async fn execute(
        &self,
        request: Request<v1::ExecuteRequest>,
    ) -> Result<Response<v1::ExecuteResponse>, Status> {
        if let Manner::Refuse(code) = self.manner {
            return Err(Status::new(code, "as told"));
        }
        let execute = protobuf::decode_execute(request.into_inner(), Timestamp::ZERO);
        let execute = execute.expect("ours");
        let frames = execute.inputs.into_iter().flat_map(|(_, frames)| frames);
        let frames = frames.map(|mut frame| {
            frame.meta.caused_by = frame.meta.seq;
            frame.meta.service = Some(SERVICE);
            frame
        });
        let outputs = vec![(name("out"), frames.collect())];
        let response = protobuf::encode_outputs(outputs, Timestamp::ZERO);
        Ok(Response::new(response))
    }

    async fn list_pipelines(
        &self,
        _: Request<v1::ListPipelinesRequest>,
    ) -> Result<Response<v1::ListPipelinesResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn describe_pipeline(
        &self,
        request: Request<v1::DescribePipelineRequest>,
    ) -> Result<Response<v1::DescribePipelineResponse>, Status> {
        let name = request.into_inner().pipeline;
        if name != "echo" {
            return Err(Status::not_found(format!("no pipeline '{name}'")));
        }
        let ports = ports().into_iter().map(protobuf::encode_port).collect();
        Ok(Response::new(v1::DescribePipelineResponse {
            summary: Some(v1::PipelineSummary {
                name,
                ports,
                digest: "d1".into(),
                ..v1::PipelineSummary::default()
            }),
            gateway_id: "w1".into(),
            ..v1::DescribePipelineResponse::default()
        }))
    }
}

pub(crate) fn name(text: &str) -> PortName {
    PortName::new(text).expect("a name")
}

fn ports() -> Vec<Port> {
    let port = |text, direction| Port {
        name: name(text),
        direction,
        kind: Kind::Binary,
        format: None,
    };
    vec![port("in", Direction::Input), port("out", Direction::Output)]
}
