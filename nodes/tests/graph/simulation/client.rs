//! A simulated client that sends: live over a lossy, jittery network, or a file as fast as it may.

use std::collections::VecDeque;

use tidegate_media::{AudioFormat, Codec, Frame, Kind, Timestamp};
use tidegate_nodes::StreamFormat;
use tidegate_nodes::graph::Mode;

use super::Rng;
use super::shape::Tag;
use crate::toolkit::{PCM, ms};

pub(super) struct Client {
    pub(super) input: usize,
    pub(super) mode: Mode,
    pub(super) attached: bool,
    rng: Rng,
    kind: Kind,
    /// The format that it sends in, now and until it comes again.
    format: AudioFormat,
    sent: u64,
    /// When its next frame arrives.
    pub(super) next: Option<Timestamp>,
    leaves: Timestamp,
    /// Frames that have arrived and that the graph was not ready for.
    pub(super) waiting: VecDeque<Frame>,
    pub(super) said_end: bool,
}

impl Client {
    pub(super) fn new(input: usize, kind: Kind, mode: Mode, now: Timestamp, mut rng: Rng) -> Self {
        Self {
            input,
            mode,
            attached: false,
            leaves: now + ms(100 + rng.below(500)),
            rng,
            kind,
            format: PCM,
            sent: 0,
            next: Some(now),
            waiting: VecDeque::new(),
            said_end: false,
        }
    }

    /// Comes, in one of two formats.
    pub(super) fn arrive(&mut self) -> StreamFormat {
        self.attached = true;
        if self.kind == Kind::Audio && self.rng.one_in(2) {
            self.format = AudioFormat {
                codec: Codec::PcmF32,
                ..PCM
            };
        } else {
            self.format = PCM;
        }
        match self.kind {
            Kind::Audio => StreamFormat::audio(self.format),
            Kind::Video => crate::toolkit::PICTURES,
            _ => StreamFormat::Binary,
        }
    }

    /// Whether it goes away for a while; only when all it sent was taken.
    pub(super) fn wants_to_go(&mut self) -> bool {
        self.attached && self.waiting.is_empty() && self.rng.one_in(20)
    }

    /// Lets what arrives by now arrive.
    pub(super) fn work(&mut self, now: Timestamp) {
        while let Some(at) = self.next.filter(|at| *at <= now) {
            if at >= self.leaves {
                self.next = None;
                return;
            }
            let lost = self.mode == Mode::Live && self.rng.one_in(20);
            if !lost {
                self.sent += 1;
                let origin = self.input as u64;
                let tag = Tag {
                    origin,
                    path: 0,
                    n: self.sent,
                };
                let mut frame = tag.frame(self.kind, self.format);
                if self.rng.one_in(10) {
                    frame.meta.deadline = Some(at + ms(self.rng.below(200)));
                }
                self.waiting.push_back(frame);
            }
            let gap = match self.mode {
                Mode::Live if self.rng.one_in(30) => ms(150),
                Mode::Live => ms(1 + self.rng.below(38)),
                Mode::Waits => ms(self.rng.below(12)),
            };
            self.next = Some(at + gap);
        }
    }

    /// It has nothing more to say.
    pub(super) fn is_done(&self) -> bool {
        self.next.is_none() && self.waiting.is_empty()
    }
}
