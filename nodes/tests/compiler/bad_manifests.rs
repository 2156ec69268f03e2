//! Bad manifests: each file in `manifests/bad` has its own clear error, written beside it in `<name>.expected`.
//!
//! Set `UPDATE_EXPECTED=1` to write what is reported now, and read the difference.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tidegate_nodes::manifest::Severity;
use tidegate_nodes::{Diagnostics, Grants, Pipeline};

fn diagnose(name: &str, text: &str) -> Diagnostics {
    let grants = if name.starts_with("stranger") {
        Grants::stranger(["http://w:1".to_owned()])
    } else {
        Grants::operator([("STT_TOKEN".to_owned(), "secret".to_owned())])
    };
    match Pipeline::from_text(name, text, &crate::types::registry(), &grants) {
        Ok(pipeline) => pipeline.warnings().clone(),
        Err(diagnostics) => diagnostics,
    }
}

#[test]
fn each_bad_manifest_has_its_own_clear_error() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/bad");
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let (mut count, mut wrong, mut rules) = (0, Vec::new(), BTreeSet::new());
    for entry in fs::read_dir(&folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|e| e == "expected") {
            continue;
        }
        count += 1;
        let name = path.file_name().and_then(|n| n.to_str()).expect("a name");
        let text = fs::read_to_string(&path).expect("a manifest");
        let diagnostics = diagnose(name, &text);
        let got = format!("{diagnostics}\n");
        let beside = path.with_extension("expected");
        if update {
            fs::write(&beside, &got).expect("written");
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        if got != expected {
            wrong.push(format!("{name}\nexpected:\n{expected}got:\n{got}"));
        }
        assert!(diagnostics.has_errors(), "{name} is not bad");
        for found in &diagnostics {
            rules.insert(found.rule);
            assert!(found.line >= 1 && found.column >= 1, "{found}");
            let says_how = found.severity == Severity::Warning || !found.mend.is_empty();
            assert!(says_how && !found.message.ends_with('.'), "{found}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 80, "{count} bad manifests");
    assert!(rules.len() >= 30, "{rules:?}");
}
