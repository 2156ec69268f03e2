//! Who gets into which session, and what a session costs that nobody gets into.

use std::sync::Arc;
use std::time::Duration;

use tidegate_media::Codec;
use tidegate_nodes::compile::{Grants, Pipeline};
use tidegate_nodes::stream::AudioPattern;
use tidegate_nodes::{Accepts, Code, Error, Registry, StreamFormat};
use tidegate_proto::message::Source;

use super::control::End;
use super::link::Transport;
use super::open::Request;
use super::table::Handle;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::links::memory::{CHANNEL, MemoryEvent, MemoryLink};
use crate::links::outbox::{Delivery, outbox};
use crate::pipelines::Pipelines;

const TALK: &str = "version: tidegate/v1\nname: talk\ninputs: [{name: mic, kind: audio}]\n\
                    outputs: [{name: speaker, kind: audio}]\nnodes: [{id: gain, type: audio.gain, params: {gain_db: 6}}]\n\
                    edges: [mic -> gain -> speaker]\n";

fn gateway(change: impl FnOnce(&mut Config)) -> Arc<Gateway> {
    let registry = Registry::builtin();
    let pipeline = Pipeline::from_text("test", TALK, &registry, &Grants::default());
    let pipelines = Pipelines::only(pipeline.expect("compiles"), registry);
    let mut config = Config::default();
    change(&mut config);
    Gateway::with(config, pipelines, false).expect("starts")
}

/// A listener that sends nothing.
async fn join(
    gateway: &Arc<Gateway>,
    source: Source,
    key: Option<&str>,
    accepts: Accepts,
) -> Result<(Handle, Delivery<MemoryEvent>), Error> {
    let (events, receiver) = outbox(CHANNEL);
    let link = MemoryLink::new(
        Transport::Local,
        Box::new(Vec::new().into_iter()),
        Box::new(|_| None::<StreamFormat>),
        Box::new(move |_| Some(accepts.clone())),
        events,
    );
    let request = Request {
        caller: crate::auth::Caller::anyone(),
        source,
        parameters: serde_json::Map::new(),
        key: key.map(str::to_owned),
        hop_count: 0,
        deadline: None,
        link: Box::new(link),
    };
    Ok((gateway.open(request).await?, receiver))
}

fn talk() -> Source {
    Source::Pipeline("talk".to_owned())
}

fn audio(codec: Codec, sample_rate: u32) -> Accepts {
    Accepts::Audio(AudioPattern {
        codecs: vec![codec],
        sample_rates: vec![sample_rate],
        channels: vec![1],
        packets: false,
    })
}

fn pcm() -> Accepts {
    audio(Codec::PcmS16, 16_000)
}

#[tokio::test(start_paused = true)]
async fn a_session_that_its_first_client_cannot_enter_keeps_no_slot() {
    let gateway = gateway(|_| {});
    // Opus has no such rate.
    let refused = join(&gateway, talk(), Some("k"), audio(Codec::Opus, 44_100)).await;
    let refused = refused.err().map(|error| error.code);
    assert_eq!(refused, Some(Code::Incompatible));
    let limit = gateway.config.limits.vacant.0 / 2;
    let emptied = tokio::time::timeout(limit, gateway.sessions.emptied()).await;
    assert!(emptied.is_ok(), "a session of nobody");
}

#[tokio::test]
async fn a_shared_session_takes_so_many_clients_and_counts_as_one() {
    let gateway = gateway(|config| config.limits.clients = 2);
    let first = join(&gateway, talk(), Some("k"), pcm())
        .await
        .expect("opens");
    let second = join(&gateway, talk(), Some("k"), pcm())
        .await
        .expect("joins");
    assert_eq!(first.0.id, second.0.id);
    let refused = join(&gateway, talk(), Some("k"), pcm()).await;
    let refused = refused.err().map(|error| error.code);
    assert_eq!(refused, Some(Code::Overloaded));
    let metrics = gateway.metrics.render(crate::metrics::page::Format::Text);
    for line in [
        r#"tidegate_sessions_active{transport="local"} 1"#,
        "tidegate_sessions_taken 1",
    ] {
        assert!(
            metrics.lines().any(|got| got == line),
            "{line} in {metrics}"
        );
    }
}

#[tokio::test]
async fn a_manifest_that_a_client_sent_meets_only_its_like_whatever_it_is_called() {
    let gateway = gateway(|config| config.inline = true);
    let sent = || Source::Manifest(TALK.to_owned());
    let ours = join(&gateway, talk(), Some("k"), pcm())
        .await
        .expect("opens");
    let theirs = join(&gateway, sent(), Some("k"), pcm())
        .await
        .expect("opens");
    assert_ne!(ours.0.id, theirs.0.id, "a stranger's graph under our name");
    let again = join(&gateway, sent(), Some("k"), pcm())
        .await
        .expect("joins");
    assert_eq!(again.0.id, theirs.0.id);
}

#[tokio::test]
async fn who_comes_while_a_shared_session_says_its_last_words_gets_a_new_one() {
    let gateway = gateway(|_| {});
    // Its receiver takes nothing, so that the session lingers.
    let (old, mut receiver) = join(&gateway, talk(), Some("k"), pcm())
        .await
        .expect("opens");
    old.end(End::Deleted).await.expect("it runs");
    while !matches!(
        receiver.next().await,
        Some(MemoryEvent::Ended { .. }) | None
    ) {}
    let (new, _receiver) = join(&gateway, talk(), Some("k"), pcm())
        .await
        .expect("opens");
    assert_ne!(new.id, old.id);
}

const ROOM: &str = "version: tidegate/v1\nname: room\ninputs: [{name: a, kind: text}, {name: b, kind: text}]\n\
                    outputs: [{name: to-a, kind: text, for: a}, {name: to-b, kind: text, for: b}]\n\
                    edges: [a -> to-b, b -> to-a]\n";

/// What a client in a room hears, by name, and why its session failed, if it did.
async fn in_the_room(key: Option<&str>, ports: &[&str]) -> (Vec<String>, Option<Code>) {
    let registry = Registry::builtin();
    let pipeline = Pipeline::from_text("test", ROOM, &registry, &Grants::default());
    let pipelines = Pipelines::only(pipeline.expect("compiles"), registry);
    let mut config = Config::default();
    config.limits.idle.0 = Duration::from_secs(1);
    let gateway = Gateway::with(config, pipelines, false).expect("starts");
    let (events, mut receiver) = outbox(CHANNEL);
    let link = MemoryLink::new(
        Transport::Local,
        // It ends what it feeds.
        Box::new(Vec::new().into_iter()),
        Box::new(|_| Some(StreamFormat::Text)),
        Box::new(|port| Some(Accepts::Kind(port.kind))),
        events,
    );
    let request = Request {
        caller: crate::auth::Caller::anyone(),
        source: Source::Pipeline("room".to_owned()),
        parameters: serde_json::Map::new(),
        key: key.map(str::to_owned),
        hop_count: 0,
        deadline: None,
        link: Box::new(link.with_ports(ports.iter().map(|&port| port.to_owned()).collect())),
    };
    let _handle = gateway.open(request).await.expect("opens");
    let (mut heard, mut failed) = (Vec::new(), None);
    while let Some(event) = receiver.next().await {
        match event {
            MemoryEvent::Opened(info) => {
                heard = info.outputs.into_iter().map(|(_, name, _)| name).collect();
            }
            MemoryEvent::Failed(error) => failed = Some(error.code),
            _ => {}
        }
    }
    (heard, failed)
}

#[tokio::test]
async fn a_session_of_its_own_has_every_seat_and_ends_what_nobody_can_feed() {
    let (heard, failed) = in_the_room(None, &[]).await;
    assert_eq!((heard.join(" ").as_str(), failed), ("to-a to-b", None));
    let (heard, failed) = in_the_room(None, &["a"]).await;
    assert_eq!((heard.join(" ").as_str(), failed), ("to-a", None));
    // Where others may come, the other seat is theirs and its input is not at its end.
    let (heard, failed) = in_the_room(Some("k"), &[]).await;
    let idle = Some(Code::SessionExpired);
    assert_eq!((heard.join(" ").as_str(), failed), ("to-a", idle));
}

#[tokio::test(start_paused = true)]
async fn looking_at_a_session_does_not_keep_it_from_being_idle() {
    let idle = Duration::from_secs(10);
    let gateway = gateway(|config| config.limits.idle.0 = idle);
    let (handle, mut receiver) = join(&gateway, talk(), None, pcm()).await.expect("opens");
    let looking = async {
        let mut ticks = tokio::time::interval(idle / 8);
        loop {
            ticks.tick().await;
            drop(handle.snapshot().await);
        }
    };
    let ended = async {
        while let Some(event) = receiver.next().await {
            if let MemoryEvent::Failed(error) = event {
                return error.code;
            }
        }
        panic!("it ended without a word");
    };
    let code = tokio::select! {
        code = ended => code,
        () = looking => unreachable!(),
        () = tokio::time::sleep(3 * idle) => panic!("it goes on for ever"),
    };
    assert_eq!(code, Code::SessionExpired);
}
