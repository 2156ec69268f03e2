//! A worker somewhere: takes its time, answers each frame with one, acknowledges, and sometimes dies.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use tidegate_media::Timestamp;
use tidegate_nodes::{Code, DropReason, Error, HopCommand, HopEvent};

use super::{Rng, ms};
use crate::session::hops::Hop;

/// A worker, from the outside.
pub(super) struct Worker {
    pub(super) hop: usize,
    state: Arc<Mutex<State>>,
}

struct State {
    rng: Rng,
    credit: u32,
    inbox: VecDeque<(Timestamp, HopCommand)>,
    events: VecDeque<HopEvent>,
    waker: Option<Waker>,
    took: u64,
    gave: u64,
    open: usize,
    over: bool,
}

/// The same, as the driver has it.
struct SimHop(Arc<Mutex<State>>);

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Worker {
    pub(super) fn new(hop: usize, ports: usize, seed: u64) -> Self {
        let mut rng = Rng(seed);
        let credit = 1 + rng.small(6);
        let first = HopEvent::Credit {
            port: 0,
            frames: credit,
            bytes: u64::MAX,
        };
        let state = State {
            rng,
            credit,
            inbox: VecDeque::new(),
            events: VecDeque::from([first]),
            waker: None,
            took: 0,
            gave: 0,
            open: ports,
            over: false,
        };
        Self {
            hop,
            state: Arc::new(Mutex::new(state)),
        }
    }

    pub(super) fn hop(&self) -> Box<dyn Hop> {
        Box::new(SimHop(Arc::clone(&self.state)))
    }

    /// Is there for as long as anybody holds it.
    pub(super) fn alive(&self) -> Weak<dyn Any> {
        let state: Weak<Mutex<State>> = Arc::downgrade(&self.state);
        state
    }

    /// Rarely it dies.
    pub(super) fn act(&self, now: Timestamp) {
        let mut state = lock(&self.state);
        if state.rng.one_in(400) && !state.over {
            state.over = true;
            state.events.clear();
            let error = Error::new(Code::Network, "it died");
            state.events.push_back(HopEvent::Failed(error));
        }
        drop(state);
        self.wake(now);
    }

    /// The network tells the driver that something is there.
    pub(super) fn wake(&self, now: Timestamp) {
        let mut state = lock(&self.state);
        let done = state.inbox.front().is_some_and(|(done, _)| *done <= now);
        if (done || !state.events.is_empty())
            && let Some(waker) = state.waker.take()
        {
            waker.wake();
        }
    }

    /// Frames that it was sent and that it gave back.
    pub(super) fn counts(&self) -> (u64, u64) {
        let state = lock(&self.state);
        (state.took, state.gave)
    }
}

impl State {
    fn work(&mut self, now: Timestamp) {
        while let Some((_, command)) = self.inbox.pop_front_if(|(done, _)| *done <= now) {
            match command {
                HopCommand::Frame { port, mut frame } => {
                    let seq = frame.meta.seq;
                    frame.meta.caused_by = seq;
                    self.gave += 1;
                    self.credit += 1;
                    self.events.push_back(HopEvent::Frame { port: 0, frame });
                    self.events.push_back(HopEvent::Acknowledged { port, seq });
                    self.events.push_back(HopEvent::Credit {
                        port,
                        frames: 1,
                        bytes: u64::MAX,
                    });
                }
                HopCommand::End { .. } => {
                    self.open -= 1;
                    if self.open == 0 {
                        self.over = true;
                        self.events.push_back(HopEvent::Ended { port: 0 });
                    }
                }
                HopCommand::Interrupt => {}
            }
        }
    }
}

impl Hop for SimHop {
    fn poll_event(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Poll<HopEvent> {
        let mut state = lock(&self.0);
        if !state.over {
            state.work(now);
        }
        match state.events.pop_front() {
            Some(event) => Poll::Ready(event),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn send(&mut self, now: Timestamp, command: HopCommand) {
        let mut state = lock(&self.0);
        match &command {
            HopCommand::Frame { .. } => {
                assert!(state.credit > 0, "more than the hop gave credit for");
                state.credit -= 1;
                state.took += 1;
            }
            HopCommand::Interrupt => {
                let before = state.inbox.len();
                state
                    .inbox
                    .retain(|(_, old)| !matches!(old, HopCommand::Frame { .. }));
                let frames = u32::try_from(before - state.inbox.len()).expect("few");
                state.credit += frames;
                if frames > 0 {
                    let reason = DropReason::Interrupted;
                    state.events.push_back(HopEvent::Dropped { reason, frames });
                    state.events.push_back(HopEvent::Credit {
                        port: 0,
                        frames,
                        bytes: u64::MAX,
                    });
                }
            }
            HopCommand::End { .. } => {}
        }
        let last = state.inbox.back().map_or(now, |(done, _)| *done);
        let done = last.max(now + ms(state.rng.below(12)));
        state.inbox.push_back((done, command));
    }

    fn timeout(&self) -> Option<Timestamp> {
        let state = lock(&self.0);
        if state.over {
            None
        } else {
            state.inbox.front().map(|(done, _)| *done)
        }
    }
}
