//! Speech to text by a plain WebSocket: 16-bit samples as binary messages in, JSON out, as Vosk's server and its like speak it.
//!
//! Each utterance is one connection. What is said before and after the sound, and where in the JSON the words are, the manifest says
//! (`options`).

use futures_util::{SinkExt as _, StreamExt as _};
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
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::errors;
use crate::calls::{CallLink, Gather, opened};
use crate::config::{Foreign, HopPorts, OpenContext, RemoteConfig};
use crate::connector::{Connector, USER_AGENT as AGENT};
use crate::dial::{Place, Stream};
use crate::dialogue::{
    Answers, Call, Dialogue, Server, Talk, Transcript, failed, frames, media_time, silent,
};
use crate::error::RemoteError;
use crate::link::Link;
use crate::opening;
use crate::pool::Member;

/// Makes ready to call. Nothing is sent before there is something to call with.
pub(crate) fn open(
    connector: &Connector,
    member: &Member,
    (config, foreign): (&RemoteConfig, &Foreign),
    ports: &HopPorts,
    context: OpenContext,
) -> Result<(Box<dyn Link>, Opened), RemoteError> {
    let credential = config.auth.read(connector.files(), context.now)?;
    let message_bytes = connector.config().message_bytes;
    let gather = Gather::new(ports, config.mode, message_bytes)?.with_loose_frames_together();
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
}

impl Talk for Stt {
    fn call(&mut self, execute: Execute, answers: Answers) -> Result<Call, RemoteError> {
        let mut messages = Vec::new();
        messages.extend(self.options.start.as_ref().map(said));
        for frame in frames(&execute) {
            let Payload::Audio(audio) = &frame.payload else {
                return Err(RemoteError::Internal("a frame of an audio input is none"));
            };
            messages.push(Message::Binary(audio.data.clone()));
        }
        messages.extend(self.options.end.as_ref().map(said));
        let transcript = Transcript::new(answers, self.output.clone(), media_time(&execute));
        let this = self.clone();
        Ok(Box::pin(async move {
            let socket = this.connect().await?;
            this.converse(socket, messages, transcript).await
        }))
    }
}

impl Stt {
    async fn connect(&self) -> Result<WebSocketStream<Stream>, RemoteError> {
        let stream = self.server.dial().await?;
        let config = |error: &dyn std::fmt::Display| RemoteError::Config(error.to_string());
        let mut request = Request::get(self.url.clone())
            .body(())
            .map_err(|error| config(&error))?;
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        let value = |text: &str| HeaderValue::from_str(text).map_err(|error| config(&error));
        headers.insert(HOST, value(&self.server.place.authority)?);
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
        messages: Vec<Message>,
        transcript: Transcript,
    ) -> Result<(), RemoteError> {
        let (mut write, read) = socket.split();
        let sending = async {
            for message in messages {
                write.send(message).await.map_err(errors::broken)?;
            }
            Ok::<_, RemoteError>(())
        };
        let hearing = self.hear(read, transcript);
        tokio::pin!(hearing);
        tokio::select! {
            biased;
            heard = &mut hearing => return heard,
            // What the server said before it closed comes first: it says why.
            sent = sending => if let Err(error) = sent {
                return hearing.await.and(Err(error));
            },
        }
        hearing.await
    }

    async fn hear(
        &self,
        mut read: impl futures_util::Stream<
            Item = Result<Message, tokio_tungstenite::tungstenite::Error>,
        > + Unpin,
        mut transcript: Transcript,
    ) -> Result<(), RemoteError> {
        let (mut settled, mut heard_any) = (Vec::new(), false);
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
            let so_far = |more: &str| {
                let parts = settled.iter().map(String::as_str).chain([more]);
                let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
                parts.join(" ")
            };
            match heard.text {
                Some((text, true)) => {
                    transcript.partial(&so_far(&text)).await;
                    settled.push(text);
                }
                Some((text, false)) => transcript.partial(&so_far(&text)).await,
                None => {}
            }
            if heard.last {
                break;
            }
        }
        let parts: Vec<_> = settled.iter().map(|part| part.trim()).collect();
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        transcript.whole(&parts.collect::<Vec<_>>().join(" ")).await;
        Ok(())
    }
}

/// What one message of the server says.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    /// Words, and whether they stay.
    text: Option<(String, bool)>,
    /// Nothing follows.
    last: bool,
}

impl Heard {
    fn of(options: &WebsocketSttOptions, text: &str) -> Result<Self, RemoteError> {
        let value: Value = serde_json::from_str(text).map_err(|error| {
            let text = crate::refusal::quote(text.as_bytes());
            RemoteError::Protocol(format!("'{text}' is no JSON: {error}"))
        })?;
        let at = |pointer: &Option<String>| {
            let pointer = pointer.as_deref()?;
            value.pointer(pointer).filter(|value| is_true(value))
        };
        if let Some(error) = at(&options.error) {
            let said = error
                .as_str()
                .map_or_else(|| error.to_string(), str::to_owned);
            return Err(failed(&said));
        }
        let words = |pointer: &Option<String>| {
            let text = value.pointer(pointer.as_deref()?)?.as_str()?;
            Some(text.trim().to_owned())
        };
        let settled = options.settled.is_none() || at(&options.settled).is_some();
        let text = words(&Some(options.text.clone())).map(|text| (text, settled));
        let text = text.or_else(|| words(&options.partial).map(|text| (text, false)));
        Ok(Self {
            text,
            last: at(&options.last).is_some(),
        })
    }
}

/// Whether a value says yes: anything but null, false, nothing and 0.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(_) => true,
    }
}

/// A message of the manifest's: a text as it is, or a JSON value as its text.
fn said(value: &Value) -> Message {
    match value {
        Value::String(text) => Message::Text(text.as_str().into()),
        other => Message::Text(other.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn heard(options: Value, message: &Value) -> Result<Heard, RemoteError> {
        let options = serde_json::from_value(options).expect("options");
        Heard::of(&options, &message.to_string())
    }

    fn words(text: &str, stays: bool) -> Heard {
        Heard {
            text: Some((text.to_owned(), stays)),
            last: false,
        }
    }

    #[test]
    fn words_are_where_the_options_say_and_stay_if_they_say_so() {
        let vosk = || json!({"partial": "/partial"});
        let said = heard(vosk(), &json!({"partial": "and so"}));
        assert_eq!(said, Ok(words("and so", false)));
        let said = heard(vosk(), &json!({"text": " and so my "}));
        assert_eq!(said, Ok(words("and so my", true)));
        let other = || json!({"text": "/channel/alternatives/0/transcript", "final": "/is_final", "last": "/done"});
        let message = |stays: bool| json!({"channel": {"alternatives": [{"transcript": "ask"}]}, "is_final": stays, "error": null});
        assert_eq!(heard(other(), &message(false)), Ok(words("ask", false)));
        assert_eq!(heard(other(), &message(true)), Ok(words("ask", true)));
        let last = heard(other(), &json!({"done": true})).expect("a message");
        assert!(last.last && last.text.is_none(), "{last:?}");
    }

    #[test]
    fn an_error_and_what_is_no_json_fail_the_call() {
        let error = heard(json!({}), &json!({"error": {"code": 7}})).expect_err("an error");
        assert!(error.to_string().contains("{\"code\":7}"), "{error}");
        let options = WebsocketSttOptions::default();
        assert!(matches!(
            Heard::of(&options, "ready"),
            Err(RemoteError::Protocol(_))
        ));
    }
}
