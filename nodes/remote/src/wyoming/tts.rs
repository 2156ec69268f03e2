//! Text to speech: a request for each sentence, on a connection of its own, as soon as the sentence is whole.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_media::{AudioFormat, Sentences};
use tidegate_proto::message::Execute;
use tidegate_proto::wyoming::Event;

use super::{Asked, Replies, parts};
use crate::calls::Answer;
use crate::dialogue::{Answers, Call, Feed, Talk, converse};
use crate::error::RemoteError;
use crate::spoken::{Voice, piece};

/// What most voices of Piper speak at.
const PCM: AudioFormat = AudioFormat::pcm_s16(22_050, 1);

/// Has texts spoken.
pub(super) struct Tts {
    asked: Asked,
    voice: Arc<Mutex<Voice>>,
}

impl Tts {
    pub(super) fn new(asked: Asked) -> Self {
        let voice = Voice::new(asked.output.clone(), PCM);
        Self {
            asked,
            voice: Arc::new(Mutex::new(voice)),
        }
    }
}

impl Talk for Tts {
    fn call(
        &mut self,
        execute: &Execute,
        feed: Feed,
        answers: Answers,
    ) -> Result<Call, RemoteError> {
        let sound = Sound {
            voice: Arc::clone(&self.voice),
            answers,
        };
        sound.voice().begin(execute);
        let asked = self.asked.clone();
        Ok(Box::pin(async move {
            let (mut sentences, mut count) = (Sentences::default(), 0);
            while let Some(frame) = feed.next().await {
                count = frame.meta.seq;
                for sentence in sentences.add(piece(&frame)?) {
                    asked.speak(sentence, count, &sound).await?;
                }
            }
            for sentence in sentences.finish() {
                asked.speak(sentence, count, &sound).await?;
            }
            sound
                .give(|voice, answers| voice.finish(count, answers))
                .await;
            Ok(())
        }))
    }
}

impl Asked {
    /// Has a sentence spoken that was whole with this input of the call.
    async fn speak(&self, sentence: String, cause: u64, sound: &Sound) -> Result<(), RemoteError> {
        let mut voice = self.parameters.clone();
        if let Some(model) = &self.model {
            voice.insert("name".to_owned(), model.as_str().into());
        }
        let mut request = Event::new("synthesize").with("text", sentence);
        if !voice.is_empty() {
            request = request.with("voice", voice);
        }
        sound.voice().asked(cause);
        let (replies, mut words) = parts(self.server.dial().await?);
        converse(words.say(request), hear(replies, sound)).await
    }
}

async fn hear(mut replies: Replies, sound: &Sound) -> Result<(), RemoteError> {
    loop {
        let event = replies.next().await?;
        match event.kind.as_str() {
            "audio-start" => sound.check(&event)?,
            "audio-chunk" => {
                sound.check(&event)?;
                let data = &event.payload;
                sound.give(|voice, answers| voice.hear(data, answers)).await;
            }
            "audio-stop" => {
                sound.give(Voice::pause).await;
                return Ok(());
            }
            _ => {}
        }
    }
}

/// Sound on its way out.
struct Sound {
    voice: Arc<Mutex<Voice>>,
    answers: Answers,
}

impl Sound {
    fn voice(&self) -> MutexGuard<'_, Voice> {
        self.voice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, event: &Event) -> Result<(), RemoteError> {
        let format = self.voice().format;
        let said = ["rate", "width", "channels"].map(|name| event.number(name).unwrap_or(0));
        let due = [u64::from(format.sample_rate), 2, u64::from(format.channels)];
        if said == due {
            return Ok(());
        }
        let [rate, width, channels] = said;
        let text = format!(
            "server speaks at {rate} Hz with {width} bytes a sample and {channels} channels where the hop's output is {format}: declare it as the server speaks, such as 'format: pcm_s16/{rate}/{channels}'"
        );
        Err(RemoteError::Incompatible(text))
    }

    /// Gives what the voice makes, and lets it be taken before more is read.
    async fn give(&self, make: impl FnOnce(&mut Voice, &mut VecDeque<Answer>)) {
        let mut answers = VecDeque::new();
        make(&mut self.voice(), &mut answers);
        for answer in answers {
            self.answers.give(answer).await;
        }
    }
}
