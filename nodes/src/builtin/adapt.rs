//! Two shapes that most nodes have: one frame in, one out; and a stream that is cut anew.
//!
//! They keep what each such node must keep: media times, utterances with their end, and that an interrupt forgets while an end
//! flushes.

use tidegate_media::{Audio, Frame, MediaTime, Meta, Payload};

use crate::node::{Context, DropReason, Hold, Node, NodeError};

/// Why a frame goes no further.
pub(super) enum Refusal {
    /// It is dropped and counted.
    Drop(DropReason),
    /// The node cannot go on.
    Fail(NodeError),
}

impl From<DropReason> for Refusal {
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

impl From<NodeError> for Refusal {
    fn from(error: NodeError) -> Self {
        Self::Fail(error)
    }
}

/// A node that makes one frame of each: the function turns a payload into another, or says why the frame goes no further.
pub(super) fn map<F, E>(mut function: F) -> Box<dyn Node>
where
    F: FnMut(&Frame) -> Result<Payload, E> + Send + 'static,
    E: Into<Refusal>,
{
    Box::new(Map(move |frame: &Frame| {
        function(frame).map_err(Into::into)
    }))
}

/// A node that turns the sound of each frame into other sound.
pub(super) fn map_audio<F>(mut function: F) -> Box<dyn Node>
where
    F: FnMut(&Audio) -> Audio + Send + 'static,
{
    map(move |frame| match &frame.payload {
        Payload::Audio(audio) => Ok(Payload::Audio(function(audio))),
        _ => Err(DropReason::Undecodable),
    })
}

struct Map<F>(F);

impl<F> Node for Map<F>
where
    F: FnMut(&Frame) -> Result<Payload, Refusal> + Send,
{
    fn on_frame(&mut self, cx: &mut Context<'_>, _: usize, frame: Frame) -> Result<(), NodeError> {
        match (self.0)(&frame) {
            Ok(payload) => cx.emit(0, frame.with_payload(payload)),
            Err(Refusal::Drop(reason)) => cx.drop_frame(reason),
            Err(Refusal::Fail(error)) => return Err(error),
        }
        Ok(())
    }
}

/// What comes out of a [`Recut`] in one call.
pub(super) type Pieces = Vec<(MediaTime, Payload)>;

/// The work of a node that takes sound in chunks of any size and makes frames of its own size.
pub(super) trait Cutter: Send {
    /// Takes a chunk that starts at `at`.
    fn push(&mut self, at: MediaTime, audio: &Audio, out: &mut Pieces) -> Result<(), NodeError>;

    /// Ends the run: makes frames of what is held back. What is pushed next is a new run.
    fn flush(&mut self, out: &mut Pieces) -> Result<(), NodeError>;

    /// Forgets everything.
    fn reset(&mut self);

    /// What closes an utterance when there is no sound left to do it.
    fn nothing(&self) -> Payload;
}

/// A node around a [`Cutter`]: nothing of one utterance ends up in the next, and the last frame of an utterance is final.
pub(super) struct Recut<C> {
    cutter: C,
    /// Marks of the newest input; `None` before the first.
    meta: Option<Meta>,
    /// Where the utterance began that is worked on. Sound without utterances has no place to begin anew at.
    since: Option<u64>,
    pieces: Pieces,
}

impl<C: Cutter> Recut<C> {
    pub(super) fn boxed(cutter: C) -> Box<dyn Node>
    where
        C: 'static,
    {
        Box::new(Self {
            cutter,
            meta: None,
            since: None,
            pieces: Pieces::new(),
        })
    }

    /// Emits what was made, marked as the newest input is; the last of it ends the utterance if `last_is_final`.
    fn emit(&mut self, cx: &mut Context<'_>, last_is_final: bool) {
        let Some(meta) = self.meta else { return };
        if last_is_final && self.pieces.is_empty() {
            let end = (meta.media_time, self.cutter.nothing());
            self.pieces.push(end);
        }
        let count = self.pieces.len();
        for (index, (media_time, payload)) in self.pieces.drain(..).enumerate() {
            let meta = Meta {
                media_time,
                is_final: last_is_final && index + 1 == count,
                ..meta
            };
            cx.emit(0, Frame { meta, payload });
        }
    }
}

impl<C: Cutter> Node for Recut<C> {
    fn on_frame(&mut self, cx: &mut Context<'_>, _: usize, frame: Frame) -> Result<(), NodeError> {
        let Payload::Audio(audio) = &frame.payload else {
            return Ok(());
        };
        if self
            .meta
            .is_some_and(|meta| meta.utterance != frame.meta.utterance)
        {
            self.cutter.flush(&mut self.pieces)?;
            self.emit(cx, false);
            self.since = None;
        }
        self.meta = Some(frame.meta);
        if frame.meta.utterance > 0 {
            self.since.get_or_insert(frame.meta.since);
        }
        self.cutter
            .push(frame.meta.media_time, audio, &mut self.pieces)?;
        if frame.meta.is_final {
            self.cutter.flush(&mut self.pieces)?;
            self.since = None;
        }
        self.emit(cx, frame.meta.is_final);
        Ok(())
    }

    fn on_end(&mut self, cx: &mut Context<'_>, _: usize) -> Result<(), NodeError> {
        self.cutter.flush(&mut self.pieces)?;
        self.emit(cx, false);
        self.since = None;
        Ok(())
    }

    fn holds(&self) -> Hold {
        self.since.into()
    }

    fn on_interrupt(&mut self, _: &mut Context<'_>) {
        self.cutter.reset();
        self.meta = None;
        self.since = None;
        self.pieces.clear();
    }
}
