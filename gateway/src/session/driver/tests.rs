//! A panic inside a session.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_media::{Frame, Kind, MediaTime, Payload};
use tidegate_nodes::compile::{Grants, Pipeline};
use tidegate_nodes::node::{Context, Node};
use tidegate_nodes::{
    Accepts, Code, NodeError, NodeType, ParamError, Port, Ports, Registry, StreamFormat,
};
use tidegate_proto::message::Source;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::gateway::Gateway;
use crate::links::memory::{CHANNEL, MemoryEvent, MemoryLink};
use crate::pipelines::Pipelines;
use crate::session::link::Transport;
use crate::session::open::Request;

/// Passes text, and panics at `boom`.
struct Frail;

impl NodeType for Frail {
    fn name(&self) -> &'static str {
        "test.frail"
    }
    fn summary(&self) -> &'static str {
        "panics"
    }
    fn cost(&self) -> &'static str {
        "nothing"
    }
    fn schema(&self) -> Value {
        json!({})
    }
    fn ports(&self, _: &Value) -> Result<Ports, ParamError> {
        Ok(Ports {
            inputs: vec![Port::input("in", Accepts::Kind(Kind::Text), "")],
            outputs: vec![Port::output("out", Kind::Text, "")],
        })
    }
    fn outputs(
        &self,
        _: &Value,
        _: &[Option<StreamFormat>],
    ) -> Result<Vec<StreamFormat>, ParamError> {
        Ok(vec![StreamFormat::Text])
    }
    fn build(&self, _: &Value, _: &[Option<StreamFormat>]) -> Result<Box<dyn Node>, ParamError> {
        Ok(Box::new(Self))
    }
}

impl Node for Frail {
    fn on_frame(&mut self, cx: &mut Context<'_>, _: usize, frame: Frame) -> Result<(), NodeError> {
        if let Payload::Text(text) = &frame.payload {
            assert_ne!(text.as_str(), "boom", "a defect of the node");
        }
        cx.emit(0, frame);
        Ok(())
    }
}

const FRAIL: &str = "version: tidegate/v1\nname: frail\ninputs: [{name: in, kind: text}]\n\
                     outputs: [{name: out, kind: text}]\nnodes: [{id: frail, type: test.frail}]\n\
                     edges: [in -> frail -> out]\n";

/// What a client hears that says this, in order.
async fn said(gateway: &Arc<Gateway>, words: &[&str]) -> Vec<String> {
    let frame = |word: &&str| {
        let text = Payload::Text((*word).into());
        ("in".to_owned(), Frame::new(MediaTime::ZERO, text))
    };
    let frames: Vec<_> = words.iter().map(frame).collect();
    let (events, mut receiver) = mpsc::channel(CHANNEL);
    let link = MemoryLink::new(
        Transport::Local,
        Box::new(frames.into_iter()),
        Box::new(|_| Some(StreamFormat::Text)),
        Box::new(|port| Some(Accepts::Kind(port.kind))),
        events,
    );
    let request = Request {
        source: Source::Pipeline("frail".to_owned()),
        parameters: serde_json::Map::new(),
        key: None,
        hop_count: 0,
        deadline: None,
        link: Box::new(link),
    };
    gateway.open(request).await.expect("opens");
    let mut heard = Vec::new();
    while let Some(event) = receiver.recv().await {
        match event {
            MemoryEvent::Frame { frame, .. } => heard.push(frame.payload.kind().to_string()),
            MemoryEvent::Failed(error) => heard.push(error.code.as_str().to_owned()),
            MemoryEvent::Ended => heard.push("ended".to_owned()),
            _ => {}
        }
    }
    heard
}

#[tokio::test]
async fn a_node_that_panics_in_place_ends_its_session_with_an_error_and_no_other() {
    let mut registry = Registry::builtin();
    registry.add(Frail);
    let pipeline = Pipeline::from_text("frail", FRAIL, &registry, &Grants::default());
    let pipelines = Pipelines::only(pipeline.expect("compiles"), registry);
    let gateway = Gateway::with(Config::default(), pipelines, false).expect("starts");

    let heard = said(&gateway, &["boom", "never"]).await;
    assert_eq!(heard, [Code::Internal.as_str(), "ended"]);
    gateway.sessions.emptied().await;
    let counted = gateway.metrics.render();
    let line = r#"tidegate_sessions_total{transport="local",outcome="internal"} 1"#;
    assert!(counted.contains(line), "{counted}");

    assert_eq!(said(&gateway, &["hello"]).await, ["text", "ended"]);
}
