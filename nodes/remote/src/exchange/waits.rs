//! What is awaited of the worker, and until when.

use std::collections::VecDeque;
use std::time::Duration;

use tidegate_media::Timestamp;

use super::Exchange;
use crate::error::RemoteError;
use crate::watch::Due;

impl Exchange {
    /// It hears by utterances: of an utterance's parts nothing is awaited but that they are taken.
    pub(crate) fn by_utterance(&mut self) {
        self.by_utterance = true;
        self.watch.by_utterance();
    }

    /// Looks whether what waits to be sent is held up.
    pub(crate) fn look_whether_held(&mut self, now: Timestamp) {
        let mut inputs = self.inputs.iter();
        let held = inputs.any(|input| input.window.is_queued() && !input.window.is_open());
        self.watch.held(now, held);
    }

    /// The utterances that the worker has not done, for the stream that takes over from this one.
    pub(crate) fn calls(&mut self) -> VecDeque<Due> {
        self.watch.calls()
    }

    /// What the stream before this one had not done.
    pub(crate) fn inherit(&mut self, calls: VecDeque<Due>) {
        self.watch.inherit(calls);
    }

    /// What it is sent is a call that is not complete: nothing is awaited yet but, where it is `held` up, that more of it is taken.
    pub(crate) fn gathers(&mut self, now: Timestamp, held: bool) {
        self.watch.gathers(now, held);
    }

    /// The call is complete, and all of it was sent.
    pub(crate) fn gathered(&mut self, now: Timestamp) {
        self.watch.gathered(now);
    }

    /// Nobody listened for so long, which counts for no wait.
    pub(crate) fn forgive(&mut self, by: Duration) {
        self.watch.forgive(by);
    }

    /// Looks whether a wait has run out.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        if let Some((phase, limit)) = self.watch.expired(now) {
            self.failed(RemoteError::Timeout { phase, limit });
        }
    }

    /// Since when that was awaited for want of which the stream has failed with this error.
    pub(crate) const fn waited_since(&self, error: &RemoteError) -> Option<Timestamp> {
        self.watch.waited_since(match error {
            RemoteError::Timeout { phase, .. } => Some(*phase),
            _ => None,
        })
    }

    /// When [`Self::handle_timeout`] has something to say.
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        self.watch.next()
    }
}
