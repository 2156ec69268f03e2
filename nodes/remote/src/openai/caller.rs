//! The requests of a call, one after the other, and their answers as they come.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use serde_json::Value;
use tidegate_media::{Frame, Timestamp};
use tidegate_proto::message::Execute;

use super::{Asking, Dialect};
use crate::calls::{Answer, Caller};
use crate::connector::USER_AGENT as AGENT;
use crate::error::RemoteError;
use crate::http::{Client, Responding, broken, failed};
use crate::refusal;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// So much of a refusal is read.
const REFUSAL_MAX: usize = 64 << 10;
/// So many requests of a call wait for the one under way: more of the call is taken after that.
const ASKING_MAX: usize = 16;

/// Makes calls of one place.
pub(super) struct OpenaiCaller {
    client: Client,
    url: Uri,
    credentials: HeaderMap,
    dialect: Box<dyn Dialect>,
    state: State,
    /// Requests of the call that wait for the one under way.
    asking: VecDeque<Asking>,
    /// All of the call has come.
    complete: bool,
    answers: VecDeque<Answer>,
}

enum State {
    /// No request is under way.
    Idle,
    /// The request is on its way.
    Asked(Responding),
    /// The answer is being read.
    Reading(Incoming),
    /// Why there is none is being read.
    Refused {
        status: StatusCode,
        headers: HeaderMap,
        body: Incoming,
        read: BytesMut,
    },
}

impl OpenaiCaller {
    pub(super) fn new(
        client: Client,
        url: Uri,
        credentials: HeaderMap,
        dialect: Box<dyn Dialect>,
    ) -> Self {
        Self {
            client,
            url,
            credentials,
            dialect,
            state: State::Idle,
            asking: VecDeque::new(),
            complete: false,
            answers: VecDeque::new(),
        }
    }

    fn ask(&mut self, asking: Asking) {
        self.dialect.asked(asking.cause);
        let mut request = Request::new(Full::new(asking.body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.extend(self.credentials.clone());
        headers.insert(CONTENT_TYPE, asking.content_type);
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        self.state = State::Asked(self.client.request(request));
    }

    fn answered(&mut self, response: Response<Incoming>) -> Result<(), RemoteError> {
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            self.state = State::Refused {
                status: head.status,
                headers: head.headers,
                body,
                read: BytesMut::new(),
            };
            return Ok(());
        }
        let kind = head.headers.get(CONTENT_TYPE);
        let kind = kind.and_then(|value| value.to_str().ok());
        self.dialect.head(kind.unwrap_or_default())?;
        self.state = State::Reading(body);
        Ok(())
    }
}

impl Caller for OpenaiCaller {
    fn call(&mut self, execute: Execute, _now: Timestamp) -> Result<(), RemoteError> {
        self.answers.clear();
        self.asking = self.dialect.ask(&execute)?;
        (self.state, self.complete) = (State::Idle, false);
        Ok(())
    }

    fn more(&mut self, frame: Frame) -> Result<(), RemoteError> {
        self.asking.extend(self.dialect.more(&frame)?);
        Ok(())
    }

    fn complete(&mut self) -> Result<(), RemoteError> {
        self.complete = true;
        self.asking.extend(self.dialect.rest());
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.asking.len() < ASKING_MAX
    }

    fn poll(&mut self, cx: &mut Context<'_>, _now: Timestamp) -> Poll<Result<Answer, RemoteError>> {
        loop {
            if let Some(answer) = self.answers.pop_front() {
                return Poll::Ready(Ok(answer));
            }
            match &mut self.state {
                State::Idle => match self.asking.pop_front() {
                    Some(asking) => self.ask(asking),
                    // Whoever brings more polls again.
                    None if !self.complete => return Poll::Pending,
                    None => {
                        self.dialect.finish(&mut self.answers);
                        let answer = self.answers.pop_front();
                        return Poll::Ready(Ok(answer.unwrap_or(Answer::Done)));
                    }
                },
                State::Asked(response) => {
                    let response = ready!(response.as_mut().poll(cx));
                    let response = response.map_err(|error| failed(&error))?;
                    self.answered(response)?;
                }
                State::Reading(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                    Some(part) => {
                        let part = part.map_err(|error| broken(&error))?;
                        if let Ok(data) = part.into_data() {
                            self.dialect.take(data, &mut self.answers)?;
                        }
                    }
                    None => {
                        self.state = State::Idle;
                        self.dialect.end(&mut self.answers)?;
                    }
                },
                State::Refused {
                    status,
                    headers,
                    body,
                    read,
                } => {
                    let part = ready!(Pin::new(body).poll_frame(cx)).and_then(Result::ok);
                    let data = part.map(|part| part.into_data().unwrap_or_default());
                    let over = data.is_none();
                    read.extend_from_slice(&data.unwrap_or_default());
                    if over || read.len() > REFUSAL_MAX {
                        let error = refusal::error(*status, headers, read);
                        return Poll::Ready(Err(error));
                    }
                }
            }
        }
    }

    fn cancel(&mut self) {
        self.dialect.interrupted();
        self.asking.clear();
        self.answers.clear();
        // Dropping what is under way closes its connection, which is how the server hears of it.
        self.state = State::Idle;
    }
}

/// A request with a JSON body.
pub(super) fn json_body(body: &Value) -> Asking {
    Asking {
        content_type: JSON,
        body: Bytes::from(body.to_string()),
        cause: 0,
    }
}
