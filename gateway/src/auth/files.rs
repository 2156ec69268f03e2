//! Small files with secrets and keys: read whole within a bound, and again when they have changed.

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How often a file is looked at, at most: a new secret is good, and an old one bad, within this.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// Largest file with one secret, in bytes. The largest request head that a token can come in has little more.
pub(super) const SECRET_BYTES: u64 = 16 << 10;

/// What changes with a file's content, or with the file that has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    changed: (i64, i64),
    bytes: u64,
    inode: u64,
}

/// What a file looks like from outside.
///
/// # Errors
/// What is wrong with it, after its name.
pub(super) fn stamp(path: &Path) -> Result<Stamp, String> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(path).map_err(unreadable)?;
    if !meta.is_file() {
        return Err("is no regular file".to_owned());
    }
    Ok(Stamp {
        modified: meta.modified().ok(),
        changed: (meta.ctime(), meta.ctime_nsec()),
        bytes: meta.len(),
        inode: meta.ino(),
    })
}

/// A file's text.
///
/// # Errors
/// What is wrong with it, after its name.
pub(super) fn read(path: &Path, most: u64) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    let bytes = file.take(most + 1).read_to_string(&mut text);
    if bytes.map_err(unreadable)? as u64 > most {
        return Err(format!("has more than {most} bytes"));
    }
    Ok(text)
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
fn unreadable(error: std::io::Error) -> String {
    format!("cannot be read: {error}")
}
