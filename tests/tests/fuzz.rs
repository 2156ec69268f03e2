//! The bodies of the fuzz targets over their seeds and a bounded number of random damages, on a stable compiler.
//!
//! A failure prints the target, the seed of the damage and the bytes. `cargo +nightly fuzz` goes on where this stops.

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tidegate_tests::Deadline;
use tidegate_tests::fixtures::root;

/// Damaged inputs for each target.
const RUNS: u64 = 2_000;
/// Where a slow machine stops earlier: some hundred runs are a test, too.
const SECONDS: u64 = 20;
/// Fewer runs than this in that time are no test.
const RUNS_MIN: u64 = 50;
/// Longest damaged input.
const BYTES_MAX: usize = 64 << 10;
/// Pieces that parsers stumble over.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\r\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"null",
    b"a=",
    b"m=audio 0 ",
    b"m=application 9 ",
    b"a=candidate:",
    b"&a ",
    b"*a",
    b"${env:HOME}",
    b"\xff",
    b"\xc3\x28",
    b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xef\xbb\xbf",
    b"'",
    b"|\n",
    b"- ",
];

#[test]
fn no_offer_or_fragment_makes_the_peer_panic() {
    survives("sdp", bodies::sdp);
}

#[test]
fn no_native_message_makes_its_parsers_panic() {
    survives("messages", bodies::messages);
}

#[test]
fn no_event_of_wyoming_makes_its_reader_panic() {
    survives("wyoming", bodies::wyoming);
}

#[test]
fn no_event_of_openai_realtime_makes_its_codec_panic() {
    survives("realtime", bodies::realtime);
}

#[test]
fn no_manifest_makes_the_compiler_panic() {
    survives("manifest", bodies::manifest);
}

/// Runs a target over its seeds as they are, then damaged.
fn survives(target: &str, body: fn(&[u8])) {
    let seeds = seeds(target);
    let check = |what: &str, data: &[u8]| {
        let survived = catch_unwind(AssertUnwindSafe(|| body(data))).is_ok();
        assert!(
            survived,
            "{target}, {what}: {:?}",
            String::from_utf8_lossy(data)
        );
    };
    for seed in &seeds {
        check("a seed", seed);
    }
    let by = Deadline::secs(SECONDS);
    let mut runs = 0;
    while runs < RUNS && !by.left().is_zero() {
        check(&format!("damage {runs}"), &damaged(&seeds, runs));
        runs += 1;
    }
    assert!(
        runs >= RUNS_MIN,
        "{target}: only {runs} runs in {SECONDS} s"
    );
}

/// The files of the target's folder; for manifests also those of the compiler's own tests and of the shipped pipelines.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut folders = vec![root().join("tests/fuzz/seeds").join(target)];
    if target == "manifest" {
        folders.push(root().join("pipelines"));
        folders.push(root().join("nodes/tests/manifests/bad"));
    }
    let mut seeds = Vec::new();
    for folder in folders {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let files = paths.iter().filter(|path| path.is_file());
        seeds.extend(files.map(|path| std::fs::read(path).expect("a seed can be read")));
    }
    assert!(!seeds.is_empty(), "{target} has seeds");
    seeds
}

/// One of the seeds with up to eight damages, the same for the same number.
fn damaged(seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(number);
    let mut data = seeds.choose(&mut random).cloned().unwrap_or_default();
    for _ in 0..random.random_range(1..=8) {
        let at = random.random_range(0..=data.len());
        let to = (at + random.random_range(0..32)).min(data.len());
        match random.random_range(0..6) {
            0 if at < data.len() => data[at] ^= 1 << random.random_range(0..8),
            1 => drop(data.drain(at..to)),
            2 => {
                let again = data[at..to].to_vec();
                data.splice(at..at, again.repeat(random.random_range(1..20)));
            }
            3 => data.truncate(at),
            4 => {
                let other = seeds.choose(&mut random).expect("there are seeds");
                let from = random.random_range(0..=other.len());
                data.splice(at..to, other[from..].iter().copied());
            }
            _ => {
                let piece = PIECES.choose(&mut random).expect("there are pieces");
                data.splice(at..to, piece.iter().copied());
            }
        }
        data.truncate(BYTES_MAX);
    }
    data
}
