//! The span of one hop in one session: from its opening to the session's end, with what was tried.

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use tidegate_media::Timestamp;
use tidegate_nodes::HopNote;
use tidegate_remote::TraceContext;

use super::{SessionTrace, Span, count, new_span_id, took};

/// Events of one span; later ones are counted in its attributes.
const EVENTS_MAX: usize = 32;

/// A hop's part in a session's trace.
#[derive(Debug)]
pub(crate) struct HopTrace {
    session: SessionTrace,
    /// What the worker is told: its own spans are below this one.
    context: TraceContext,
    hop: String,
    began: Timestamp,
    events: Vec<(Timestamp, &'static str, Vec<KeyValue>)>,
    attempts: u64,
    failed: u64,
    failovers: u64,
    replayed: u64,
}

impl HopTrace {
    /// Of a hop that is about to be opened.
    pub(crate) fn new(session: &SessionTrace, hop: &str, began: Timestamp) -> Self {
        let context = session.context();
        Self {
            session: session.clone(),
            context: if session.is_recorded() {
                context.within(new_span_id())
            } else {
                context.clone()
            },
            hop: hop.to_owned(),
            began,
            events: Vec::new(),
            attempts: 0,
            failed: 0,
            failovers: 0,
            replayed: 0,
        }
    }

    /// What its requests carry.
    pub(crate) const fn context(&self) -> &TraceContext {
        &self.context
    }

    /// What happened to its streams.
    pub(crate) fn note(&mut self, now: Timestamp, note: &HopNote) {
        let endpoint =
            |name, endpoint: &std::sync::Arc<str>| KeyValue::new(name, endpoint.to_string());
        let (name, attributes) = match note {
            HopNote::Attempt {
                endpoint: at,
                outcome,
                took: time,
            } => {
                self.attempts += 1;
                let mut attributes = vec![endpoint("endpoint", at), took("seconds", *time)];
                if let Some(code) = outcome {
                    self.failed += 1;
                    attributes.push(KeyValue::new("error.type", code.as_str()));
                }
                let failed = outcome.is_some();
                (if failed { "attempt failed" } else { "opened" }, attributes)
            }
            HopNote::Failover { from, to, replayed } => {
                self.failovers += 1;
                self.replayed += *replayed;
                let frames = count("replayed_frames", *replayed);
                let ends = vec![endpoint("from", from), endpoint("to", to), frames];
                ("failover", ends)
            }
            HopNote::Tier(tier) => ("tier", vec![count("tier", *tier as u64)]),
            _ => return,
        };
        if self.session.is_recorded() && self.events.len() < EVENTS_MAX {
            self.events.push((now, name, attributes));
        }
    }

    /// Exports the span: of a hop that worked with what it has measured, of one that could not be opened with why.
    pub(crate) fn end(self, now: Timestamp, mut attributes: Vec<KeyValue>, error: Option<String>) {
        if !self.session.is_recorded() {
            return;
        }
        attributes.extend([
            KeyValue::new("tidegate.hop", self.hop.clone()),
            count("tidegate.hop.attempts", self.attempts),
            count("tidegate.hop.failed_attempts", self.failed),
            count("tidegate.hop.failovers", self.failovers),
            count("tidegate.hop.replayed_frames", self.replayed),
        ]);
        self.session.emit(Span {
            name: format!("hop {}", self.hop).into(),
            kind: SpanKind::Client,
            span_id: self.context.span_id,
            parent: self.session.context().span_id,
            began: self.began,
            ended: now,
            attributes,
            events: self.events,
            error,
        });
    }
}
