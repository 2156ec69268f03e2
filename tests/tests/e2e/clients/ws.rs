//! The native WebSocket, JSON messages or whatever bytes a test wants to send.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tidegate_tests::{Deadline, Gateway};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::ANSWER_SECONDS;

pub(crate) const JSON: &str = "tidegate.v1.json";
pub(crate) const PROTO: &str = "tidegate.v1.proto";

/// A WebSocket client.
pub(crate) struct Ws<S = TcpStream> {
    pub(crate) stream: WebSocketStream<S>,
}

/// How a socket ended: the error message that came before, and the close code.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) error: Value,
    /// 1005 if the close had no code, 1006 if the connection ended without one (RFC 6455 §7.4.1).
    pub(crate) close: u16,
    /// Messages that were neither error nor `ended`.
    pub(crate) others: Vec<Value>,
}

impl Ending {
    /// The stable code of the error message, empty if there was none.
    pub(crate) fn code(&self) -> &str {
        self.error["code"].as_str().unwrap_or_default()
    }
}

impl Ws {
    /// Upgrades on a pipeline's path (its query may follow the name), or without a name where `open` says what to run.
    pub(crate) async fn connect(gateway: &Gateway, pipeline: &str, protocol: &str) -> Self {
        let by = Deadline::secs(ANSWER_SECONDS);
        let connected = by.wait(Self::try_connect(gateway.address, pipeline, protocol, &[]));
        connected
            .await
            .unwrap_or_else(|| panic!("no upgrade in time:\n{}", gateway.logs.text()))
            .unwrap_or_else(|e| panic!("no upgrade: {e}\n{}", gateway.logs.text()))
    }

    /// As [`Ws::connect`], with headers, and whatever the answer is.
    pub(crate) async fn try_connect(
        address: SocketAddr,
        pipeline: &str,
        protocol: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Self::upgrade(
            stream,
            "ws",
            &address.to_string(),
            pipeline,
            protocol,
            headers,
        )
        .await
    }

    /// Upgrades and opens; the session stands when this returns.
    pub(crate) async fn open(gateway: &Gateway, pipeline: &str, open: Value) -> (Self, Value) {
        let mut ws = Self::connect(gateway, pipeline, JSON).await;
        ws.send(&json!({"open": open})).await;
        let opened = ws.next_of("opened").await;
        (ws, opened)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Ws<S> {
    /// Upgrades over a stream that stands.
    pub(crate) async fn upgrade(
        stream: S,
        scheme: &str,
        host: &str,
        pipeline: &str,
        protocol: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Error> {
        let (name, query) = pipeline.split_once('?').unwrap_or((pipeline, ""));
        let path = match name {
            "" => "/v1/ws".to_owned(),
            name => format!("/v1/pipelines/{name}/ws"),
        };
        let url = format!("{scheme}://{host}{path}?{query}");
        let mut request = url.into_client_request()?;
        let fixed = ("sec-websocket-protocol", protocol);
        for (name, value) in std::iter::once(&fixed).chain(headers) {
            request
                .headers_mut()
                .insert(*name, value.parse().expect("a header's value"));
        }
        let config = WebSocketConfig::default().max_message_size(Some(64 << 20));
        let (stream, _) =
            tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
        Ok(Self { stream })
    }

    /// Sends a JSON message.
    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_raw(Message::text(message.to_string()))
            .await
            .expect("the gateway listens");
    }

    /// Sends anything.
    pub(crate) async fn send_raw(&mut self, message: Message) -> Result<(), Error> {
        let by = Deadline::secs(ANSWER_SECONDS);
        by.wait(self.stream.send(message))
            .await
            .expect("the gateway reads")
    }

    /// The next message; `Err` with the close code at the end.
    pub(crate) async fn next(&mut self) -> Result<Message, u16> {
        let by = Deadline::secs(ANSWER_SECONDS);
        loop {
            let next = by.wait(self.stream.next()).await;
            match next.expect("the gateway says something in time") {
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(message)) => return Ok(message),
                Some(Err(_)) | None => return Err(1006),
            }
        }
    }

    /// The next JSON message.
    pub(crate) async fn next_json(&mut self) -> Result<Value, u16> {
        let message = self.next().await?;
        let text = message.to_text().expect("a text message");
        Ok(serde_json::from_str(text).expect("JSON"))
    }

    /// Reads on to the next message of a kind.
    ///
    /// # Panics
    /// If an error or the end comes first.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next_json().await;
            let message = message.unwrap_or_else(|code| panic!("closed by {code} before {kind}"));
            if !message[kind].is_null() {
                return message[kind].clone();
            }
            assert!(message["error"].is_null(), "{message} before {kind}");
        }
    }

    /// Reads to the end.
    pub(crate) async fn ending(&mut self) -> Ending {
        let (mut error, mut others) = (Value::Null, Vec::new());
        loop {
            match self.next_json().await {
                Err(close) => {
                    return Ending {
                        error,
                        close,
                        others,
                    };
                }
                Ok(message) if !message["error"].is_null() => error = message["error"].clone(),
                Ok(message) if !message["ended"].is_null() => {}
                Ok(message) => others.push(message),
            }
        }
    }
}
