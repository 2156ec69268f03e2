//! The mistakes of docs/troubleshooting.md, each made with the real program, which has to name the cause and the mend in the words
//! that the page shows.

use std::path::Path;

use futures_util::StreamExt as _;
use serde_json::Value;
use tidegate_tests::gateway::binary;
use tidegate_tests::{Deadline, Peer, fixtures};

use super::mistakes::{At, Mistake, all};

/// Mistakes that are made at once: each is a process.
const TOGETHER: usize = 3;

/// One line of the page's table.
struct Line {
    what: String,
    /// What is printed, with `…` for what differs.
    printed: String,
}

/// The page's tables: a mistake in the first column, what is printed in the second one.
fn page() -> Vec<Line> {
    let text = std::fs::read_to_string(fixtures::root().join("docs/troubleshooting.md"));
    let text = text.expect("the page");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [what, printed] = cells[..] else {
            return None;
        };
        let printed = printed.strip_prefix('`')?.strip_suffix('`')?;
        Some(Line {
            what: what.to_owned(),
            printed: printed.to_owned(),
        })
    });
    rows.collect()
}

/// Whether the pieces of a pattern between its `…` come one after the other.
fn fits(pattern: &str, text: &str) -> bool {
    let mut rest = text;
    pattern
        .split('…')
        .all(|piece| match rest.find(piece.trim()) {
            Some(at) => {
                rest = &rest[at + piece.trim().len()..];
                true
            }
            None => false,
        })
}

/// What the program prints about it.
async fn printed(mistake: &Mistake) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("mine.yaml");
    let text = yaml(&mistake.manifest);
    std::fs::write(&file, text).expect("written");
    let words = folder.path().join("words.txt");
    std::fs::write(&words, "hello\n").expect("written");
    let (file, words) = (file.as_path(), words.as_path());
    let arguments: Vec<&Path> = match mistake.at {
        At::Check => vec![Path::new("check"), file],
        At::Run => vec![Path::new("run"), file, Path::new("--in"), words],
    };
    let peer = Peer::program("tidegate", &binary()).args(arguments);
    let (status, logs) = peer.output(Deadline::secs(60)).await;
    let said = logs.text();
    assert_eq!(status.code(), Some(1), "{}: {said}", mistake.what);
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// JSON is YAML; a key a line gives errors a place worth naming.
fn yaml(manifest: &Value) -> String {
    serde_json::to_string_pretty(manifest).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sc_006_thirty_mistakes_are_each_named_with_their_mend_as_the_page_shows() {
    let (mistakes, _workers) = all().await;
    let page = page();
    assert!(mistakes.len() >= 30, "{} mistakes", mistakes.len());
    let told: Vec<_> = page.iter().map(|line| line.what.as_str()).collect();
    let made: Vec<_> = mistakes.iter().map(|mistake| mistake.what).collect();
    assert_eq!(
        told, made,
        "the page and this test speak of the same, in the same order"
    );
    let said = futures_util::stream::iter(&mistakes).map(printed);
    let said: Vec<_> = said.buffered(TOGETHER).collect().await;
    let mut wrong = Vec::new();
    for ((mistake, line), said) in mistakes.iter().zip(&page).zip(&said) {
        let lower = said.to_lowercase();
        let missing: Vec<_> = mistake
            .words
            .iter()
            .filter(|word| !lower.contains(&word.to_lowercase()))
            .collect();
        if !missing.is_empty() || !fits(&line.printed, said) {
            wrong.push(format!(
                "{}\n  page:    {}\n  printed: {said}\n  missing: {missing:?}",
                mistake.what, line.printed
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        said.len(),
        wrong.join("\n")
    );
}
