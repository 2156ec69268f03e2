//! What was understood of the client's turns, as it is told.

use tidegate_media::Meta;
use tidegate_nodes::Error;

use super::super::Realtime;
use super::super::refusal::Refusal;
use super::super::server::{ItemPart, ServerEvent, Usage};
use super::spoken;

impl Realtime {
    /// What was understood of a turn.
    pub(in super::super) fn transcript(&mut self, meta: &Meta, text: &str) {
        if !self.settings.transcribes {
            return;
        }
        let items = &mut self.items;
        let known = self.hearing.turns.contains_key(&meta.utterance);
        let early = &mut self.hearing.early;
        let early = early.take_if(|(_, ended)| !known && meta.media_time < *ended);
        let committed = early.is_some();
        let turn = self.hearing.turn(meta.utterance, || match early {
            Some((item, _)) => item,
            None => items.name(),
        });
        turn.committed |= committed;
        turn.added |= committed;
        // A text of no utterance is a whole.
        let last = meta.is_final || meta.utterance == 0;
        turn.words.hear(meta.revision, last, text);
        if turn.told || !(turn.words.has_news() || turn.words.is_complete()) {
            return;
        }
        let item_id = turn.item.clone();
        if !std::mem::replace(&mut turn.added, true) {
            self.add_item(spoken(item_id.clone()), &[]);
        }
        let turn = self.hearing.turn(meta.utterance, String::new);
        if let Some(delta) = turn.words.delta() {
            self.out.say(&ServerEvent::TranscriptionDelta {
                item_id: item_id.clone(),
                content_index: 0,
                delta,
            });
        }
        if !turn.words.is_complete() {
            return;
        }
        turn.told = true;
        let transcript = turn.words.text().to_owned();
        let usage = self.usage(meta);
        self.items.change(&item_id, |item| {
            let transcript = Some(transcript.clone());
            item.content = vec![ItemPart::InputAudio { transcript }];
        });
        self.out.say(&ServerEvent::TranscriptionCompleted {
            item_id,
            content_index: 0,
            transcript,
            usage,
        });
        if meta.utterance == 0 {
            // The next of no utterance is another.
            self.hearing.turns.remove(&0);
        }
    }

    /// How much sound a turn was whose words are complete: as long as its speech, or where nobody told of that, all that came since the
    /// turn before.
    fn usage(&mut self, meta: &Meta) -> Usage {
        let place = self.hearing.place(self.settings.input.format());
        let hearing = &mut self.hearing;
        let turn = hearing.turns.get(&meta.utterance);
        hearing.divides |= turn.is_some_and(|turn| !turn.committed);
        let told = turn.map_or(0.0, |turn| turn.lasted);
        let seconds = if told > 0.0 {
            told
        } else {
            hearing.count(place.max(meta.media_time))
        };
        Usage {
            kind: "duration",
            seconds,
        }
    }

    /// The words of these turns will not come.
    pub(in super::super) fn fail_transcriptions(&mut self, error: &Error) {
        if !self.settings.transcribes {
            return;
        }
        for turn in self.hearing.turns.values_mut() {
            if turn.committed && !std::mem::replace(&mut turn.told, true) {
                self.out.say(&ServerEvent::TranscriptionFailed {
                    item_id: turn.item.clone(),
                    content_index: 0,
                    error: Refusal::failed(error),
                });
            }
        }
    }
}
