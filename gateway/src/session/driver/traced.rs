//! What a session's driver tells of it to a trace: what goes to hops and comes from them, and spans where something ends.
//!
//! All of it does nothing in a session whose spans are not exported.

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use tidegate_media::{Meta, Timestamp};
use tidegate_nodes::graph::Graph;
use tidegate_nodes::{HopCommand, HopEvent};

use super::Driver;
use crate::session::control::End;
use crate::session::figures::Figures;
use crate::session::link::Transport;
use crate::session::turns::{Split, Turn, TurnHop, Turns};
use crate::trace::{HopTrace, SessionTrace, Span, count, new_span_id, of_session, took};

/// The driver's part in a trace.
pub(super) struct Traced {
    trace: SessionTrace,
    turns: Turns,
    transport: Transport,
    opened_at: Timestamp,
}

impl Traced {
    /// Of a session whose spans are exported.
    pub(super) fn new(
        trace: Option<&SessionTrace>,
        transport: Transport,
        now: Timestamp,
    ) -> Option<Box<Self>> {
        let trace = trace.filter(|trace| trace.is_recorded())?;
        Some(Box::new(Self {
            trace: trace.clone(),
            turns: Turns::default(),
            transport,
            opened_at: now,
        }))
    }

    /// The graph gives a hop something.
    pub(super) fn commanded(&mut self, now: Timestamp, hop: usize, command: &HopCommand) {
        match command {
            HopCommand::Frame { port, frame } => self.turns.sent(now, hop, *port, frame),
            HopCommand::Interrupt => self.turns.interrupted(hop),
            HopCommand::End { .. } => {}
        }
    }

    /// A hop has given the graph a frame.
    pub(super) fn answered(
        &mut self,
        now: Timestamp,
        hop: usize,
        (port, meta): &(usize, Meta),
        split: Split,
    ) {
        self.turns.answered(now, hop, *port, meta, split);
    }

    /// A frame leaves for a client.
    pub(super) fn departed(&mut self, now: Timestamp, output: usize, meta: &Meta) {
        self.turns.departed(now, output, meta);
    }

    /// When a turn is over although nothing happens.
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.turns.poll_timeout()
    }
}

/// What of a hop's answer a trace wants to know: its output and what is said of the frame.
pub(super) fn answer(event: &HopEvent) -> Option<(usize, Meta)> {
    match event {
        HopEvent::Frame { port, frame } => Some((*port, frame.meta)),
        _ => None,
    }
}

/// Where the time of a hop's newest output went.
pub(super) fn newest(graph: &Graph, figures: &Figures, id: &str) -> Split {
    let mut stats = graph.hop_stats().iter();
    let at = stats.position(|stats| *stats.id == *id);
    at.map_or_else(Split::default, |at| figures.newest(at))
}

impl Driver {
    /// Spans of the turns that are over.
    pub(super) fn trace_turns(&mut self, now: Timestamp) {
        let Some(mut traced) = self.traced.take() else {
            return;
        };
        while let Some(turn) = traced.turns.poll_over(now) {
            self.trace_turn(&traced.trace, &turn);
        }
        self.traced = Some(traced);
    }

    /// The last spans of a session.
    pub(super) fn trace_end(&mut self, end: &End) {
        let now = self.parts.clock.now();
        let Some(mut traced) = self.traced.take() else {
            return;
        };
        for turn in traced.turns.finish() {
            self.trace_turn(&traced.trace, &turn);
        }
        self.trace_hops(now, &traced);
        let mut attributes = of_session(&self.parts.id, traced.transport);
        attributes.push(count("tidegate.session.turns", traced.turns.begun()));
        attributes.push(KeyValue::new("tidegate.outcome", end.reason()));
        let error = match end {
            End::Failed(error) => Some(error),
            _ => None,
        };
        let pipeline = self.parts.figures.pipeline();
        traced.trace.end(now, pipeline, attributes, error);
    }

    fn trace_hops(&mut self, now: Timestamp, traced: &Traced) {
        for at in 0..self.parts.hops.len() {
            let (index, hop) = &mut self.parts.hops[at];
            let (index, trace) = (*index, hop.take_trace());
            let id = self.parts.plan.hops[index].id.clone();
            let trace =
                trace.unwrap_or_else(|| HopTrace::new(&traced.trace, &id, traced.opened_at));
            let mut attributes = Vec::new();
            let stats = self.parts.graph.hop_stats();
            if let Some(stats) = stats.iter().find(|stats| *stats.id == *id) {
                attributes.extend([
                    count("tidegate.hop.frames_in", stats.frames_in),
                    count("tidegate.hop.frames_out", stats.frames_out),
                    count("tidegate.hop.dropped_frames", stats.dropped.iter().sum()),
                ]);
            }
            let times = self
                .stat_of(index)
                .and_then(|at| self.parts.figures.of_hop(at));
            if let Some(times) = times {
                let endpoint = times.endpoint;
                attributes.extend(endpoint.map(|at| KeyValue::new("tidegate.endpoint", at)));
                let outputs = u32::try_from(times.outputs.max(1)).unwrap_or(u32::MAX);
                attributes.extend([
                    took(
                        "tidegate.hop.mean_queue_seconds",
                        times.sums.queue / outputs,
                    ),
                    took("tidegate.hop.mean_wire_seconds", times.sums.wire / outputs),
                    took(
                        "tidegate.hop.mean_service_seconds",
                        times.sums.service / outputs,
                    ),
                ]);
            }
            trace.end(now, attributes, None);
        }
    }

    /// A turn's span, and one for each hop that had a part in it.
    fn trace_turn(&self, trace: &SessionTrace, turn: &Turn) {
        let span_id = new_span_id();
        let mut attributes = vec![
            count("tidegate.turn.number", turn.number),
            KeyValue::new("tidegate.turn.interrupted", turn.interrupted),
        ];
        let mut events = Vec::new();
        if let Some(heard) = turn.heard {
            let input = heard.saturating_since(turn.began);
            attributes.push(took("tidegate.turn.input_seconds", input));
            events.push((heard, "input complete", Vec::new()));
        }
        let asked = turn.heard.unwrap_or(turn.began);
        for output in &turn.outputs {
            let name = &self.parts.plan.outputs[output.output].name;
            let frames = format!("tidegate.turn.{name}.frames");
            attributes.push(count(frames, output.frames));
            let answered = output
                .answer
                .or(turn.heard.is_none().then_some(output.first));
            if let Some(at) = answered {
                let latency = at.saturating_since(asked);
                attributes.push(took(
                    format!("tidegate.turn.{name}.latency_seconds"),
                    latency,
                ));
                let which = vec![KeyValue::new("tidegate.output", name.clone())];
                events.push((at, "first output", which));
            }
        }
        for hop in &turn.hops {
            let first = self.trace_part(trace, span_id, hop);
            // On the turn as well: one line says where its time went.
            attributes.extend(first);
        }
        trace.emit(Span {
            name: "turn".into(),
            kind: SpanKind::Internal,
            span_id,
            parent: trace.context().span_id,
            began: turn.began,
            ended: turn.last,
            attributes,
            events,
            error: None,
        });
    }

    /// The span of a hop's part in a turn; what the turn is to say of it.
    fn trace_part(&self, trace: &SessionTrace, turn: u64, part: &TurnHop) -> Option<KeyValue> {
        let id = &self.parts.plan.hops[part.hop].id;
        let mut attributes = vec![
            KeyValue::new("tidegate.hop", id.clone()),
            count("tidegate.hop.frames_in", part.frames_in),
            count("tidegate.hop.frames_out", part.frames_out),
            took("tidegate.hop.queue_seconds", part.parts.queue),
            took("tidegate.hop.wire_seconds", part.parts.wire),
            took("tidegate.hop.service_seconds", part.parts.service),
        ];
        let times = self
            .stat_of(part.hop)
            .and_then(|at| self.parts.figures.of_hop(at));
        let endpoint = times.and_then(|times| times.endpoint);
        attributes.extend(endpoint.map(|at| KeyValue::new("tidegate.endpoint", at)));
        let first = part.answered.map(|at| at.saturating_since(part.began));
        attributes.extend(first.map(|first| took("tidegate.hop.first_output_seconds", first)));
        trace.emit(Span {
            name: format!("hop {id}").into(),
            kind: SpanKind::Internal,
            span_id: new_span_id(),
            parent: turn,
            began: part.began,
            ended: part.last,
            attributes,
            events: Vec::new(),
            error: None,
        });
        first.map(|first| took(format!("tidegate.turn.{id}.first_output_seconds"), first))
    }

    /// A hop of the plan in the graph's figures.
    fn stat_of(&self, hop: usize) -> Option<usize> {
        let id = &self.parts.plan.hops[hop].id;
        let mut stats = self.parts.graph.hop_stats().iter();
        stats.position(|stats| *stats.id == **id)
    }
}
