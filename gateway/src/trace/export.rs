//! Spans on their way to a collector: a bounded queue, and the one task that empties it.
//!
//! A session never waits for the collector. What finds the queue full is dropped and counted, and so is what the collector does not
//! take; whoever looks at a trace with holes finds out there why.

use std::time::Duration;

use metrics::Counter;
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::collector::{Collector, TraceError};
use crate::config::Tracing;
use crate::metrics::{Metrics, label};
use crate::tasks::Tasks;

/// Spans that wait: some hundred sessions that end at once. About 4 MiB.
const QUEUE: usize = 4096;
/// Spans sent in one request.
const BATCH: usize = 512;
/// How long a span waits for others to go with.
const DELAY: Duration = Duration::from_secs(1);
/// How long one request may take, its repetitions included. The library has a shorter limit, which the standard's variable moves.
const EXPORT: Duration = Duration::from_secs(60);

/// The way to the collector. Clones share it.
#[derive(Clone)]
pub(super) struct Queue {
    sender: mpsc::Sender<Message>,
    full: Counter,
}

enum Message {
    Span(Box<SpanData>),
    /// Say when all before is exported.
    Flush(oneshot::Sender<()>),
}

/// What becomes of spans.
struct Counts {
    exported: Counter,
    failed: Counter,
}

impl Queue {
    /// Opens the way, if one is configured.
    pub(super) fn open(
        config: &Tracing,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Option<Self>, TraceError> {
        if config.endpoint.is_empty() {
            return Ok(None);
        }
        let collector = Collector::new(config)?;
        let dropped = |reason| {
            let labels = vec![label("reason", reason)];
            let counter = metrics.counter("tidegate_spans_dropped_total", labels);
            counter.increment(0);
            counter
        };
        let counts = Counts {
            exported: metrics.counter("tidegate_spans_exported_total", Vec::new()),
            failed: dropped("export_failed"),
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        // It ends with the last sender, which is the gateway's.
        drop(tasks.spawn(run(collector, receiver, counts)));
        Ok(Some(Self {
            sender,
            full: dropped("queue_full"),
        }))
    }

    /// Takes a span, if there is room.
    pub(super) fn push(&self, span: SpanData) {
        if self.sender.try_send(Message::Span(Box::new(span))).is_err() {
            self.full.increment(1);
        }
    }

    /// Waits until what was pushed is exported, or time is up.
    pub(super) async fn flush(&self, within: Duration) {
        let (reply, flushed) = oneshot::channel();
        let flush = async {
            if self.sender.send(Message::Flush(reply)).await.is_ok() {
                // Whether or not it could be sent: it was tried.
                drop(flushed.await);
            }
        };
        if timeout(within, flush).await.is_err() {
            tracing::warn!("spans of the last sessions were not taken by the collector in time");
        }
    }
}

/// Exports until nobody can push any more.
async fn run(collector: Collector, mut queue: mpsc::Receiver<Message>, counts: Counts) {
    let mut failing = false;
    while let Some(first) = queue.recv().await {
        let (batch, flush) = gather(first, &mut queue).await;
        if !batch.is_empty() {
            let count = batch.len() as u64;
            let exported = timeout(EXPORT, collector.export(batch)).await;
            let error = match exported {
                Ok(exported) => exported.err(),
                Err(_) => Some("no answer in time".to_owned()),
            };
            // Once an outage, not once a batch.
            match (&error, failing) {
                (Some(error), false) => tracing::warn!(%error, "spans cannot be exported"),
                (None, true) => tracing::info!("spans are exported again"),
                _ => {}
            }
            failing = error.is_some();
            let counter = if failing {
                &counts.failed
            } else {
                &counts.exported
            };
            counter.increment(count);
        }
        if let Some(flush) = flush {
            // Who asked may have given up.
            let _told = flush.send(());
        }
    }
}

/// What goes in one request: until it is large enough, somebody waits for it, or the first has waited for long enough.
async fn gather(
    first: Message,
    queue: &mut mpsc::Receiver<Message>,
) -> (Vec<SpanData>, Option<oneshot::Sender<()>>) {
    let mut batch = Vec::new();
    let mut next = Some(first);
    let late = sleep(DELAY);
    tokio::pin!(late);
    loop {
        match next {
            Some(Message::Span(span)) => batch.push(*span),
            Some(Message::Flush(reply)) => return (batch, Some(reply)),
            None => return (batch, None),
        }
        if batch.len() >= BATCH {
            return (batch, None);
        }
        next = tokio::select! {
            message = queue.recv() => message,
            () = &mut late => None,
        };
    }
}
