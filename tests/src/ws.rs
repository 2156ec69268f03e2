//! A WebSocket client that can misbehave: for tests of what a gateway survives.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::clock::Deadline;
use crate::gateway::Gateway;

/// No answer of these tests takes longer.
const ANSWER_MAX_SECONDS: u64 = 60;

/// One connection in the subprotocol `tidegate.v1.json`.
#[derive(Debug)]
pub struct Ws {
    socket: WebSocketStream<TcpStream>,
}

impl Ws {
    /// Connects to a pipeline's WebSocket and sends nothing.
    ///
    /// # Errors
    /// The status that the gateway refuses with, or that it does not answer.
    pub async fn connect(gateway: &Gateway, pipeline: &str) -> Result<Self, tungstenite::Error> {
        let url = format!("ws://{}/v1/pipelines/{pipeline}/ws", gateway.address);
        let mut request = url.into_client_request()?;
        let protocol = HeaderValue::from_static("tidegate.v1.json");
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        let stream = TcpStream::connect(gateway.address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            socket: client_async(request, stream).await?.0,
        })
    }

    /// Connects and opens a session: `open` is the message's body. Gives the `opened` message's.
    ///
    /// # Panics
    /// If the session is not opened.
    pub async fn open(gateway: &Gateway, pipeline: &str, open: Value) -> (Self, Value) {
        let mut client = Self::connect(gateway, pipeline)
            .await
            .unwrap_or_else(|e| panic!("no connection: {e}\n{}", gateway.logs.text()));
        client.send("open", open).await;
        let (kind, body) = client.next().await.expect("an answer to open");
        assert_eq!(kind, "opened", "{body}\n{}", gateway.logs.text());
        (client, body)
    }

    /// Sends one message of this kind.
    ///
    /// # Panics
    /// If the connection has ended.
    pub async fn send(&mut self, kind: &str, body: Value) {
        self.send_text(json!({ kind: body }).to_string())
            .await
            .expect("the connection is open");
    }

    /// Sends 20 ms of silence at 16 kHz as frame `seq` of the input `mic`.
    ///
    /// # Panics
    /// If the connection has ended.
    pub async fn send_frame(&mut self, seq: u64) {
        // 640 zero bytes are 853 letters A and one sign of padding, less a byte.
        let audio = json!({
            "format": {"codec": "pcm_s16", "sample_rate": 16000, "channels": 1},
            "data": "A".repeat(852) + "AA==",
        });
        let media_time = (seq - 1) * 20_000;
        let frame = json!({"port": "mic", "seq": seq, "media_time": media_time, "audio": audio});
        self.send("frame", frame).await;
    }

    /// Sends text that may be no message at all.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn send_text(&mut self, text: String) -> Result<(), tungstenite::Error> {
        self.socket.send(Message::Text(text.into())).await
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn send_binary(&mut self, data: Vec<u8>) -> Result<(), tungstenite::Error> {
        self.socket.send(Message::Binary(data.into())).await
    }

    /// The next message as its kind and body; raw audio is of kind `raw`, a close of kind `close`
    /// with its code. `None` once the connection has ended.
    ///
    /// # Panics
    /// If nothing comes for a minute.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        let by = Deadline::secs(ANSWER_MAX_SECONDS);
        loop {
            let message = by
                .wait(self.socket.next())
                .await
                .expect("something to read");
            return match message?.ok()? {
                Message::Text(text) => {
                    let value: Value = serde_json::from_str(&text).expect("messages are JSON");
                    let object = value.as_object().expect("a message is an object");
                    assert_eq!(object.len(), 1, "one key names the message: {value}");
                    object
                        .iter()
                        .next()
                        .map(|(kind, body)| (kind.clone(), body.clone()))
                }
                Message::Binary(data) => Some(("raw".to_owned(), json!(data.len()))),
                Message::Close(close) => {
                    let code = close.map(|close| u16::from(close.code));
                    Some(("close".to_owned(), json!(code)))
                }
                _ => continue,
            };
        }
    }

    /// Reads until a message of this kind comes, and gives its body.
    ///
    /// # Panics
    /// If the connection ends before, or nothing comes for a minute.
    pub async fn until(&mut self, kind: &str) -> Value {
        let mut before = Vec::new();
        while let Some((found, body)) = self.next().await {
            if found == kind {
                return body;
            }
            if found != "frame" && found != "raw" {
                before.push(format!("{found}: {body}"));
            }
        }
        panic!("the connection ended without '{kind}', after {before:?}");
    }

    /// Sends these messages, one each `pace`, while it reads; gives every message that came until the connection ended.
    ///
    /// # Panics
    /// If the deadline passes first, or what comes is no message.
    pub async fn converse(
        self,
        messages: Vec<(&'static str, Value)>,
        pace: Duration,
        by: Deadline,
    ) -> Vec<(String, Value)> {
        let (mut out, mut back) = self.socket.split();
        let sending = async {
            let mut turn = tokio::time::interval(pace);
            for (kind, body) in messages {
                turn.tick().await;
                let text = json!({ kind: body }).to_string();
                if out.send(Message::Text(text.into())).await.is_err() {
                    // Whoever reads learns why.
                    return;
                }
            }
        };
        let mut came = Vec::new();
        let reading = async {
            while let Some(Ok(message)) = back.next().await {
                if let Message::Text(text) = message {
                    let value: Value = serde_json::from_str(&text).expect("messages are JSON");
                    let object = value.as_object().expect("a message is an object");
                    came.extend(object.iter().map(|(k, v)| (k.clone(), v.clone())));
                }
            }
        };
        let done = by.wait(futures_util::future::join(sending, reading)).await;
        assert!(done.is_some(), "no end; last came {:?}", came.last());
        came
    }

    /// Ends like a crash: the socket is closed without a word.
    pub fn vanish(self) {
        drop(self);
    }
}
