//! What stands before workers in a company: it asks for a token, believes what the token says of its end, and ends by then whatever
//! was opened with it. What it lets through, and each frame of it, goes to a real worker.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Request, Response, StatusCode, Uri, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, Empty, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tidegate_tests::{Deadline, Gateway, clock};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, Error>;

/// A token without signature that ends then; `id` tells it from others. Without an end it is opaque.
pub(crate) fn token(id: &str, ends: Option<Duration>) -> String {
    let part = |claims: Value| URL_SAFE_NO_PAD.encode(claims.to_string());
    match ends {
        Some(ends) => format!(
            "{}.{}.",
            part(json!({"alg": "none"})),
            part(json!({"jti": id, "exp": ends.as_secs_f64()}))
        ),
        None => format!("opaque-{id}"),
    }
}

/// How a stream of the gatekeeper came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It runs.
    Open,
    /// The caller, or the worker, was done with it.
    Left,
    /// Its token ended.
    Cut,
}

/// A server before a worker. It ends when this is dropped.
pub(crate) struct Gatekeeper {
    address: SocketAddr,
    streams: Streams,
    _tasks: JoinSet<()>,
}

/// The token of each stream in the order in which they were opened, and what became of it.
type Streams = Arc<Mutex<Vec<(String, End)>>>;

impl Gatekeeper {
    pub(crate) async fn start(worker: &Gateway) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let streams = Streams::default();
        let (shared, worker) = (Arc::clone(&streams), worker.address);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, worker, Arc::clone(&shared)));
            }
        });
        Self {
            address,
            streams,
            _tasks: tasks,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// See [`Streams`].
    pub(crate) fn streams(&self) -> Vec<(String, End)> {
        self.streams.lock().expect("not poisoned").clone()
    }
}

/// One connection, with one of its own to the worker.
async fn serve(stream: TcpStream, worker: SocketAddr, streams: Streams) {
    let there = TcpStream::connect(worker).await.expect("the worker lives");
    there.set_nodelay(true).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(there));
    let (sender, connection) = handshake.await.expect("the worker speaks HTTP/2");
    let service =
        service_fn(move |request| answer(request, sender.clone(), worker, Arc::clone(&streams)));
    let builder = auto::Builder::new(TokioExecutor::new());
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = serving => {}
        _ = connection => {}
    }
}

async fn answer(
    request: Request<Incoming>,
    mut worker: SendRequest<Incoming>,
    address: SocketAddr,
    streams: Streams,
) -> Result<Response<Body>, Error> {
    let token = bearer(request.headers()).unwrap_or_default();
    let left = time_left(&token);
    let path = request.uri().path().to_owned();
    // Health is nobody's secret, as with a Tidegate.
    if left.is_none() && !path.starts_with("/grpc.health") {
        let mut refusal = Response::new(empty());
        *refusal.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(refusal);
    }
    let (mut head, body) = request.into_parts();
    head.uri = Uri::builder()
        .scheme("http")
        .authority(address.to_string())
        .path_and_query(path.as_str())
        .build()?;
    head.version = Version::HTTP_2;
    head.headers.remove(http::header::HOST);
    let answer = worker.send_request(Request::from_parts(head, body)).await?;
    if !path.ends_with("/Stream") {
        return Ok(answer.map(|body| body.map_err(Error::from).boxed_unsync()));
    }
    let entry = Entry::new(streams, token);
    Ok(answer.map(|body| until(body, left.unwrap_or_default(), entry)))
}

/// The body until the token ends, and then an error.
fn until(body: Incoming, left: Duration, entry: Entry) -> Body {
    let end = Deadline::after(left);
    let frames = BodyStream::new(body).map(|frame| frame.map_err(Error::from));
    let state = (frames, entry);
    let frames = futures_util::stream::unfold(Some(state), move |state| async move {
        let (mut frames, entry) = state?;
        match end.wait(frames.next()).await {
            Some(frame) => Some((frame?, Some((frames, entry)))),
            None => {
                entry.set(End::Cut);
                Some((Err("the token has ended".into()), None))
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

/// A stream's place in the list. What is dropped was left, unless it was cut.
struct Entry {
    streams: Streams,
    index: usize,
}

impl Entry {
    fn new(streams: Streams, token: String) -> Self {
        let mut list = streams.lock().expect("not poisoned");
        let index = list.len();
        list.push((token, End::Open));
        drop(list);
        Self { streams, index }
    }

    fn set(&self, end: End) {
        let mut list = self.streams.lock().expect("not poisoned");
        if list[self.index].1 == End::Open {
            list[self.index].1 = end;
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.set(End::Left);
    }
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::to_owned)
}

/// The time for which a token is good; `None` for none, and for one whose time is over.
fn time_left(token: &str) -> Option<Duration> {
    if token.starts_with("opaque-") {
        return Some(Duration::from_secs(3_600));
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let ends = Duration::try_from_secs_f64(claims["exp"].as_f64()?).ok()?;
    ends.checked_sub(clock::unix_now())
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
