//! `run`: files in, files and messages out, no server.

use serde_json::json;

use crate::support::{file, place, tidegate, tidegate_fed};

/// A second of a 440 Hz tone, 16-bit PCM, 16 kHz, one channel, as a WAV file.
fn wav() -> Vec<u8> {
    let tone = |n: u32| (f64::from(n) * 440.0 * std::f64::consts::TAU / 16_000.0).sin() * 8_000.0;
    #[expect(clippy::cast_possible_truncation, reason = "a quarter of full scale")]
    let samples = (0..16_000).flat_map(|n| (tone(n) as i16).to_le_bytes());
    let data: Vec<u8> = samples.collect();
    let mut wav = b"RIFF\x24\x7d\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    wav.extend_from_slice(&16_000_u32.to_le_bytes());
    wav.extend_from_slice(&32_000_u32.to_le_bytes());
    wav.extend_from_slice(b"\x02\0\x10\0data");
    wav.extend_from_slice(&32_000_u32.to_le_bytes());
    wav.extend_from_slice(&data);
    wav
}

/// The samples of a WAV file that `tidegate` wrote.
fn samples(path: &str) -> Vec<i16> {
    let bytes = std::fs::read(path).expect("the file was written");
    assert_eq!(&bytes[..4], b"RIFF", "{path}");
    let at = bytes
        .windows(4)
        .position(|four| four == b"data")
        .expect("a data chunk");
    let size = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().expect("four bytes"));
    let data = &bytes[at + 8..];
    assert_eq!(data.len(), size as usize, "the header has the true size");
    let sample = |two: &[u8]| i16::from_le_bytes([two[0], two[1]]);
    data.chunks_exact(2).map(sample).collect()
}

const GAIN: &str = "\
version: tidegate/v1
name: louder
parameters: {db: {type: number, default: 6}}
inputs: [{name: mic, kind: audio}]
outputs: [{name: speaker, kind: audio}]
nodes: [{id: gain, type: audio.gain, params: {gain_db: '${param:db}'}}]
edges: [mic -> gain, {from: gain, to: speaker, queue: {when_full: drop_oldest}}]
";

#[test]
fn echo_of_a_wav_is_the_same_wav() {
    let (input, output) = (file("echo", "in.wav", &wav()), place("echo", "out.wav"));
    let said = tidegate(&["run", "echo", "--in", &input, "--out", &output]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.out, "", "results went to the file");
    assert!(said.err.contains("1.00 s of sound"), "{said:?}");
    let (sent, back) = (samples(&input), samples(&output));
    assert_eq!(sent.len(), back.len());
    let close = sent.iter().zip(&back).all(|(a, b)| a.abs_diff(*b) <= 1);
    assert!(close, "samples came back as they went in");
}

#[test]
fn a_parameter_reaches_its_node_and_every_hop_has_a_row() {
    let manifest = file("gain", "louder.yaml", GAIN.as_bytes());
    let (input, output) = (file("gain", "in.wav", &wav()), place("gain", "out.wav"));
    let arguments = [
        "run", &manifest, "--in", &input, "--out", &output, "--param", "db=-20",
    ];
    let said = tidegate(&arguments);
    assert_eq!(said.code, 0, "{said:?}");
    let loudest = |path: &str| samples(path).iter().map(|s| s.unsigned_abs()).max();
    assert_eq!(loudest(&input), Some(8_000));
    let quiet = loudest(&output).expect("samples");
    assert!((795..=805).contains(&quiet), "a tenth: {quiet}");
    assert!(said.err.starts_with("HOP "), "{said:?}");
    let row = said
        .err
        .lines()
        .find(|line| line.starts_with("gain "))
        .expect("a row");
    assert!(
        row.contains("audio.gain") && row.contains(" 50 "),
        "50 frames of 20 ms: {row}"
    );
}

#[test]
fn sound_goes_to_ogg_and_comes_back_from_it() {
    let input = file("ogg", "in.wav", &wav());
    let (ogg, back) = (place("ogg", "out.ogg"), place("ogg", "back.wav"));
    let said = tidegate(&["run", "echo", "--in", &input, "--out", &ogg]);
    assert_eq!(said.code, 0, "{said:?}");
    let head = std::fs::read(&ogg).expect("the file was written");
    assert!(head.starts_with(b"OggS") && head.windows(8).any(|w| w == b"OpusHead"));
    let said = tidegate(&["run", "echo", "--in", &ogg, "--out", &back]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(samples(&back).len(), 48_000, "a second at Opus's rate");
}

#[test]
fn sound_from_standard_input_comes_out_as_messages_if_asked() {
    let said = tidegate_fed(&["run", "echo", "--in", "-", "--out", "-", "-q"], &wav());
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.err, "");
    let messages = said.lines();
    assert_eq!(messages.len(), 50);
    assert_eq!(messages[49]["frame"]["seq"], 50);
    assert_eq!(messages[49]["frame"]["media_time"], 980_000);
}

const TEXT: &str = "\
version: tidegate/v1
name: words
inputs: [{name: in, kind: text}]
outputs: [{name: out, kind: text}]
edges: [{from: in, to: out, queue: {when_full: drop_oldest}}]
";

#[test]
fn text_goes_in_line_by_line_and_out_as_messages() {
    let manifest = file("text", "words.yaml", TEXT.as_bytes());
    let said = tidegate_fed(&["run", &manifest, "--in", "-"], b"one\ntwo\n");
    assert_eq!(said.code, 0, "{said:?}");
    let texts: Vec<_> = said
        .lines()
        .iter()
        .map(|m| m["frame"]["text"]["text"].clone())
        .collect();
    assert_eq!(texts, [json!("one"), json!("two")], "{said:?}");
    // What came out can go in again.
    let messages = file(
        "text",
        "messages.ndjson",
        said.out.replace("\"out\"", "\"in\"").as_bytes(),
    );
    let again = tidegate(&["run", &manifest, "--in", &messages]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(again.lines().len(), 2, "{again:?}");
}

#[test]
fn what_one_run_wrote_feeds_a_port_of_another() {
    let said = tidegate_fed(&["run", "echo", "--in", "-", "--out", "-", "-q"], &wav());
    let sound = file("again", "speaker.ndjson", said.out.as_bytes());
    // Its frames are of the port `speaker`.
    let again = tidegate(&[
        "run",
        "echo",
        "--in",
        &format!("mic={sound}"),
        "--out",
        "-",
        "-q",
    ]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(again.lines().len(), said.lines().len(), "{again:?}");

    let manifest = file("again", "words.yaml", TEXT.as_bytes());
    let line = |port: &str, text: &str| {
        let frame = json!({"frame": {"port": port, "text": {"text": text}}});
        format!("{frame}\n")
    };
    let mixed = line("in", "mine") + &line("other", "not mine");
    let mixed = format!("in={}", file("again", "mixed.ndjson", mixed.as_bytes()));
    let said = tidegate(&["run", &manifest, "--in", &mixed]);
    assert_eq!(said.code, 0, "{said:?}");
    let texts: Vec<_> = said
        .lines()
        .iter()
        .map(|m| m["frame"]["text"]["text"].clone())
        .collect();
    assert_eq!(texts, [json!("mine")], "{said:?}");

    let others = line("one", "x") + &line("two", "y");
    let others = format!("in={}", file("again", "others.ndjson", others.as_bytes()));
    let said = tidegate(&["run", &manifest, "--in", &others]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.err.contains("one, two") && said.err.contains("'in'"),
        "{said:?}"
    );
}

#[test]
fn what_is_no_media_file_fails_and_says_why() {
    let text = file("broken", "text.wav", b"these are words and not sound");
    let said = tidegate(&["run", "echo", "--in", &text]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("text.wav") && said.err.contains("known format"),
        "{said:?}"
    );
}

#[test]
fn wrong_usage_says_what_would_be_right() {
    let input = file("usage", "in.wav", &wav());
    let cases: [(&[&str], &str); 6] = [
        (&["run", "echo"], "--in"),
        (&["run", "echo", "--in", "missing.wav"], "missing.wav"),
        (
            &["run", "echo", "--in", &input, "--out", "film.mkv"],
            ".wav",
        ),
        (
            &["run", "echo", "--in", &input, "--out", &input],
            "overwritten",
        ),
        (
            &["run", "echo", "--in", &input, "--param", "voice=es"],
            "no parameter 'voice'",
        ),
        (&["run", "no-such", "--in", &input], "'no-such'"),
    ];
    for (arguments, mend) in cases {
        let said = tidegate(arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {said:?}");
        assert!(said.err.contains(mend), "{arguments:?}: {said:?}");
    }
    let untouched = std::fs::read(&input).expect("still there");
    assert_eq!(untouched, wav());
}

const CHOICE: &str = "\
version: tidegate/v1
name: choice
parameters: {voice: {type: string, enum: [es, en]}}
inputs: [{name: in, kind: text}]
outputs: [{name: out, kind: text}]
nodes: [{id: say, type: text.constant, params: {text: '${param:voice}'}}]
edges: [in -> say -> out]
";

#[test]
fn a_parameter_that_does_not_do_is_wrong_usage_whatever_is_wrong_with_it() {
    let manifest = file("choice", "choice.yaml", CHOICE.as_bytes());
    let words = file("choice", "in.txt", b"one\n");
    let run = |more: &[&str]| {
        let said = tidegate(&[&["run", &manifest, "--in", &words, "-q"], more].concat());
        (said.code, said.err)
    };
    let (code, err) = run(&[]);
    assert!(
        code == 2 && err.contains("'voice' has no default"),
        "{code}: {err}"
    );
    let (code, err) = run(&["--param", "voice=fr"]);
    assert!(code == 2 && err.contains("voice"), "{code}: {err}");
    let (code, err) = run(&["--param", "voice=es"]);
    assert_eq!(code, 0, "{err}");
}

#[test]
fn a_port_that_there_is_not_is_wrong_usage_and_writes_nothing() {
    let input = file("nope", "in.wav", &wav());
    let output = place("nope", "x.wav");
    let out = format!("nope={output}");
    let said = tidegate(&["run", "echo", "--in", &input, "--out", &out]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.err.contains("no output 'nope'") && said.err.contains("speaker"),
        "{said:?}"
    );
    assert!(!std::path::Path::new(&out).exists(), "{said:?}");
    let said = tidegate(&["run", "echo", "--in", &format!("nope={input}")]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("no input 'nope'"), "{said:?}");
}

#[test]
fn a_closed_standard_error_is_no_crash() {
    let manifest = file("closed", "bad.yaml", b"version: tidegate/v1\nname: [\n");
    let folder = std::path::Path::new(&manifest)
        .parent()
        .expect("a folder")
        .to_string_lossy()
        .into_owned();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["serve", "--listen", "127.0.0.1:0", "--pipelines", &folder])
        .env_clear()
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stderr.take());
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(1), "manifest errors, and no panic");
}
