//! Tasks that are owned and drained: the only place that spawns.
//!
//! [`Tasks`] counts what runs, so that shutdown can wait for all of it and a test can see that nothing leaks.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The process's tasks. Clones share the count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    running: AtomicUsize,
    idle: Notify,
}

/// Counts one task for as long as it lives, a panic included.
struct Running(Arc<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

impl Tasks {
    /// Starts a task that is counted until it ends.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub(crate) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.inner.running.fetch_add(1, Ordering::AcqRel);
        let running = Running(Arc::clone(&self.inner));
        tokio::spawn(async move {
            let _running = running;
            task.await
        })
    }

    /// Computes on a thread of the runtime's pool; counted like a task until it is done.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub(crate) fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.inner.running.fetch_add(1, Ordering::AcqRel);
        let running = Running(Arc::clone(&self.inner));
        tokio::task::spawn_blocking(move || {
            let _running = running;
            work()
        })
    }

    /// How many tasks run.
    pub(crate) fn running(&self) -> usize {
        self.inner.running.load(Ordering::Acquire)
    }

    /// Waits until none runs. Cancel safe.
    pub(crate) async fn idle(&self) {
        loop {
            let notified = self.inner.idle.notified();
            if self.running() == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// Computes here and now for longer than a task should keep its thread: the thread's other tasks go on elsewhere meanwhile. On a
/// runtime that has one thread there is no elsewhere.
pub(crate) fn in_place<T>(work: impl FnOnce() -> T) -> T {
    let runtime = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    if matches!(runtime, Ok(RuntimeFlavor::MultiThread)) {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn other_tasks_of_a_thread_go_on_while_one_computes_in_place() {
        let tasks = Tasks::default();
        let (begin, begun) = std::sync::mpsc::channel::<()>();
        let computing = tasks.spawn(async move { in_place(|| begun.recv().is_ok()) });
        // On the same and only thread: without another it would wait for what it is to begin.
        let other = tasks.spawn(async move { begin.send(()).is_ok() });
        assert!(other.await.expect("it is done"));
        assert!(computing.await.expect("it is done"));
        assert!(in_place(|| true));
    }

    #[tokio::test]
    async fn where_there_is_one_thread_it_computes_there() {
        assert!(in_place(|| true));
    }

    #[tokio::test]
    async fn work_on_a_thread_is_counted_until_it_is_done_or_has_panicked() {
        let tasks = Tasks::default();
        let (begin, begun) = std::sync::mpsc::channel::<()>();
        let work = tasks.compute(move || begun.recv().is_ok());
        assert_eq!(tasks.running(), 1);
        begin.send(()).expect("it waits");
        assert!(work.await.expect("it is done"));
        let broken = tasks.compute(|| assert_eq!(1, 2, "a defect of the node"));
        assert!(broken.await.is_err());
        tasks.idle().await;
        assert_eq!(tasks.running(), 0);
    }
}
