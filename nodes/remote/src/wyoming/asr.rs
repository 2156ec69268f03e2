//! Speech to text: the sound goes as it comes, its end is told at once.

use tidegate_proto::message::Execute;
use tidegate_proto::wyoming::Event;

use super::{Asked, Replies, Words, named, parts};
use crate::dialogue::{Answers, Call, Feed, Talk, Transcript, converse, early};
use crate::error::RemoteError;
use crate::spoken::samples;

/// Asks for transcripts.
pub(super) struct Asr {
    asked: Asked,
    /// Bytes of a transcript.
    words_max: usize,
}

impl Asr {
    pub(super) const fn new(asked: Asked, words_max: usize) -> Self {
        Self { asked, words_max }
    }
}

impl Talk for Asr {
    fn call(&mut self, _: &Execute, feed: Feed, answers: Answers) -> Result<Call, RemoteError> {
        let asked = self.asked.clone();
        let output = asked.output.clone();
        let transcript = Transcript::new(answers, feed.clone(), output, self.words_max);
        Ok(Box::pin(async move {
            let (replies, words) = parts(asked.server.dial().await?);
            converse(speak(&asked, words, &feed), hear(replies, transcript)).await
        }))
    }
}

async fn speak(asked: &Asked, mut words: Words, feed: &Feed) -> Result<(), RemoteError> {
    let mut transcribe = Event::new("transcribe");
    transcribe.data = asked.parameters.clone();
    if let Some(model) = &asked.model {
        transcribe = transcribe.with("name", model.as_str());
    }
    words.say(transcribe).await?;
    let mut begun = false;
    while let Some(frame) = feed.next().await {
        let audio = samples(&frame)?;
        if !std::mem::replace(&mut begun, true) {
            words.say(named("audio-start", audio.format)).await?;
        }
        let mut chunk = named("audio-chunk", audio.format);
        chunk.payload = audio.data.clone();
        words.say(chunk).await?;
    }
    words.say(Event::new("audio-stop")).await?;
    feed.tell();
    Ok(())
}

async fn hear(mut replies: Replies, mut transcript: Transcript) -> Result<(), RemoteError> {
    let mut so_far = String::new();
    loop {
        let event = replies.next().await?;
        match event.kind.as_str() {
            "transcript-chunk" => {
                so_far.push_str(event.text("text"));
                transcript.partial(so_far.trim()).await?;
            }
            "transcript" if transcript.is_complete() => {
                transcript.whole(event.text("text").trim()).await;
                return Ok(());
            }
            "transcript" => return Err(early()),
            _ => {}
        }
    }
}
