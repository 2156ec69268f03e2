//! What the lints cannot see: the direction of dependencies, the length of files, the header of
//! modules, and words that must not come into the repository.
//!
//! Each check gathers all that it finds and fails once, with the list and the mend.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_tests::fixtures::root;

/// Lines of code, tests not counted, above which a file needs a reason in [`LONG_FILES`].
const LINES_ASK: usize = 400;
/// Lines above which no reason helps, tests counted.
const LINES_REFUSED: usize = 800;
/// Files over [`LINES_ASK`], each with the reason why it is not two files.
const LONG_FILES: &[(&str, &str)] = &[
    (
        "proto/tidegate/v1/gateway.proto",
        "one file is the whole interface that clients are generated from",
    ),
    (
        "nodes/remote/src/replay/ring.rs",
        "a ring's lanes and entries are one invariant, which its methods keep together",
    ),
    (
        "nodes/remote/src/failover/simulation/mod.rs",
        "a history and its invariants are read side by side",
    ),
    (
        "gateway/src/session/driver/simulation/mod.rs",
        "a history and its invariants are read side by side",
    ),
    (
        "gateway/src/session/driver/simulation/client.rs",
        "what a client does and what it holds the session to are read side by side",
    ),
];

/// What each crate may depend on, of our own. All else is refused, so a circle cannot arise.
const MAY_DEPEND: &[(&str, &[&str])] = &[
    ("tidegate-media", &[]),
    ("tidegate-signaling", &[]),
    ("tidegate-nodes", &["tidegate-media"]),
    ("tidegate-proto", &["tidegate-media"]),
    (
        "tidegate-remote",
        &[
            "tidegate-media",
            "tidegate-nodes",
            "tidegate-proto",
            "tidegate-signaling",
        ],
    ),
    (
        "tidegate-gateway",
        &[
            "tidegate-media",
            "tidegate-nodes",
            "tidegate-proto",
            "tidegate-remote",
            "tidegate-signaling",
        ],
    ),
];

/// Libraries that must not be reached from a crate, however indirectly.
const NOT_REACHED: &[(&str, &[&str])] = &[
    (
        "tidegate-media",
        &["tokio", "async-std", "hyper", "tonic", "prost", "rtc"],
    ),
    (
        "tidegate-nodes",
        &["tokio", "async-std", "hyper", "tonic", "prost", "rtc"],
    ),
    ("tidegate-signaling", &["tonic", "axum"]),
];

/// Libraries that a crate must leave to others: the server knows neither DSP nor SDP.
const NOT_DIRECT: &[(&str, &[&str])] = &[
    (
        "tidegate-gateway",
        &[
            "rtc",
            "webrtc",
            "opus",
            "rubato",
            "realfft",
            "nnnoiseless",
            "earshot",
            "symphonia",
        ],
    ),
    ("tidegate-nodes", &["opus", "rubato", "symphonia"]),
];

/// What the crates without I/O never do. (A file is what `tap` and the media files are for.)
const NO_IO: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "thread::",
    "Mutex",
    "RwLock",
    "std::net",
    "tokio::",
];

#[test]
fn our_crates_depend_in_one_direction() {
    let allowed: BTreeMap<_, _> = MAY_DEPEND.iter().copied().collect();
    let mut found = Vec::new();
    for (name, needs) in direct_dependencies() {
        let forbidden = NOT_DIRECT
            .iter()
            .filter(|(of, _)| *of == name)
            .flat_map(|(_, list)| *list);
        for library in forbidden.filter(|library| needs.contains(**library)) {
            found.push(format!("{name} uses {library}, which another crate wraps"));
        }
        let Some(may) = allowed.get(name.as_str()) else {
            continue;
        };
        for other in needs.iter().filter(|other| other.starts_with("tidegate-")) {
            if !may.contains(&other.as_str()) {
                found.push(format!("{name} depends on {other}"));
            }
        }
    }
    for (name, _) in MAY_DEPEND {
        assert!(
            direct_dependencies().contains_key(*name),
            "{name} is no crate any more"
        );
    }
    check("dependencies against ARCHITECTURE.md", &found);
}

#[test]
fn nothing_below_the_gateway_reaches_a_runtime() {
    let mut found = Vec::new();
    for (name, forbidden) in NOT_REACHED {
        let tree = cargo(&[
            "tree",
            "--offline",
            "-e",
            "normal",
            "--prefix",
            "none",
            "-p",
            name,
        ]);
        let reached: BTreeSet<&str> = tree
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert!(
            reached.contains(name),
            "cargo tree says nothing of {name}:\n{tree}"
        );
        for library in forbidden
            .iter()
            .filter(|library| reached.contains(**library))
        {
            found.push(format!(
                "{name} reaches {library}: see `cargo tree -p {name} -i {library}`"
            ));
        }
    }
    check("a crate without I/O reaches a runtime", &found);
}

#[test]
fn media_and_nodes_read_no_clock_spawn_nothing_and_lock_nothing() {
    let mut found = Vec::new();
    let inside = |path: &str| {
        path.starts_with("media/src/")
            || (path.starts_with("nodes/src/") && !path.starts_with("nodes/remote/"))
    };
    for file in files(&["rs"]).into_iter().filter(|file| inside(&file.path)) {
        for (number, line) in file.code() {
            let code = line.split("//").next().unwrap_or_default();
            for word in NO_IO.iter().filter(|word| code.contains(**word)) {
                found.push(format!("{}:{number}: {word}", file.path));
            }
        }
    }
    check(
        "I/O in a crate that is a state machine: take it as an argument",
        &found,
    );
}

#[test]
fn only_clock_rs_reads_a_clock() {
    let mut found = Vec::new();
    for file in files(&["rs"])
        .into_iter()
        .filter(|file| !file.path.ends_with("tidy.rs"))
    {
        let program = file.path.starts_with("benches/") || file.path.contains("/examples/");
        if program || file.path.ends_with("/clock.rs") {
            continue;
        }
        for (number, line) in file.code() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains("Instant::now") || code.contains("SystemTime::now") {
                found.push(format!("{}:{number}", file.path));
            }
        }
    }
    check("a clock is read outside of clock.rs", &found);
}

#[test]
fn files_stay_short() {
    let mut found = Vec::new();
    for file in files(&["rs", "ts", "tsx", "js", "mjs", "py", "sh", "proto", "css"]) {
        let (code, all) = (file.code().count(), file.text.lines().count());
        let excused = LONG_FILES.iter().any(|(path, _)| *path == file.path);
        if all > LINES_REFUSED {
            found.push(format!(
                "{}: {all} lines, over {LINES_REFUSED}: split it",
                file.path
            ));
        } else if code > LINES_ASK && !excused {
            found.push(format!(
                "{}: {code} lines of code: split it, or give LONG_FILES a reason",
                file.path
            ));
        } else if code <= LINES_ASK && excused {
            found.push(format!(
                "{}: short enough now: take it off LONG_FILES",
                file.path
            ));
        }
    }
    check("lengths of files", &found);
}

#[test]
fn every_module_says_what_it_is() {
    let mut found = Vec::new();
    for file in files(&["rs"]) {
        // An attribute for the whole file may stand above its documentation.
        let first = file
            .text
            .lines()
            .find(|line| !line.starts_with("#!") && !line.is_empty());
        if !first.is_some_and(|line| line.starts_with("//!")) {
            found.push(format!("{}: no `//!` at its top", file.path));
        }
    }
    check("modules without documentation", &found);
}

#[test]
fn nothing_is_left_undone_or_skipped() {
    // Spelled in halves, or this file would find itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("unimpl", "emented!("),
        concat!("to", "do!("),
        concat!("#[ig", "nore"),
        concat!("it.sk", "ip("),
        concat!("test.sk", "ip("),
        concat!("pytest.mark.sk", "ip"),
    ];
    forbid(&words, "left undone or skipped");
}

#[test]
fn no_path_of_somebodys_machine_is_in_the_repository() {
    let words = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
    ];
    forbid(&words, "paths of one machine");
}

#[test]
fn the_architecture_page_stays_readable() {
    let path = root().join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).expect("ARCHITECTURE.md describes what stands");
    let lines = text.lines().count();
    assert!(
        lines < 300,
        "ARCHITECTURE.md has {lines} lines, its readers stop at 300"
    );
}

/// A file of the repository.
struct File {
    path: String,
    text: String,
}

impl File {
    /// Its lines, numbered from 1, up to the unit tests at its end; none of a file of tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self
            .text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line));
        let tests = self.path.contains("/tests/") || self.path.ends_with("/tests.rs");
        lines.take_while(move |(_, line)| !tests && !line.starts_with("#[cfg(test)]"))
    }
}

fn check(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

fn forbid(words: &[&str], what: &str) {
    let kinds = [
        "rs", "ts", "tsx", "js", "mjs", "py", "sh", "proto", "toml", "md", "yaml", "yml", "json",
        "html",
    ];
    let mut found = Vec::new();
    for file in files(&kinds) {
        for (at, line) in file.text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{}: {word}", file.path, at + 1));
            }
        }
    }
    check(what, &found);
}

/// The repository's own files of these kinds, by what git tracks where there is a git.
fn files(kinds: &[&str]) -> Vec<File> {
    let mut paths = Vec::new();
    walk(&root(), &mut paths);
    assert!(paths.len() > 20, "the repository is not where it should be");
    paths
        .into_iter()
        .filter(|path| {
            path.extension()
                .is_some_and(|e| kinds.iter().any(|kind| e == *kind))
        })
        .filter_map(|path| {
            let text = std::fs::read_to_string(&path).ok()?;
            let path = path
                .strip_prefix(root())
                .ok()?
                .to_string_lossy()
                .replace('\\', "/");
            Some(File { path, text })
        })
        .collect()
}

/// All files but what is built, fetched or hidden.
fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let (path, name) = (
            entry.path(),
            entry.file_name().to_string_lossy().into_owned(),
        );
        let built = ["target", "node_modules", "dist", "__pycache__"].contains(&name.as_str());
        if built || name.starts_with('.') || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(&path, into)
        } else {
            into.push(path)
        }
    }
}

/// Direct dependencies of each of our crates, those of its tests left out.
fn direct_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let text = cargo(&[
        "metadata",
        "--offline",
        "--no-deps",
        "--format-version",
        "1",
    ]);
    let metadata: serde_json::Value = serde_json::from_str(&text).expect("cargo metadata is JSON");
    let packages = metadata["packages"]
        .as_array()
        .expect("cargo metadata lists packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("a list");
            let needs = dependencies.iter().filter(|d| d["kind"] != "dev");
            let needs = needs
                .map(|d| d["name"].as_str().expect("a name").to_owned())
                .collect();
            (package["name"].as_str().expect("a name").to_owned(), needs)
        })
        .collect()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}
