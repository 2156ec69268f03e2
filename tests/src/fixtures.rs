//! Where recordings, scripts and tools lie: what `make setup-test` put into `.cache/`.

use std::path::{Path, PathBuf};

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the root")
        .to_path_buf()
}

/// A file or folder under `.cache/`.
///
/// # Panics
/// If it is not there: a test without its peer fails, it is never skipped.
#[must_use]
pub fn cached(path: &str) -> PathBuf {
    let found = root().join(".cache").join(path);
    assert!(
        found.exists(),
        "{} is missing: run `make setup-test`",
        found.display()
    );
    found
}

/// A recording by its path under `.cache/fixtures`: `jfk.wav`, `audioeval/en/counting.wav` …
#[must_use]
pub fn recording(path: &str) -> PathBuf {
    cached("fixtures").join(path)
}

/// A pipeline's manifest that the tests bring themselves, from `tests/manifests`.
#[must_use]
pub fn manifests() -> PathBuf {
    root().join("tests/manifests")
}
