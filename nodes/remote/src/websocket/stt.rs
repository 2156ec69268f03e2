//! Speech to text by a plain WebSocket: 16-bit samples as binary messages in, JSON out, as Vosk's server and its like speak it.
//!
//! Each utterance is one connection, which is opened as it begins: its sound goes there as it comes. Sound that nobody has cut into
//! utterances is one connection too, and each result that stays is an utterance that the server has found. What is said before and after
//! the sound, and where in the JSON the words are, the manifest says (`options`).

use futures_util::{Sink, SinkExt as _, Stream as Messages, StreamExt as _};
use http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Request, Uri};
use serde_json::Value;
use tidegate_media::Payload;
use tidegate_nodes::compile::remote::WebsocketSttOptions;
use tidegate_proto::PortName;
use tidegate_proto::message::{Execute, Opened};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use self::heard::Heard;
use super::errors;
use crate::calls::{CallLink, Gather, opened};
use crate::config::{Foreign, HopPorts, OpenContext, RemoteConfig};
use crate::connector::{Connector, USER_AGENT as AGENT};
use crate::dial::{self, Place, Stream};
use crate::dialogue::{
    Answers, Call, Dialogue, Feed, Found, Server, Talk, Transcript, early, silent,
};
use crate::error::RemoteError;
use crate::link::Link;
use crate::opening;
use crate::pool::Member;
use crate::spoken::frames;

mod heard;

/// Makes ready to call. Nothing is sent before there is something to call with.
pub(crate) fn open(
    connector: &Connector,
    member: &Member,
    (config, foreign): (&RemoteConfig, &Foreign),
    ports: &HopPorts,
    context: OpenContext,
) -> Result<(Box<dyn Link>, Opened), RemoteError> {
    let credential = opening::credential(connector, config, context)?;
    let message_bytes = connector.config().message_bytes;
    let gather = Gather::new(ports, config.mode, message_bytes)?
        .with_loose_frames_together()
        .growing();
    let output = gather.output_name().ok_or_else(|| {
        RemoteError::Config("nothing is joined to the output of the hop".to_owned())
    })?;
    let options = Value::Object(foreign.options.clone());
    let options: WebsocketSttOptions = serde_json::from_value(options)
        .map_err(|error| RemoteError::Config(format!("'options' cannot be used: {error}")))?;
    let place = Place::of(member)?;
    let tls = place
        .encrypted
        .then(|| connector.tls(credential.tls()))
        .transpose()?;
    let talk = Stt {
        url: url(&place, &options.path)?,
        headers: credential.headers().clone(),
        server: Server {
            place,
            tls,
            connect: config.timeouts.connect,
        },
        options,
        message_bytes,
        output,
        found: Found::default(),
    };
    let terms = opening::terms(config, context);
    let opened = opened(&gather, &terms.source);
    let link = CallLink::new(Dialogue::new(talk), terms, gather, credential);
    Ok((Box::new(link), opened))
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
}

impl Talk for Stt {
    fn call(
        &mut self,
        execute: &Execute,
        feed: Feed,
        answers: Answers,
    ) -> Result<Call, RemoteError> {
        let transcript = Transcript::new(answers, feed.clone(), self.output.clone());
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
            this.converse(socket, feed, transcript).await
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

    async fn converse(
        &self,
        socket: WebSocketStream<Stream>,
        feed: Feed,
        transcript: Transcript,
    ) -> Result<(), RemoteError> {
        let (write, read) = socket.split();
        let hearing = self.hear(read, transcript);
        tokio::pin!(hearing);
        tokio::select! {
            biased;
            heard = &mut hearing => return heard,
            // What the server said before it closed comes first: it says why.
            sent = self.speak(write, &feed) => if let Err(error) = sent {
                return hearing.await.and(Err(error));
            },
        }
        hearing.await
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
            let Payload::Audio(audio) = &frame.payload else {
                return Err(RemoteError::Internal("a frame of an audio input is none"));
            };
            let message = Message::Binary(audio.data.clone());
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
        let (mut settled, mut heard_any) = (Vec::<String>::new(), false);
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
            heard_any = true;
            transcript.heard();
            match heard.text {
                Some((text, true)) if transcript.finds() => transcript.settle(&text).await,
                Some((text, stays)) => {
                    let so_far = settled.iter().map(String::as_str).chain([text.as_str()]);
                    transcript.partial(&joined(so_far)).await;
                    settled.extend(Some(text).filter(|_| stays));
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
        if settled.is_empty() && transcript.is_begun() {
            // Words that do not stay are no answer.
            return Err(silent());
        }
        let whole = joined(settled.iter().map(String::as_str));
        transcript.whole(&whole).await;
        Ok(())
    }
}

/// Words that belong together.
fn joined<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let parts = parts.map(str::trim).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(" ")
}

/// A message of the manifest's: a text as it is, or a JSON value as its text.
fn said(value: &Value) -> Message {
    match value {
        Value::String(text) => Message::Text(text.as_str().into()),
        other => Message::Text(other.to_string().into()),
    }
}
