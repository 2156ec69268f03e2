//! A simulated thread or worker: takes frames within the credit that it gave, works, answers over a wire of its own.

use std::collections::VecDeque;

use tidegate_media::{Frame, Timestamp};
use tidegate_nodes::node::DropReason;
use tidegate_nodes::{HopCommand, HopEvent};

use super::Rng;
use super::check::Order;
use super::shape::Tag;
use crate::toolkit::ms;

/// What it takes at most, for each port.
const CREDIT: u32 = 5;

/// Answers on the wire above which it asks for no more.
const WIRE: usize = 20;

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) hop: usize,
    rng: Rng,
    ports: Vec<InPort>,
    outputs: usize,
    inbox: VecDeque<Job>,
    busy_until: Timestamp,
    /// Frames and ends on the wire to the graph, in order.
    wire: VecDeque<(Timestamp, HopEvent)>,
    /// Credit and acknowledgements take a way of their own and may overtake.
    aside: Vec<(Timestamp, HopEvent)>,
    dies_at: Option<Timestamp>,
    /// Its credit counts bytes as well as frames.
    counts_bytes: bool,
    /// When it ends of its own accord, whatever still comes.
    quits_at: Option<Timestamp>,
    quit: bool,
    ended: bool,
    pub(super) received: u64,
    pub(super) emitted: u64,
    /// Frames that it said it dropped itself.
    pub(super) dropped: u64,
}

#[derive(Debug)]
struct InPort {
    credit: u32,
    seq: u64,
    open: bool,
    order: Order,
}

#[derive(Debug)]
struct Job {
    port: usize,
    frame: Frame,
    came: Timestamp,
    done: Timestamp,
}

impl Worker {
    /// `joined` says of each input port whether anything comes there.
    pub(super) fn new(
        hop: usize,
        joined: &[bool],
        outputs: usize,
        now: Timestamp,
        rng: Rng,
    ) -> Self {
        let ports = joined.iter().map(|open| InPort {
            credit: 0,
            seq: 0,
            open: *open,
            order: Order::default(),
        });
        let mut worker = Self {
            hop,
            rng,
            ports: ports.collect(),
            outputs,
            inbox: VecDeque::new(),
            busy_until: now,
            wire: VecDeque::new(),
            aside: Vec::new(),
            counts_bytes: false,
            dies_at: None,
            quits_at: None,
            quit: false,
            ended: false,
            received: 0,
            emitted: 0,
            dropped: 0,
        };
        worker.counts_bytes = worker.rng.one_in(2);
        if worker.rng.one_in(12) {
            worker.dies_at = Some(now + ms(worker.rng.below(800)));
        } else if worker.rng.one_in(12) {
            worker.quits_at = Some(now + ms(worker.rng.below(800)));
        }
        for port in 0..joined.len() {
            worker.give_credit(now, port, CREDIT, 100);
        }
        worker
    }

    pub(super) fn command(&mut self, now: Timestamp, command: HopCommand) {
        match command {
            HopCommand::Frame { port, frame } => self.take(now, port, frame),
            HopCommand::End { .. } if self.quit => {}
            HopCommand::End { port } => {
                assert!(self.ports[port].open, "a port ends once");
                self.ports[port].open = false;
            }
            HopCommand::Interrupt => {
                let jobs: Vec<_> = self.inbox.drain(..).collect();
                let frames = u32::try_from(jobs.len()).unwrap();
                let reason = DropReason::Interrupted;
                if frames > 0 {
                    self.dropped += u64::from(frames);
                    self.aside.push((now, HopEvent::Dropped { reason, frames }));
                }
                for job in jobs {
                    self.settle(now, &job);
                }
                self.busy_until = now;
            }
        }
        self.end_if_done(now);
    }

    fn take(&mut self, now: Timestamp, index: usize, frame: Frame) {
        let port = &mut self.ports[index];
        assert!(port.open || self.quit, "no frame follows an end");
        assert!(port.credit > 0, "no frame comes without credit");
        port.credit -= 1;
        port.seq += 1;
        assert_eq!(frame.meta.seq, port.seq, "numbers run from 1 by 1");
        port.order.check(&frame);
        self.received += 1;
        let work = ms(self.rng.below(15)) / if self.rng.one_in(2) { 10 } else { 1 };
        let done = self.busy_until.max(now) + work;
        self.busy_until = done;
        self.inbox.push_back(Job {
            port: index,
            frame,
            came: now,
            done,
        });
    }

    /// When it wants to be called again.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let job = self.inbox.front().map(|job| job.done);
        let wire = self.wire.front().map(|(at, _)| *at);
        let aside = self.aside.iter().map(|(at, _)| *at).min();
        [job, wire, aside, self.dies_at, self.quits_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Works on what is done by now.
    pub(super) fn work(&mut self, now: Timestamp) {
        if self.quits_at.is_some_and(|at| at <= now) {
            self.quits_at = None;
            for port in &mut self.ports {
                port.open = false;
            }
            self.quit = true;
        }
        while let Some(job) = self.inbox.pop_front_if(|job| job.done <= now) {
            for port in 0..self.outputs {
                let step = 1 + ((self.hop as u64) << 8) + ((job.port as u64) << 4) + port as u64;
                let mut frame = Tag::step(&job.frame, step);
                frame.meta.caused_by = job.frame.meta.seq;
                frame.meta.caused_port = 0;
                frame.meta.service = Some(job.done - job.came);
                frame.meta.utterance = job.frame.meta.seq / 4;
                self.post(now, HopEvent::Frame { port, frame });
            }
            self.settle(now, &job);
        }
        self.end_if_done(now);
    }

    /// The next thing that reaches the graph by now. Nothing but its death does while the graph is not ready.
    pub(super) fn event(&mut self, now: Timestamp, ready: bool) -> Option<HopEvent> {
        if self.dies_at.is_some_and(|at| at <= now) {
            self.dies_at = None;
            let error = tidegate_nodes::Error::new(tidegate_nodes::Code::Network, "it died");
            return Some(HopEvent::Failed(error));
        }
        if !ready {
            return None;
        }
        if let Some(at) = self.aside.iter().position(|(at, _)| *at <= now) {
            return Some(self.aside.swap_remove(at).1);
        }
        let (_, event) = self.wire.pop_front_if(|(at, _)| *at <= now)?;
        self.emitted += u64::from(matches!(event, HopEvent::Frame { .. }));
        Some(event)
    }

    /// When it wants to be called again although the graph takes nothing from it.
    pub(super) fn next_of_its_own(&self) -> Option<Timestamp> {
        let job = self.inbox.front().map(|job| job.done);
        [job, self.dies_at, self.quits_at]
            .into_iter()
            .flatten()
            .min()
    }

    fn post(&mut self, now: Timestamp, event: HopEvent) {
        let last = self.wire.back().map_or(now, |(at, _)| *at);
        let at = last.max(now + ms(self.rng.below(8)) / 2);
        self.wire.push_back((at, event));
    }

    fn settle(&mut self, now: Timestamp, job: &Job) {
        let (port, seq) = (job.port, job.frame.meta.seq);
        self.put(now, HopEvent::Acknowledged { port, seq });
        self.give_credit(now, port, 1, job.frame.payload.size() as u64);
    }

    fn give_credit(&mut self, now: Timestamp, port: usize, frames: u32, bytes: u64) {
        self.ports[port].credit += frames;
        let bytes = if self.counts_bytes { bytes } else { u64::MAX };
        self.put(
            now,
            HopEvent::Credit {
                port,
                frames,
                bytes,
            },
        );
    }

    /// Sends aside of the wire, unless so much is on it that more input would only make it longer.
    fn put(&mut self, now: Timestamp, event: HopEvent) {
        if self.wire.len() > WIRE {
            self.post(now, event);
        } else {
            self.aside.push((now + ms(self.rng.below(10)), event));
        }
    }

    fn end_if_done(&mut self, now: Timestamp) {
        let open = self.ports.iter().any(|port| port.open);
        if open || self.ended || !self.inbox.is_empty() {
            return;
        }
        self.ended = true;
        for port in 0..self.outputs {
            self.post(now, HopEvent::Ended { port });
        }
    }
}
