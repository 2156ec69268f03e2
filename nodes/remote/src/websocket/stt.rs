//! Speech to text by a plain WebSocket: 16-bit samples as binary messages in, JSON out, as Vosk's server and its like speak it.
//!
//! Each utterance is one connection, which is opened as it begins: its sound goes there as it comes. Sound that nobody has cut into
//! utterances is one connection too, and each result that stays is an utterance that the server has found. What is said before and after
//! the sound, and where in the JSON the words are, the manifest says (`options`).

use std::sync::{Arc, Once};

use futures_util::{Sink, SinkExt as _, Stream as Messages, StreamExt as _};
use http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Request, Uri};
use serde_json::Value;
use tidegate_nodes::compile::remote::WebsocketSttOptions;
use tidegate_proto::PortName;
use tidegate_proto::message::Execute;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use self::heard::Heard;
use super::errors;
use crate::connector::USER_AGENT as AGENT;
use crate::dial::{self, Place, Stream};
use crate::dialogue::{
    Answers, Call, Dialogue, Feed, Found, Server, Talk, Transcript, converse, early, silent,
};
use crate::error::RemoteError;
use crate::foreign::{Linked, Opening};
use crate::spoken::{frames, samples};

mod heard;

/// Makes ready to call.
pub(crate) fn open(opening: Opening<'_>) -> Result<Linked, RemoteError> {
    let gather = opening.gather()?.with_loose_frames_together().growing();
    let options: WebsocketSttOptions = opening.options()?;
    let server = opening.server()?;
    let talk = Stt {
        url: url(&server.place, &options.path)?,
        headers: opening.credential.headers().clone(),
        server,
        options,
        message_bytes: opening.message_bytes(),
        output: gather.output_port()?,
        found: Found::default(),
        wordless: Arc::new(Once::new()),
    };
    Ok(opening.link(Dialogue::new(talk), gather, false))
}

fn url(place: &Place, path: &str) -> Result<Uri, RemoteError> {
    let below = format!("{}{path}", place.base);
    Uri::builder()
        .scheme(if place.encrypted { "wss" } else { "ws" })
        .authority(place.authority.as_str())
        .path_and_query(if below.is_empty() { "/" } else { &below })
        .build()
        .map_err(|error| RemoteError::Config(format!("options.path cannot be used: {error}")))
}

#[derive(Clone)]
struct Stt {
    server: Server,
    url: Uri,
    headers: HeaderMap,
    options: WebsocketSttOptions,
    message_bytes: usize,
    output: PortName,
    /// Utterances that the server found, over all calls.
    found: Found,
    /// It was said that the server says nothing where its words are to be.
    wordless: Arc<Once>,
}

impl Talk for Stt {
    fn call(
        &mut self,
        execute: &Execute,
        feed: Feed,
        answers: Answers,
    ) -> Result<Call, RemoteError> {
        let output = self.output.clone();
        let transcript = Transcript::new(answers, feed.clone(), output, self.message_bytes);
        // Of sound that is no utterance the server must know where one ends.
        let loose = frames(execute).first();
        let loose = loose.is_some_and(|frame| frame.meta.utterance == 0);
        let transcript = if loose {
            transcript.finding(self.found.clone())
        } else {
            transcript
        };
        let this = self.clone();
        Ok(Box::pin(async move {
            let socket = this.server.within(this.connect()).await?;
            let (write, read) = socket.split();
            converse(this.speak(write, &feed), this.hear(read, transcript)).await
        }))
    }
}

impl Stt {
    async fn connect(&self) -> Result<WebSocketStream<Stream>, RemoteError> {
        let place = &self.server.place;
        let stream = dial::connect(place, self.server.tls.clone()).await?;
        let config = |error: &dyn std::fmt::Display| RemoteError::Config(error.to_string());
        let mut request = Request::get(self.url.clone())
            .body(())
            .map_err(|error| config(&error))?;
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        let value = |text: &str| HeaderValue::from_str(text).map_err(|error| config(&error));
        headers.insert(HOST, value(&place.authority)?);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_KEY, value(&generate_key())?);
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let limit = Some(self.message_bytes);
        let limits = WebSocketConfig::default()
            .max_message_size(limit)
            .max_frame_size(limit);
        let upgraded =
            tokio_tungstenite::client_async_with_config(request, stream, Some(limits)).await;
        Ok(upgraded.map_err(errors::refused)?.0)
    }

    /// Sends the sound as it comes, and what is said before and after it.
    async fn speak(
        &self,
        mut write: impl Sink<Message, Error = SocketError> + Unpin,
        feed: &Feed,
    ) -> Result<(), RemoteError> {
        if let Some(start) = &self.options.start {
            write.send(said(start)).await.map_err(errors::broken)?;
        }
        while let Some(frame) = feed.next().await {
            let message = Message::Binary(samples(&frame)?.data.clone());
            write.send(message).await.map_err(errors::broken)?;
        }
        if let Some(end) = &self.options.end {
            write.send(said(end)).await.map_err(errors::broken)?;
        }
        feed.tell();
        Ok(())
    }

    async fn hear(
        &self,
        mut read: impl Messages<Item = Result<Message, SocketError>> + Unpin,
        mut transcript: Transcript,
    ) -> Result<(), RemoteError> {
        // What stays, and whether the server has said that anything does.
        let (mut settled, mut stands, mut heard_any) = (String::new(), false, false);
        // Of a server that has said nothing yet where words are to be, the newest message.
        let mut elsewhere = None;
        loop {
            let message = match read.next().await {
                // That is how most say that nothing follows.
                Some(Ok(Message::Close(_))) | None if heard_any => break,
                Some(Ok(Message::Close(_))) | None => return Err(silent()),
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(errors::broken(error)),
            };
            let Message::Text(text) = message else {
                continue;
            };
            let heard = Heard::of(&self.options, text.as_str())?;
            elsewhere = match heard.text {
                None if elsewhere.is_some() || !heard_any => Some(text),
                _ => None,
            };
            heard_any = true;
            transcript.heard();
            match heard.text {
                Some((text, true)) if transcript.finds() => transcript.settle(&text).await,
                Some((text, stays)) => {
                    let so_far = joined(&settled, &text);
                    transcript.partial(&so_far).await?;
                    if stays {
                        (settled, stands) = (so_far, true);
                    }
                }
                None => {}
            }
            if heard.last {
                break;
            }
        }
        if !transcript.is_complete() {
            return Err(early());
        }
        if !stands && transcript.is_begun() {
            // Words that do not stay are no answer.
            return Err(silent());
        }
        if let Some(text) = elsewhere {
            self.wordless.call_once(|| self.warn_of(text.as_str()));
        }
        transcript.whole(&settled).await;
        Ok(())
    }
}

impl Stt {
    /// Most likely the options point elsewhere; but a server may say nothing of silence.
    fn warn_of(&self, text: &str) {
        let said = crate::refusal::quote(text.as_bytes());
        let at = &self.server.place.authority;
        let (text, partial) = (&self.options.text, self.options.partial.as_deref());
        tracing::warn!(
            endpoint = %at, said, text, partial,
            "a server of speech to text never said anything at 'options.text' or 'options.partial': look whether they point to its words"
        );
    }
}

/// Words that belong together.
fn joined(before: &str, words: &str) -> String {
    let gap = if before.is_empty() || words.is_empty() {
        ""
    } else {
        " "
    };
    format!("{before}{gap}{words}")
}

/// A message of the manifest's: a text as it is, or a JSON value as its text.
fn said(value: &Value) -> Message {
    match value {
        Value::String(text) => Message::Text(text.as_str().into()),
        other => Message::Text(other.to_string().into()),
    }
}
