//! Frames through `Gateway.Stream` and back, one session.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use tidegate_proto::v1::{
    self, ClientMessage, client_message, frame::Payload, gateway_client::GatewayClient,
    server_message,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::figures::{Figures, Times};
use crate::load::Load;
use crate::server::Server;
use crate::{Failure, clock};

/// Messages up to here are taken: a tensor of 1 MiB and some.
const MESSAGE_MAX: usize = 64 << 20;
/// What HTTP/2 allows in one frame in tuned runs, and the window of a stream and a connection.
const FRAME_MAX: u32 = 1 << 20;
const WINDOW: u32 = 8 << 20;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Plain audio, 16 kHz mono.
    Audio,
    /// A tensor of bytes.
    Tensor,
}

/// One open session.
#[derive(Debug)]
pub struct Session {
    sender: mpsc::Sender<ClientMessage>,
    receiver: Streaming<v1::ServerMessage>,
    port: String,
    seq: u64,
}

/// Connects; `tuned` raises the HTTP/2 frame and window sizes.
///
/// # Errors
/// If nobody listens.
pub async fn connect(server: &Server, tuned: bool) -> Result<GatewayClient<Channel>, Failure> {
    let mut endpoint = Endpoint::from_shared(server.url(""))?.tcp_nodelay(true);
    if tuned {
        endpoint = endpoint
            .max_frame_size(Some(FRAME_MAX))
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
    }
    let client = GatewayClient::new(endpoint.connect().await?);
    Ok(client
        .max_decoding_message_size(MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX))
}

impl Session {
    /// Opens `pipeline` as a client that waits.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn open(
        client: &mut GatewayClient<Channel>,
        pipeline: &str,
    ) -> Result<Self, Failure> {
        Self::open_as(client, pipeline, v1::Mode::Waits).await
    }

    /// Opens `pipeline` as a client that waits, or as one that cannot.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn open_as(
        client: &mut GatewayClient<Channel>,
        pipeline: &str,
        mode: v1::Mode,
    ) -> Result<Self, Failure> {
        let (sender, messages) = mpsc::channel(64);
        let open = v1::Open {
            source: Some(v1::open::Source::Pipeline(pipeline.to_owned())),
            mode: mode.into(),
            ..Default::default()
        };
        sender
            .send(ClientMessage {
                message: Some(client_message::Message::Open(open)),
            })
            .await?;
        let mut receiver = client
            .stream(ReceiverStream::new(messages))
            .await?
            .into_inner();
        let opened = match receiver
            .message()
            .await?
            .and_then(|message| message.message)
        {
            Some(server_message::Message::Opened(opened)) => opened,
            other => return Err(format!("not opened: {other:?}").into()),
        };
        let input = i32::from(v1::Direction::Input);
        let port = opened.ports.iter().find(|port| port.direction == input);
        let port = port.map_or_else(|| "mic".to_owned(), |port| port.name.clone());
        Ok(Self {
            sender,
            receiver,
            port,
            seq: 0,
        })
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// If the stream has ended.
    pub async fn send(&mut self, kind: Kind, data: Bytes) -> Result<(), Failure> {
        let media_time = i64::try_from(self.seq)? * 20_000;
        self.seq += 1;
        let payload = match kind {
            Kind::Audio => {
                let codec = v1::AudioCodec::PcmS16.into();
                let format = v1::AudioFormat {
                    codec,
                    sample_rate: 16_000,
                    channels: 1,
                };
                Payload::Audio(v1::Audio {
                    format: Some(format),
                    data,
                })
            }
            Kind::Tensor => {
                let shape = vec![u64::try_from(data.len())?];
                Payload::Tensor(v1::Tensor {
                    dtype: v1::Dtype::U8.into(),
                    shape,
                    data,
                })
            }
        };
        let frame = v1::Frame {
            port: self.port.clone(),
            seq: self.seq,
            media_time,
            payload: Some(payload),
            ..Default::default()
        };
        let message = Some(client_message::Message::Frame(frame));
        Ok(self.sender.send(ClientMessage { message }).await?)
    }

    /// Waits for the next frame, whatever else comes before it.
    ///
    /// # Errors
    /// If the stream ends or brings an error instead.
    pub async fn receive(&mut self) -> Result<v1::Frame, Failure> {
        loop {
            let message = self.receiver.message().await?.ok_or("the stream ended")?;
            match message.message {
                Some(server_message::Message::Frame(frame)) => return Ok(frame),
                Some(server_message::Message::Error(error)) => {
                    return Err(format!("{}: {}", error.code, error.message).into());
                }
                _ => {}
            }
        }
    }
}

/// Keeps `load.window` frames on their way and takes the time of each.
///
/// # Errors
/// If the session breaks.
pub async fn run(
    server: &Server,
    pipeline: &str,
    load: Load,
    kind: Kind,
    tuned: bool,
) -> Result<Figures, Failure> {
    let mut client = connect(server, tuned).await?;
    let mut session = Session::open(&mut client, pipeline).await?;
    let data = Bytes::from(vec![7_u8; load.payload]);
    let warm = clock::now() + load.warm_up;
    let end = warm + load.measured;
    let mut sent: VecDeque<Instant> = VecDeque::with_capacity(load.window);
    let (mut times, mut cpu_before) = (Times::default(), None);
    loop {
        while sent.len() < load.window {
            sent.push_back(clock::now());
            session.send(kind, data.clone()).await?;
        }
        session.receive().await?;
        let now = clock::now();
        let began = sent.pop_front().ok_or("an answer that nobody asked for")?;
        if now >= end {
            break;
        }
        if now >= warm {
            if cpu_before.is_none() {
                cpu_before = Some(server.cpu()?);
            }
            times.record(now - began);
        }
    }
    let cpu = server
        .cpu()?
        .saturating_sub(cpu_before.ok_or("no answer in time")?);
    Ok(summary(&times, cpu, load))
}

/// The figures of a request-and-answer load.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of one run are far below 2^52"
)]
pub fn summary(times: &Times, cpu: std::time::Duration, load: Load) -> Figures {
    let frames = times.count() as f64;
    Figures::from([
        ("p50 µs", times.micros(50.0)),
        ("p99 µs", times.micros(99.0)),
        ("server CPU µs/frame", cpu.as_secs_f64() * 1e6 / frames),
        ("frames/s", frames / load.measured.as_secs_f64()),
        ("frames/s a core", frames / cpu.as_secs_f64()),
    ])
}
