//! `tidegate.v1.Gateway` by tonic: as it is meant, and with bytes in place of messages.

use std::str::FromStr as _;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use tidegate_proto::v1;
use tidegate_proto::v1::client_message::Message as Sent;
use tidegate_proto::v1::gateway_client::GatewayClient;
use tidegate_proto::v1::server_message::Message as Got;
use tidegate_tests::{Deadline, Gateway};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

use super::ANSWER_SECONDS;

/// Messages that a test has sent and the connection has not taken.
const CHANNEL: usize = 4;

/// A connection of its own to the gateway.
pub(crate) async fn connect(gateway: &Gateway) -> Channel {
    let endpoint = Endpoint::from_shared(gateway.url("")).expect("a URL");
    let by = Deadline::secs(ANSWER_SECONDS);
    let connected = by.wait(endpoint.connect()).await;
    connected.expect("in time").expect("it listens")
}

/// A client on a connection of its own that takes large messages.
pub(crate) async fn client(gateway: &Gateway) -> GatewayClient<Channel> {
    GatewayClient::new(connect(gateway).await).max_decoding_message_size(64 << 20)
}

/// A stream whose session stands.
pub(crate) struct Rpc {
    pub(crate) sender: mpsc::Sender<v1::ClientMessage>,
    pub(crate) receiver: Streaming<v1::ServerMessage>,
}

impl Rpc {
    /// Opens a session of a pipeline and reads `opened`.
    pub(crate) async fn open(gateway: &Gateway, pipeline: &str, mode: v1::Mode) -> Self {
        let mut opened = Self::try_open(gateway, open(pipeline, mode)).await;
        match &mut opened {
            Ok(rpc) => {
                let first = rpc.next().await.expect("a message");
                assert!(matches!(first, Got::Opened(_)), "{first:?}");
            }
            Err(status) => panic!("{status:?}\n{}", gateway.logs.text()),
        }
        opened.expect("checked")
    }

    /// Opens a session by this first message.
    pub(crate) async fn try_open(gateway: &Gateway, first: Sent) -> Result<Self, Box<Status>> {
        let (sender, outgoing) = mpsc::channel(CHANNEL);
        let first = v1::ClientMessage {
            message: Some(first),
        };
        sender.send(first).await.expect("the channel is empty");
        let mut client = client(gateway).await;
        let by = Deadline::secs(ANSWER_SECONDS);
        let answer = by.wait(client.stream(ReceiverStream::new(outgoing))).await;
        let receiver = answer.expect("an answer in time")?.into_inner();
        Ok(Self { sender, receiver })
    }

    /// The next message, or how the stream ended.
    pub(crate) async fn next(&mut self) -> Result<Got, Option<Box<Status>>> {
        let by = Deadline::secs(ANSWER_SECONDS);
        match by.wait(self.receiver.message()).await.expect("in time") {
            Ok(Some(message)) => Ok(message.message.expect("a message of this version")),
            Ok(None) => Err(None),
            Err(status) => Err(Some(Box::new(status))),
        }
    }

    /// Sends a message; `false` if the stream is over.
    pub(crate) async fn send(&self, message: Sent) -> bool {
        let message = v1::ClientMessage {
            message: Some(message),
        };
        self.sender.send(message).await.is_ok()
    }
}

/// An `open` message.
pub(crate) fn open(pipeline: &str, mode: v1::Mode) -> Sent {
    Sent::Open(v1::Open {
        source: Some(v1::open::Source::Pipeline(pipeline.to_owned())),
        mode: mode.into(),
        ..v1::Open::default()
    })
}

/// A frame of 16 kHz audio for `echo`, number `seq`.
pub(crate) fn audio(seq: u64, data: impl Into<Bytes>) -> Sent {
    let media_time = i64::try_from((seq - 1) * 20_000).expect("a short test");
    audio_at(seq, media_time, data)
}

/// As [`audio`], at a media time in microseconds.
pub(crate) fn audio_at(seq: u64, media_time: i64, data: impl Into<Bytes>) -> Sent {
    let audio = v1::Audio {
        format: None,
        data: data.into(),
    };
    Sent::Frame(v1::Frame {
        port: "mic".to_owned(),
        seq,
        media_time,
        payload: Some(v1::frame::Payload::Audio(audio)),
        ..v1::Frame::default()
    })
}

/// `Stream` with these bytes as its messages.
pub(crate) async fn stream_of_bytes(
    gateway: &Gateway,
    messages: Vec<Bytes>,
) -> Result<Response<Streaming<Bytes>>, Status> {
    let mut grpc = tonic::client::Grpc::new(connect(gateway).await);
    grpc.ready().await.expect("the connection stands");
    let path = PathAndQuery::from_str("/tidegate.v1.Gateway/Stream").expect("a path");
    let messages = tokio_stream::iter(messages);
    let by = Deadline::secs(ANSWER_SECONDS);
    by.wait(grpc.streaming(Request::new(messages), path, BytesCodec))
        .await
        .expect("an answer in time")
}

/// Messages as they are on the wire.
#[derive(Clone, Copy, Debug, Default)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
