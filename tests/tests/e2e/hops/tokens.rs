//! A token that ends in mid-stream. Whoever renews it writes a file; the hop opens another stream with the new one, which takes over.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::{Deadline, clock};

use super::gatekeeper::{End, Gatekeeper, token};
use super::{Server, utterance};

/// Replaces a file as those do that renew tokens: whole, by its name.
fn renew(path: &Path, text: &str) {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text).expect("written");
    std::fs::rename(&fresh, path).expect("renamed");
}

/// A front whose hop bears the token of this file.
async fn front(gatekeeper: &Gatekeeper, file: &Path, more: Value) -> Server {
    let mut params = json!({
        "endpoints": [gatekeeper.url()],
        "auth": {"bearer_file": file.to_string_lossy()},
    });
    for (key, value) in more.as_object().expect("an object") {
        params[key] = value.clone();
    }
    Server::hop(params).await
}

/// Talks turn by turn until the gatekeeper has a second stream and some turns more; nothing may be lost, twice or in another order.
async fn talk_until_replaced(front: &Server, gatekeeper: &Gatekeeper, file: &Path, next: &str) {
    let mut client = front.open().await;
    let by = Deadline::secs(60);
    let (mut seq, mut after) = (0, 0);
    while after < 20 {
        seq += 1;
        client.send("frame", utterance(seq, "turn")).await;
        let (kind, frame) = client.next().await.expect("the session lives");
        let shown = || format!("{frame}\n{}", front.gateway.logs.text());
        assert_eq!(kind, "frame", "{}", shown());
        assert_eq!(frame["seq"], seq, "{}", shown());
        assert_eq!(frame["text"]["text"], "far turn", "{}", shown());
        if seq == 5 {
            renew(file, next);
        }
        let streams = gatekeeper.streams();
        assert!(!by.left().is_zero(), "{streams:?}\n{}", shown());
        after += u64::from(streams.first().is_some_and(|(_, end)| *end != End::Open));
        let beat = Deadline::after(Duration::from_millis(20));
        beat.wait(std::future::pending::<()>()).await;
    }
    client.send("end", json!({})).await;
    assert_eq!(client.until("ended").await["reason"], "finished");
}

/// The streams that there were: the first by the old token and left, not cut, the second by the new one.
fn assert_replaced(gatekeeper: &Gatekeeper, old: &str, new: &str) {
    let streams = gatekeeper.streams();
    assert_eq!(streams.len(), 2, "{streams:?}");
    assert_eq!(streams[0], (old.to_owned(), End::Left));
    assert_eq!(streams[1].0, new);
    assert_ne!(streams[1].1, End::Cut);
}

#[tokio::test]
async fn fr_010_a_stream_whose_token_is_about_to_end_is_replaced_by_one_with_the_new_token() {
    let worker = Server::saying("far").await;
    let gatekeeper = Gatekeeper::start(&worker.gateway).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let front = front(&gatekeeper, &file, json!({})).await;
    let now = clock::unix_now();
    let old = token("old", Some(now + Duration::from_secs(15)));
    let new = token("new", Some(now + Duration::from_secs(3_600)));
    renew(&file, &old);
    talk_until_replaced(&front, &gatekeeper, &file, &new).await;
    assert_replaced(&gatekeeper, &old, &new);
    let url = gatekeeper.url();
    assert_eq!(front.attempts(&url, "ok").await, 2.0);
    let page = front.gateway.metrics().await;
    assert!(
        !page.contains("outcome=\"network\""),
        "nothing broke: {page}"
    );
}

#[tokio::test]
async fn fr_010_a_token_that_does_not_say_when_it_ends_is_replaced_when_its_file_changes() {
    let worker = Server::saying("far").await;
    let gatekeeper = Gatekeeper::start(&worker.gateway).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let (old, new) = (token("old", None), token("new", None));
    renew(&file, &old);
    let front = front(&gatekeeper, &file, json!({})).await;
    talk_until_replaced(&front, &gatekeeper, &file, &new).await;
    assert_replaced(&gatekeeper, &old, &new);
}

#[tokio::test]
async fn fr_010_edge_a_token_that_ends_in_mid_stream_and_nobody_renews_ends_the_session_with_what_is_to_be_done()
 {
    let worker = Server::saying("far").await;
    let gatekeeper = Gatekeeper::start(&worker.gateway).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let retry = json!({"retry": {"attempts": 2, "backoff": "20ms"}});
    let front = front(&gatekeeper, &file, retry).await;
    let old = token("old", Some(clock::unix_now() + Duration::from_secs(4)));
    renew(&file, &old);
    let mut client = front.open().await;
    client.send("frame", utterance(1, "turn")).await;
    assert_eq!(client.until("frame").await["text"]["text"], "far turn");
    let error = client.until("error").await;
    let shown = format!("{error:#}\n{}", front.gateway.logs.text());
    assert_eq!(error["code"], "unauthenticated", "{shown}");
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains("token"), "{shown}");
    assert_eq!(gatekeeper.streams(), [(old, End::Cut)], "{shown}");
}
