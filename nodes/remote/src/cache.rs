//! Earlier answers: what a call is answered with when no worker can be asked.
//!
//! An answer is kept under the pipeline's digest, the caller, and the call's input; the same words of another caller are another call.
//! Bounded by entries, bytes and age; the one used longest ago goes first. Shared by the sessions of a hop.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tidegate_media::{Frame, Meta, Timestamp};
use tidegate_proto::message::{Ack, Opened};
use tidegate_proto::{ClientMessage, PortName, ServerMessage, protobuf};

use crate::config::HopPorts;
use crate::error::RemoteError;
use crate::inplace::{Mouth, Names};
use crate::link::{Counts, FramePlace, Link};

/// Frames of one answer; a longer one is not kept.
pub(crate) const ANSWER_FRAMES: usize = 4_096;
/// Payload bytes of one answer.
pub(crate) const ANSWER_BYTES: usize = 4 << 20;

/// Bounds of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Answers.
    pub entries: usize,
    /// How long an answer may be given again.
    pub age: Duration,
    /// Payload bytes of all answers.
    pub bytes: usize,
}

impl CacheLimits {
    /// Payload bytes of all answers unless told otherwise.
    pub const BYTES: usize = 64 << 20;
}

/// Answers of one hop.
#[derive(Debug)]
pub struct AnswerCache {
    limits: CacheLimits,
    state: Mutex<State>,
}

/// A cache as a tier of one session's hop.
#[derive(Clone)]
pub struct CacheTier {
    /// Shared by all sessions of the hop.
    pub answers: Arc<AnswerCache>,
    /// Digest of what runs at the workers: another version gives other answers.
    pub digest: Arc<str>,
    /// Whose answers these are; callers do not see each other's.
    pub caller: Arc<str>,
}

type Key = [u8; 32];
type Answer = Arc<[(usize, Frame)]>;

#[derive(Debug, Default)]
struct State {
    known: HashMap<Key, Known>,
    /// Oldest use first; a key that was used again comes later once more.
    used: VecDeque<(Key, u64)>,
    uses: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Known {
    answer: Answer,
    bytes: usize,
    at: Timestamp,
    use_number: u64,
}

impl AnswerCache {
    /// An empty cache.
    #[must_use]
    pub fn new(limits: CacheLimits) -> Self {
        Self {
            limits,
            state: Mutex::default(),
        }
    }

    /// Payload bytes of all answers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes
    }

    /// Its bounds.
    #[must_use]
    pub const fn limits(&self) -> CacheLimits {
        self.limits
    }

    fn get(&self, now: Timestamp, key: &Key) -> Option<Answer> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.saturating_since(state.known.get(key)?.at);
        if age > self.limits.age {
            state.forget(key);
            return None;
        }
        state.use_again(key);
        state.known.get(key).map(|known| Arc::clone(&known.answer))
    }

    fn put(&self, now: Timestamp, key: Key, answer: Vec<(usize, Frame)>) {
        let bytes = answer.iter().map(|(_, frame)| frame.payload.size()).sum();
        if bytes > self.limits.bytes || self.limits.entries == 0 {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget(&key);
        while state.known.len() >= self.limits.entries || state.bytes + bytes > self.limits.bytes {
            let Some((oldest, number)) = state.used.pop_front() else {
                break;
            };
            if state
                .known
                .get(&oldest)
                .is_some_and(|known| known.use_number == number)
            {
                state.forget(&oldest);
            }
        }
        state.bytes += bytes;
        let answer = answer.into();
        let use_number = 0;
        let known = Known {
            answer,
            bytes,
            at: now,
            use_number,
        };
        state.known.insert(key, known);
        state.use_again(&key);
    }
}

impl State {
    fn forget(&mut self, key: &Key) {
        if let Some(known) = self.known.remove(key) {
            self.bytes -= known.bytes;
        }
    }

    fn use_again(&mut self, key: &Key) {
        self.uses += 1;
        let number = self.uses;
        if let Some(known) = self.known.get_mut(key) {
            known.use_number = number;
            self.used.push_back((*key, number));
        }
        // Old uses of what was used again do not pile up.
        if self.used.len() > 2 * self.known.len() + 16 {
            let known = &self.known;
            self.used
                .retain(|(key, number)| known.get(key).is_some_and(|k| k.use_number == *number));
        }
    }
}

impl CacheTier {
    pub(crate) fn key(&self) -> KeyMaker {
        let mut hash = Sha256::new();
        for text in [&self.digest, &self.caller] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        KeyMaker(hash)
    }

    pub(crate) fn keep(&self, now: Timestamp, key: Key, answer: Vec<(usize, Frame)>) {
        self.answers.put(now, key, answer);
    }
}

impl fmt::Debug for CacheTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheTier")
            .field("limits", &self.answers.limits)
            .finish_non_exhaustive()
    }
}

/// What a call is known by.
#[derive(Debug)]
pub(crate) struct KeyMaker(Sha256);

impl KeyMaker {
    /// The next frame of the call. Numbers and the time of day say nothing of what is asked.
    pub(crate) fn add(&mut self, port: &str, frame: &Frame) {
        let mut frame = frame.clone();
        frame.meta = Meta {
            media_time: frame.meta.media_time,
            ..Meta::default()
        };
        let message = protobuf::encode_frame(port.to_owned(), frame, Timestamp::ZERO);
        let bytes = prost::Message::encode_to_vec(&message);
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(&bytes);
    }

    pub(crate) fn finish(self) -> Key {
        self.0.finalize().into()
    }
}

/// A stream that is answered from the cache.
pub(crate) struct CacheLink {
    tier: CacheTier,
    key: Option<KeyMaker>,
    ports: HopPorts,
    names: Names,
    newest: Option<(PortName, u64)>,
    /// Inputs that have not ended.
    open: usize,
    mouth: Mouth,
}

impl CacheLink {
    /// Opens what answers for these ports.
    ///
    /// # Errors
    /// A port has a name that no port can have.
    pub(crate) fn open(tier: CacheTier, ports: &HopPorts) -> Result<(Self, Opened), RemoteError> {
        let names = Names::of(ports)?;
        let opened = Opened {
            deterministic: true,
            ..names.opened("cache")
        };
        let link = Self {
            key: Some(tier.key()),
            tier,
            ports: ports.clone(),
            open: names.joined(),
            names,
            newest: None,
            mouth: Mouth::default(),
        };
        Ok((link, opened))
    }

    fn answer(&mut self, now: Timestamp) {
        let Some(key) = self.key.take() else { return };
        let Some(answer) = self.tier.answers.get(now, &key.finish()) else {
            let text = "no earlier answer is kept for this input";
            self.mouth.fail(RemoteError::Incompatible(text.into()));
            return;
        };
        let caused_port = self.newest.as_ref().map(|(port, _)| port.clone());
        for (port, frame) in answer.iter() {
            let Some(port) = self.names.output(*port) else {
                continue;
            };
            self.mouth.say(ServerMessage::Frame {
                port: port.clone(),
                caused_port: caused_port.clone(),
                frame: frame.clone(),
            });
        }
        if let Some((port, seq)) = self.newest.take() {
            self.mouth.say(ServerMessage::Ack(Ack { port, seq }));
        }
        let reason = String::new();
        self.mouth.say(ServerMessage::Ended { reason });
    }
}

impl Link for CacheLink {
    fn send(
        &mut self,
        message: ClientMessage,
        place: Option<FramePlace>,
        now: Timestamp,
    ) -> Result<(), RemoteError> {
        self.mouth.took(place);
        match message {
            ClientMessage::Frame { port, frame } => {
                let name = place.and_then(|place| self.ports.inputs.get(place.port));
                let name = name.map_or("", |(name, _)| name.as_str());
                if let Some(key) = &mut self.key {
                    key.add(name, &frame);
                }
                self.newest = Some((port, frame.meta.seq));
            }
            ClientMessage::End { .. } => {
                self.open = self.open.saturating_sub(1);
                if self.open == 0 {
                    self.answer(now);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn discard_frames(&mut self) -> Counts {
        Counts::default()
    }

    fn take_sent(&mut self) -> Counts {
        self.mouth.taken()
    }

    fn wake_when_taken(&mut self, _: &Context<'_>) {}

    fn poll_receive(
        &mut self,
        _: &mut Context<'_>,
        _: Timestamp,
    ) -> Poll<Option<Result<ServerMessage, RemoteError>>> {
        self.mouth.poll()
    }
}
