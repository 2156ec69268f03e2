//! A link without a network: frames come from an iterator and go to a bounded queue. Serves `execute` and `tidegate run`.

use std::task::{Context, Poll};

use tidegate_media::{Frame, Timestamp};
use tidegate_nodes::graph::Mode;
use tidegate_nodes::{Accepts, Code, Error, StreamFormat};

use super::outbox::{Outbox, Said};
use crate::session::link::{
    Features, HopFigures, Link, LinkEvent, LinkMessage, OpenedInfo, Transport, Wishes,
};
use crate::session::ports::PortFacts;

/// Messages that the reader may be behind by.
pub(crate) const CHANNEL: usize = 64;

/// How a port is fed or heard: by its facts.
pub(crate) type Feeds = Box<dyn Fn(&PortFacts) -> Option<StreamFormat> + Send>;
/// As [`Feeds`], for outputs.
pub(crate) type Listens = Box<dyn Fn(&PortFacts) -> Option<Accepts> + Send>;

/// Where a memory link's frames come from.
pub(crate) trait Source: Send {
    /// What comes next; `None` at the end, with which all inputs end.
    ///
    /// # Errors
    /// The source is broken; the session ends with the error.
    fn next(&mut self) -> Result<Option<Fed>, Error>;
}

/// What a source gives to an input, by its name.
#[derive(Debug)]
pub(crate) enum Fed {
    /// A frame.
    Frame { port: String, frame: Frame },
    /// No more will come for this input.
    End { port: String },
}

impl Source for std::vec::IntoIter<(String, Frame)> {
    fn next(&mut self) -> Result<Option<Fed>, Error> {
        Ok(Iterator::next(self).map(|(port, frame)| Fed::Frame { port, frame }))
    }
}

impl Said for MemoryEvent {
    fn is_frame(&self) -> bool {
        matches!(self, Self::Frame { .. })
    }

    fn is_last_word(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Ended { .. })
    }
}

/// What comes out of a memory link.
#[derive(Debug)]
pub(crate) enum MemoryEvent {
    /// The session stands.
    Opened(Box<OpenedInfo>),
    /// A frame of an output, by name.
    Frame { output: String, frame: Frame },
    /// Figures per hop, where the link was made with [`MemoryLink::measured`].
    Stats(Vec<HopFigures>),
    /// What went wrong.
    Failed(Error),
    /// The end, and why; nothing follows.
    Ended { reason: &'static str },
}

/// A client in this process.
pub(crate) struct MemoryLink {
    transport: Transport,
    source: Box<dyn Source>,
    feeds: Feeds,
    listens: Listens,
    wanted: Vec<String>,
    /// Inputs that the source has frames for.
    named: Vec<String>,
    measured: bool,
    inputs: Vec<(usize, String)>,
    outputs: Vec<(usize, String)>,
    drained: bool,
    /// It has been told the end.
    ended: bool,
    events: Outbox<MemoryEvent>,
}

impl MemoryLink {
    /// A link that feeds what `source` has and hands what comes out to `events`.
    pub(crate) fn new(
        transport: Transport,
        source: Box<dyn Source>,
        feeds: Feeds,
        listens: Listens,
        events: Outbox<MemoryEvent>,
    ) -> Self {
        Self {
            transport,
            source,
            feeds,
            listens,
            wanted: Vec::new(),
            named: Vec::new(),
            measured: false,
            inputs: Vec::new(),
            outputs: Vec::new(),
            drained: false,
            ended: false,
            events,
        }
    }

    /// With these ports, instead of whatever is free.
    pub(crate) fn with_ports(mut self, ports: Vec<String>) -> Self {
        self.wanted = ports;
        self
    }

    /// With a source that has frames for these inputs: a session without one of them is refused.
    pub(crate) fn feeding(mut self, named: Vec<String>) -> Self {
        self.named = named;
        self
    }

    /// With figures per hop, the last ones of the whole session before its end.
    pub(crate) const fn measured(mut self) -> Self {
        self.measured = true;
        self
    }

    fn input(&self, port: &str) -> Option<usize> {
        let found = self.inputs.iter().find(|(_, name)| name == port);
        found.map(|(input, _)| *input)
    }

    fn name(&self, output: usize) -> String {
        let found = self.outputs.iter().find(|(index, _)| *index == output);
        found.map(|(_, name)| name.clone()).unwrap_or_default()
    }
}

impl Wishes for MemoryLink {
    fn wanted_ports(&self) -> &[String] {
        &self.wanted
    }

    fn fits(&self, inputs: &[&PortFacts], _: &[&PortFacts]) -> Result<(), Error> {
        let fed: Vec<_> = inputs.iter().map(|port| port.name.as_str()).collect();
        match self.named.iter().find(|n| !fed.contains(&n.as_str())) {
            None => Ok(()),
            Some(name) => {
                let text = format!(
                    "frames for '{name}', which is no input that this client feeds: those are [{}]",
                    fed.join(", ")
                );
                Err(Error::new(Code::BadRequest, text))
            }
        }
    }

    fn features(&self) -> Features {
        Features {
            credits: false,
            stats: self.measured,
            acks: false,
        }
    }

    fn feeds(&self, port: &PortFacts) -> Option<StreamFormat> {
        (self.feeds)(port)
    }

    fn listens(&self, port: &PortFacts) -> Option<Accepts> {
        (self.listens)(port)
    }

    fn mode(&self) -> Mode {
        Mode::Waits
    }
}

impl Link for MemoryLink {
    fn transport(&self) -> Transport {
        self.transport
    }

    fn wishes(&self) -> &dyn Wishes {
        self
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, _now: Timestamp, read: bool) -> Poll<LinkEvent> {
        if self.events.poll_dropped(cx).is_ready() {
            return Poll::Ready(LinkEvent::Closed);
        }
        if self.drained || !read {
            return Poll::Pending;
        }
        loop {
            match self.source.next() {
                Err(error) => return Poll::Ready(LinkEvent::Failed(error)),
                Ok(None) => {
                    self.drained = true;
                    return Poll::Ready(LinkEvent::End { input: None });
                }
                Ok(Some(Fed::Frame { port, frame })) => {
                    if let Some(input) = self.input(&port) {
                        return Poll::Ready(LinkEvent::Frame { input, frame });
                    }
                }
                Ok(Some(Fed::End { port })) => {
                    if let Some(input) = self.input(&port) {
                        return Poll::Ready(LinkEvent::End { input: Some(input) });
                    }
                }
            }
        }
    }

    fn send(&mut self, _now: Timestamp, message: LinkMessage) {
        let event = match message {
            LinkMessage::Opened(info) => {
                self.inputs = info
                    .inputs
                    .iter()
                    .map(|(i, name, _)| (*i, name.clone()))
                    .collect();
                self.outputs = info
                    .outputs
                    .iter()
                    .map(|(o, name, _)| (*o, name.clone()))
                    .collect();
                MemoryEvent::Opened(info)
            }
            LinkMessage::Frame { output, frame } => MemoryEvent::Frame {
                output: self.name(output),
                frame,
            },
            LinkMessage::Stats(hops) => MemoryEvent::Stats(hops),
            LinkMessage::Error(error) => MemoryEvent::Failed(error),
            LinkMessage::Ended { reason } => {
                self.ended = true;
                MemoryEvent::Ended { reason }
            }
            _ => return,
        };
        self.events.push(event);
    }

    fn window(&self) -> u32 {
        u32::try_from(self.events.room()).unwrap_or(u32::MAX)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, _now: Timestamp) -> Poll<()> {
        if self.ended {
            self.events.poll_empty(cx)
        } else {
            self.events.poll_room(cx)
        }
    }

    fn taken(&self) -> u64 {
        self.events.taken()
    }

    fn unsent(&self) -> u64 {
        self.events.frames()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_media::{MediaTime, Payload};
    use tidegate_nodes::Registry;
    use tidegate_nodes::compile::{Grants, Pipeline};
    use tidegate_proto::message::Source as Wanted;

    use super::*;
    use crate::config::Config;
    use crate::gateway::Gateway;
    use crate::links::outbox::outbox;
    use crate::pipelines::Pipelines;
    use crate::session::open::Request;

    const PASS: &str = "version: tidegate/v1\nname: pass\ninputs: [{name: in, kind: text}]\n\
                        outputs: [{name: out, kind: text}]\nedges: [in -> out]\n";

    /// More frames than could pass in the time allowed if the session slept until its next timer, a quarter of a second, each
    /// time that the channel was full.
    const FRAMES: i64 = 20_000;
    const ALLOWED: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_reader_that_catches_up_is_served_without_waiting_for_a_timer() {
        let registry = Registry::builtin();
        let pipeline = Pipeline::from_text("pass", PASS, &registry, &Grants::default());
        let pipelines = Pipelines::only(pipeline.expect("compiles"), registry);
        let gateway = Gateway::with(Config::default(), pipelines, false).expect("starts");
        let frame = |n: i64| {
            let text = Payload::Text(n.to_string().into());
            ("in".to_owned(), Frame::new(MediaTime::from_micros(n), text))
        };
        let frames: Vec<_> = (0..FRAMES).map(frame).collect();
        let (events, mut receiver) = outbox(CHANNEL);
        let link = MemoryLink::new(
            Transport::Local,
            Box::new(frames.into_iter()),
            Box::new(|_| Some(StreamFormat::Text)),
            Box::new(|port| Some(Accepts::Kind(port.kind))),
            events,
        );
        let request = Request {
            caller: crate::auth::Caller::anyone(),
            source: Wanted::Pipeline("pass".to_owned()),
            parameters: serde_json::Map::new(),
            key: None,
            hop_count: 0,
            deadline: None,
            link: Box::new(link),
        };
        gateway.open(request).await.expect("opens");
        let hear = async {
            let mut heard = 0;
            while let Some(event) = receiver.next().await {
                heard += i64::from(matches!(event, MemoryEvent::Frame { .. }));
            }
            heard
        };
        let heard = tokio::time::timeout(ALLOWED, hear).await;
        assert_eq!(heard.ok(), Some(FRAMES));
    }
}
