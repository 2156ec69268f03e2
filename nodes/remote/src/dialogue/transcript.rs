//! A text that grows while its sound is heard, as answers of which each supersedes the one before.

use std::sync::{Arc, Mutex, PoisonError};

use tidegate_media::{Frame, Payload};
use tidegate_proto::PortName;

use super::{Answers, Feed};
use crate::calls::Answer;
use crate::error::RemoteError;

/// The number of the newest utterance that a server found by itself, over the calls of a stream.
pub(crate) type Found = Arc<Mutex<u64>>;

/// The words of a call.
pub(crate) struct Transcript {
    answers: Answers,
    /// What was heard of the sound so far.
    feed: Feed,
    port: PortName,
    /// Bytes of what is understood of one utterance.
    words_max: usize,
    revision: u32,
    last: String,
    /// The server finds the utterances: the sound comes in one piece.
    found: Option<Found>,
    /// So much had been heard when the server said the last thing, and the thing before that.
    heard: [u64; 2],
    any: bool,
}

impl Transcript {
    /// Of one utterance.
    pub(crate) fn new(answers: Answers, feed: Feed, port: PortName, words_max: usize) -> Self {
        Self {
            answers,
            feed,
            port,
            words_max,
            revision: 0,
            last: String::new(),
            found: None,
            heard: [0; 2],
            any: false,
        }
    }

    /// Of as many utterances as the server finds.
    pub(crate) fn finding(mut self, found: Found) -> Self {
        self.found = Some(found);
        self
    }

    /// Whether the server has heard all, so that it may end.
    pub(crate) fn is_complete(&self) -> bool {
        self.feed.is_told()
    }

    /// Whether words were given of an utterance that is not closed.
    pub(crate) const fn is_begun(&self) -> bool {
        self.revision > 0
    }

    /// Whether the server finds utterances.
    pub(crate) const fn finds(&self) -> bool {
        self.found.is_some()
    }

    /// The server said something.
    pub(crate) fn heard(&mut self) {
        let (taken, _) = self.feed.taken();
        self.heard = [taken, self.heard[0]];
    }

    /// What is understood so far.
    ///
    /// # Errors
    /// It is more than is kept, so that the server is not listened to without end.
    pub(crate) async fn partial(&mut self, text: &str) -> Result<(), RemoteError> {
        if text.len() > self.words_max {
            let text = format!("a transcript of more than {} bytes", self.words_max);
            return Err(RemoteError::TooLarge(text));
        }
        if !text.is_empty() && text != self.last {
            text.clone_into(&mut self.last);
            self.give(text, false).await;
        }
        Ok(())
    }

    /// What was understood; also where that is nothing, since the utterance is over.
    pub(crate) async fn whole(mut self, text: &str) {
        // Where the server finds utterances, it has closed the last one.
        if !self.finds() || !self.any {
            self.give(text, true).await;
        }
    }

    /// An utterance that the server found is over. What was heard before it said the thing before this is not needed any more: what came
    /// after may be of the next utterance.
    pub(crate) async fn settle(&mut self, text: &str) {
        if !text.is_empty() || self.revision > 0 {
            self.give(text, true).await;
        }
        let [_, before] = self.heard;
        if before > 0 {
            self.answers.push(Answer::Consumed(before));
        }
    }

    async fn give(&mut self, text: &str, is_final: bool) {
        let (taken, at) = self.feed.taken();
        let mut frame = Frame::new(at, Payload::Text(text.into()));
        self.revision += 1;
        self.any = true;
        (frame.meta.revision, frame.meta.is_final) = (self.revision, is_final);
        frame.meta.caused_by = taken;
        if let Some(found) = &self.found {
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            if self.revision == 1 {
                *found += 1;
            }
            frame.meta.utterance = *found;
        }
        if is_final {
            self.revision = 0;
            self.last.clear();
        }
        let answer = Answer::Output {
            port: self.port.clone(),
            caused_port: None,
            frame,
        };
        self.answers.give(answer).await;
    }
}
