//! Files as what feeds a memory link: media files decoded as they are needed, for `execute` and `tidegate run`.
//!
//! Several feeds are merged by media time, so that none runs ahead of another; an input ends with its feed, and one without a
//! feed ends at once. Absent: paths; whoever opens a file decides whether that is allowed.

use std::io::{Read, Seek};
use std::time::Duration;

use tidegate_media::file::{AudioFile, FileError, FileLimits};
use tidegate_media::{Frame, MediaTime};
use tidegate_nodes::{Code, Error, StreamFormat};

use super::memory::{Fed, Source};

/// The frames of one input, unnumbered, in the order of their media times.
pub(crate) type Frames = Box<dyn Iterator<Item = Result<Frame, Error>> + Send>;

/// What feeds one input.
pub(crate) struct Feed {
    /// The input's name.
    pub(crate) port: String,
    /// What its frames are.
    pub(crate) format: StreamFormat,
    /// Its playing time, if it is known beforehand.
    pub(crate) duration: Option<Duration>,
    pub(crate) frames: Frames,
}

impl Feed {
    /// A media file for an audio input. Its header is read; the rest is when it is needed.
    ///
    /// # Errors
    /// `unsupported_media`: not a known format, damaged, or over the limits.
    pub(crate) fn media<R: Read + Seek + Send + Sync + 'static>(
        port: &str,
        source: R,
        extension: Option<&str>,
    ) -> Result<Self, Error> {
        let file =
            AudioFile::open(source, extension, FileLimits::default()).map_err(|e| broken(&e))?;
        Ok(Self {
            port: port.to_owned(),
            format: StreamFormat::audio(file.format()),
            duration: file.duration(),
            frames: Box::new(file.map(|frame| frame.map_err(|error| broken(&error)))),
        })
    }
}

fn broken(error: &FileError) -> Error {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    Error::new(Code::UnsupportedMedia, text)
}

/// Several feeds, merged by media time.
pub(crate) struct Feeds {
    lines: Vec<Line>,
    /// Inputs whose end is to be told.
    ended: Vec<String>,
    /// Told how far the feeds are.
    watch: Option<Box<dyn FnMut(MediaTime) + Send>>,
}

struct Line {
    port: String,
    frames: Frames,
    next: Option<Frame>,
    seq: u64,
}

impl Feeds {
    /// Feeds for some of a pipeline's inputs; the others, named in `without`, end at once.
    pub(crate) fn new(feeds: Vec<Feed>, without: Vec<String>) -> Self {
        let line = |feed: Feed| Line {
            port: feed.port,
            frames: feed.frames,
            next: None,
            seq: 0,
        };
        Self {
            lines: feeds.into_iter().map(line).collect(),
            ended: without,
            watch: None,
        }
    }

    /// Calls `watch` with the media time of each frame that is taken.
    pub(crate) fn watched(mut self, watch: impl FnMut(MediaTime) + Send + 'static) -> Self {
        self.watch = Some(Box::new(watch));
        self
    }

    /// Makes every line have its next frame; the ones without end.
    fn fill(&mut self) -> Result<(), Error> {
        let mut at = 0;
        while let Some(line) = self.lines.get_mut(at) {
            if line.next.is_none() {
                line.next = line.frames.next().transpose()?;
            }
            if line.next.is_some() {
                at += 1;
            } else {
                self.ended.push(self.lines.remove(at).port);
            }
        }
        Ok(())
    }
}

impl Source for Feeds {
    fn next(&mut self) -> Result<Option<Fed>, Error> {
        self.fill()?;
        if let Some(port) = self.ended.pop() {
            return Ok(Some(Fed::End { port }));
        }
        let time = |line: &&mut Line| line.next.as_ref().map(|frame| frame.meta.media_time);
        let Some(line) = self.lines.iter_mut().min_by_key(time) else {
            return Ok(None);
        };
        let Some(mut frame) = line.next.take() else {
            return Ok(None);
        };
        line.seq += 1;
        frame.meta.seq = line.seq;
        if let Some(watch) = &mut self.watch {
            watch(frame.meta.media_time);
        }
        let port = line.port.clone();
        Ok(Some(Fed::Frame { port, frame }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tidegate_media::file::WavWriter;
    use tidegate_media::{Audio, AudioFormat, Payload};

    use super::*;

    fn wav(samples: usize) -> Cursor<Vec<u8>> {
        let format = AudioFormat::pcm_s16(8_000, 1);
        let mut writer = WavWriter::new(Cursor::new(Vec::new()), format).expect("PCM");
        let audio = Audio::from_s16(8_000, 1, vec![7; samples]);
        writer.write(&audio).expect("memory takes it");
        writer.finish_seekable().expect("memory takes it")
    }

    fn text(port: &str, times: &[i64]) -> Feed {
        let frames: Vec<_> = times
            .iter()
            .map(|&at| {
                let payload = Payload::Text(String::from("x").into());
                Ok(Frame::new(MediaTime::from_micros(at), payload))
            })
            .collect();
        Feed {
            port: port.to_owned(),
            format: StreamFormat::Text,
            duration: None,
            frames: Box::new(frames.into_iter()),
        }
    }

    /// What a source gives, as `port@time` and `-port` for an end.
    fn told(mut feeds: Feeds) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(fed) = feeds.next().expect("nothing is broken") {
            told.push(match fed {
                Fed::Frame { port, frame } => {
                    format!("{port}@{}", frame.meta.media_time.as_micros())
                }
                Fed::End { port } => format!("-{port}"),
            });
        }
        told
    }

    #[test]
    fn feeds_are_merged_by_media_time_and_end_by_themselves() {
        let feeds = vec![text("a", &[0, 30]), text("b", &[10, 20])];
        let told = told(Feeds::new(feeds, vec!["c".to_owned()]));
        assert_eq!(told, ["-c", "a@0", "b@10", "b@20", "-b", "a@30", "-a"]);
    }

    #[test]
    fn a_media_file_is_numbered_frames_of_20_ms() {
        let feed = Feed::media("mic", wav(400), None).expect("a WAV file");
        assert_eq!(feed.duration, Some(Duration::from_millis(50)));
        assert_eq!(
            told(Feeds::new(vec![feed], Vec::new())),
            ["mic@0", "mic@20000", "mic@40000", "-mic"]
        );
    }

    #[test]
    fn what_is_no_media_file_is_unsupported_media() {
        let feed = Feed::media("mic", Cursor::new(b"no media at all".to_vec()), None);
        let error = feed.err().expect("text is no media");
        assert_eq!(error.code, Code::UnsupportedMedia, "{error}");
    }
}
