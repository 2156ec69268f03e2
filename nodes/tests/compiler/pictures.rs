//! Pictures of pipelines.

use tidegate_nodes::compile::Description;
use tidegate_nodes::draw::{to_mermaid, to_svg};
use tidegate_nodes::{Grants, Pipeline};

fn describe(text: &str) -> Description {
    match Pipeline::from_text(
        "test.yaml",
        text,
        &crate::types::registry(),
        &Grants::offline(),
    ) {
        Ok(pipeline) => pipeline.describe(),
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

const INTERPRETER: &str = include_str!("../manifests/interpreter.yaml");

#[test]
fn mermaid_shows_nodes_and_the_conversions_of_clients() {
    let text = to_mermaid(&describe(INTERPRETER));
    for part in [
        "flowchart LR",
        "[\"vad<br/><small>audio.vad</small>\"]:::node",
        "{{\"stt<br/><small>remote</small>\"}}:::remote",
        "(\"mic:dejitter<br/><small>audio.dejitter</small>\"):::inserted",
        "(\"speaker:encode<br/><small>audio.encode</small>\"):::inserted",
        "-->|\"opus/48000/2 packets\"|",
        "==>|\"speech pcm_f32/16000/1\"|",
        "-. interrupt .->",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn svg_draws_what_is_inserted_distinct() {
    let text = to_svg(&describe(INTERPRETER));
    assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
    assert_eq!(text.matches("<g class=\"i\">").count(), 2, "{text}");
    assert_eq!(text.matches("<g class=\"r\">").count(), 2);
    assert_eq!(text.matches("<g class=\"p\">").count(), 3);
    assert!(text.contains("prefers-color-scheme:dark"));
    assert!(!text.contains("NaN") && !text.contains("inf"));
}

#[test]
fn text_from_a_manifest_cannot_leave_its_place() {
    let mut description = describe(INTERPRETER);
    description.name = "<script>alert('1')</script>".to_owned();
    description.hops[0].id = "a\"]:::x\n  n9[\"&<b>".to_owned();
    let svg = to_svg(&description);
    assert!(!svg.contains("<script") && !svg.contains("<b>"), "{svg}");
    let mermaid = to_mermaid(&description);
    assert!(!mermaid.contains("\n  n9[\"&"), "{mermaid}");
}

#[test]
fn boxes_of_one_column_do_not_overlap() {
    let nodes: Vec<_> = (0..20)
        .map(|n| format!("{{id: g{n}, type: audio.gain}}"))
        .collect();
    let edges: Vec<_> = (0..20).map(|n| format!("mic -> g{n} -> speaker")).collect();
    let text = format!(
        "{{version: tidegate/v1, name: wide, inputs: [{{name: mic, kind: audio}}], \
         outputs: [{{name: speaker, kind: audio}}], nodes: [{}], edges: [{}]}}",
        nodes.join(","),
        edges.join(",")
    );
    let svg = to_svg(&describe(&text));
    let mut tops: Vec<f64> = svg
        .split("<g class=\"n\"><rect x=\"")
        .skip(1)
        .filter_map(|rest| rest.split(" y=\"").nth(1)?.split('"').next()?.parse().ok())
        .collect();
    assert_eq!(tops.len(), 20);
    tops.sort_by(f64::total_cmp);
    assert!(
        tops.windows(2).all(|pair| pair[1] - pair[0] >= 42.0),
        "{tops:?}"
    );
}
