//! How a client joins a session: which ports it gets, and what it is told first.

use std::sync::Arc;

use tidegate_media::Timestamp;
use tidegate_nodes::graph::{EgressId, Input, Listener};
use tidegate_nodes::{Accepts, Code, Error, StreamFormat};

use super::Driver;
use super::clients::STATS;
use crate::session::link::{Link, LinkMessage, OpenedInfo};
use crate::session::ports::SessionPorts;
use crate::session::slot::{Active, INPUT_BYTES, INPUT_FRAMES, Slot, SlotInput, SlotOutput};

impl Driver {
    /// Which ports there are now, and which are taken.
    fn ports(&self) -> SessionPorts {
        SessionPorts::of(&self.parts.plan, self.parts.shared, |input| {
            let mut slots = self.slots.iter();
            slots.any(|(_, slot)| slot.inputs.iter().any(|port| port.input == input))
        })
    }

    /// Gives a client its ports. On error the link is dropped, which its transport notices.
    pub(super) fn join(&mut self, now: Timestamp, mut link: Box<dyn Link>) -> Result<(), Error> {
        if self.end.is_some() {
            return Err(Error::new(Code::UnknownSession, "the session is ending"));
        }
        if self.drain_until.is_some() && self.joined {
            let text = "the gateway is shutting down; use another one";
            return Err(Error::new(Code::Draining, text));
        }
        if self.slots.len() >= self.parts.limits.clients {
            let text = format!(
                "the session has {} clients, as many as limits.clients allows",
                self.slots.len()
            );
            return Err(Error::new(Code::Overloaded, text));
        }
        let placement = self.ports().place(link.as_ref())?;
        let (features, mode) = (link.wishes().features(), link.wishes().mode());
        if features.acks || features.credits {
            self.parts.graph.track();
        }
        let mut inputs = Vec::new();
        let mut outputs = Vec::new();
        let mut failed = None;
        for &(input, format) in &placement.inputs {
            match self.parts.graph.attach_input(now, input, format, mode) {
                Ok(()) => inputs.push((input, format)),
                Err(error) => failed = Some(error),
            }
        }
        for (output, accepts) in placement.outputs {
            let listener = Listener {
                accepts,
                mode,
                plays: link.wishes().plays(),
                metered: link.window() != u32::MAX,
            };
            match self.parts.graph.attach_output(now, output, listener) {
                Ok((egress, format)) => outputs.push((output, egress, format)),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            // All or nothing: a client that lacks one of its ports would wait for it in vain.
            inputs
                .iter()
                .for_each(|&(input, _)| self.parts.graph.detach_input(now, input));
            for (_, egress, _) in outputs {
                self.parts.graph.detach_output(now, egress);
            }
            return Err(error);
        }
        let opened = LinkMessage::Opened(Box::new(self.opened(&inputs, &outputs)));
        link.send(now, opened);
        self.greet(now, link.as_mut(), &inputs);
        self.settle(now, link, &inputs, outputs);
        self.end_orphans(now, &inputs);
        Ok(())
    }

    /// Ends the inputs that nobody can feed any more: those that the only client of a session of its own leaves out. One that feeds
    /// nothing hears what comes of itself until it leaves.
    fn end_orphans(&mut self, now: Timestamp, fed: &[(usize, StreamFormat)]) {
        if self.parts.shared || fed.is_empty() {
            return;
        }
        for input in 0..self.parts.plan.inputs.len() {
            if !fed.iter().any(|&(index, _)| index == input) {
                self.parts.graph.handle_input(now, Input::End { input });
            }
        }
    }

    /// A client feeds an input in another format from now on.
    pub(super) fn feed_otherwise(
        &mut self,
        now: Timestamp,
        key: usize,
        input: usize,
        format: StreamFormat,
    ) -> Result<(), Error> {
        let slot = &mut self.slots[key];
        if slot.input(input).is_none_or(|port| port.ended) {
            return Ok(());
        }
        let mode = slot.link.wishes().mode();
        self.parts.graph.detach_input(now, input);
        self.parts.graph.attach_input(now, input, format, mode)?;
        self.learn_hops();
        Ok(())
    }

    /// A client hears an output in another way from now on. What waited for it in the old one is lost, and counted.
    pub(super) fn listen_otherwise(
        &mut self,
        now: Timestamp,
        key: usize,
        output: usize,
        accepts: Accepts,
    ) -> Result<(), Error> {
        let slot = &mut self.slots[key];
        let mut ports = slot.outputs.iter_mut();
        let Some(port) = ports.find(|port| port.output == output && !port.ended) else {
            return Ok(());
        };
        let wishes = slot.link.wishes();
        let listener = Listener {
            accepts,
            mode: wishes.mode(),
            plays: wishes.plays(),
            metered: slot.link.window() != u32::MAX,
        };
        let (egress, _) = self.parts.graph.attach_output(now, output, listener)?;
        let before = std::mem::replace(port, SlotOutput::new(output, egress, port.client_frames));
        let transport = slot.link.transport().as_str();
        self.parts.graph.detach_output(now, before.egress);
        self.parts.figures.forget_egress(before.egress);
        self.egresses.retain(|(old, _)| *old != before.egress);
        self.egresses.push((egress, key));
        self.parts.figures.learn_egress(egress, transport);
        self.learn_hops();
        Ok(())
    }

    /// Figures have a row for each hop that there is now.
    fn learn_hops(&mut self) {
        let hops = &self.parts.hops;
        let plan = &self.parts.plan;
        self.parts.figures.learn_hops(&self.parts.graph, |id| {
            let index = plan.hops.iter().position(|hop| hop.id == id)?;
            let (_, hop) = hops.iter().find(|(at, _)| *at == index)?;
            hop.endpoint().map(str::to_owned)
        });
    }

    fn opened(
        &self,
        inputs: &[(usize, StreamFormat)],
        outputs: &[(usize, EgressId, StreamFormat)],
    ) -> OpenedInfo {
        let plan = &self.parts.plan;
        let limits = &self.parts.limits;
        OpenedInfo {
            session_id: self.parts.id.clone(),
            pipeline: plan.pipeline.clone(),
            inputs: inputs
                .iter()
                .map(|&(i, f)| (i, plan.inputs[i].name.clone(), f))
                .collect(),
            outputs: outputs
                .iter()
                .map(|&(o, _, f)| (o, plan.outputs[o].name.clone(), f))
                .collect(),
            deterministic: self.parts.graph.is_deterministic(),
            message_bytes: limits.message_bytes,
            session_limit: limits.session,
            idle_limit: limits.idle,
        }
    }

    /// What a client is told first of the session that it is in now.
    fn greet(&self, now: Timestamp, link: &mut dyn Link, inputs: &[(usize, StreamFormat)]) {
        if link.wishes().features().credits {
            for &(input, _) in inputs {
                let (frames, bytes) = (INPUT_FRAMES, INPUT_BYTES);
                link.send(
                    now,
                    LinkMessage::Credit {
                        input,
                        frames,
                        bytes,
                    },
                );
            }
        }
        if let Some(until) = self.drain_until {
            // The drain began while the session was being opened: those who were there before were told then.
            let deadline = until.saturating_since(now);
            link.send(now, LinkMessage::Draining { deadline });
        }
    }

    fn settle(
        &mut self,
        now: Timestamp,
        link: Box<dyn Link>,
        inputs: &[(usize, StreamFormat)],
        outputs: Vec<(usize, EgressId, StreamFormat)>,
    ) {
        let features = link.wishes().features();
        let transport = link.transport().as_str();
        // A session counts once for a transport, however many of its clients use it.
        let counted = self
            .slots
            .iter()
            .find(|(_, slot)| slot.link.transport().as_str() == transport)
            .map(|(_, slot)| Arc::clone(&slot.active));
        let active = counted.unwrap_or_else(|| {
            let label = crate::metrics::label("transport", transport);
            let gauge = self
                .parts
                .metrics
                .gauge("tidegate_sessions_active", vec![label]);
            Arc::new(Active::new(gauge))
        });
        let heard = outputs.iter().map(|&(output, egress, _)| {
            let client_frames = features.credits.then_some(0);
            SlotOutput::new(output, egress, client_frames)
        });
        let heard = heard.collect();
        let fed = inputs.iter().map(|&(input, _)| SlotInput::new(input));
        let slot = Slot {
            inputs: fed.collect(),
            outputs: heard,
            stats_at: now + STATS,
            ..Slot::new(now, link, active)
        };
        let key = self.slots.insert(slot);
        for (_, egress, _) in outputs {
            self.egresses.push((egress, key));
            self.parts.figures.learn_egress(egress, transport);
        }
        self.learn_hops();
        self.vacant_since = None;
        self.last_activity = now;
        self.joined = true;
    }
}
