//! Traces: which one a session belongs to, and the spans that tell of it.
//!
//! A session has a trace if its client brought one (W3C Trace Context), or if spans are exported here. It is passed on to every hop
//! either way. Spans are made where a session, a turn or a hop ends, from figures that were kept anyway: nothing happens per frame, and
//! nothing at all in a session whose trace is not sampled.

mod collector;
mod export;
mod hop;
mod sampler;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::trace::{Event, SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tidegate_media::Timestamp;
use tidegate_nodes::Error;
use tidegate_remote::TraceContext;

pub(crate) use self::collector::TraceError;
use self::export::Queue;
pub(crate) use self::hop::HopTrace;
use crate::clock::{Clock, since_1970};
use crate::config::{SamplerName, Tracing};
use crate::metrics::Metrics;
use crate::session::link::Transport;
use crate::tasks::Tasks;

/// Makes the traces of sessions.
pub(crate) struct Tracer {
    clock: Clock,
    sampler: SamplerName,
    /// Share of traces, for the samplers that go by one.
    ratio: f64,
    queue: Option<Queue>,
}

impl Tracer {
    /// As configured. Exports from a task of its own, if anywhere.
    ///
    /// # Errors
    /// The collector's address is none.
    pub(crate) fn new(
        config: &Tracing,
        clock: Clock,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Self, TraceError> {
        Ok(Self {
            clock,
            sampler: config.sampler,
            ratio: config.ratio,
            queue: Queue::open(config, metrics, tasks)?,
        })
    }

    /// The trace of a session that begins now, by what its client brought.
    pub(crate) fn begin(&self, came: Option<&TraceContext>) -> Option<SessionTrace> {
        let (context, parent) = match (&self.queue, came) {
            (None, None) => return None,
            // Nothing of ours is in between.
            (None, Some(came)) => (came.clone(), None),
            (Some(_), Some(came)) => {
                let sampled = self.samples(came.trace_id, Some(came.is_sampled()));
                let context = came.within(new_span_id()).sampled(sampled);
                (context, Some(came.span_id))
            }
            (Some(_), None) => {
                let trace_id = rand::random::<u128>().max(1);
                let sampled = self.samples(trace_id, None);
                (TraceContext::new(trace_id, new_span_id(), sampled), None)
            }
        };
        let queue = self.queue.clone().filter(|_| context.is_sampled());
        Some(SessionTrace(Arc::new(Inner {
            context,
            parent,
            began: self.clock.now(),
            began_1970: since_1970(),
            queue,
        })))
    }

    fn samples(&self, trace: u128, parent: Option<bool>) -> bool {
        sampler::samples(self.sampler, self.ratio, trace, parent)
    }

    /// Waits until all that was recorded so far is exported, or time is up.
    pub(crate) async fn flush(&self, within: Duration) {
        if let Some(queue) = &self.queue {
            queue.flush(within).await;
        }
    }
}

/// The trace of one session.
#[derive(Clone)]
pub(crate) struct SessionTrace(Arc<Inner>);

struct Inner {
    /// What hops are children of.
    context: TraceContext,
    /// The span of who called.
    parent: Option<u64>,
    began: Timestamp,
    began_1970: Duration,
    /// Where its spans go, if it is sampled and they go anywhere.
    queue: Option<Queue>,
}

/// Something that took some time.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) name: Cow<'static, str>,
    pub(crate) kind: SpanKind,
    pub(crate) span_id: u64,
    /// The span that it is part of.
    pub(crate) parent: u64,
    pub(crate) began: Timestamp,
    pub(crate) ended: Timestamp,
    pub(crate) attributes: Vec<KeyValue>,
    pub(crate) events: Vec<(Timestamp, &'static str, Vec<KeyValue>)>,
    pub(crate) error: Option<String>,
}

impl SessionTrace {
    /// What is passed on.
    pub(crate) fn context(&self) -> &TraceContext {
        &self.0.context
    }

    /// Whether its spans are exported.
    pub(crate) fn is_recorded(&self) -> bool {
        self.0.queue.is_some()
    }

    /// Trace and span that a measurement of the session can be found under.
    pub(crate) fn exemplar(&self) -> Option<(u128, u64)> {
        let context = &self.0.context;
        context
            .is_sampled()
            .then_some((context.trace_id, context.span_id))
    }

    /// Exports the session's own span; the last.
    pub(crate) fn end(
        &self,
        ended: Timestamp,
        pipeline: &str,
        mut attributes: Vec<KeyValue>,
        error: Option<&Error>,
    ) {
        attributes.push(KeyValue::new("tidegate.pipeline", pipeline.to_owned()));
        if let Some(error) = error {
            attributes.push(KeyValue::new("error.type", error.code.as_str()));
        }
        self.emit(Span {
            name: format!("session {pipeline}").into(),
            kind: SpanKind::Server,
            span_id: self.0.context.span_id,
            parent: self.0.parent.unwrap_or(0),
            began: self.0.began,
            ended,
            attributes,
            events: Vec::new(),
            error: error.map(ToString::to_string),
        });
    }

    /// Exports a span, if the session is recorded.
    pub(crate) fn emit(&self, span: Span) {
        let Some(queue) = &self.0.queue else {
            return;
        };
        let own = span.span_id == self.0.context.span_id;
        let events = span.events.into_iter();
        let mut listed = SpanEvents::default();
        listed.events = events
            .map(|(at, name, attributes)| Event::new(name, self.at(at), attributes, 0))
            .collect();
        queue.push(SpanData {
            span_context: self.span_context(span.span_id),
            parent_span_id: span.parent.into(),
            parent_span_is_remote: own && self.0.parent.is_some(),
            span_kind: span.kind,
            name: span.name,
            start_time: self.at(span.began),
            end_time: self.at(span.ended.max(span.began)),
            attributes: span.attributes,
            dropped_attributes_count: 0,
            events: listed,
            links: SpanLinks::default(),
            status: span.error.map_or(Status::Unset, Status::error),
            instrumentation_scope: InstrumentationScope::builder("tidegate")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        });
    }

    fn span_context(&self, span_id: u64) -> SpanContext {
        let context = &self.0.context;
        let state = context.state().and_then(|state| state.parse().ok());
        SpanContext::new(
            context.trace_id.into(),
            span_id.into(),
            TraceFlags::SAMPLED,
            false,
            state.unwrap_or(TraceState::NONE),
        )
    }

    /// What the clock on the wall showed.
    fn at(&self, at: Timestamp) -> std::time::SystemTime {
        let began = UNIX_EPOCH + self.0.began_1970;
        if at >= self.0.began {
            began + at.saturating_since(self.0.began)
        } else {
            began - self.0.began.saturating_since(at)
        }
    }
}

impl std::fmt::Debug for SessionTrace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SessionTrace")
            .field(&self.0.context)
            .finish()
    }
}

/// What tells sessions apart.
pub(crate) fn of_session(id: &str, transport: Transport) -> Vec<KeyValue> {
    vec![
        KeyValue::new("tidegate.session.id", id.to_owned()),
        KeyValue::new("tidegate.transport", transport.as_str()),
    ]
}

/// An id for a span.
pub(crate) fn new_span_id() -> u64 {
    rand::random::<u64>().max(1)
}

/// A duration as an attribute, in seconds.
pub(crate) fn took(name: impl Into<opentelemetry::Key>, value: Duration) -> KeyValue {
    KeyValue::new(name, value.as_secs_f64())
}

/// A count as an attribute.
pub(crate) fn count(name: impl Into<opentelemetry::Key>, value: u64) -> KeyValue {
    KeyValue::new(name, i64::try_from(value).unwrap_or(i64::MAX))
}
