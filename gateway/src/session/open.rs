//! Opening a session: from what a client asks for to a running driver with that client in it.
//!
//! The slot comes first, so that a burst of openings cannot pass the limit; whatever fails afterwards gives it back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tidegate_media::Timestamp;
use tidegate_nodes::compile::{Binding, Pipeline};
use tidegate_nodes::graph::{Graph, Mode};
use tidegate_nodes::plan::{PlanHop, Target};
use tidegate_nodes::{Code, Error};
use tidegate_proto::message::Source;
use tidegate_remote::config::HOP_COUNT_MAX;
use tracing::{Instrument as _, Level};

use super::control::{End, Inbox};
use super::driver::{Driver, Parts};
use super::figures::Figures;
use super::hops::{Hop, OffloadHop};
use super::link::{Link, Transport};
use super::ports::SessionPorts;
use super::table::{Handle, SharedKey, Slot};
use crate::auth::Caller;
use crate::auth::limits::Counted;
use crate::gateway::Gateway;
use crate::metrics::label;
use crate::trace::{self, SessionTrace};

/// What a client asks for.
pub(crate) struct Request {
    pub(crate) caller: Caller,
    pub(crate) source: Source,
    pub(crate) parameters: Map<String, Value>,
    /// Key of a shared session.
    pub(crate) key: Option<String>,
    /// Gateways before this one.
    pub(crate) hop_count: u32,
    /// The whole session's time limit.
    pub(crate) deadline: Option<Duration>,
    pub(crate) link: Box<dyn Link>,
}

impl Gateway {
    /// Opens a session, or joins the shared one with the request's key.
    ///
    /// # Errors
    /// The pipeline is unknown or does not fit the client, a worker cannot be reached, or there is no room.
    pub(crate) async fn open(self: &Arc<Self>, request: Request) -> Result<Handle, Error> {
        let opened = self.open_uncounted(request).await;
        if let Err(error) = &opened {
            self.sessions.refused(error.code);
        }
        opened
    }

    async fn open_uncounted(self: &Arc<Self>, mut request: Request) -> Result<Handle, Error> {
        if request.hop_count > HOP_COUNT_MAX {
            let text = format!(
                "the session passed {} gateways already, {HOP_COUNT_MAX} at most: a circle of remote hops",
                request.hop_count
            );
            return Err(Error::new(Code::ManifestCycle, text));
        }
        let (pipeline, inline) = self.pipeline(&request.caller, &request.source)?;
        let shared = request
            .key
            .take()
            .map(|key| shared_key(key, &pipeline, inline));
        let shared = shared.transpose()?;
        let now = self.clock.now();
        self.accounts.opens(&request.caller, now)?;
        if let Some(shared) = &shared
            && let Some(handle) = self.sessions.find(shared)
        {
            handle.join(request.link).await?;
            return Ok(handle);
        }
        let counted = self.accounts.session(&request.caller, now)?;
        let slot = self.sessions.admit()?;
        let trace = self.tracer.begin(request.caller.trace());
        let label = if inline { "inline" } else { pipeline.name() };
        let span = log_span(slot.id(), label, trace.as_ref());
        let began = Begun {
            slot,
            counted,
            shared,
            pipeline,
            inline,
            trace,
        };
        let opened = self.begin(request, began, span.clone());
        let opened = opened.instrument(span.clone()).await;
        opened.inspect_err(|error| span.in_scope(|| say_unopened(error)))
    }

    /// Opens a session that has its place.
    async fn begin(
        self: &Arc<Self>,
        request: Request,
        began: Begun,
        span: tracing::Span,
    ) -> Result<Handle, Error> {
        let Begun {
            slot,
            counted,
            shared,
            pipeline,
            inline,
            trace,
        } = began;
        // From here on, so that what opening takes is not given to those behind.
        let limits = request.deadline.into_iter();
        let limit = limits.chain(request.caller.time_left()).min();
        let deadline = limit.map(|limit| self.clock.now() + limit);
        let Request {
            caller,
            parameters,
            hop_count,
            link,
            ..
        } = request;
        let is_shared = shared.is_some();
        let prepared = Prepared {
            pipeline,
            inline,
            mode: link.wishes().mode(),
            whole: link.transport() == Transport::Local,
            hop_count,
            deadline,
            caller: Arc::clone(&caller.name),
            trace: trace.clone(),
        };
        // Before others can find the session: who cannot come in makes none for them.
        let binding = binding(&prepared, parameters, link.as_ref(), is_shared)?;
        let (now, pipeline) = (self.clock.now(), Arc::clone(&prepared.pipeline));
        let whose = (pipeline.name(), &caller.name);
        let (handle, control) = match self.sessions.insert(&slot, now, whose, shared) {
            Ok(new) => new,
            Err(first) => {
                first.join(link).await?;
                return Ok(first);
            }
        };
        // Whoever takes a key back ends the sessions that are there by now.
        self.auth.check(&caller)?;
        let parts = self
            .prepare(prepared, binding, &slot, is_shared, control)
            .await;
        let parts = parts.inspect_err(|error| {
            if let Some(trace) = &trace {
                let attributes = trace::of_session(slot.id(), link.transport());
                let label = if inline { "inline" } else { pipeline.name() };
                trace.end(self.clock.now(), label, attributes, Some(error));
            }
        })?;
        self.run(parts, (slot, counted), (link.transport(), span));
        if let Err(error) = handle.join(link).await {
            // Not to be kept for nobody until it is found vacant.
            handle.end_if_empty().await;
            return Err(error);
        }
        Ok(handle)
    }

    /// The pipeline that a request means, and whether its manifest was sent.
    ///
    /// # Errors
    /// It is not granted, unknown, has errors, or manifests are not served here.
    pub(crate) fn pipeline(
        &self,
        caller: &Caller,
        source: &Source,
    ) -> Result<(Arc<Pipeline>, bool), Error> {
        match source {
            Source::Pipeline(name) if name.is_empty() => Err(Error::new(
                Code::BadRequest,
                "open.pipeline is missing: name a pipeline, or send a manifest's text as manifest",
            )),
            Source::Pipeline(name) => Ok((self.named(caller, name)?, false)),
            Source::Manifest(_) if !self.config.inline => Err(Error::new(
                Code::PermissionDenied,
                "manifests of clients are not served here: set inline to true, or name a pipeline",
            )),
            Source::Manifest(text) => {
                caller.grants.may_send_manifests()?;
                let endpoints = &self.config.inline_endpoints;
                Ok((self.pipelines.inline(text, endpoints)?, true))
            }
        }
    }

    /// The pipeline with a name, for somebody who may use it.
    ///
    /// # Errors
    /// It is not granted, or there is none.
    pub(crate) fn named(&self, caller: &Caller, name: &str) -> Result<Arc<Pipeline>, Error> {
        caller.grants.may_use(name)?;
        self.pipelines.get(name)
    }

    async fn prepare(
        &self,
        prepared: Prepared,
        binding: Binding,
        slot: &Slot,
        shared: bool,
        control: Inbox,
    ) -> Result<Parts, Error> {
        let bound = self.bind(&prepared, binding).await?;
        let plan = Arc::clone(&bound.plan);
        let now = self.clock.now();
        let left = prepared.deadline.map(|at| at.saturating_since(now));
        let limits = self.session_limits().within(left);
        let figures = Figures::new(
            self.clock,
            Arc::clone(&self.metrics),
            prepared.pipeline.name(),
            prepared.inline,
        )
        .over_the_whole(prepared.whole)
        .found_under(prepared.trace.as_ref().and_then(SessionTrace::exemplar));
        let (graph, offloaded) = Graph::new(
            Arc::clone(&plan),
            self.pipelines.registry(),
            figures.probe(),
        )?;
        let mut hops: Vec<(usize, Box<dyn Hop>)> = Vec::new();
        for (index, node) in offloaded {
            let hop = &plan.hops[index];
            let joined = (0..hop.inputs.len()).map(|port| {
                let to = Target::Hop { hop: index, port };
                plan.edges.iter().any(|edge| edge.to == to)
            });
            let (id, outputs) = (hop.id.clone(), hop.outputs.len());
            let hop = OffloadHop::new(
                id,
                node,
                joined.collect(),
                outputs,
                (self.clock, self.tasks.clone()),
            );
            hops.push((index, Box::new(hop)));
        }
        self.open_remotes(&bound, &prepared, &mut hops).await?;
        Ok(Parts {
            id: slot.id().to_owned(),
            shared,
            plan,
            graph,
            hops,
            figures,
            limits,
            clock: self.clock,
            control,
            metrics: Arc::clone(&self.metrics),
            trace: prepared.trace,
        })
    }

    /// Runs it; what it takes of what there is, and of its opener's share, is given back when it ends.
    fn run(
        self: &Arc<Self>,
        parts: Parts,
        taken: (Slot, Option<Counted>),
        (transport, span): (Transport, tracing::Span),
    ) {
        parts.control.begin();
        let driver = Driver::new(parts, transport);
        let metrics = Arc::clone(&self.metrics);
        // The task ends with the session, which ends with its clients, its limits or the drain; the table counts it.
        drop(self.tasks.spawn(async move {
            let outcome = driver.run().instrument(span).await;
            drop(taken);
            let labels = vec![
                label("transport", transport.as_str()),
                label("outcome", outcome.label),
            ];
            metrics
                .counter("tidegate_sessions_total", labels)
                .increment(1);
        }));
    }
}

/// A session that has its place, and nothing else.
struct Begun {
    slot: Slot,
    counted: Option<Counted>,
    shared: Option<SharedKey>,
    pipeline: Arc<Pipeline>,
    inline: bool,
    trace: Option<SessionTrace>,
}

/// What every log line of a session carries.
fn log_span(id: &str, pipeline: &str, trace: Option<&SessionTrace>) -> tracing::Span {
    let span = tracing::error_span!(
        "session",
        session = id,
        pipeline,
        trace_id = tracing::field::Empty,
        span_id = tracing::field::Empty
    );
    if let Some(context) = trace.map(SessionTrace::context) {
        span.record("trace_id", format!("{:032x}", context.trace_id));
        span.record("span_id", format!("{:016x}", context.span_id));
    }
    span
}

/// Says that a session failed before it began, as loud as if it had failed later; which session it is says the span.
fn say_unopened(error: &Error) {
    let (code, hop) = (error.code, error.hop.as_deref());
    match End::severity(error) {
        Level::WARN => tracing::warn!(%code, hop, %error, "session not opened"),
        _ => tracing::info!(%code, hop, %error, "session not opened"),
    }
}

/// What is settled before formats are.
pub(crate) struct Prepared {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) inline: bool,
    pub(crate) mode: Mode,
    /// Figures are kept over the whole session: it is one run of a file.
    whole: bool,
    pub(crate) hop_count: u32,
    /// When the session ends at the latest.
    pub(crate) deadline: Option<Timestamp>,
    /// Name of who opens it. Others who join share what was opened for this one.
    pub(crate) caller: Arc<str>,
    pub(crate) trace: Option<SessionTrace>,
}

impl Prepared {
    /// How `/metrics` calls the pipeline and one of its hops: inline manifests share a name, so that clients cannot make labels.
    pub(crate) fn labels(&self, hop: &PlanHop) -> (String, String) {
        if self.inline {
            ("inline".to_owned(), hop.node_type.clone())
        } else {
            (self.pipeline.name().to_owned(), hop.id.clone())
        }
    }
}

/// What the first client sends decides the formats inside.
fn binding(
    prepared: &Prepared,
    parameters: Map<String, Value>,
    link: &dyn Link,
    shared: bool,
) -> Result<Binding, Error> {
    let outline = prepared.pipeline.outline();
    let placement = SessionPorts::of(outline, shared, |_| false).place(link)?;
    let mut inputs = vec![None; outline.inputs.len()];
    for (input, format) in placement.inputs {
        inputs[input] = Some(format);
    }
    Ok(Binding {
        parameters,
        modes: vec![prepared.mode; outline.inputs.len()],
        inputs,
        remote_ports: BTreeMap::new(),
    })
}

/// Under what a shared session is found.
fn shared_key(key: String, pipeline: &Pipeline, inline: bool) -> Result<SharedKey, Error> {
    check_key(&key)?;
    let scope = if inline {
        // No name has a colon.
        format!("inline:{}", pipeline.digest())
    } else {
        pipeline.name().to_owned()
    };
    Ok(SharedKey { scope, key })
}

fn check_key(key: &str) -> Result<(), Error> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if key.is_empty() || key.len() > 128 || !key.chars().all(fine) {
        let text = "session key must have 1 to 128 letters, digits, '-', '_' or '.'";
        return Err(Error::new(Code::BadRequest, text));
    }
    Ok(())
}
