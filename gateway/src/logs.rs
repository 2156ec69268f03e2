//! What is logged and how; and why the span of a session, which every line of it carries, costs the session nothing.
//!
//! A session's task is in its span at each poll, some hundred times a second, and a line is written once in a while. The subscriber
//! below would look a span up behind a lock that all threads share whenever one is entered and left. [`Lazy`] notes the number of the
//! span instead, and enters it where something is said.

use std::cell::RefCell;

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_core::span::Current;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Log, LogFormat, log_filter};

/// Begins to log, to standard error, so that standard output has results alone.
///
/// # Errors
/// The filter is none, or something logs already.
pub(crate) fn begin(log: &Log) -> Result<(), Box<dyn std::error::Error>> {
    let builder = tracing_subscriber::fmt()
        // Else it panics where standard error is closed.
        .log_internal_errors(false)
        .with_env_filter(log_filter(&log.filter)?)
        .with_writer(std::io::stderr);
    let begun = match log.format {
        LogFormat::Text => Lazy(builder.with_ansi(false).finish()).try_init(),
        // The innermost span says all that those around it do.
        LogFormat::Json => Lazy(builder.json().with_span_list(false).finish()).try_init(),
    };
    Ok(begun?)
}

thread_local! {
    /// The spans that this thread is in, the outermost first.
    static ENTERED: RefCell<Vec<Id>> = const { RefCell::new(Vec::new()) };
}

/// A subscriber that is told of the spans that it is in when something is said there, and not before.
///
/// Only for one that does nothing when a span is entered or left, such as to take times.
struct Lazy<S>(S);

impl<S: Subscriber> Lazy<S> {
    /// Has it in the spans that the thread is in.
    fn inside<T>(&self, say: impl FnOnce(&S) -> T) -> T {
        let within = Within::enter(&self.0);
        say(within.subscriber)
    }
}

/// In spans until it is dropped, also by a panic of what is said.
struct Within<'a, S: Subscriber> {
    subscriber: &'a S,
    spans: Vec<Id>,
}

impl<'a, S: Subscriber> Within<'a, S> {
    fn enter(subscriber: &'a S) -> Self {
        // A thread that ends is in none.
        let spans = ENTERED.try_with(|entered| entered.borrow().clone());
        let spans = spans.unwrap_or_default();
        spans.iter().for_each(|span| subscriber.enter(span));
        Self { subscriber, spans }
    }
}

impl<S: Subscriber> Drop for Within<'_, S> {
    fn drop(&mut self) {
        let spans = self.spans.iter().rev();
        spans.for_each(|span| self.subscriber.exit(span));
    }
}

impl<S: Subscriber> Subscriber for Lazy<S> {
    fn enter(&self, span: &Id) {
        ENTERED
            .try_with(|entered| entered.borrow_mut().push(span.clone()))
            .ok();
    }

    fn exit(&self, span: &Id) {
        let leave = |entered: &RefCell<Vec<Id>>| {
            let mut entered = entered.borrow_mut();
            // The last, but where a span is left before one inside it.
            let at = entered.iter().rposition(|known| known == span);
            at.map(|at| entered.remove(at));
        };
        ENTERED.try_with(leave).ok();
    }

    fn event(&self, event: &Event<'_>) {
        self.inside(|subscriber| subscriber.event(event));
    }

    /// Asked each time only where the filter names spans, fields or their values; else once for each place.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inside(|subscriber| subscriber.enabled(metadata))
    }

    fn event_enabled(&self, event: &Event<'_>) -> bool {
        self.inside(|subscriber| subscriber.event_enabled(event))
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.inside(|subscriber| subscriber.new_span(span))
    }

    fn current_span(&self) -> Current {
        self.inside(S::current_span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.0.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.0.record_follows_from(span, follows);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.0.clone_span(span)
    }

    fn try_close(&self, span: Id) -> bool {
        self.0.try_close(span)
    }

    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        self.0.on_register_dispatch(dispatch);
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.0.register_callsite(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.0.max_level_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("one thread").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged while something runs.
    fn logged(filter: &str, run: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(log_filter(filter).expect("a filter"))
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(Lazy(subscriber), run);
        let bytes = lines.0.lock().expect("one thread").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn what_the_file_library_says_is_silent_unless_it_is_asked_for() {
        let say = || {
            tracing::error!(target: "symphonia_core::probe", "of the library");
            tracing::info!("of ours");
        };
        let text = logged("info", say);
        assert!(
            text.contains("of ours") && !text.contains("of the library"),
            "{text}"
        );
        let text = logged("info,symphonia=error", say);
        assert!(text.contains("of the library"), "{text}");
    }

    #[test]
    fn a_line_names_the_spans_that_it_is_said_in_and_no_others() {
        let text = logged("info", || {
            let session = tracing::error_span!("session", session = "one");
            tracing::info!("before");
            session.in_scope(|| {
                tracing::info!("inside");
                let hop = tracing::error_span!("hop", hop = "stt");
                hop.in_scope(|| tracing::info!("within"));
                drop(hop);
                tracing::info!("again");
            });
            tracing::info!("after");
        });
        let lines: Vec<_> = text.lines().map(|line| line.trim_start()).collect();
        let place = module_path!();
        let session = "session{session=\"one\"}";
        assert_eq!(
            lines,
            [
                format!("INFO {place}: before"),
                format!("INFO {session}: {place}: inside"),
                format!("INFO {session}:hop{{hop=\"stt\"}}: {place}: within"),
                format!("INFO {session}: {place}: again"),
                format!("INFO {place}: after"),
            ]
        );
    }

    #[test]
    fn a_filter_may_name_the_spans_that_something_is_said_in() {
        let text = logged("warn,[session{session=one}]=debug", || {
            for id in ["one", "two"] {
                let session = tracing::error_span!("session", session = id);
                session.in_scope(|| tracing::debug!("said by {id}"));
            }
            tracing::debug!("said by nobody");
        });
        assert!(text.contains("said by one"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn a_panic_while_something_is_said_leaves_no_span_behind() {
        struct Broken;
        impl std::fmt::Display for Broken {
            fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                panic!("it cannot be shown")
            }
        }
        let text = logged("info", || {
            let session = tracing::error_span!("session", session = "one");
            let said = || session.in_scope(|| tracing::info!("{Broken}"));
            let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(said));
            assert!(said.is_err());
            tracing::info!("after");
        });
        // Behind what was begun of the other.
        let last = format!(" INFO {}: after\n", module_path!());
        assert!(text.ends_with(&last), "{text}");
    }

    /// Counts what it is told of spans.
    #[derive(Clone, Default)]
    struct Counting(Arc<AtomicUsize>);

    impl Subscriber for Counting {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn enter(&self, _: &Id) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn exit(&self, _: &Id) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, _: &Event<'_>) {}
    }

    #[test]
    fn nothing_is_entered_where_nothing_is_said() {
        let counting = Counting::default();
        let told = counting.clone();
        let told = move || told.0.load(Ordering::Relaxed);
        tracing::subscriber::with_default(Lazy(counting), || {
            let session = tracing::error_span!("session");
            for _ in 0..1_000 {
                session.in_scope(|| {});
            }
            assert_eq!(told(), 0);
            session.in_scope(|| tracing::info!("said"));
            assert!(told() >= 2 && told() % 2 == 0, "{}", told());
        });
    }
}
