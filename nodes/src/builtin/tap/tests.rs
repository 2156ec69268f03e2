//! Tests with files in a folder of their own.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tidegate_media::{Frame, MediaTime, Payload};

use super::super::testing::{Bench, audio, error, pcm, stream, tone};
use crate::registry::Registry;
use crate::stream::StreamFormat;

/// A folder that goes when the test does.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("tidegate-tap-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("the folder");
        let names = entries.map(|e| {
            e.expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        });
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

fn bench(folder: &Path, params: Value, format: StreamFormat) -> Bench {
    let registry = Registry::builtin_recording(folder.to_owned());
    Bench::open(&registry, "tap", params, &[Some(format)])
}

/// Seconds of sound in a file.
fn seconds(path: PathBuf) -> f64 {
    let file = std::fs::File::open(path).expect("the file");
    let limits = tidegate_media::file::FileLimits::default();
    let sound = tidegate_media::file::AudioFile::open(file, None, limits).expect("a media file");
    sound
        .map(|frame| frame.expect("sound").duration().as_secs_f64())
        .sum()
}

#[test]
fn sound_is_recorded_and_passes() {
    let folder = Folder::new();
    for name in ["talk.wav", "talk.ogg"] {
        let mut bench = bench(&folder.0, json!({"file": name}), pcm(48_000, 1));
        let frames = stream(48_000, 1, 960, &tone(440.0, 48_000, 48_000, 0.5));
        assert_eq!(bench.frames(frames.clone()), frames);
        bench.end();
        let length = seconds(folder.0.join(name));
        assert!((length - 1.0).abs() < 1e-3, "{name}: {length}");
    }
}

#[test]
fn messages_are_recorded_line_by_line() {
    let folder = Folder::new();
    let mut bench = bench(
        &folder.0,
        json!({"file": "events.ndjson"}),
        StreamFormat::Text,
    );
    let mut frame = Frame::new(
        MediaTime::from_micros(20),
        Payload::Text("hi\nthere".into()),
    );
    frame.meta.is_final = true;
    bench.frame(frame);
    drop(bench);
    let written = std::fs::read_to_string(folder.0.join("events.ndjson")).expect("the file");
    let line: Value = serde_json::from_str(&written).expect("one line of JSON");
    let expected = json!({"kind": "text", "media_time": 20, "utterance": 0, "final": true, "text": "hi\nthere"});
    assert_eq!(line, expected);
}

#[test]
fn nothing_is_overwritten_and_a_session_cut_off_leaves_a_file() {
    let folder = Folder::new();
    for _ in 0..3 {
        let mut bench = bench(&folder.0, json!({"file": "a.wav"}), pcm(8_000, 1));
        bench.frame(audio(0, 8_000, 1, vec![0.5; 8_000]));
    }
    assert_eq!(folder.names(), ["a-1.wav", "a-2.wav", "a.wav"]);
    assert!((seconds(folder.0.join("a-2.wav")) - 1.0).abs() < 1e-6);
}

#[test]
fn a_recording_that_is_full_ends_and_frames_still_pass() {
    let folder = Folder::new();
    let params = json!({"file": "a.wav", "max_size": "1KiB"});
    let mut bench = bench(&folder.0, params, pcm(8_000, 1));
    let frames = stream(8_000, 1, 160, &[0.5; 1_600]);
    assert_eq!(bench.frames(frames).len(), 10);
    let size = std::fs::metadata(folder.0.join("a.wav"))
        .expect("the file")
        .len();
    assert!(size < 2_048, "{size}");
}

#[test]
fn no_name_leads_out_of_the_folder() {
    for file in [
        "../a.wav",
        "/etc/a.wav",
        "a/b.wav",
        ".wav",
        "..wav",
        "a.exe",
        "a",
        "a\0.wav",
        "C:a.wav",
    ] {
        let refused = error("tap", json!({"file": file}), &[StreamFormat::Text]);
        assert_eq!(refused.path, "file", "{file}");
    }
    let size = json!({"file": "a.wav", "max_size": "1GB5"});
    assert_eq!(error("tap", size, &[StreamFormat::Text]).path, "max_size");
}

#[test]
fn without_a_folder_there_is_no_recording() {
    let registry = Registry::builtin();
    let tap = registry.get("tap").expect("a type");
    let built = tap.build(&json!({"file": "a.wav"}), &[Some(pcm(8_000, 1))]);
    let error = built.err().expect("refused");
    assert!(error.message.contains("settings"), "{error}");
}
