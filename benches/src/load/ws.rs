//! Frames through a WebSocket and back, one connection, in the protobuf subprotocol.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use tidegate_proto::v1::{
    self, ClientMessage, ServerMessage, client_message, frame::Payload, server_message,
};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::figures::{Figures, Times};
use crate::load::{Load, grpc};
use crate::server::Server;
use crate::{Failure, clock};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a session of `pipeline`, and gives the name of its input.
///
/// # Errors
/// If the server refuses.
pub async fn open(server: &Server, pipeline: &str) -> Result<(Socket, String), Failure> {
    let url = format!("ws://{}/v1/pipelines/{pipeline}/ws", server.address);
    let mut request = url.into_client_request()?;
    let protocol = HeaderValue::from_static("tidegate.v1.proto");
    request
        .headers_mut()
        .insert("sec-websocket-protocol", protocol);
    let stream = TcpStream::connect(server.address).await?;
    stream.set_nodelay(true)?;
    let stream = MaybeTlsStream::Plain(stream);
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    let open = v1::Open {
        source: Some(v1::open::Source::Pipeline(pipeline.to_owned())),
        mode: v1::Mode::Waits.into(),
        ..Default::default()
    };
    let open = ClientMessage {
        message: Some(client_message::Message::Open(open)),
    };
    socket
        .send(Message::Binary(open.encode_to_vec().into()))
        .await?;
    let opened = ServerMessage::decode(next(&mut socket).await?)?;
    let Some(server_message::Message::Opened(opened)) = opened.message else {
        return Err(format!("not opened: {opened:?}").into());
    };
    let input = i32::from(v1::Direction::Input);
    let port = opened
        .ports
        .into_iter()
        .find(|port| port.direction == input);
    Ok((socket, port.ok_or("a pipeline without input")?.name))
}

/// A connection to a bare echo, which knows no subprotocol and no sessions.
///
/// # Errors
/// If nobody listens.
pub async fn open_bare(server: &Server) -> Result<(Socket, String), Failure> {
    let stream = TcpStream::connect(server.address).await?;
    stream.set_nodelay(true)?;
    let url = format!("ws://{}/", server.address);
    let stream = MaybeTlsStream::Plain(stream);
    let (socket, _) = tokio_tungstenite::client_async(url, stream).await?;
    Ok((socket, "mic".to_owned()))
}

async fn next(socket: &mut Socket) -> Result<Bytes, Failure> {
    loop {
        match socket.next().await.ok_or("the connection ended")?? {
            Message::Binary(data) => return Ok(data),
            Message::Close(close) => return Err(format!("closed: {close:?}").into()),
            _ => {}
        }
    }
}

/// Keeps `load.window` frames on their way and takes the time of each. The same bytes go to a
/// bare echo and to the gateway; messages that carry no frame (a gateway's statistics) don't count.
///
/// # Errors
/// If the connection breaks.
pub async fn run(
    server: &Server,
    (mut socket, port): (Socket, String),
    load: Load,
) -> Result<Figures, Failure> {
    let (warm, data) = (
        clock::now() + load.warm_up,
        Bytes::from(vec![7_u8; load.payload]),
    );
    let (end, mut seq) = (warm + load.measured, 0);
    let mut sent = VecDeque::with_capacity(load.window);
    let (mut times, mut cpu_before) = (Times::default(), None);
    loop {
        while sent.len() < load.window {
            seq += 1;
            sent.push_back(clock::now());
            socket
                .feed(Message::Binary(frame(&port, seq, data.clone())))
                .await?;
        }
        socket.flush().await?;
        let answer = next(&mut socket).await?;
        if answer.len() < load.payload {
            continue;
        }
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
    Ok(grpc::summary(&times, cpu, load))
}

fn frame(port: &str, seq: u64, data: Bytes) -> Bytes {
    let codec = v1::AudioCodec::PcmS16.into();
    let format = v1::AudioFormat {
        codec,
        sample_rate: 16_000,
        channels: 1,
    };
    let frame = v1::Frame {
        port: port.to_owned(),
        seq,
        media_time: i64::try_from(seq - 1).unwrap_or(i64::MAX) * 20_000,
        payload: Some(Payload::Audio(v1::Audio {
            format: Some(format),
            data,
        })),
        ..Default::default()
    };
    let message = Some(client_message::Message::Frame(frame));
    ClientMessage { message }.encode_to_vec().into()
}
