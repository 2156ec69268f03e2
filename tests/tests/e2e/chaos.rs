//! Three real workers behind one manifest, killed and restarted in turns while many sessions stream speech through them.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tidegate_tests::{Deadline, Gateway, Ws, fixtures};
use tokio::task::JoinSet;

const PCM: &str = "pcm_s16/16000/1";
/// Sessions that stream at once.
const SESSIONS: usize = 20;
/// Bytes of 20 ms at 16 kHz.
const FRAME_BYTES: usize = 640;
/// The playing time of a frame, which is how fast a speaker speaks.
const PACE: Duration = Duration::from_millis(20);
/// How long a killed worker stays dead, and how long all live until the next is killed.
const BREATH: Duration = Duration::from_millis(900);

fn write(folder: &tempfile::TempDir, name: &str, manifest: &Value) {
    let file = folder.path().join(name);
    std::fs::write(file, manifest.to_string()).expect("the manifest is written");
}

fn path(folder: &tempfile::TempDir) -> String {
    folder.path().to_string_lossy().into_owned()
}

/// What every worker serves: louder, as a pure function of what comes in.
fn louder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = json!({
        "version": "tidegate/v1",
        "name": "louder",
        "inputs": [{"name": "mic", "kind": "audio", "format": PCM}],
        "outputs": [{"name": "speaker", "kind": "audio", "format": PCM}],
        "nodes": [{"id": "gain", "type": "audio.gain", "params": {"gain_db": -6}}],
        "edges": ["mic -> gain -> speaker"],
    });
    write(&folder, "louder.yaml", &manifest);
    folder
}

/// The gateway before the workers.
async fn front(workers: &[Gateway]) -> (Gateway, tempfile::TempDir) {
    front_with(workers, json!({}), json!("mic -> far")).await
}

/// The same, whose hop has these parameters besides and is fed by this edge.
async fn front_with(workers: &[Gateway], more: Value, edge: Value) -> (Gateway, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let endpoints: Vec<_> = workers.iter().map(|worker| worker.url("")).collect();
    let mut manifest = json!({
        "version": "tidegate/v1",
        "name": "speech",
        "inputs": [{"name": "mic", "kind": "audio"}],
        "outputs": [{"name": "speaker", "kind": "audio"}],
        "nodes": [{"id": "far", "type": "remote", "params": {
            "transport": "grpc", "endpoints": endpoints, "pipeline": "louder",
            "retry": {"attempts": 10, "backoff": "100ms"},
            "inputs": [{"name": "mic", "kind": "audio", "format": PCM}],
            "outputs": [{"name": "speaker", "kind": "audio", "format": PCM}],
        }}],
        "edges": [edge, "far -> speaker"],
    });
    for (key, value) in more.as_object().expect("parameters") {
        manifest["nodes"][0]["params"][key] = value.clone();
    }
    write(&folder, "speech.yaml", &manifest);
    (
        Gateway::start(&["--pipelines", &path(&folder)]).await,
        folder,
    )
}

/// The recording as messages of the native stream.
fn speech() -> Vec<(&'static str, Value)> {
    let wav = std::fs::read(fixtures::recording("jfk.wav")).expect("a recording");
    let format = json!({"codec": "pcm_s16", "sample_rate": 16000, "channels": 1});
    let frames = wav[44..].chunks_exact(FRAME_BYTES).zip(0u64..);
    let mut messages: Vec<_> = frames
        .map(|(data, index)| {
            let audio = json!({"format": format, "data": BASE64_STANDARD.encode(data)});
            let frame = json!({
                "port": "mic", "seq": index + 1, "media_time": index * 20_000, "audio": audio,
            });
            ("frame", frame)
        })
        .collect();
    messages.push(("end", json!({})));
    messages
}

/// What a session gave back: the sound, and everything that was neither sound nor bookkeeping.
async fn session(front: &Gateway, pace: Duration, by: Deadline) -> (Vec<u8>, Vec<String>) {
    let open = json!({"pipeline": "speech", "mode": "waits"});
    let (client, _) = Ws::open(front, "speech", open).await;
    let (mut sound, mut words, mut next) = (Vec::new(), Vec::new(), 1);
    for (kind, body) in client.converse(speech(), pace, by).await {
        if kind == "frame" {
            assert_eq!(body["seq"], next, "frames are numbered by one");
            next += 1;
            let data = body["audio"]["data"].as_str().expect("sound");
            sound.extend(BASE64_STANDARD.decode(data).expect("base64"));
        } else {
            words.push(format!("{kind}: {body}"));
        }
    }
    (sound, words)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_sessions_are_byte_for_byte_the_same_while_workers_are_killed_and_restarted() {
    let pipelines = louder();
    let arguments = ["--pipelines", &path(&pipelines)];
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(Gateway::start(&arguments).await);
    }
    let (front, _folder) = front(&workers).await;
    // Far more than the 11 s of speech: on a busy machine twenty sessions take their time, and it is not what is judged here.
    let by = Deadline::secs(400);
    let (undisturbed, words) = session(&front, Duration::from_millis(1), by).await;
    assert_eq!(undisturbed.len(), 550 * FRAME_BYTES, "{words:?}");

    let front = std::sync::Arc::new(front);
    let mut sessions = JoinSet::new();
    for _ in 0..SESSIONS {
        let front = std::sync::Arc::clone(&front);
        sessions.spawn(async move { session(&front, PACE, by).await });
    }
    let (mut ended, mut kills) = (Vec::new(), 0);
    // A fault's schedule, not a wait for anything: the next worker dies, lies dead, and comes back.
    let mut beat = tokio::time::interval(BREATH);
    beat.tick().await;
    loop {
        tokio::select! {
            next = sessions.join_next() => match next {
                Some(session) => ended.push(session.expect("a session without panic")),
                None => break,
            },
            _ = beat.tick(), if ended.is_empty() => {
                let victim = &mut workers[kills / 2 % 3];
                if kills % 2 == 0 {
                    victim.kill().await;
                } else {
                    *victim = Gateway::start_at(victim.address, &arguments).await;
                }
                kills += 1;
            }
        }
    }
    assert!(
        kills >= 6,
        "workers died at least three times, not {kills}/2"
    );
    assert_eq!(ended.len(), SESSIONS);
    for (sound, words) in &ended {
        assert!(
            *sound == undisturbed,
            "{} bytes instead of {}: {words:?}\n{}",
            sound.len(),
            undisturbed.len(),
            front.logs.text()
        );
        assert!(!words.iter().any(|w| w.starts_with("error")), "{words:?}");
    }
    let failovers = front
        .metric("tidegate_hop_failovers_total", &["hop=\"far\""])
        .await;
    assert!(
        failovers.is_some_and(|n| n >= 1.0),
        "sessions moved: {failovers:?}\n{}",
        front.metrics().await
    );
    let dropped = front
        .metric("tidegate_hop_dropped_frames_total", &["hop=\"far\""])
        .await;
    assert!(
        dropped.is_none_or(|n| n == 0.0),
        "nothing was lost: {dropped:?}"
    );
}

/// Frames of the speech that a live speaker says.
const SAID: usize = 200;
/// After how many a worker stops.
const UNTIL_IT_STOPS: usize = 60;

#[tokio::test]
async fn sc_003_a_worker_that_stops_under_a_paced_stream_is_left_and_no_frame_is_lost_or_heard_twice()
 {
    let pipelines = louder();
    let arguments = ["--pipelines", &path(&pipelines)];
    let mut workers = Vec::new();
    for _ in 0..2 {
        workers.push(Gateway::start(&arguments).await);
    }
    // A live speaker cannot be told to wait: what is said meanwhile has its place in the queue.
    let edge = json!({"from": "mic", "to": "far", "queue": {"frames": 512, "age": "60s", "when_full": "drop_oldest"}});
    let gap = json!({"timeout": {"gap": "500ms"}, "health": "off"});
    let (front, _folder) = front_with(&workers, gap, edge).await;
    let said: Vec<_> = speech().into_iter().take(SAID).collect();
    let (mut client, _) = Ws::open(&front, "speech", json!({"pipeline": "speech"})).await;
    let (mut sent, mut heard, mut stopped) = (0, Vec::new(), false);
    let mut clock = tokio::time::interval(PACE);
    let by = Deadline::secs(120);
    while heard.len() < SAID {
        assert!(
            !by.left().is_zero(),
            "{} heard\n{}",
            heard.len(),
            front.logs.text()
        );
        tokio::select! {
            _ = clock.tick(), if sent < SAID => {
                let (kind, body) = &said[sent];
                client.send(kind, body.clone()).await;
                sent += 1;
            }
            message = client.next() => {
                let (kind, body) = message.expect("the session lives");
                assert_ne!(kind, "error", "{body}");
                if kind == "frame" {
                    heard.push(body);
                }
            }
        }
        if heard.len() >= UNTIL_IT_STOPS && !stopped {
            stopped = true;
            for worker in &workers {
                if worker.sessions().await > 0 {
                    worker.signal("STOP").await;
                }
            }
        }
    }
    let times: Vec<_> = heard
        .iter()
        .map(|frame| frame["media_time"].as_u64())
        .collect();
    let expected: Vec<_> = (0..SAID as u64).map(|index| Some(index * 20_000)).collect();
    assert_eq!(times, expected, "each once, in order");
    let failovers = front
        .metric("tidegate_hop_failovers_total", &["hop=\"far\""])
        .await;
    assert_eq!(failovers, Some(1.0), "{}", front.logs.text());
    let dropped = front
        .metric("tidegate_hop_dropped_frames_total", &["hop=\"far\""])
        .await;
    assert_eq!(dropped.unwrap_or(0.0), 0.0);
}
