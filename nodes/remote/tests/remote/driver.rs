//! What a session's driver does with a hop, step by step. Time on its clock stands still unless a test moves it.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tidegate_media::{Frame, MediaTime, Payload, Timestamp};
use tidegate_nodes::compile::remote::HopMode;
use tidegate_nodes::{Error, HopCommand, HopEvent, HopNote, StreamFormat};
use tidegate_proto::message::Mode;
use tidegate_remote::{
    Auth, Connector, ConnectorConfig, HopConfig, HopPorts, OpenContext, RemoteConfig, RemoteHop,
    Target, Timeouts, Transport,
};

pub(crate) const NOW: Timestamp = Timestamp::from_nanos(7_000_000_000);
/// Longer than anything here takes on the slowest machine; only a broken test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn config(endpoints: &[String]) -> RemoteConfig {
    RemoteConfig {
        endpoints: endpoints.to_vec(),
        transport: Transport::Grpc,
        mode: HopMode::Stream,
        target: Target::Pipeline("echo".into()),
        parameters: serde_json::Map::new(),
        timeouts: Timeouts {
            connect: PATIENCE,
            ..Timeouts::default()
        },
        auth: Auth::bearer("token"),
        foreign: None,
    }
}

pub(crate) fn ports() -> HopPorts {
    HopPorts {
        hop: "stt".into(),
        inputs: vec![("in".into(), Some(StreamFormat::Binary))],
        outputs: vec![("out".into(), Some(StreamFormat::Binary))],
    }
}

pub(crate) fn context() -> OpenContext<'static> {
    OpenContext {
        now: NOW,
        hop_count: 0,
        mode: Mode::Waits,
        deadline: Some(NOW + Duration::from_secs(60)),
        trace: None,
    }
}

pub(crate) fn connector() -> Connector {
    Connector::new(ConnectorConfig::default())
}

pub(crate) async fn open(config: &RemoteConfig) -> Result<RemoteHop, Error> {
    open_with(&connector(), config, &ports(), context()).await
}

/// Opens with one attempt an endpoint, as hops did before they had retries.
pub(crate) async fn open_with(
    connector: &Connector,
    config: &RemoteConfig,
    ports: &HopPorts,
    context: OpenContext<'_>,
) -> Result<RemoteHop, Error> {
    let attempts = u32::try_from(config.endpoints.len()).unwrap_or(u32::MAX);
    let hop = HopConfig {
        attempts,
        ..HopConfig::new(config.clone())
    };
    Ok(RemoteHop::open(connector, &hop, ports, context, clock()).await?)
}

/// A clock that goes on from [`NOW`].
pub(crate) fn clock() -> impl Fn() -> Timestamp {
    let began = tokio::time::Instant::now();
    move || NOW + began.elapsed()
}

pub(crate) async fn open_at(endpoint: String) -> Driven {
    Driven::new(open(&config(&[endpoint])).await.expect("it opens"))
}

/// An open hop with the credit that it gave.
pub(crate) struct Driven {
    pub(crate) hop: RemoteHop,
    pub(crate) now: Timestamp,
    pub(crate) credit: u32,
    pub(crate) sent: u64,
    pub(crate) notes: Vec<HopNote>,
    /// Acknowledgements count as events.
    acks: bool,
    clock: Option<Box<dyn Fn() -> Timestamp>>,
}

impl Driven {
    pub(crate) fn new(hop: RemoteHop) -> Self {
        Self {
            hop,
            now: NOW,
            credit: 0,
            sent: 0,
            notes: Vec::new(),
            acks: false,
            clock: None,
        }
    }

    /// Gives acknowledgements out too.
    pub(crate) fn with_acks(mut self) -> Self {
        self.acks = true;
        self
    }

    /// Lets the clock go on.
    pub(crate) fn live(mut self) -> Self {
        self.clock = Some(Box::new(clock()));
        self
    }

    async fn next(&mut self) -> HopEvent {
        let began = tokio::time::Instant::now();
        while began.elapsed() < PATIENCE {
            let mut wait = PATIENCE;
            if let Some(clock) = &self.clock {
                self.now = clock();
                let due = self.hop.poll_timeout();
                wait = due.map_or(wait, |due| wait.min(due.saturating_since(self.now)));
            }
            let next = poll_fn(|cx| self.hop.poll_event(cx, self.now));
            if let Ok(event) = tokio::time::timeout(wait, next).await {
                return event;
            }
        }
        panic!("nothing happens");
    }

    /// The next event that is not credit.
    pub(crate) async fn event(&mut self) -> HopEvent {
        loop {
            match self.next().await {
                HopEvent::Credit { frames, .. } => self.credit += frames,
                HopEvent::Acknowledged { .. } if !self.acks => {}
                HopEvent::Note(note) => self.notes.push(note),
                other => return other,
            }
        }
    }

    /// Hears what is there without waiting, but for frames: none may be left.
    pub(crate) async fn settle(&mut self) {
        poll_fn(|cx| {
            if let Some(clock) = &self.clock {
                self.now = clock();
            }
            while let Poll::Ready(event) = self.hop.poll_event(cx, self.now) {
                match event {
                    HopEvent::Credit { frames, .. } => self.credit += frames,
                    HopEvent::Note(note) => self.notes.push(note),
                    HopEvent::Acknowledged { .. } => {}
                    other => panic!("{other:?} left behind"),
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Whether nothing comes without waiting.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        poll_fn(|cx| {
            loop {
                match self.hop.poll_event(cx, self.now) {
                    Poll::Ready(HopEvent::Note(note)) => self.notes.push(note),
                    other => return Poll::Ready(other.is_pending()),
                }
            }
        })
        .await
    }

    pub(crate) async fn wait_for_credit(&mut self) {
        while self.credit == 0 {
            match self.next().await {
                HopEvent::Acknowledged { .. } if !self.acks => {}
                HopEvent::Credit { frames, .. } => self.credit += frames,
                HopEvent::Note(note) => self.notes.push(note),
                other => panic!("{other:?} instead of credit"),
            }
        }
    }

    /// Sends the next frame once there is credit.
    pub(crate) async fn send_when_possible(&mut self, data: Bytes) {
        self.wait_for_credit().await;
        self.send(data);
    }

    /// Sends the next frame; there must be credit.
    pub(crate) fn send(&mut self, data: Bytes) {
        self.credit = self.credit.checked_sub(1).expect("credit");
        self.sent += 1;
        let mut frame = Frame::new(MediaTime::from_micros(20_000), Payload::Binary(data));
        frame.meta.seq = self.sent;
        frame.meta.deadline = Some(self.now + Duration::from_millis(250));
        let port = 0;
        self.hop.send(self.now, HopCommand::Frame { port, frame });
    }

    pub(crate) async fn failure(&mut self) -> Error {
        match self.event().await {
            HopEvent::Failed(error) => error,
            other => panic!("{other:?} instead of a failure"),
        }
    }

    pub(crate) async fn frame(&mut self) -> Frame {
        match self.event().await {
            HopEvent::Frame { port: 0, frame } => frame,
            other => panic!("{other:?} instead of a frame"),
        }
    }
}
