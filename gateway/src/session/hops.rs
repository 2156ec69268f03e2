//! Hops that are not in place, as a session's driver sees them: something to send commands to and to poll for events.
//!
//! [`OffloadHop`] runs a node on a blocking thread. Remote hops come from `tidegate-remote`.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tidegate_media::Timestamp;
use tidegate_nodes::hop::port_number;
use tidegate_nodes::node::{Context as NodeContext, Effects, Node};
use tidegate_nodes::{Code, Error, Hold, HopCommand, HopEvent};
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::remote::state::RemoteReport;
use crate::tasks::Tasks;
use crate::trace::HopTrace;

/// A hop outside the graph.
pub(crate) trait Hop: Send {
    /// The next event from the hop.
    fn poll_event(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Poll<HopEvent>;

    /// The graph has no room for what the hop gives; it is polled again when there is.
    fn hold(&mut self, now: Timestamp) {
        let _ = now;
    }

    /// Takes a command; frames only within the credit that the hop gave.
    fn send(&mut self, now: Timestamp, command: HopCommand);

    /// The endpoint as configured, if it is remote.
    fn endpoint(&self) -> Option<&str> {
        None
    }

    /// Whether it has moved to another endpoint since this was last asked.
    fn take_moved(&mut self) -> bool {
        false
    }

    /// What it has met, if it is remote.
    fn remote(&self, now: Timestamp) -> Option<RemoteReport> {
        let _ = now;
        None
    }

    /// Its part in the session's trace, which ends.
    fn take_trace(&mut self) -> Option<HopTrace> {
        None
    }

    /// When [`Hop::poll_event`] must be called again even if nothing comes.
    fn timeout(&self) -> Option<Timestamp> {
        None
    }
}

/// Frames that may wait for the thread; the graph's queue holds the rest and sheds by its rules.
const OFFLOAD_CREDIT: u32 = 4;

/// A node that computes on a thread. One batch is on the thread at a time, so frames keep their order.
pub(crate) struct OffloadHop {
    id: String,
    clock: Clock,
    tasks: Tasks,
    /// At home, or `None` while on the thread.
    node: Option<Box<dyn Node>>,
    running: Option<JoinHandle<Batch>>,
    commands: VecDeque<(Timestamp, HopCommand)>,
    events: VecDeque<HopEvent>,
    timer: Option<Timestamp>,
    /// Port and number of the newest frame handled, which is what a timer's output is caused by.
    newest: (u16, u64),
    /// What it was last said that the node holds.
    holds: Hold,
    outputs: usize,
    open_inputs: Vec<bool>,
    /// Nothing is joined to its inputs: it begins and ends by itself.
    generator: bool,
    over: bool,
}

struct Batch {
    node: Box<dyn Node>,
    events: Vec<HopEvent>,
    timer: Option<Timestamp>,
    newest: (u16, u64),
    holds: Hold,
    open_inputs: Vec<bool>,
    generator: bool,
    outputs: usize,
    /// The node has failed, or is a generator that makes no more.
    over: bool,
}

impl OffloadHop {
    /// A hop of this node; `joined` says of each of its inputs whether anything is joined to it. A node without joined inputs is
    /// called once at the start, as it would be in place.
    pub(crate) fn new(
        id: String,
        node: Box<dyn Node>,
        joined: Vec<bool>,
        outputs: usize,
        (clock, tasks): (Clock, Tasks),
    ) -> Self {
        let generator = !joined.contains(&true);
        let events = (0..joined.len())
            .map(|port| HopEvent::Credit {
                port,
                frames: OFFLOAD_CREDIT,
                bytes: u64::MAX,
            })
            .collect();
        Self {
            id,
            clock,
            tasks,
            node: Some(node),
            running: None,
            commands: VecDeque::new(),
            events,
            timer: generator.then_some(Timestamp::ZERO),
            newest: (0, 0),
            holds: Hold::Nothing,
            outputs,
            open_inputs: joined,
            generator,
            over: false,
        }
    }

    /// Puts the node on a thread if there is something to do.
    fn start(&mut self, now: Timestamp) {
        let due = self.timer.is_some_and(|at| at <= now);
        if self.over || self.commands.is_empty() && !due {
            return;
        }
        let Some(node) = self.node.take() else { return };
        let commands = std::mem::take(&mut self.commands);
        let (clock, id) = (self.clock, self.id.clone());
        let mut batch = Batch {
            node,
            events: Vec::new(),
            timer: self.timer,
            newest: self.newest,
            holds: self.holds,
            open_inputs: std::mem::take(&mut self.open_inputs),
            generator: self.generator,
            outputs: self.outputs,
            over: false,
        };
        self.running = Some(self.tasks.compute(move || {
            batch.run(commands, clock, &id);
            batch
        }));
    }

    fn settle(&mut self, result: Result<Batch, tokio::task::JoinError>) {
        match result {
            Ok(batch) => {
                self.node = Some(batch.node);
                self.timer = batch.timer;
                self.newest = batch.newest;
                self.holds = batch.holds;
                self.open_inputs = batch.open_inputs;
                self.events.extend(batch.events);
                self.over |= batch.over;
            }
            Err(error) => {
                self.over = true;
                let what = if error.is_panic() {
                    "panicked"
                } else {
                    "was cancelled"
                };
                let error = Error::new(Code::NodeFailed, format!("the node {what} on its thread"));
                self.events
                    .push_back(HopEvent::Failed(error.at_hop(self.id.clone())));
            }
        }
    }
}

impl Batch {
    fn run(&mut self, commands: VecDeque<(Timestamp, HopCommand)>, clock: Clock, id: &str) {
        let mut since = clock.now();
        if self.timer.is_some_and(|at| at <= since) {
            self.timer = None;
            self.call(clock, since, id, |node, cx| node.on_timer(cx));
        }
        for (queued, command) in commands {
            if self.over {
                return;
            }
            since = queued;
            match command {
                HopCommand::Frame { port, frame } => {
                    let seq = frame.meta.seq;
                    self.newest = (port_number(port), seq);
                    self.call(clock, since, id, |node, cx| node.on_frame(cx, port, frame));
                    self.events.push(HopEvent::Acknowledged { port, seq });
                    self.events.push(HopEvent::Credit {
                        port,
                        frames: 1,
                        bytes: u64::MAX,
                    });
                }
                HopCommand::End { port } => {
                    if self.newest.0 == port_number(port) {
                        self.newest.1 += 1;
                    }
                    self.call(clock, since, id, |node, cx| node.on_end(cx, port));
                    if let Some(open) = self.open_inputs.get_mut(port) {
                        *open = false;
                    }
                    if !self.open_inputs.contains(&true) {
                        self.end();
                    }
                }
                HopCommand::Interrupt => self.call(clock, since, id, |node, cx| {
                    node.on_interrupt(cx);
                    Ok(())
                }),
            }
        }
    }

    fn end(&mut self) {
        let ends = (0..self.outputs).map(|port| HopEvent::Ended { port });
        self.events.extend(ends);
    }

    /// One call of the node; what it made becomes events.
    fn call(
        &mut self,
        clock: Clock,
        since: Timestamp,
        id: &str,
        work: impl FnOnce(&mut dyn Node, &mut NodeContext<'_>) -> Result<(), tidegate_nodes::NodeError>,
    ) {
        let mut effects = Effects::default();
        let mut cx = NodeContext::new(clock.now(), &mut effects);
        let result = work(self.node.as_mut(), &mut cx);
        let result = effects.outcome(result);
        if let Some(timer) = effects.timer {
            self.timer = timer;
        }
        for (reason, frames) in effects.drops {
            self.events.push(HopEvent::Dropped { reason, frames });
        }
        let service = clock.now().saturating_since(since);
        for (port, mut frame) in effects.frames {
            (frame.meta.caused_port, frame.meta.caused_by) = self.newest;
            frame.meta.service = Some(service);
            self.events.push(HopEvent::Frame { port, frame });
        }
        // Behind what was made of the old state, and before what feeds the new one is acknowledged.
        let holds = self.node.holds();
        if holds != self.holds {
            self.holds = holds;
            self.events.push(HopEvent::Holds(holds));
        }
        if effects.ended && self.generator {
            self.over = true;
            self.end();
        }
        if let Err(error) = result {
            self.over = true;
            let error = Error::new(Code::NodeFailed, error.to_string()).at_hop(id);
            self.events.push(HopEvent::Failed(error));
        }
    }
}

impl Hop for OffloadHop {
    fn poll_event(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Poll<HopEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            if self.running.is_none() {
                self.start(now);
            }
            let Some(running) = &mut self.running else {
                return Poll::Pending;
            };
            let Poll::Ready(result) = Pin::new(running).poll(cx) else {
                return Poll::Pending;
            };
            self.running = None;
            self.settle(result);
        }
    }

    fn send(&mut self, now: Timestamp, command: HopCommand) {
        if self.over {
            return;
        }
        if matches!(command, HopCommand::Interrupt) {
            // Frames that wait here are older than the interrupt; their credit goes back.
            let waiting = std::mem::take(&mut self.commands);
            for (at, old) in waiting {
                match old {
                    HopCommand::Frame { port, .. } => {
                        let reason = tidegate_nodes::DropReason::Interrupted;
                        self.events
                            .push_back(HopEvent::Dropped { reason, frames: 1 });
                        let credit = HopEvent::Credit {
                            port,
                            frames: 1,
                            bytes: u64::MAX,
                        };
                        self.events.push_back(credit);
                    }
                    other => self.commands.push_back((at, other)),
                }
            }
        }
        self.commands.push_back((now, command));
    }

    fn timeout(&self) -> Option<Timestamp> {
        if self.running.is_some() {
            None
        } else {
            self.timer
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tidegate_media::Frame;
    use tidegate_nodes::NodeError;

    use super::*;

    fn home(clock: Clock) -> (Clock, Tasks) {
        (clock, Tasks::default())
    }

    struct Panics;

    impl Node for Panics {
        fn on_frame(
            &mut self,
            _: &mut NodeContext<'_>,
            _: usize,
            _: Frame,
        ) -> Result<(), NodeError> {
            Ok(())
        }

        fn on_end(&mut self, _: &mut NodeContext<'_>, _: usize) -> Result<(), NodeError> {
            panic!("a defect of the node")
        }
    }

    /// Two frames, one at a call, and its end.
    struct Twice(u8);

    impl Node for Twice {
        fn on_frame(
            &mut self,
            _: &mut NodeContext<'_>,
            _: usize,
            _: Frame,
        ) -> Result<(), NodeError> {
            Ok(())
        }

        fn on_timer(&mut self, cx: &mut NodeContext<'_>) -> Result<(), NodeError> {
            self.0 += 1;
            let text = tidegate_media::Payload::Text("beep".into());
            cx.emit(0, Frame::new(tidegate_media::MediaTime::ZERO, text));
            if self.0 == 2 {
                cx.end_outputs();
            } else {
                cx.set_timer(cx.now());
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_generator_on_its_thread_begins_by_itself_and_may_end_its_outputs() {
        let clock = Clock::start();
        let mut hop = OffloadHop::new(
            "beep".to_owned(),
            Box::new(Twice(0)),
            Vec::new(),
            1,
            home(clock),
        );
        let first = poll_fn(|cx| hop.poll_event(cx, clock.now())).await;
        assert!(matches!(first, HopEvent::Frame { port: 0, .. }));
        let due = hop.timeout().expect("its timer is set");
        // What the driver does at that time.
        let second = poll_fn(|cx| hop.poll_event(cx, due)).await;
        assert!(matches!(second, HopEvent::Frame { port: 0, .. }));
        let end = poll_fn(|cx| hop.poll_event(cx, due)).await;
        assert!(matches!(end, HopEvent::Ended { port: 0 }));
        assert_eq!(hop.timeout(), None);
    }

    #[tokio::test]
    async fn an_input_that_nothing_is_joined_to_is_not_waited_for() {
        let clock = Clock::start();
        let joined = vec![true, false];
        let mut hop = OffloadHop::new("two".to_owned(), Box::new(Twice(0)), joined, 1, home(clock));
        hop.send(clock.now(), HopCommand::End { port: 0 });
        loop {
            match poll_fn(|cx| hop.poll_event(cx, clock.now())).await {
                HopEvent::Credit { .. } => {}
                HopEvent::Ended { port: 0 } => break,
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_node_that_panics_on_its_thread_is_a_failed_hop_and_no_more() {
        let clock = Clock::start();
        let mut hop = OffloadHop::new(
            "bad".to_owned(),
            Box::new(Panics),
            vec![true],
            1,
            home(clock),
        );
        let credit = poll_fn(|cx| hop.poll_event(cx, clock.now())).await;
        assert!(
            matches!(credit, HopEvent::Credit { port: 0, .. }),
            "{credit:?}"
        );
        hop.send(clock.now(), HopCommand::End { port: 0 });
        let failed = poll_fn(|cx| hop.poll_event(cx, clock.now())).await;
        let HopEvent::Failed(error) = failed else {
            panic!("{failed:?}");
        };
        assert_eq!(
            (error.code, error.hop.as_deref()),
            (Code::NodeFailed, Some("bad"))
        );
        hop.send(clock.now(), HopCommand::End { port: 0 });
        assert!(
            hop.commands.is_empty(),
            "what comes after is not kept for a node that is no more"
        );
    }
}
