//! What a node does to its session and to others: a panic, work that takes long; and a drain while a session is being opened.

use std::sync::{Arc, Mutex};
use std::task::{Context as Poller, Poll};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_media::{Audio, Frame, Kind, MediaTime, Payload, Timestamp};
use tidegate_nodes::compile::{Grants, Pipeline};
use tidegate_nodes::graph::Mode;
use tidegate_nodes::node::{Context, Node};
use tidegate_nodes::{
    Accepts, Code, NodeError, NodeType, ParamError, Port, Ports, Registry, StreamFormat,
};
use tidegate_proto::message::Source;

use crate::config::Config;
use crate::gateway::Gateway;
use crate::links::memory::{CHANNEL, MemoryEvent, MemoryLink};
use crate::links::outbox::outbox;
use crate::pipelines::Pipelines;
use crate::session::link::{Link, LinkEvent, LinkMessage, Transport, Wishes};
use crate::session::open::Request;
use crate::session::ports::PortFacts;

/// What a node does with what it passes on.
type Act = Arc<dyn Fn(&Payload) + Send + Sync>;

/// Passes what comes, and does something at each.
struct Acting(Act);

impl NodeType for Acting {
    fn name(&self) -> &'static str {
        "test.acting"
    }
    fn summary(&self) -> &'static str {
        "does what a test wants"
    }
    fn cost(&self) -> &'static str {
        "nothing"
    }
    fn schema(&self) -> Value {
        json!({})
    }
    fn ports(&self, _: &Value) -> Result<Ports, ParamError> {
        Ok(Ports {
            inputs: vec![Port::input("in", Accepts::Anything, "")],
            outputs: vec![Port::output("out", Kind::Binary, "")],
        })
    }
    fn outputs(
        &self,
        _: &Value,
        _: &[Option<StreamFormat>],
    ) -> Result<Vec<StreamFormat>, ParamError> {
        Ok(vec![StreamFormat::Binary])
    }
    fn build(&self, _: &Value, _: &[Option<StreamFormat>]) -> Result<Box<dyn Node>, ParamError> {
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }
}

impl Node for Acting {
    fn on_frame(&mut self, cx: &mut Context<'_>, _: usize, frame: Frame) -> Result<(), NodeError> {
        (self.0)(&frame.payload);
        let done = Payload::Binary(bytes::Bytes::from_static(b"done"));
        cx.emit(0, frame.with_payload(done));
        Ok(())
    }
}

/// A gateway whose pipeline `acting` has one node that does this.
fn gateway(kind: Kind, act: impl Fn(&Payload) + Send + Sync + 'static) -> Arc<Gateway> {
    let mut registry = Registry::builtin();
    registry.add(Acting(Arc::new(act)));
    let text = format!(
        "version: tidegate/v1\nname: acting\ninputs: [{{name: in, kind: {kind}}}]\n\
         outputs: [{{name: out, kind: binary}}]\nnodes: [{{id: acting, type: test.acting}}]\n\
         edges: [in -> acting -> out]\n"
    );
    let pipeline = Pipeline::from_text("acting", &text, &registry, &Grants::default());
    let pipelines = Pipelines::only(pipeline.expect("compiles"), registry);
    Gateway::with(Config::default(), pipelines, false).expect("starts")
}

fn request(link: impl Link + 'static) -> Request {
    Request {
        caller: crate::auth::Caller::anyone(),
        source: Source::Pipeline("acting".to_owned()),
        parameters: serde_json::Map::new(),
        key: None,
        hop_count: 0,
        deadline: None,
        link: Box::new(link),
    }
}

/// What a client hears that says this, in order.
async fn said(gateway: &Arc<Gateway>, format: StreamFormat, payloads: Vec<Payload>) -> Vec<String> {
    let frame = |payload| ("in".to_owned(), Frame::new(MediaTime::ZERO, payload));
    let frames: Vec<_> = payloads.into_iter().map(frame).collect();
    let (events, mut receiver) = outbox(CHANNEL);
    let link = MemoryLink::new(
        Transport::Local,
        Box::new(frames.into_iter()),
        Box::new(move |_| Some(format)),
        Box::new(|port| Some(Accepts::Kind(port.kind))),
        events,
    );
    gateway.open(request(link)).await.expect("opens");
    let mut heard = Vec::new();
    while let Some(event) = receiver.next().await {
        match event {
            MemoryEvent::Frame { frame, .. } => heard.push(frame.payload.kind().to_string()),
            MemoryEvent::Failed(error) => heard.push(error.code.as_str().to_owned()),
            MemoryEvent::Ended { .. } => heard.push("ended".to_owned()),
            _ => {}
        }
    }
    heard
}

#[tokio::test]
async fn a_node_that_panics_in_place_ends_its_session_with_an_error_and_no_other() {
    let gateway = gateway(Kind::Text, |payload| {
        if let Payload::Text(text) = payload {
            assert_ne!(text.as_str(), "boom", "a defect of the node");
        }
    });
    let say = |words: &[&str]| {
        let texts = words.iter().map(|word| Payload::Text((*word).into()));
        texts.collect::<Vec<_>>()
    };

    let heard = said(&gateway, StreamFormat::Text, say(&["boom", "never"])).await;
    assert_eq!(heard, [Code::Internal.as_str(), "ended"]);
    gateway.sessions.emptied().await;
    let counted = gateway.metrics.render(crate::metrics::page::Format::Text);
    let line = r#"tidegate_sessions_total{transport="local",outcome="internal"} 1"#;
    assert!(counted.contains(line), "{counted}");

    let heard = said(&gateway, StreamFormat::Text, say(&["hello"])).await;
    assert_eq!(heard, ["binary", "ended"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_frame_that_is_long_to_work_on_does_not_keep_others_from_the_thread() {
    let (go, gone) = std::sync::mpsc::channel();
    let (seen, at_work) = tokio::sync::oneshot::channel();
    let (gone, seen) = (Mutex::new(gone), Mutex::new(Some(seen)));
    let gateway = gateway(Kind::Audio, move |_| {
        let seen = seen.lock().expect("whole").take().expect("one frame");
        seen.send(()).expect("somebody waits");
        let gone = gone.lock().expect("whole");
        gone.recv_timeout(Duration::from_secs(10))
            .expect("the thread's other task never ran");
    });
    // It can run on the session's thread only.
    let other = gateway.tasks.spawn(async move {
        at_work.await.expect("the node is called");
        go.send(()).expect("the node waits");
    });
    let second = Audio::from_s16(16_000, 1, vec![0; 16_000]);
    let format = StreamFormat::audio(second.format);
    let heard = said(&gateway, format, vec![Payload::Audio(second)]).await;
    assert_eq!(heard, ["binary", "ended"]);
    other.await.expect("it is done");
}

/// A client that only listens, during whose opening the drain begins.
struct Unlucky {
    gateway: Arc<Gateway>,
    heard: tokio::sync::mpsc::Sender<LinkMessage>,
}

impl Wishes for Unlucky {
    fn feeds(&self, _: &PortFacts) -> Option<StreamFormat> {
        self.gateway.sessions.drain(Duration::from_secs(5));
        Some(StreamFormat::Text)
    }
    fn listens(&self, port: &PortFacts) -> Option<Accepts> {
        Some(Accepts::Kind(port.kind))
    }
    fn mode(&self) -> Mode {
        Mode::Waits
    }
}

impl Link for Unlucky {
    fn transport(&self) -> Transport {
        Transport::Local
    }
    fn wishes(&self) -> &dyn Wishes {
        self
    }
    fn poll_event(&mut self, _: &mut Poller<'_>, _: Timestamp, _: bool) -> Poll<LinkEvent> {
        Poll::Pending
    }
    fn send(&mut self, _: Timestamp, message: LinkMessage) {
        self.heard.try_send(message).expect("few messages");
    }
    fn window(&self) -> u32 {
        u32::MAX
    }
    fn poll_flush(&mut self, _: &mut Poller<'_>, _: Timestamp) -> Poll<()> {
        Poll::Ready(())
    }
    fn taken(&self) -> u64 {
        0
    }
    fn unsent(&self) -> u64 {
        0
    }
}

#[tokio::test]
async fn a_client_whose_session_is_being_opened_when_the_drain_begins_is_told_of_it() {
    let gateway = gateway(Kind::Text, |_| {});
    let (heard, mut hears) = tokio::sync::mpsc::channel(CHANNEL);
    let link = Unlucky {
        gateway: Arc::clone(&gateway),
        heard,
    };
    gateway.open(request(link)).await.expect("opens");
    let first = hears.recv().await.expect("a message");
    assert!(matches!(first, LinkMessage::Opened(_)), "{first:?}");
    let second = hears.recv().await.expect("a message");
    assert!(matches!(second, LinkMessage::Draining { .. }), "{second:?}");
}
