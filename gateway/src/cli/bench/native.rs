//! A session of the native stream, on WebSocket or gRPC.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::header;
use tidegate_media::{Kind, Timestamp};
use tidegate_proto::message::{
    ClientMessage, Direction, Mode, Open, Opened, PortFormats, ServerMessage, Source, StreamSpec,
};
use tidegate_proto::{PortName, protobuf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::connect::Stream;
use super::frames::{Maker, inputs};
use super::tally::{Sent, Tally};
use super::{BenchError, Load, PATIENCE};

/// Messages that may wait for gRPC's flow control; a load that outruns it waits here, and that is measured.
const QUEUE: usize = 64;
/// What carries a message on, at most: frames of the largest `--size`, and room for what is around them.
const MESSAGE: usize = 32 << 20;
/// HTTP/2 frames of 1 MiB, as the gateway's own hops use.
const HTTP2_FRAME: u32 = 1 << 20;

/// One session's connection.
enum Wire {
    WebSocket(Box<WebSocketStream<Box<dyn Stream>>>),
    Grpc {
        out: mpsc::Sender<tidegate_proto::v1::ClientMessage>,
        back: Box<tonic::Streaming<tidegate_proto::v1::ServerMessage>>,
    },
}

/// A session on WebSocket.
pub(super) async fn websocket(load: &Load, tally: &mut Tally) -> Result<(), BenchError> {
    let path = format!("/v1/pipelines/{}/ws", load.bench.pipeline);
    let begun = load.clock.now();
    let stream = load.target.connect().await?;
    let request = load.target.websocket(&path).into_client_request();
    let mut request = request.map_err(session)?;
    let headers = request.headers_mut();
    let protocol = header::HeaderValue::from_static("tidegate.v1.proto");
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    if let Some(value) = load.target.authorization() {
        headers.insert(header::AUTHORIZATION, value);
    }
    let upgrading = tokio_tungstenite::client_async(request, stream);
    let (socket, _) = load.target.patiently(upgrading).await?.map_err(session)?;
    let mut wire = Wire::WebSocket(Box::new(socket));
    wire.send(ClientMessage::Open(Box::new(open(load))), begun)
        .await?;
    run(load, tally, wire, begun).await
}

/// A session on gRPC.
pub(super) async fn grpc(load: &Load, tally: &mut Tally) -> Result<(), BenchError> {
    use tidegate_proto::v1::gateway_client::GatewayClient;
    use tonic::transport::{ClientTlsConfig, Endpoint};
    let begun = load.clock.now();
    let endpoint = Endpoint::from_shared(load.target.url.clone()).map_err(session)?;
    let mut endpoint = endpoint
        .connect_timeout(PATIENCE)
        .tcp_nodelay(true)
        .max_frame_size(HTTP2_FRAME);
    if load.target.url.starts_with("https") {
        let tls = ClientTlsConfig::new().with_native_roots();
        endpoint = endpoint.tls_config(tls).map_err(session)?;
    }
    let channel = endpoint.connect().await.map_err(session)?;
    let mut client = GatewayClient::new(channel)
        .max_decoding_message_size(MESSAGE)
        .max_encoding_message_size(MESSAGE);
    let (out, receiver) = mpsc::channel(QUEUE);
    let first = ClientMessage::Open(Box::new(open(load)));
    out.send(protobuf::encode_client(first, begun))
        .await
        .map_err(session)?;
    let mut request = tonic::Request::new(ReceiverStream::new(receiver));
    if let Some(value) = load.target.authorization()
        && let Ok(value) = tonic::metadata::MetadataValue::try_from(value.as_bytes())
    {
        request.metadata_mut().insert("authorization", value);
    }
    let answer = load.target.patiently(client.stream(request)).await?;
    let back = answer.map_err(|status| BenchError::Session(status.message().to_owned()))?;
    let back = Box::new(back.into_inner());
    run(load, tally, Wire::Grpc { out, back }, begun).await
}

/// What opens the session. Without a rate its client can be told to wait; with one it is live, as callers are.
fn open(load: &Load) -> Open {
    let audio = |(name, kind): (PortName, Kind)| {
        (kind == Kind::Audio).then_some((name, StreamSpec::Audio(StreamSpec::DEFAULT_AUDIO)))
    };
    Open {
        source: Source::Pipeline(load.bench.pipeline.clone()),
        mode: if load.bench.rate == 0 {
            Mode::Waits
        } else {
            Mode::Live
        },
        inputs: inputs(&load.about).into_iter().filter_map(audio).collect(),
        ..Open::default()
    }
}

/// Sends frames and takes what comes back, until the time is over.
async fn run(
    load: &Load,
    tally: &mut Tally,
    mut wire: Wire,
    begun: Timestamp,
) -> Result<(), BenchError> {
    let opened = load.target.patiently(wire.opened(load)).await??;
    tally.opened(load.clock.now().saturating_since(begun));
    let formats = PortFormats::of_opened(&opened);
    let mut ports = opened
        .ports
        .into_iter()
        .filter(|port| port.direction == Direction::Input);
    let input = ports.next();
    let input = input.ok_or_else(|| BenchError::Session("the pipeline has no input".to_owned()))?;
    let maker = Maker::new(input.kind, load.bench.size as usize)?;
    for port in ports {
        let end = ClientMessage::End {
            port: Some(port.name),
        };
        wire.send(end, load.clock.now()).await?;
    }
    let mut talk = Talk {
        load,
        tally,
        wire,
        formats,
        input: input.name,
        maker,
        sent: Sent::default(),
        in_flight: VecDeque::new(),
    };
    if load.bench.rate == 0 {
        talk.keep_in_flight().await?;
    } else {
        talk.at_rate(load.bench.rate).await?;
    }
    talk.end().await
}

/// A session that is open.
struct Talk<'a> {
    load: &'a Load,
    tally: &'a mut Tally,
    wire: Wire,
    formats: PortFormats,
    input: PortName,
    maker: Maker,
    sent: Sent,
    /// Numbers of frames of which nothing has come back yet, oldest first; only without a rate.
    in_flight: VecDeque<u64>,
}

impl Talk<'_> {
    /// Sends at a rate, whatever comes back.
    async fn at_rate(&mut self, rate: u32) -> Result<(), BenchError> {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
        while self.load.clock.now() < self.tally.end() {
            tokio::select! {
                due = ticks.tick() => {
                    let due = self.load.clock.timestamp(due.into_std());
                    self.send(due).await?;
                }
                message = self.wire.next(self.load, &self.formats) => self.take(message?)?,
            }
        }
        Ok(())
    }

    /// Keeps a number of frames in flight.
    async fn keep_in_flight(&mut self) -> Result<(), BenchError> {
        while self.load.clock.now() < self.tally.end() {
            while self.in_flight.len() < self.load.bench.window as usize {
                let now = self.load.clock.now();
                let number = self.send(now).await?;
                self.in_flight.push_back(number);
            }
            let next = self.wire.next(self.load, &self.formats);
            let message = self.load.target.patiently(next).await??;
            self.take(message)?;
        }
        Ok(())
    }

    /// Sends the next frame, which was due at a time; gives its number.
    async fn send(&mut self, due: Timestamp) -> Result<u64, BenchError> {
        let number = self.sent.push(due);
        self.tally.sent(due, self.maker.size());
        let frame = self.maker.frame(number);
        let port = self.input.clone();
        self.wire
            .send(ClientMessage::Frame { port, frame }, due)
            .await?;
        Ok(number)
    }

    fn take(&mut self, message: Option<ServerMessage>) -> Result<(), BenchError> {
        match message {
            Some(ServerMessage::Frame { frame, .. }) => {
                let cause = frame.meta.caused_by;
                // One input may cause several outputs; the first is its answer, and answers come in order.
                while self
                    .in_flight
                    .front()
                    .is_some_and(|number| *number <= cause)
                {
                    self.in_flight.pop_front();
                }
                if let Some(sent) = self.sent.at(cause) {
                    self.tally.received(sent, self.load.clock.now());
                }
                Ok(())
            }
            Some(ServerMessage::Error(error)) => Err(BenchError::Session(format!(
                "{}: {}",
                error.code, error.message
            ))),
            Some(ServerMessage::Ended { reason }) => Err(BenchError::Session(format!(
                "the session ended early: {reason}"
            ))),
            None => Err(BenchError::Session("the connection ended early".to_owned())),
            Some(_) => Ok(()),
        }
    }

    /// Ends the session, and takes what is still on its way.
    async fn end(mut self) -> Result<(), BenchError> {
        let end = ClientMessage::End { port: None };
        self.wire.send(end, self.load.clock.now()).await?;
        let load = self.load;
        let rest = async {
            loop {
                let message = self.wire.next(load, &self.formats).await?;
                if matches!(message, None | Some(ServerMessage::Ended { .. })) {
                    return Ok(());
                }
                self.take(message)?;
            }
        };
        load.target.patiently(rest).await?
    }
}

impl Wire {
    async fn send(&mut self, message: ClientMessage, now: Timestamp) -> Result<(), BenchError> {
        match self {
            Self::WebSocket(socket) => {
                let bytes = protobuf::encode_client_bytes(message, now);
                socket.send(Message::Binary(bytes)).await.map_err(session)
            }
            Self::Grpc { out, .. } => {
                let message = protobuf::encode_client(message, now);
                out.send(message)
                    .await
                    .map_err(|_| BenchError::Session("the gateway closed the stream".to_owned()))
            }
        }
    }

    /// The next message that this version knows; `None` at the end. Cancel safe.
    async fn next(
        &mut self,
        load: &Load,
        formats: &PortFormats,
    ) -> Result<Option<ServerMessage>, BenchError> {
        loop {
            let decoded = match self {
                Self::WebSocket(socket) => match socket.next().await {
                    None | Some(Ok(Message::Close(_))) => return Ok(None),
                    Some(Ok(Message::Binary(bytes))) => {
                        protobuf::decode_server_bytes(bytes, load.clock.now(), formats)
                    }
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Err(session(error)),
                },
                Self::Grpc { back, .. } => match back.message().await {
                    Ok(None) => return Ok(None),
                    Ok(Some(message)) => {
                        protobuf::decode_server(message, load.clock.now(), formats)
                    }
                    Err(status) => return Err(BenchError::Session(status.message().to_owned())),
                },
            };
            if let Some(message) = decoded.map_err(session)? {
                return Ok(Some(message));
            }
        }
    }

    async fn opened(&mut self, load: &Load) -> Result<Opened, BenchError> {
        match self.next(load, &PortFormats::default()).await? {
            Some(ServerMessage::Opened(opened)) => Ok(*opened),
            Some(ServerMessage::Error(error)) => Err(BenchError::Session(format!(
                "{}: {}",
                error.code, error.message
            ))),
            _ => Err(BenchError::Session(
                "the first message was not 'opened'".to_owned(),
            )),
        }
    }
}

fn session(error: impl std::error::Error) -> BenchError {
    BenchError::Session(chain(&error))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
