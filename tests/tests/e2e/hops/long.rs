//! A unary call is as long as its utterance: what bounds it is the message, not what may wait for a transport.

use serde_json::{Value, json};

use super::Server;
use super::calls::Calls;

/// One utterance of so many texts of this size.
fn utterance(frames: u64, bytes: usize) -> Value {
    let text = "a".repeat(bytes);
    let frame =
        |seq| json!({"seq": seq, "utterance": 1, "final": seq == frames, "text": {"text": text}});
    json!({"inputs": {"in": (1..=frames).map(frame).collect::<Vec<_>>()}})
}

#[tokio::test]
async fn fr_018_a_unary_call_of_many_or_large_frames_is_made_once_and_answered() {
    let worker = Calls::start("heard").await;
    let params = json!({
        "transport": "http", "mode": "unary", "endpoints": [worker.url()], "timeout": {"call": "20s"}, "health": "off",
    });
    let front = Server::hop(params).await;
    // More than 64 frames; more than the replay ring's 1024; more than its 8 MiB.
    for (frames, bytes) in [(70, 1), (1_500, 1), (40, 250_000)] {
        let outputs = front.execute("hop", &utterance(frames, bytes)).await;
        let outputs = outputs.unwrap_or_else(|problem| panic!("{frames} frames: {problem:#}"));
        assert_eq!(outputs["out"][0]["text"]["text"], "heard", "{outputs:#}");
        assert_eq!(worker.taken(), 1, "{frames} frames");
    }
}
