//! `check`, `nodes`, `graph`, and what all commands share.

use crate::support::{file, tidegate, tidegate_fed};

const BAD: &str = "\
version: tidegate/v1
name: bad
inputs: [{name: mic, kind: audio}]
outputs: [{name: speaker, kind: audio}]
nodes:
  - {id: a, type: audio.no_such_node}
edges:
  - mic -> nowhere
  - a -> speaker
";

#[test]
fn check_reports_every_error_with_its_place_and_fails() {
    let bad = file("check-bad", "bad.yaml", BAD.as_bytes());
    let said = tidegate(&["check", &bad, "echo"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.out.contains(&format!("{bad}:6:19: unknown-type: ")),
        "{said:?}"
    );
    assert!(
        said.out.contains(&format!("{bad}:8:12: unknown-node: ")),
        "{said:?}"
    );
    assert!(said.out.contains("pipelines/echo.yaml: ok"), "{said:?}");
}

#[test]
fn check_prints_json_for_programs() {
    let said = tidegate_fed(&["check", "--json", "-", "echo"], BAD.as_bytes());
    assert_eq!(said.code, 1, "{said:?}");
    let json = said.json();
    let bad = &json["manifests"][0];
    assert_eq!(
        (&bad["file"], &bad["ok"]),
        (&"standard input".into(), &false.into())
    );
    let first = bad["findings"].as_array().expect("findings").iter();
    let first = first
        .clone()
        .find(|f| f["rule"] == "unknown-type")
        .expect("the rule");
    assert_eq!((&first["line"], &first["column"]), (&6.into(), &19.into()));
    assert_eq!(json["manifests"][1]["name"], "echo");
}

#[test]
fn check_prints_a_schema_that_names_the_node_types() {
    let said = tidegate(&["check", "--schema"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.json().to_string().contains("audio.gain"), "{said:?}");
}

#[test]
fn nodes_lists_types_and_describes_one() {
    let all = tidegate(&["nodes"]);
    assert_eq!(all.code, 0, "{all:?}");
    assert!(
        all.out.lines().any(|line| line.starts_with("audio.gain ")),
        "{all:?}"
    );
    let one = tidegate(&["nodes", "audio.vad", "--json"]).json();
    assert_eq!(one["type"], "audio.vad");
    assert!(
        one["parameters"]["properties"]["threshold"].is_object(),
        "{one}"
    );
    let none = tidegate(&["nodes", "audio.none"]);
    assert_eq!(none.code, 2, "{none:?}");
    assert!(none.err.contains("'audio.none'"), "{none:?}");
}

#[test]
fn graph_draws_svg_and_mermaid() {
    let svg = tidegate(&["graph", "echo"]);
    assert_eq!(svg.code, 0, "{svg:?}");
    assert!(
        svg.out.starts_with("<svg") && svg.out.contains("speaker"),
        "{svg:?}"
    );
    let mermaid = tidegate(&["graph", "echo", "--format", "mermaid"]);
    assert!(mermaid.out.starts_with("flowchart LR"), "{mermaid:?}");
    let bad = tidegate_fed(&["graph", "-"], BAD.as_bytes());
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(bad.out.is_empty() && bad.err.contains(":6:19"), "{bad:?}");
}

#[test]
fn check_finds_the_errors_of_files_beside_one_that_is_not_there() {
    let bad = crate::support::file("beside", "bad.yaml", BAD.as_bytes());
    let said = tidegate(&["check", "no-such-file.yaml", &bad]);
    assert_eq!(said.code, 1, "{said:?}");
    let unreadable = "no-such-file.yaml:1:1: unreadable: ";
    assert!(
        said.out.contains(unreadable) && said.out.contains(":6:19"),
        "{said:?}"
    );
}

#[test]
fn wrong_usage_ends_with_2_and_help_and_version_with_0() {
    let cases: [&[&str]; 4] = [
        &[],
        &["no-such-command"],
        &["check"],
        &["graph", "no-such-file.yaml"],
    ];
    for arguments in cases {
        let said = tidegate(arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {said:?}");
        assert!(
            said.out.is_empty() && !said.err.is_empty(),
            "{arguments:?}: {said:?}"
        );
    }
    let version = tidegate(&["--version"]);
    assert_eq!(version.code, 0);
    assert_eq!(
        version.out.trim(),
        format!("tidegate {}", env!("CARGO_PKG_VERSION"))
    );
    for command in ["serve", "run", "check", "nodes", "graph", "bench"] {
        let said = tidegate(&[command, "--help"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(
            said.out.contains("Examples:"),
            "{command} has examples: {said:?}"
        );
    }
}

#[test]
fn settings_that_are_refused_are_printed_before() {
    let said = tidegate(&["serve", "--listen", "0.0.0.0:8443", "--print-config"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.out.contains("listen: \"0.0.0.0:8443\"  # --listen"),
        "{said:?}"
    );
    assert!(said.err.contains("auth.token"), "{said:?}");
}

#[test]
fn a_folder_for_recordings_that_is_not_there_is_refused_at_start() {
    let config = file(
        "recordings",
        "t.yaml",
        b"recordings: /no/such/folder\nlisten: 127.0.0.1:0\n",
    );
    let said = tidegate(&["serve", "--config", &config]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("'recordings': /no/such/folder"),
        "{said:?}"
    );
}
