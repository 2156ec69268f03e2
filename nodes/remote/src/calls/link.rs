//! Calls as a link.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use serde_json::{Map, Value};
use tidegate_media::{Frame, Timestamp};
use tidegate_proto::message::{Execute, Source};
use tidegate_proto::{ClientMessage, PortName, ServerMessage};

use super::{Answer, Caller, Gather};
use crate::auth::Credential;
use crate::error::RemoteError;
use crate::link::{Counts, FramePlace, Link};

/// What every call of a link has in common.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) source: Source,
    pub(crate) parameters: Map<String, Value>,
    pub(crate) hop_count: u32,
    /// When the session ends at the latest.
    pub(crate) deadline: Option<Timestamp>,
}

/// A stream made of calls.
pub(crate) struct CallLink<C> {
    caller: C,
    terms: Terms,
    gather: Gather,
    credential: Credential,
    /// What waits while a call is under way; bounded by the hop's credit, and one end for each port.
    queue: VecDeque<Queued>,
    taken: Counts,
    calling: bool,
    ready: VecDeque<ServerMessage>,
    over: bool,
    waker: Option<Waker>,
}

enum Queued {
    Frame {
        place: Option<FramePlace>,
        port: PortName,
        frame: Frame,
    },
    End(Option<PortName>),
}

impl<C: Caller> CallLink<C> {
    pub(crate) fn new(caller: C, terms: Terms, gather: Gather, credential: Credential) -> Self {
        Self {
            caller,
            terms,
            gather,
            credential,
            queue: VecDeque::new(),
            taken: Counts::default(),
            calling: false,
            ready: VecDeque::new(),
            over: false,
            waker: None,
        }
    }

    /// Gathers from the queue until there is a call, and makes it; or gives the call under way what is there of it.
    fn advance(&mut self, now: Timestamp) -> Result<(), RemoteError> {
        if self.calling {
            return self.grow();
        }
        loop {
            if let Some(due) = self.gather.due() {
                let execute = Execute {
                    source: self.terms.source.clone(),
                    parameters: self.terms.parameters.clone(),
                    inputs: self.gather.take(due),
                    outputs: self.gather.wanted(),
                    hop_count: self.terms.hop_count,
                    deadline: self.terms.deadline.map(|at| at - now),
                };
                self.caller.call(execute, now)?;
                self.calling = true;
                if !self.gather.is_open() {
                    return self.caller.complete();
                }
                return self.grow();
            }
            match self.queue.pop_front() {
                None => return Ok(()),
                Some(Queued::End(port)) => self.gather.end(port.as_ref()),
                Some(Queued::Frame { place, port, frame }) => {
                    if self.gather.begins_another(&port, &frame) {
                        self.queue.push_front(Queued::Frame { place, port, frame });
                        continue;
                    }
                    if let Some(place) = place {
                        self.taken.add(place);
                    }
                    self.gather.push(&port, frame)?;
                }
            }
        }
    }

    /// Whether the call under way would take what is queued.
    fn can_grow(&self) -> bool {
        self.calling && !self.queue.is_empty() && self.gather.is_open() && self.caller.has_room()
    }

    /// Gives the call under way what is queued of it.
    fn grow(&mut self) -> Result<(), RemoteError> {
        while self.can_grow() {
            match self.queue.pop_front() {
                None => {}
                Some(Queued::End(port)) => {
                    self.gather.end(port.as_ref());
                    self.gather.close_ended();
                }
                Some(Queued::Frame { place, port, frame }) => {
                    if self.gather.continues(&port, &frame) {
                        if let Some(place) = place {
                            self.taken.add(place);
                        }
                        let frame = self.gather.grow(&port, frame);
                        self.caller.more(frame)?;
                    } else {
                        self.queue.push_front(Queued::Frame { place, port, frame });
                        self.gather.close();
                    }
                }
            }
            if !self.gather.is_open() {
                self.caller.complete()?;
            }
        }
        Ok(())
    }

    fn next(
        &mut self,
        cx: &mut Context<'_>,
        now: Timestamp,
    ) -> Poll<Result<Option<ServerMessage>, RemoteError>> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Poll::Ready(Ok(Some(message)));
            }
            if self.over {
                return Poll::Ready(Ok(None));
            }
            self.advance(now)?;
            if self.calling {
                let Poll::Ready(answer) = self.caller.poll(cx, now) else {
                    // It may have sent what it had.
                    if self.can_grow() {
                        continue;
                    }
                    return Poll::Pending;
                };
                match answer? {
                    Answer::Consumed(count) => self.ready.extend(self.gather.consumed(count)),
                    Answer::Done => {
                        self.calling = false;
                        self.ready.extend(self.gather.done()?);
                    }
                    Answer::Output {
                        port,
                        caused_port,
                        frame,
                    } => self
                        .ready
                        .extend(self.gather.output(&port, caused_port, frame)),
                }
            } else if self.gather.has_ended() {
                self.over = true;
                let reason = "finished".to_owned();
                self.ready.push_back(ServerMessage::Ended { reason });
            } else {
                return Poll::Pending;
            }
        }
    }

    /// Forgets what was sent and is not answered yet: it counts as consumed.
    fn interrupt(&mut self) {
        if std::mem::take(&mut self.calling) {
            self.caller.cancel();
        }
        for queued in std::mem::take(&mut self.queue) {
            match queued {
                Queued::Frame { place, port, frame } => {
                    if let Some(place) = place {
                        self.taken.add(place);
                    }
                    self.gather.skip(&port, &frame);
                }
                end @ Queued::End(_) => self.queue.push_back(end),
            }
        }
        // What a call has said already is void as well.
        self.ready
            .retain(|message| !matches!(message, ServerMessage::Frame { .. }));
        self.ready.extend(self.gather.forget());
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl<C: Caller> Link for CallLink<C> {
    fn send(
        &mut self,
        message: ClientMessage,
        place: Option<FramePlace>,
        _now: Timestamp,
    ) -> Result<(), RemoteError> {
        match message {
            ClientMessage::Frame { port, frame } => {
                self.queue.push_back(Queued::Frame { place, port, frame });
            }
            ClientMessage::End { port } => self.queue.push_back(Queued::End(port)),
            ClientMessage::Interrupt => self.interrupt(),
            // Nothing is sent ahead of what is asked for, and nothing is remembered there between calls.
            ClientMessage::Open(_) | ClientMessage::Credit(_) | ClientMessage::Ack(_) => {}
        }
        self.wake();
        Ok(())
    }

    fn discard_frames(&mut self) -> Counts {
        let mut discarded = Counts::default();
        self.queue.retain(|queued| match queued {
            Queued::Frame {
                place: Some(place), ..
            } => {
                discarded.add(*place);
                false
            }
            _ => true,
        });
        discarded
    }

    fn take_sent(&mut self) -> Counts {
        std::mem::take(&mut self.taken)
    }

    fn wake_when_taken(&mut self, cx: &Context<'_>) {
        if self.taken.iter().next().is_some() {
            cx.waker().wake_by_ref();
        }
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        now: Timestamp,
    ) -> Poll<Option<Result<ServerMessage, RemoteError>>> {
        match self.next(cx, now) {
            Poll::Ready(Err(error)) => {
                self.over = true;
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(Ok(message)) => Poll::Ready(message.map(Ok)),
            Poll::Pending => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn credential(&mut self) -> Option<&mut Credential> {
        Some(&mut self.credential)
    }
}
