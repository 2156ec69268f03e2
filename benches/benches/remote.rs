//! What a remote hop costs beside a bare tonic stream to the same echo, and what a message costs to encode and decode.
//!
//! `cargo bench -p tidegate-benches --bench remote`. Ping-pong of 640 B over loopback, one stream, client and server each on a
//! runtime of one thread; both clients in turn, several rounds, medians of their p50. Nothing is gated here: the end-to-end
//! figures, through two gateways, are `compare`'s.

use std::future::poll_fn;
use std::hint::black_box;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tidegate_benches::clock;
use tidegate_benches::figures::Times;
use tidegate_media::{Audio, AudioFormat, Frame, Kind, MediaTime, Payload, Timestamp};
use tidegate_nodes::{HopCommand, HopEvent, StreamFormat};
use tidegate_proto::message::{Direction, Mode, Opened, Port, StreamSpec};
use tidegate_proto::v1::gateway_client::GatewayClient;
use tidegate_proto::v1::gateway_server::{Gateway, GatewayServer};
use tidegate_proto::v1::{client_message, server_message};
use tidegate_proto::{ClientMessage, PortFormats, PortName, ServerMessage, json, protobuf, v1};
use tidegate_remote::{
    Connector, ConnectorConfig, HopConfig, HopPorts, OpenContext, RemoteConfig, RemoteHop, Target,
    Timeouts, Transport,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

const FORMAT: AudioFormat = AudioFormat::pcm_s16(16_000, 1);
const ROUNDS: usize = 5;
const WARM_UP: u32 = 2_000;
const TURNS: u32 = 20_000;
const CODINGS: u32 = 200_000;

fn main() {
    let mut out = std::io::stdout().lock();
    let mut say = |line: String| writeln!(out, "{line}").expect("somebody reads this");
    for (what, nanos) in codings() {
        say(format!("{what:<32} {nanos:>7.0} ns"));
    }
    let address = serve();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (mut bare, mut hop) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(runtime.block_on(bare_tonic(address)));
        hop.push(runtime.block_on(remote_hop(address)));
    }
    let (bare, hop) = (median(&mut bare), median(&mut hop));
    say(format!("bare tonic, ping-pong p50        {bare:>7.1} µs"));
    say(format!(
        "remote hop, ping-pong p50        {hop:>7.1} µs   {:.2}×",
        hop / bare
    ));
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn name(text: &str) -> PortName {
    PortName::new(text).expect("a name")
}

fn frame(seq: u64) -> Frame {
    let audio = Audio::encoded(FORMAT, Bytes::from_static(&[7; 640]));
    let mut frame = Frame::new(MediaTime::from_micros(20_000), Payload::Audio(audio));
    frame.meta.seq = seq;
    frame
}

/// Nanoseconds of one encoding or decoding.
fn codings() -> Vec<(&'static str, f64)> {
    let message = || ClientMessage::Frame {
        port: name("in"),
        frame: frame(1),
    };
    let (now, formats) = (Timestamp::ZERO, PortFormats::default());
    let bytes = protobuf::encode_client_bytes(message(), now);
    let text = json::encode_client(&message(), now);
    let native = message();
    vec![
        (
            "protobuf encode 640 B",
            each(|| {
                black_box(protobuf::encode_client_bytes(
                    black_box(native.clone()),
                    now,
                ));
            }),
        ),
        (
            "protobuf decode 640 B",
            each(|| {
                let bytes = black_box(bytes.clone());
                black_box(protobuf::decode_client_bytes(bytes, now, &formats).expect("ours"));
            }),
        ),
        (
            "JSON encode 640 B",
            each(|| {
                black_box(json::encode_client(black_box(&native), now));
            }),
        ),
        (
            "JSON decode 640 B",
            each(|| {
                black_box(json::decode_client(black_box(&text), now, &formats).expect("ours"));
            }),
        ),
    ]
}

fn each(mut work: impl FnMut()) -> f64 {
    let mut runs: Vec<_> = (0..5)
        .map(|_| {
            let began = clock::now();
            for _ in 0..CODINGS {
                work();
            }
            began.elapsed().as_secs_f64() * 1e9 / f64::from(CODINGS)
        })
        .collect();
    median(&mut runs)
}

async fn bare_tonic(address: SocketAddr) -> f64 {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let channel = endpoint
        .tcp_nodelay(true)
        .connect()
        .await
        .expect("it is there");
    let (sender, outgoing) = mpsc::channel(64);
    let source = Some(v1::open::Source::Pipeline("echo".into()));
    let open = v1::Open {
        source,
        ..v1::Open::default()
    };
    let send = |message| v1::ClientMessage {
        message: Some(message),
    };
    let first = send(client_message::Message::Open(open));
    sender.send(first).await.expect("room");
    let stream = GatewayClient::new(channel)
        .stream(ReceiverStream::new(outgoing))
        .await;
    let mut incoming = stream.expect("it answers").into_inner();
    incoming.message().await.expect("it opens");
    let mut times = Times::default();
    for turn in 0..WARM_UP + TURNS {
        let began = clock::now();
        let frame = protobuf::encode_frame("in".into(), frame(1), Timestamp::ZERO);
        let message = send(client_message::Message::Frame(frame));
        sender.send(message).await.expect("room");
        black_box(
            incoming
                .message()
                .await
                .expect("an answer")
                .expect("an answer"),
        );
        if turn >= WARM_UP {
            times.record(began.elapsed());
        }
    }
    times.micros(50.0)
}

async fn remote_hop(address: SocketAddr) -> f64 {
    let config = RemoteConfig {
        endpoints: vec![format!("http://{address}")],
        transport: Transport::Grpc,
        mode: tidegate_nodes::compile::remote::HopMode::Stream,
        target: Target::Pipeline("echo".into()),
        parameters: serde_json::Map::new(),
        timeouts: Timeouts::default(),
        auth: tidegate_remote::Auth::default(),
        foreign: None,
    };
    let audio = Some(StreamFormat::audio(FORMAT));
    let ports = HopPorts {
        hop: "worker".into(),
        inputs: vec![("in".into(), audio)],
        outputs: vec![("out".into(), audio)],
    };
    let context = OpenContext {
        now: Timestamp::ZERO,
        hop_count: 0,
        mode: Mode::Live,
        deadline: None,
        trace: None,
    };
    let connector = Connector::new(ConnectorConfig::default());
    let epoch = clock::now();
    let now = || Timestamp::from_nanos(u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(0));
    let hop = RemoteHop::open(&connector, &HopConfig::new(config), &ports, context, now).await;
    let mut hop = hop.expect("it opens");
    let mut times = Times::default();
    let mut credit = 0;
    for turn in 0..WARM_UP + TURNS {
        while credit == 0 {
            credit = credit_of(poll_fn(|cx| hop.poll_event(cx, now())).await);
        }
        credit -= 1;
        let began = clock::now();
        let (port, frame) = (0, frame(u64::from(turn) + 1));
        hop.send(now(), HopCommand::Frame { port, frame });
        loop {
            match poll_fn(|cx| hop.poll_event(cx, now())).await {
                HopEvent::Frame { frame, .. } => break drop(black_box(frame)),
                other => credit += credit_of(other),
            }
        }
        if turn >= WARM_UP {
            times.record(began.elapsed());
        }
    }
    times.micros(50.0)
}

fn credit_of(event: HopEvent) -> u32 {
    match event {
        HopEvent::Credit { frames, .. } => frames,
        HopEvent::Acknowledged { .. } | HopEvent::Note(_) => 0,
        other => panic!("{other:?} instead of credit"),
    }
}

/// The echo, on a thread of its own for as long as the process lives.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let incoming = TcpListenerStream::new(listener)
                .map(|socket| socket.inspect(|socket| socket.set_nodelay(true).expect("a socket")));
            Server::builder()
                .add_service(GatewayServer::new(Echo))
                .serve_with_incoming(incoming)
                .await
        })
    });
    address
}

struct Echo;

type Outgoing = Pin<Box<dyn Stream<Item = Result<v1::ServerMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Gateway for Echo {
    type StreamStream = Outgoing;

    async fn stream(
        &self,
        request: Request<Streaming<v1::ClientMessage>>,
    ) -> Result<Response<Outgoing>, Status> {
        let answers = request.into_inner().filter_map(|message| {
            std::future::ready(message.map(|message| echo(message.message?)).transpose())
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn execute(
        &self,
        _: Request<v1::ExecuteRequest>,
    ) -> Result<Response<v1::ExecuteResponse>, Status> {
        Err(Status::unimplemented("this is a bare echo"))
    }

    async fn list_pipelines(
        &self,
        _: Request<v1::ListPipelinesRequest>,
    ) -> Result<Response<v1::ListPipelinesResponse>, Status> {
        Err(Status::unimplemented("this is a bare echo"))
    }

    async fn describe_pipeline(
        &self,
        _: Request<v1::DescribePipelineRequest>,
    ) -> Result<Response<v1::DescribePipelineResponse>, Status> {
        Err(Status::unimplemented("this is a bare echo"))
    }
}

fn echo(message: client_message::Message) -> Option<v1::ServerMessage> {
    match message {
        client_message::Message::Frame(mut frame) => {
            frame.port = "out".into();
            frame.caused_by = frame.seq;
            let message = Some(server_message::Message::Frame(frame));
            Some(v1::ServerMessage { message })
        }
        client_message::Message::Open(_) => {
            let port = |text, direction| Port {
                name: name(text),
                direction,
                kind: Kind::Audio,
                format: Some(StreamSpec::Audio(FORMAT)),
            };
            let opened = Opened {
                ports: vec![port("in", Direction::Input), port("out", Direction::Output)],
                ..Opened::default()
            };
            let message = ServerMessage::Opened(Box::new(opened));
            Some(protobuf::encode_server(message, Timestamp::ZERO))
        }
        _ => None,
    }
}
