//! Every transport of a remote hop carries every kind of frame to a second real Tidegate and
//! back, in its modes, with a manifest by name or inline, over TLS and with a token.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use tidegate_tests::{Deadline, Gateway, Ws};

/// A frame's payload for each kind, and the format of ports that have one.
fn kinds() -> [(&'static str, Option<&'static str>, Value); 6] {
    let pcm = json!({"codec": "pcm_s16", "sample_rate": 16000, "channels": 1});
    [
        (
            "audio",
            Some("pcm_s16/16000/1"),
            json!({"audio": {"format": pcm, "data": "A".repeat(852) + "AQ=="}}),
        ),
        (
            "video",
            Some("vp8"),
            json!({"video": {"format": {"codec": "vp8"}, "key": true, "data": "AQID"}}),
        ),
        ("text", None, json!({"text": {"text": "grüezi"}})),
        ("binary", None, json!({"binary": {"data": "AP8="}})),
        (
            "tensor",
            None,
            json!({"tensor": {"dtype": "f32", "shape": [2, 1], "data": "AACAPwAAAEA="}}),
        ),
        ("json", None, json!({"json": {"value": {"a": [1, null]}}})),
    ]
}

fn port(name: &str, kind: &str, format: Option<&str>) -> Value {
    let mut port = json!({"name": name, "kind": kind});
    if let Some(format) = format {
        port["format"] = json!(format);
    }
    port
}

/// A pipeline that passes frames of a kind.
fn pass(name: &str, kind: &str, format: Option<&str>) -> Value {
    json!({
        "version": "tidegate/v1",
        "name": name,
        "inputs": [port("in", kind, format)],
        "outputs": [port("out", kind, format)],
        "edges": ["in -> out"],
    })
}

/// A pipeline whose only node is a remote hop with these parameters.
fn relay(name: &str, kind: &str, format: Option<&str>, params: Value) -> Value {
    let mut params = params;
    params["inputs"] = json!([port("in", kind, format)]);
    params["outputs"] = json!([port("out", kind, format)]);
    json!({
        "version": "tidegate/v1",
        "name": name,
        "inputs": [port("in", kind, format)],
        "outputs": [port("out", kind, format)],
        "nodes": [{"id": "far", "type": "remote", "params": params}],
        "edges": ["in -> far", "far -> out"],
    })
}

/// Writes pipelines into a folder of their own.
fn folder(pipelines: impl IntoIterator<Item = Value>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for pipeline in pipelines {
        let name = pipeline["name"].as_str().expect("a name");
        let file = folder.path().join(format!("{name}.yaml"));
        std::fs::write(file, pipeline.to_string()).expect("written");
    }
    folder
}

async fn start(folder: &Path, settings: &[(&str, &str)]) -> Gateway {
    let path = folder.to_string_lossy().into_owned();
    Gateway::start_with(&["--pipelines", &path], settings).await
}

/// What comes of three frames, which is to be the same three.
async fn check(front: &Gateway, worker: &Gateway, pipeline: &str, payload: &Value) {
    let frames: Vec<Value> = (1..=3_u64)
        .map(|seq| {
            let mut frame = payload.clone();
            frame["media_time"] = json!((seq - 1) * 20_000);
            frame
        })
        .collect();
    let path = format!("/v1/pipelines/{pipeline}/execute");
    let answer = front
        .post_json(&path, &json!({"inputs": {"in": frames}}))
        .await;
    let logs = || format!("{}\n{}", front.logs.text(), worker.logs.text());
    assert_eq!(
        answer.status,
        200,
        "{pipeline}: {}\n{}",
        answer.text(),
        logs()
    );
    let outputs = answer.json()["outputs"]["out"].clone();
    let outputs = outputs.as_array().cloned().unwrap_or_default();
    assert_eq!(
        outputs.len(),
        3,
        "{pipeline}: {}\n{}",
        answer.text(),
        logs()
    );
    let (key, expected) = payload
        .as_object()
        .and_then(|p| p.iter().next())
        .expect("one");
    for (index, frame) in outputs.iter().enumerate() {
        assert_eq!(&frame[key], expected, "{pipeline}: {frame}");
        assert_eq!(frame["media_time"], index * 20_000, "{pipeline}: {frame}");
    }
}

/// Every kind through one transport and mode.
async fn every_kind(transport: &str, mode: &str) {
    the_kinds(transport, mode, &kinds()).await;
}

/// These kinds through one transport and mode.
async fn the_kinds(transport: &str, mode: &str, kinds: &[(&str, Option<&str>, Value)]) {
    let each = kinds.iter();
    let worker_folder = folder(
        each.clone()
            .map(|(kind, format, _)| pass(kind, kind, *format)),
    );
    let worker = start(worker_folder.path(), &[]).await;
    let relays = each.map(|(kind, format, _)| {
        let endpoints = json!([worker.url("")]);
        let params =
            json!({"transport": transport, "mode": mode, "endpoints": endpoints, "pipeline": kind});
        relay(kind, kind, *format, params)
    });
    let front_folder = folder(relays);
    let front = start(front_folder.path(), &[]).await;
    for (kind, _, payload) in kinds {
        check(&front, &worker, kind, payload).await;
    }
}

#[tokio::test]
async fn fr_003_every_kind_travels_by_grpc_streams() {
    every_kind("grpc", "stream").await;
}

#[tokio::test]
async fn fr_018_every_kind_travels_by_grpc_calls() {
    every_kind("grpc", "unary").await;
}

#[tokio::test]
async fn fr_002_every_kind_travels_by_websocket() {
    every_kind("websocket", "stream").await;
}

#[tokio::test]
async fn fr_002_every_kind_travels_by_http_calls() {
    every_kind("http", "unary").await;
}

#[tokio::test]
async fn fr_002_every_kind_travels_by_streamed_http_calls() {
    every_kind("http", "stream").await;
}

#[tokio::test]
async fn fr_002_all_but_media_travels_by_webrtc_on_the_data_channel() {
    let kinds = kinds();
    the_kinds("webrtc", "stream", &kinds[2..]).await;
}

/// A worker that passes a kind, and a front whose hop to it is by WebRTC and whose client is live.
async fn by_webrtc(kind: &str, format: Option<&str>) -> (Gateway, Gateway, Ws) {
    let worker = passing(kind, format).await;
    let (front, client) = front_by_webrtc(kind, format, json!([worker.url("")])).await;
    (worker, front, client)
}

/// A worker that passes a kind, as the pipeline `far`.
async fn passing(kind: &str, format: Option<&str>) -> Gateway {
    let folder = folder([pass("far", kind, format)]);
    start(folder.path(), &[]).await
}

async fn front_by_webrtc(kind: &str, format: Option<&str>, endpoints: Value) -> (Gateway, Ws) {
    let timeout = json!({"gap": "1s"});
    let params = json!({"transport": "webrtc", "endpoints": endpoints, "pipeline": "far", "timeout": timeout});
    let relay = json!({
        "version": "tidegate/v1",
        "name": "near",
        "inputs": [{"name": "in", "kind": kind}],
        "outputs": [{"name": "out", "kind": kind}],
        "nodes": [{"id": "far", "type": "remote", "params": params}],
        "edges": [
            {"from": "in", "to": "far", "queue": {"when_full": "drop_oldest"}},
            "far -> out",
        ],
    });
    let front_folder = folder([relay]);
    let front = start(front_folder.path(), &[]).await;
    let mut open = json!({"pipeline": "near"});
    if let Some(format) = format {
        open["inputs"] = json!([{"port": "in", "video": {"codec": format}}]);
    }
    let (client, _) = Ws::open(&front, "near", open).await;
    (front, client)
}

/// 20 ms of a tone of 440 Hz at 16 kHz.
fn tone(seq: u64) -> Vec<u8> {
    let samples = (0..320).map(|i| {
        let at = f64::from(u32::try_from((seq - 1) * 320 + i).expect("a short test")) / 16_000.0;
        let value = (at * 440.0 * std::f64::consts::TAU).sin() * 8_000.0;
        #[expect(clippy::cast_possible_truncation, reason = "it is at most 8,000")]
        let value = value as i16;
        value
    });
    samples.flat_map(i16::to_le_bytes).collect()
}

async fn send_tone(client: &mut Ws, seq: u64) {
    let data = base64::engine::general_purpose::STANDARD.encode(tone(seq));
    let format = json!({"codec": "pcm_s16", "sample_rate": 16000, "channels": 1});
    let audio = json!({"format": format, "data": data});
    let media_time = (seq - 1) * 20_000;
    let frame = json!({"port": "in", "seq": seq, "media_time": media_time, "audio": audio});
    client.send("frame", frame).await;
}

/// Talks until so much was heard; gives the longest silence between two frames.
async fn talk(client: &mut Ws, seq: &mut u64, frames: usize) -> Duration {
    let mut clock = tokio::time::interval(Duration::from_millis(20));
    let (mut heard, mut longest) = (0, Duration::ZERO);
    let mut last = tokio::time::Instant::now();
    while heard < frames {
        tokio::select! {
            _ = clock.tick() => {
                *seq += 1;
                send_tone(client, *seq).await;
            }
            message = client.next() => {
                let (kind, body) = message.expect("the session lives");
                assert_ne!(kind, "error", "{body}");
                if kind == "frame" {
                    heard += 1;
                    longest = longest.max(last.elapsed());
                    last = tokio::time::Instant::now();
                }
            }
        }
    }
    longest
}

#[tokio::test]
async fn fr_016_webrtc_workers_that_die_or_fall_silent_are_replaced_in_mid_call() {
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(passing("audio", None).await);
    }
    let endpoints: Vec<_> = workers.iter().map(|worker| worker.url("")).collect();
    let (front, mut client) = front_by_webrtc("audio", None, json!(endpoints)).await;
    let mut seq = 0;
    talk(&mut client, &mut seq, 30).await;
    // Its port answers that nobody is there.
    let mut serving = workers.remove(serving(&workers).await);
    serving.kill().await;
    let silence = talk(&mut client, &mut seq, 50).await;
    assert!(
        silence < Duration::from_secs(2),
        "{silence:?}\n{}",
        front.logs.text()
    );
    // Its port says nothing: the silence is borne for as long as the hop's gap.
    let serving = workers.remove(self::serving(&workers).await);
    serving.signal("STOP").await;
    // What is heard meanwhile is what the jitter buffer conceals.
    let mut rounds = 0;
    while workers[0].sessions().await == 0 {
        rounds += 1;
        assert!(rounds < 20, "nobody took over\n{}", front.logs.text());
        talk(&mut client, &mut seq, 10).await;
    }
    talk(&mut client, &mut seq, 50).await;
    let failovers = front.metric("tidegate_hop_failovers_total", &[]).await;
    assert_eq!(failovers, Some(2.0));
}

/// Which of some workers has a session.
async fn serving(workers: &[Gateway]) -> usize {
    for (index, worker) in workers.iter().enumerate() {
        if worker.sessions().await > 0 {
            return index;
        }
    }
    panic!("nobody serves");
}

#[tokio::test]
async fn fr_002_audio_travels_by_webrtc_as_media() {
    let (worker, front, mut client) = by_webrtc("audio", None).await;
    let mut clock = tokio::time::interval(Duration::from_millis(20));
    let mut heard: Vec<i16> = Vec::new();
    let mut seq = 0;
    while heard.len() < 16_000 {
        tokio::select! {
            _ = clock.tick() => {
                seq += 1;
                assert!(seq < 500, "heard {} samples\n{}\n{}", heard.len(), front.logs.text(), worker.logs.text());
                send_tone(&mut client, seq).await;
            }
            message = client.next() => {
                let (kind, body) = message.expect("the session lives");
                assert_ne!(kind, "error", "{body}\n{}\n{}", front.logs.text(), worker.logs.text());
                if kind == "frame" {
                    let data = body["audio"]["data"].as_str().expect("audio");
                    let data = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
                    heard.extend(data.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
                }
            }
        }
    }
    // The last half second, after whatever the jitter buffer began with.
    let end = &heard[heard.len() - 8_000..];
    let crossings = end
        .windows(2)
        .filter(|pair| (pair[0] < 0) != (pair[1] < 0))
        .count();
    assert!(
        (420..=460).contains(&crossings),
        "{crossings} crossings in half a second of 440 Hz"
    );
    let sent = front
        .metric("tidegate_hop_frames_total", &["hop=\"far\""])
        .await;
    assert!(sent.is_some_and(|frames| frames > 40.0), "{sent:?}");
    // A running session's counters come a moment after its packets.
    let by = Deadline::secs(20);
    let counted = by.until(async || {
        let received = worker.metric("tidegate_webrtc_packets_received_total", &[]);
        received.await.filter(|packets| *packets > 40.0)
    });
    assert!(counted.await.is_some(), "{}", worker.metrics().await);
}

#[tokio::test]
async fn fr_002_video_travels_by_webrtc_as_media() {
    let (worker, front, mut client) = by_webrtc("video", Some("vp8")).await;
    // A key frame's header (RFC 6386 §9.1) of 16 × 16 pixels, and what a relay never looks at: more than one packet of it.
    let mut picture = vec![0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 16, 0, 16, 0];
    picture.extend((0..5_000_u32).map(|i| u8::try_from(i % 251).expect("below 251")));
    let data = base64::engine::general_purpose::STANDARD.encode(&picture);
    let mut clock = tokio::time::interval(Duration::from_millis(40));
    let (mut seq, mut came) = (0, Vec::new());
    while came.len() < 10 {
        tokio::select! {
            _ = clock.tick() => {
                seq += 1;
                assert!(seq < 300, "{} pictures\n{}\n{}", came.len(), front.logs.text(), worker.logs.text());
                let video = json!({"format": {"codec": "vp8"}, "key": true, "data": data});
                client.send("frame", json!({"port": "in", "seq": seq, "media_time": (seq - 1) * 40_000, "video": video})).await;
            }
            message = client.next() => {
                let (kind, body) = message.expect("the session lives");
                assert_ne!(kind, "error", "{body}\n{}\n{}", front.logs.text(), worker.logs.text());
                if kind == "frame" {
                    assert_eq!(body["video"]["data"], data.as_str());
                    assert_eq!(body["video"]["key"], true);
                    came.push(body["media_time"].as_i64().expect("a time"));
                }
            }
        }
    }
    let steps: Vec<_> = came.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        steps.iter().all(|step| *step > 0 && step % 40_000 == 0),
        "{steps:?}"
    );
}

#[tokio::test]
async fn fr_004_an_inline_manifest_runs_at_the_worker_by_every_transport() {
    let nothing = folder([]);
    let worker = start(nothing.path(), &[("TIDEGATE_INLINE", "true")]).await;
    let transports = ["grpc", "websocket", "http", "webrtc"];
    let relays = transports.map(|transport| {
        let endpoints = json!([worker.url("")]);
        let manifest = pass("given", "text", None);
        let params = json!({"transport": transport, "endpoints": endpoints, "manifest": manifest});
        relay(transport, "text", None, params)
    });
    let front_folder = folder(relays);
    let front = start(front_folder.path(), &[]).await;
    for transport in transports {
        check(
            &front,
            &worker,
            transport,
            &json!({"text": {"text": "hello"}}),
        )
        .await;
    }
}

#[tokio::test]
async fn fr_010_a_private_authority_and_a_token_from_a_file_serve_every_transport() {
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let certificate = certificate.expect("a certificate");
    let secrets = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = secrets.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_string_lossy().into_owned()
    };
    let cert = file("cert.pem", &certificate.cert.pem());
    let key = file("key.pem", &certificate.signing_key.serialize_pem());
    let token = file("token", "a-token-of-the-test\n");
    let worker_folder = folder([pass("text", "text", None)]);
    let path = worker_folder.path().to_string_lossy().into_owned();
    let worker = Gateway::start_tls(&[
        ("TIDEGATE_PIPELINES", &path),
        ("TIDEGATE_TLS_CERTIFICATE", &cert),
        ("TIDEGATE_TLS_KEY", &key),
        ("TIDEGATE_AUTH_TOKEN", "a-token-of-the-test"),
    ])
    .await;
    let transports = ["grpc", "websocket", "http", "webrtc"];
    let relays = transports.map(|transport| {
        let endpoint = format!("https://localhost:{}", worker.address.port());
        let auth = json!({"bearer_file": token, "tls": {"ca": cert}});
        let params = json!({"transport": transport, "endpoints": [endpoint], "pipeline": "text", "auth": auth});
        relay(transport, "text", None, params)
    });
    let front_folder = folder(relays);
    let front = start(front_folder.path(), &[]).await;
    for transport in transports {
        check(
            &front,
            &worker,
            transport,
            &json!({"text": {"text": "hello"}}),
        )
        .await;
    }
}
