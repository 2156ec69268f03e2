//! Clients that read slowly, or not for a while: as long as they take something within `limits.stalled` they get all of it, the last
//! messages of a session that is over included.

use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tidegate_tests::{Deadline, Gateway};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;
use tokio_tungstenite::tungstenite::Message;

use crate::clients::process::sessions_become;
use crate::clients::ws::{JSON, Ws};
use crate::clients::{audio_of, frame};

/// Longer than a client may take for its last words when the gateway does not wait for it, far shorter than `limits.stalled`.
const PAUSE: Duration = Duration::from_secs(4);
const LARGE: usize = 1 << 20;
const FRAMES: u64 = 40;
/// What is left then fits the queues of the session, which is over therefore, and exceeds what sockets hold.
const LEFT: u64 = 18;
const SECONDS: u64 = 60;

/// A connection that holds little on this side.
async fn connected(gateway: &Gateway) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(64 << 10).expect("small");
    socket.connect(gateway.address).await.expect("there")
}

#[tokio::test]
async fn a_websocket_client_that_pauses_at_the_end_gets_every_frame_and_the_end() {
    let gateway = Gateway::start(&[]).await;
    let waits = json!({"pipeline": "echo", "mode": "waits"});
    let host = gateway.address.to_string();
    let socket = connected(&gateway).await;
    let ws = Ws::upgrade(socket, "ws", &host, "echo", JSON, &[]).await;
    let mut ws = ws.expect("an upgrade");
    ws.send(&json!({"open": waits})).await;
    ws.next_of("opened").await;
    let (mut sender, mut receiver) = ws.stream.split();
    let send = async {
        for seq in 1..=FRAMES {
            let message = frame("mic", seq, &vec![1; LARGE]).to_string();
            sender.send(Message::text(message)).await.expect("taken");
        }
        let end = json!({"end": {}}).to_string();
        sender.send(Message::text(end)).await.expect("taken");
    };
    let read = async {
        let (mut bytes, mut last, mut close) = (0, Value::Null, 0);
        while let Some(Ok(message)) = receiver.next().await {
            if let Message::Close(frame) = &message {
                close = frame.as_ref().map_or(1005, |frame| frame.code.into());
            }
            let Ok(text) = message.to_text() else {
                continue;
            };
            let Ok(message) = serde_json::from_str::<Value>(text) else {
                continue;
            };
            if message["frame"].is_object() {
                bytes += audio_of(&message).len();
                if message["frame"]["seq"] == FRAMES - LEFT {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            last = message;
        }
        (bytes, last, close)
    };
    let by = Deadline::secs(SECONDS);
    let both = by.wait(async { tokio::join!(send, read) }).await;
    let ((), (bytes, last, close)) = both.expect("in time");
    assert_eq!(bytes, LARGE * usize::try_from(FRAMES).expect("few"));
    assert_eq!(last["ended"]["reason"], "finished", "{last}");
    assert_eq!(close, 1000);
}

#[tokio::test]
async fn an_answer_in_lines_is_whole_for_a_client_that_pauses() {
    let gateway = Gateway::start(&[]).await;
    // While it pauses, what is left fits the session's queues, so that the session is over, and exceeds what sockets hold.
    let (count, bytes, before) = (150, 120 << 10, 7_000_000);
    let frames = (1..=count).map(|seq| frame("mic", seq, &vec![1; bytes])["frame"].take());
    let frames: Vec<_> = frames.collect();
    let body = json!({"inputs": {"mic": frames}}).to_string();
    let (mut reader, mut writer) = connected(&gateway).await.into_split();
    let head = format!(
        "POST /v1/pipelines/echo/execute HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         accept: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        gateway.address,
        body.len()
    );
    let send = async {
        writer.write_all(head.as_bytes()).await.expect("taken");
        writer.write_all(body.as_bytes()).await.expect("taken");
    };
    let read = async {
        let mut answer = vec![0; before];
        reader
            .read_exact(&mut answer)
            .await
            .expect("the first part");
        tokio::time::sleep(PAUSE).await;
        reader.read_to_end(&mut answer).await.expect("to the end");
        String::from_utf8(answer).expect("text")
    };
    let by = Deadline::secs(SECONDS);
    let both = by.wait(async { tokio::join!(send, read) }).await;
    let ((), answer) = both.expect("in time");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{:.100}", answer);
    let heard = answer.matches(r#"{"frame":{"#).count();
    assert_eq!(heard as u64, count, "{} bytes", answer.len());
    assert!(answer.contains(r#"{"ended":{"reason":"finished"}}"#));
    assert!(answer.ends_with("0\r\n\r\n"), "the body is whole");
}

#[tokio::test]
async fn a_run_whose_output_is_read_slowly_writes_all_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = folder.path().join("pass.yaml");
    let text = "version: tidegate/v1\nname: pass\ninputs: [{name: in, kind: text}]\n\
                outputs: [{name: out, kind: text}]\nedges: [in -> out]\n";
    std::fs::write(&manifest, text).expect("written");
    let lines = folder.path().join("lines.txt");
    // What the session's queues hold, and the pipe does not.
    let count = 110;
    let line = "x".repeat(8 << 10) + "\n";
    std::fs::write(&lines, line.repeat(count)).expect("written");
    let mut run = Command::new(tidegate_tests::gateway::binary())
        .args(["run", "--quiet"])
        .args([manifest.as_os_str(), "--in".as_ref(), lines.as_os_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut output = run.stdout.take().expect("piped");
    tokio::time::sleep(PAUSE).await;
    let mut said = String::new();
    let by = Deadline::secs(SECONDS);
    let read = by.wait(output.read_to_string(&mut said)).await;
    read.expect("in time").expect("text");
    assert_eq!(said.lines().filter(|l| l.contains("xxx")).count(), count);
    let status = by.wait(run.wait()).await.expect("in time");
    assert!(status.expect("it ran").success());
}

#[tokio::test]
async fn a_client_that_was_refused_and_stays_silent_does_not_keep_a_shared_session() {
    let gateway = Gateway::with(&[("LIMITS_VACANT", "1s")]).await;
    let open = json!({"pipeline": "echo"});
    let (mut ws, _) = Ws::open(&gateway, "echo?session=room", open).await;
    ws.send(&json!({"frame": {"port": "nothing"}})).await;
    // It neither reads nor goes.
    sessions_become(&gateway, 0, Deadline::secs(20)).await;
    drop(ws);
}
