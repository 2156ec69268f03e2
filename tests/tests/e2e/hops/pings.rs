//! Checks by WebRTC: a stream that stands notices by itself that its worker is gone, and an endpoint that nobody uses is checked by
//! WebRTC itself, which takes none of its places.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tidegate_signaling::{Capabilities, Certificate, Peer, PeerConfig, Role};
use tidegate_tests::{Deadline, clock};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use super::{Server, utterance};

fn by_webrtc(endpoints: &[String], health: Value) -> Value {
    json!({
        "transport": "webrtc", "endpoints": endpoints, "health": health,
        "timeout": {"gap": "2s"}, "retry": {"backoff": "100ms"},
    })
}

/// What a worker counts of pings that came to an end so.
async fn pings(worker: &Server, outcome: &str) -> f64 {
    let outcome = format!("outcome=\"{outcome}\"");
    let name = "tidegate_webrtc_pings_total";
    let counted = worker.gateway.metric(name, &[&outcome]).await;
    counted.unwrap_or(0.0)
}

async fn says(front: &Server, endpoint: &str, up: f64) {
    let by = Deadline::secs(30);
    let seen = by.until(|| async {
        let seen = front.metric("tidegate_endpoint_up", endpoint, "").await;
        (seen == up).then_some(())
    });
    assert!(
        seen.await.is_some(),
        "{endpoint} is never {up}\n{}",
        front.gateway.metrics().await
    );
}

#[tokio::test]
async fn fr_016_an_endpoint_that_no_stream_uses_is_pinged_by_webrtc_and_keeps_its_places() {
    let (used, idle) = (Server::saying("far").await, Server::saying("far").await);
    let health = json!({"interval": "500ms", "timeout": "500ms"});
    let front = Server::hop(by_webrtc(&[used.url(), idle.url()], health)).await;
    let mut client = front.open().await;
    client.send("frame", utterance(1, "one")).await;
    let by = Deadline::secs(30);
    let pinged = by.until(|| async { (pings(&idle, "answered").await >= 3.0).then_some(()) });
    assert!(pinged.await.is_some(), "{}", idle.gateway.logs.text());
    let sessions = "tidegate_sessions_total";
    let counted = idle.gateway.metric(sessions, &[]).await.unwrap_or(0.0);
    let taken = idle.gateway.metric("tidegate_sessions_taken", &[]).await;
    assert_eq!((counted, taken), (0.0, Some(0.0)), "a ping is no session");
    assert_eq!(idle.gateway.sessions().await, 0);
    says(&front, &idle.url(), 1.0).await;
    idle.gateway.signal("STOP").await;
    says(&front, &idle.url(), 0.0).await;
    idle.gateway.signal("CONT").await;
    says(&front, &idle.url(), 1.0).await;
    // A worker that drains says so to who pings, too.
    idle.gateway.signal("TERM").await;
    says(&front, &idle.url(), 0.0).await;
    assert_eq!(used.gateway.sessions().await, 1, "the other goes on");
}

/// A worker whose signalling answers everything and whose media port says nothing: a firewall that lets no UDP through.
struct Walled {
    address: SocketAddr,
    _media: UdpSocket,
    _tasks: JoinSet<()>,
}

impl Walled {
    async fn start() -> Self {
        let media = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let candidate = media.local_addr().expect("an address");
        let certificate = Certificate::generate().expect("a certificate");
        let config = PeerConfig::new(certificate, vec![candidate]);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let config = config.clone();
                connections.spawn(async move { answer(stream, &config).await });
            }
        });
        Self {
            address,
            _media: media,
            _tasks: tasks,
        }
    }
}

/// One connection, request after request.
async fn answer(stream: TcpStream, config: &PeerConfig) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut post, mut length, mut line) = (None, 0, String::new());
        while post.is_none() || !line.trim().is_empty() {
            line.clear();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            post.get_or_insert(line.starts_with("POST"));
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut offer = vec![0; length];
        stream.read_exact(&mut offer).await.ok()?;
        let (status, body) = if post? {
            let offer = String::from_utf8(offer).ok()?;
            let all = Capabilities::everything();
            let accepted = Peer::accept(config, &offer, Role::Whip, &all, clock::now());
            ("201 Created", accepted.ok()?.1)
        } else {
            ("200 OK", "ready\n".to_owned())
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/sdp\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.get_mut().write_all(answer.as_bytes()).await.ok()?;
    }
}

#[tokio::test]
async fn fr_016_an_endpoint_whose_media_port_cannot_be_reached_is_not_up() {
    let (walled, worker) = (Walled::start().await, Server::saying("far").await);
    let url = format!("http://{}", walled.address);
    let health = json!({"interval": "500ms", "timeout": "500ms"});
    let front = Server::hop(by_webrtc(&[worker.url(), url.clone()], health)).await;
    let _client = front.open().await;
    // Its page says that it is ready all the while.
    says(&front, &url, 0.0).await;
    says(&front, &worker.url(), 1.0).await;
}

#[tokio::test]
async fn fr_016_a_standing_webrtc_stream_on_which_nothing_is_said_notices_that_its_worker_is_gone()
{
    let mut workers = [Server::saying("far").await, Server::saying("far").await];
    let endpoints: Vec<_> = workers.iter().map(Server::url).collect();
    // No check helps: it is the stream's own consent (RFC 7675) that is not given any more.
    let front = Server::hop(by_webrtc(&endpoints, json!("off"))).await;
    let mut client = front.open().await;
    client.send("frame", utterance(1, "one")).await;
    let said = client.until("frame").await;
    assert_eq!(said["text"]["text"], "far one");
    for signal in ["STOP", "KILL"] {
        let mut serving = None;
        for (index, worker) in workers.iter().enumerate() {
            if worker.gateway.sessions().await > 0 {
                serving = Some(index);
            }
        }
        let serving = serving.expect("one serves");
        workers[serving].gateway.signal(signal).await;
        let other = &workers[1 - serving];
        let by = Deadline::secs(30);
        let moved = by.until(|| async { (other.gateway.sessions().await > 0).then_some(()) });
        assert!(
            moved.await.is_some(),
            "{signal}: {}",
            front.gateway.logs.text()
        );
        if signal == "STOP" {
            workers[serving].gateway.signal("CONT").await;
            // It learns that it was left.
            let gone = by
                .until(|| async { (workers[serving].gateway.sessions().await == 0).then_some(()) });
            assert!(gone.await.is_some(), "{}", front.gateway.logs.text());
        } else {
            workers[serving].again().await;
        }
    }
    client.send("frame", utterance(2, "two")).await;
    let said = client.until("frame").await;
    assert_eq!(said["text"]["text"], "far two");
}
