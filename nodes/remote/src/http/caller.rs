//! One call after the other, as HTTP requests.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::Error as ClientError;
use tidegate_media::Timestamp;
use tidegate_proto::message::Execute;
use tidegate_proto::{PortFormats, ServerMessage, json};

use super::client::{Client, Responding};
use super::lines::Lines;
use crate::calls::{Answer, Caller};
use crate::connector::USER_AGENT as AGENT;
use crate::error::{RemoteError, chain};
use crate::refusal;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
/// So much of a refusal is read: problem details have some hundred bytes.
const REFUSAL_MAX: usize = 64 << 10;

/// Makes calls of one place.
pub(super) struct HttpCaller {
    client: Client,
    url: Uri,
    credentials: HeaderMap,
    /// Answers are wanted as they come.
    streamed: bool,
    /// Bytes of an answer, or of one of its lines.
    answer_max: usize,
    state: State,
}

enum State {
    Idle,
    /// The request is on its way.
    Asked(Responding),
    /// The answer is being read.
    Reading {
        form: Form,
        body: Incoming,
        read: BytesMut,
    },
    /// It was read to its end.
    Giving(VecDeque<Answer>),
}

/// What an answer is.
enum Form {
    /// All outputs in one object.
    Whole,
    /// A message a line.
    Lines(Lines),
    /// No success.
    Refusal(StatusCode, HeaderMap),
}

impl HttpCaller {
    pub(super) const fn new(
        client: Client,
        url: Uri,
        credentials: HeaderMap,
        streamed: bool,
        message_bytes: usize,
    ) -> Self {
        Self {
            client,
            url,
            credentials,
            streamed,
            // Base64 makes four bytes of three; the rest is for what stands around it.
            answer_max: message_bytes.saturating_mul(2),
            state: State::Idle,
        }
    }

    fn answered(&self, response: Response<Incoming>) -> Result<State, RemoteError> {
        let (head, body) = response.into_parts();
        let read = BytesMut::new();
        if !head.status.is_success() {
            let form = Form::Refusal(head.status, head.headers);
            return Ok(State::Reading { form, body, read });
        }
        let kind = head.headers.get(CONTENT_TYPE);
        let kind = kind
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let form = match kind.split(';').next().unwrap_or_default().trim() {
            "application/x-ndjson" => Form::Lines(Lines::default()),
            "application/json" | "" => Form::Whole,
            other => {
                return Err(RemoteError::Protocol(format!(
                    "content type '{}', where application/json or application/x-ndjson is due",
                    refusal::quote(other.as_bytes())
                )));
            }
        };
        Ok(State::Reading { form, body, read })
    }

    /// Takes the next bytes of an answer, or its end.
    fn take(&mut self, data: Option<Bytes>, now: Timestamp) -> Result<Option<Answer>, RemoteError> {
        let State::Reading { form, read, .. } = &mut self.state else {
            return Ok(None);
        };
        let ended = data.is_none();
        if let Some(data) = data {
            let limit = match form {
                Form::Refusal(..) => REFUSAL_MAX,
                _ => self.answer_max,
            };
            if read.len() + data.len() > limit {
                if let Form::Refusal(status, headers) = form {
                    return Err(refusal::error(*status, headers, read));
                }
                return Err(RemoteError::TooLarge(format!("more than {limit} bytes")));
            }
            read.extend_from_slice(&data);
        }
        match form {
            Form::Lines(lines) => {
                let found = line(lines, read, ended, now)?;
                if found.is_none() && ended {
                    self.state = State::Idle;
                    return Ok(Some(Answer::Done));
                }
                return Ok(found);
            }
            _ if !ended => return Ok(None),
            Form::Refusal(status, headers) => return Err(refusal::error(*status, headers, read)),
            Form::Whole => self.state = State::Giving(whole(read, now)?),
        }
        Ok(None)
    }
}

impl Caller for HttpCaller {
    fn call(&mut self, execute: Execute, now: Timestamp) -> Result<(), RemoteError> {
        let body = Full::new(Bytes::from(json::encode_execute(&execute, now)));
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.extend(self.credentials.clone());
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(ACCEPT, if self.streamed { NDJSON } else { JSON });
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        self.state = State::Asked(self.client.request(request));
        Ok(())
    }

    fn poll(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Poll<Result<Answer, RemoteError>> {
        loop {
            match &mut self.state {
                State::Idle => return Poll::Ready(Ok(Answer::Done)),
                State::Giving(answers) => {
                    let answer = answers.pop_front();
                    if answer.is_none() {
                        self.state = State::Idle;
                    }
                    return Poll::Ready(Ok(answer.unwrap_or(Answer::Done)));
                }
                State::Asked(response) => {
                    let response = ready!(response.as_mut().poll(cx));
                    let response = response.map_err(|error| failed(&error))?;
                    self.state = self.answered(response)?;
                }
                State::Reading { form, body, read } => {
                    // Lines that came together are given one by one.
                    if let Form::Lines(lines) = form
                        && let Some(answer) = line(lines, read, false, now)?
                    {
                        return Poll::Ready(Ok(answer));
                    }
                    let part = ready!(Pin::new(body).poll_frame(cx));
                    let part = part.transpose().map_err(|error| broken(&error))?;
                    let data = part.map(|part| part.into_data().unwrap_or_default());
                    if let Some(answer) = self.take(data, now)? {
                        return Poll::Ready(Ok(answer));
                    }
                }
            }
        }
    }

    fn cancel(&mut self) {
        self.state = State::Idle;
    }
}

/// All outputs of an answer.
fn whole(text: &[u8], now: Timestamp) -> Result<VecDeque<Answer>, RemoteError> {
    let mut answers = VecDeque::new();
    if text.is_empty() {
        return Ok(answers);
    }
    for (port, frames) in json::decode_outputs(utf8(text)?, now)? {
        answers.extend(frames.into_iter().map(|frame| Answer::Output {
            port: port.clone(),
            caused_port: None,
            frame,
        }));
    }
    Ok(answers)
}

/// The next line that means something. With `ended`, what is left without a line break is one too.
fn line(
    lines: &mut Lines,
    read: &mut BytesMut,
    ended: bool,
    now: Timestamp,
) -> Result<Option<Answer>, RemoteError> {
    loop {
        let Some(line) = lines.next(read, ended) else {
            return Ok(None);
        };
        let text = utf8(&line)?.trim();
        if text.is_empty() {
            continue;
        }
        match json::decode_server(text, now, &PortFormats::default())? {
            Some(ServerMessage::Frame {
                port,
                caused_port,
                frame,
            }) => {
                return Ok(Some(Answer::Output {
                    port,
                    caused_port,
                    frame,
                }));
            }
            Some(ServerMessage::Error(error)) => return Err(RemoteError::Worker(error)),
            // The end of the body says the same as `ended`, and leaves the connection to the next call.
            _ => {}
        }
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, RemoteError> {
    std::str::from_utf8(bytes)
        .map_err(|_| RemoteError::Protocol("an answer that is not UTF-8 text".into()))
}

/// Why there is no answer.
pub(crate) fn failed(error: &ClientError) -> RemoteError {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(ours) = error.downcast_ref::<RemoteError>() {
            return ours.clone();
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return broken(error);
        }
        source = error.source();
    }
    RemoteError::Network(format!("worker cannot be called: {}", chain(error)))
}

/// Why an answer cannot be read to its end.
pub(crate) fn broken(error: &hyper::Error) -> RemoteError {
    if error.is_parse() || error.is_parse_too_large() {
        return RemoteError::Protocol(format!(
            "what answers is no HTTP: {}: write https:// if it speaks TLS",
            chain(error)
        ));
    }
    RemoteError::Network(format!(
        "worker closed the connection before it had answered: {}",
        chain(error)
    ))
}
