//! Manifests are outside input: whatever the text, reading and compiling it ends, soon, in a pipeline or in diagnostics.

use std::time::Duration;

use proptest::prelude::*;
use tidegate_nodes::{Binding, Diagnostics, Grants, Pipeline, draw};

const INTERPRETER: &str = include_str!("../manifests/interpreter.yaml");

/// Compiles, and uses what compiles in every way.
fn try_text(text: &str) -> Result<(), Diagnostics> {
    let registry = crate::types::registry();
    let grants = Grants::operator([("STT_TOKEN".to_owned(), "secret".to_owned())]);
    let pipeline = Pipeline::from_text("t", text, &registry, &grants)?;
    let _ = pipeline.bind(&Binding::default());
    let description = pipeline.describe();
    let _ = (draw::to_svg(&description), draw::to_mermaid(&description));
    Ok(())
}

/// A piece of text that manifests are made of, or none of it.
fn piece() -> impl Strategy<Value = String> {
    let words: Vec<String> = INTERPRETER
        .split_inclusive([' ', ',', '\n', '{', '}', '[', ']', ':'])
        .map(str::to_owned)
        .chain(
            [
                "- ",
                "&a ",
                "*a",
                "<<: ",
                "|\n  ",
                "? ",
                "!!binary ",
                "${param:voice}",
                "$${",
            ]
            .map(str::to_owned),
        )
        .collect();
    prop_oneof![
        4 => proptest::sample::select(words),
        1 => "\\PC{0,8}",
        1 => any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_compiled_or_refused(text in any::<String>()) {
        let _ = try_text(&text);
    }

    #[test]
    fn any_arrangement_of_a_manifests_pieces_is_compiled_or_refused(
        pieces in proptest::collection::vec(piece(), 0..60)
    ) {
        let _ = try_text(&pieces.concat());
    }

    #[test]
    fn a_manifest_with_a_changed_place_is_compiled_or_refused(
        at in 0..INTERPRETER.len(), length in 0..24_usize, with in piece()
    ) {
        let (start, end) = (at, (at + length).min(INTERPRETER.len()));
        if INTERPRETER.is_char_boundary(start) && INTERPRETER.is_char_boundary(end) {
            let text = format!("{}{with}{}", &INTERPRETER[..start], &INTERPRETER[end..]);
            let _ = try_text(&text);
        }
    }
}

/// How long this thread has computed, whatever else the machine was busy with.
fn computed() -> Duration {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat");
    let times = times.expect("Linux says how long a thread ran");
    let nanos = times.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.expect("nanoseconds on the processor"))
}

#[test]
fn a_bomb_is_refused_quickly() {
    let started = computed();
    let flat = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(10_000),
        "*a,".repeat(50_000)
    );
    let wide = format!("a: [{}]\n", "x,".repeat(200_000));
    let mut tree = String::from("a: &a [x,x,x,x,x,x,x,x,x,x]\n");
    for (new, old) in ('b'..='z').zip('a'..='y') {
        let aliases = vec![format!("*{old}"); 10].join(",");
        tree.push_str(&format!("{new}: &{new} [{aliases}]\n"));
    }
    let mut merged = String::from("a: &a {k: v}\n");
    for n in 0..2_000 {
        merged.push_str(&format!("m{n}: {{<<: *a, x: *a}}\n"));
    }
    for bomb in [flat, wide, tree, merged] {
        let refused = try_text(&bomb).expect_err("a bomb");
        assert!(refused.has_errors());
    }
    let took = computed().saturating_sub(started);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_manifest_at_its_limits_compiles() {
    let nodes: Vec<_> = (0..256)
        .map(|n| format!("{{id: g{n}, type: audio.gain}}"))
        .collect();
    let chain: Vec<_> = (0..256).map(|n| format!("g{n}")).collect();
    let text = format!(
        "{{version: tidegate/v1, name: long, inputs: [{{name: mic, kind: audio}}], \
         outputs: [{{name: speaker, kind: audio}}], nodes: [{}], edges: [mic -> {} -> speaker]}}",
        nodes.join(","),
        chain.join(" -> ")
    );
    try_text(&text).expect("256 nodes");
    let more = text.replace("nodes: [", "nodes: [{id: extra, type: audio.gain},");
    let refused = try_text(&more).expect_err("257 nodes");
    assert!(
        refused
            .to_string()
            .contains("limit: 'nodes' has 257 entries; keep it to 256"),
        "{refused}"
    );
}
