//! A simulated listener: grants credit as it likes, and checks what it hears.

use tidegate_media::{Frame, Timestamp};
use tidegate_nodes::graph::EgressId;

use super::Rng;
use super::check::Order;
use super::shape::Tag;
use crate::toolkit::ms;

#[derive(Debug)]
pub(super) struct Ear {
    pub(super) egress: EgressId,
    pub(super) output: usize,
    /// What it granted and did not get yet; `None`: it is not metered.
    credit: Option<u32>,
    seq: u64,
    order: Order,
    pub(super) ended: bool,
    next_credit: Timestamp,
}

impl Ear {
    pub(super) fn new(egress: EgressId, output: usize, metered: bool, now: Timestamp) -> Self {
        Self {
            egress,
            output,
            credit: metered.then_some(0),
            seq: 0,
            order: Order::default(),
            ended: false,
            next_credit: now,
        }
    }

    /// When it grants more.
    pub(super) fn next(&self) -> Option<Timestamp> {
        (self.credit.is_some() && !self.ended).then_some(self.next_credit)
    }

    /// Grants frames, if it is time.
    pub(super) fn grant(&mut self, now: Timestamp, rng: &mut Rng) -> Option<u32> {
        let credit = self.credit.as_mut()?;
        if self.next_credit > now || self.ended {
            return None;
        }
        let frames = 1 + u32::try_from(rng.below(6)).unwrap();
        *credit += frames;
        self.next_credit = now + ms(1 + rng.below(60));
        Some(frames)
    }

    pub(super) fn hear(&mut self, frame: &Frame) -> Tag {
        assert!(!self.ended, "no frame follows an end");
        self.seq += 1;
        assert_eq!(frame.meta.seq, self.seq, "numbers run from 1 by 1");
        if let Some(credit) = &mut self.credit {
            assert!(*credit > 0, "no frame comes without credit");
            *credit -= 1;
        }
        self.order.check(frame);
        Tag::of(frame)
    }
}
