//! What was said, out of a pipeline's texts: partial results are superseded, pieces of an utterance joined.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_media::{Frame, Payload};

/// Utterances that have begun and not ended; a pipeline that ends none shows what it said at the end.
const OPEN_MAX: usize = 1_024;

/// Something that was said as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) start: Duration,
    pub(super) end: Duration,
    pub(super) text: String,
}

/// Texts so far.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    open: BTreeMap<u64, (u32, String)>,
    pub(super) segments: Vec<Segment>,
    /// Where the last one ended.
    at: Duration,
}

impl Transcript {
    /// Takes a text; what it completes, if anything.
    pub(super) fn push(&mut self, frame: &Frame) -> Option<&Segment> {
        let Payload::Text(text) = &frame.payload else {
            return None;
        };
        let (meta, text) = (&frame.meta, text.as_str());
        let end = Duration::from_micros(meta.media_time.as_micros().try_into().unwrap_or(0));
        if meta.utterance == 0 {
            return self.complete(text.to_owned(), end);
        }
        let (revision, said) = self.open.entry(meta.utterance).or_default();
        if meta.revision == 0 {
            said.push_str(text);
        } else if meta.revision >= *revision {
            *revision = meta.revision;
            text.clone_into(said);
        }
        if meta.is_final {
            let (_, said) = self.open.remove(&meta.utterance).unwrap_or_default();
            return self.complete(said, end);
        }
        if self.open.len() > OPEN_MAX {
            let (_, (_, said)) = self.open.pop_first()?;
            return self.complete(said, end);
        }
        None
    }

    /// No more comes: what was not ended is what it is.
    pub(super) fn finish(&mut self) {
        for (_, (_, said)) in std::mem::take(&mut self.open) {
            let at = self.at;
            self.complete(said, at);
        }
    }

    fn complete(&mut self, said: String, end: Duration) -> Option<&Segment> {
        let text = said.trim();
        if text.is_empty() {
            return None;
        }
        let (start, end) = (self.at, end.max(self.at));
        self.at = end;
        self.segments.push(Segment {
            start,
            end,
            text: text.to_owned(),
        });
        self.segments.last()
    }

    /// All of it.
    pub(super) fn text(&self) -> String {
        let texts = self.segments.iter().map(|segment| segment.text.as_str());
        texts.collect::<Vec<_>>().join(" ")
    }

    /// As subtitles: SubRip.
    pub(super) fn srt(&self) -> String {
        let cues = self.segments.iter().zip(1..).map(|(segment, number)| {
            let [start, end] = [segment.start, segment.end].map(|at| clock(at, ','));
            format!("{number}\n{start} --> {end}\n{}\n", segment.text)
        });
        cues.collect::<Vec<_>>().join("\n")
    }

    /// As subtitles: WebVTT.
    pub(super) fn vtt(&self) -> String {
        let cues = self.segments.iter().map(|segment| {
            let [start, end] = [segment.start, segment.end].map(|at| clock(at, '.'));
            format!("\n{start} --> {end}\n{}\n", segment.text)
        });
        format!("WEBVTT\n{}", cues.collect::<String>())
    }

    /// Segments as `verbose_json` lists them. What a model knows of its own certainty, a pipeline does not say.
    pub(super) fn listed(&self) -> Vec<Value> {
        let segments = self.segments.iter().enumerate();
        let listed = segments.map(|(id, segment)| {
            json!({
                "id": id,
                "seek": 0,
                "start": segment.start.as_secs_f64(),
                "end": segment.end.as_secs_f64(),
                "text": segment.text,
                "tokens": [],
                "temperature": 0.0,
                "avg_logprob": 0.0,
                "compression_ratio": 0.0,
                "no_speech_prob": 0.0,
            })
        });
        listed.collect()
    }

    /// Where the last of it ended.
    pub(super) const fn end(&self) -> Duration {
        self.at
    }
}

/// Hours, minutes, seconds and thousandths.
fn clock(at: Duration, point: char) -> String {
    let seconds = at.as_secs();
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let (seconds, millis) = (seconds % 60, at.subsec_millis());
    format!("{hours:02}:{minutes:02}:{seconds:02}{point}{millis:03}")
}

#[cfg(test)]
mod tests {
    use tidegate_media::{MediaTime, Text};

    use super::*;

    fn frame(seconds: i64, utterance: u64, revision: u32, is_final: bool, text: &str) -> Frame {
        let at = MediaTime::from_micros(seconds * 1_000_000);
        let mut frame = Frame::new(at, Payload::Text(Text::from(text)));
        let meta = &mut frame.meta;
        (meta.utterance, meta.revision, meta.is_final) = (utterance, revision, is_final);
        frame
    }

    #[test]
    fn partial_results_are_superseded_and_pieces_are_joined() {
        let mut transcript = Transcript::default();
        let frames = [
            frame(1, 1, 1, false, "ask"),
            frame(2, 1, 2, false, "ask not"),
            frame(3, 1, 3, true, " Ask not. "),
            frame(3, 2, 0, false, "What "),
            frame(4, 2, 0, false, "your"),
            frame(3_661, 2, 0, true, " country."),
            frame(3_662, 3, 1, true, "  "),
            frame(3_663, 0, 0, false, "Yes."),
            frame(3_664, 4, 1, false, "not ended"),
        ];
        let ended = frames
            .iter()
            .filter(|f| transcript.push(f).is_some())
            .count();
        assert_eq!(ended, 3);
        transcript.finish();
        assert_eq!(
            transcript.text(),
            "Ask not. What your country. Yes. not ended"
        );
        assert!(transcript.srt().starts_with(
            "1\n00:00:00,000 --> 00:00:03,000\nAsk not.\n\n2\n00:00:03,000 --> 01:01:01,000\n"
        ));
        assert!(
            transcript
                .vtt()
                .starts_with("WEBVTT\n\n00:00:00.000 --> 00:00:03.000\nAsk not.\n\n00:00:03.000")
        );
    }
}
