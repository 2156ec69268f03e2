//! The page on manifests against what the program reads and reports.

use std::path::Path;

use crate::support::tidegate;

fn page() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join("docs/manifest.md")).expect("the page is there")
}

#[test]
fn every_key_of_a_manifest_is_documented() {
    let page = page();
    let schema = tidegate(&["check", "--schema"]).json();
    let mut forms = vec![("the manifest", &schema)];
    let definitions = schema["$defs"].as_object().expect("definitions");
    // What is read by the compiler itself; the parameters of node types are listed by `tidegate nodes`.
    let ours = |name: &str| name.ends_with("Form") || name.starts_with("remote.");
    forms.extend(
        definitions
            .iter()
            .filter(|(name, _)| ours(name))
            .map(|(name, form)| (name.as_str(), form)),
    );
    let remote = definitions["Node"]["oneOf"].as_array().expect("types");
    let remote = remote.iter().find(|node| node["title"] == "remote");
    let remote = &remote.expect("remote is a type")["properties"]["params"];
    forms.push(("remote", remote));
    let mut keys = 0;
    for (name, form) in forms {
        for key in form["properties"].as_object().into_iter().flatten() {
            keys += 1;
            // By itself, or within a path such as `auth.tls.ca`.
            let key = key.0;
            let found = ["`", "."].iter().any(|before| {
                let after = ["`", "."].iter();
                after
                    .map(|after| format!("{before}{key}{after}"))
                    .any(|text| page.contains(&text))
            });
            assert!(found, "{name}: `{key}`");
        }
    }
    assert!(keys > 40, "only {keys} keys were found");
}

#[test]
fn every_rule_that_a_bad_manifest_breaks_is_documented() {
    let page = page();
    let (_, rules) = page.split_once("## Rules").expect("a section on rules");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nodes/tests/manifests/bad");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("bad manifests").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|ext| ext != "expected") {
            continue;
        }
        let findings = std::fs::read_to_string(&path).expect("a text");
        for line in findings.lines() {
            let mut parts = line.split(": ").skip(1);
            let rule = parts.find(|part| *part != "warning").expect("a rule");
            assert!(rules.contains(&format!("`{rule}`")), "{rule} in {line}");
            seen += 1;
        }
    }
    assert!(seen > 80, "only {seen} findings were looked at");
}
