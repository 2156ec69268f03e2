//! Small files with secrets and keys: read whole within a bound, and again when they have changed.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use metrics::Counter;
use tidegate_media::Timestamp;

use crate::metrics::{Metrics, label};

/// How often a file is looked at, at most: a new secret is good, and an old one bad, within this.
const LOOK: Duration = Duration::from_secs(1);
/// Largest file with one secret, in bytes. The largest request head that a token can come in has little more.
pub(super) const SECRET_BYTES: u64 = 16 << 10;
/// Counts what was read again.
const RELOADS: &str = "tidegate_auth_reloads_total";

/// What became of files and settings that were read again.
#[derive(Clone)]
pub(super) struct Reloads {
    pub(super) taken: Counter,
    pub(super) refused: Counter,
}

impl Reloads {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let counter = |outcome| {
            let counter = metrics.counter(RELOADS, vec![label("outcome", outcome)]);
            // There from the start, so that an alert can compare.
            counter.increment(0);
            counter
        };
        Self {
            taken: counter("taken"),
            refused: counter("refused"),
        }
    }

    /// Counted nowhere.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self {
            taken: Counter::noop(),
            refused: Counter::noop(),
        }
    }
}

/// What a file holds, read again when it changes. One that cannot be used any more leaves what it held; the log says so.
pub(super) struct Watched<T> {
    path: PathBuf,
    read: fn(&Path) -> Result<T, String>,
    reloads: Reloads,
    held: Mutex<Held<T>>,
}

struct Held<T> {
    value: Arc<T>,
    stamp: Option<Stamp>,
    looked: Option<Timestamp>,
}

impl<T> Watched<T> {
    /// # Errors
    /// What is wrong with it, after its name.
    pub(super) fn open(
        path: &Path,
        read: fn(&Path) -> Result<T, String>,
        reloads: &Reloads,
    ) -> Result<Self, String> {
        let stamp = stamp(path);
        let held = Held {
            value: Arc::new(read(path)?),
            stamp,
            looked: None,
        };
        Ok(Self {
            path: path.to_owned(),
            read,
            reloads: reloads.clone(),
            held: Mutex::new(held),
        })
    }

    /// What it holds. It is read in the caller's own task: such files are small and local, and a look takes microseconds.
    pub(super) fn get(&self, now: Timestamp) -> Arc<T> {
        let mut held = self.lock();
        let recent = |looked| now.saturating_since(looked) < LOOK;
        if !held.looked.is_some_and(recent) {
            held.looked = Some(now);
            let stamp = stamp(&self.path);
            if stamp != held.stamp {
                held.stamp = stamp;
                self.read_again(&mut held);
            }
        }
        Arc::clone(&held.value)
    }

    fn read_again(&self, held: &mut Held<T>) {
        let path = self.path.display();
        match (self.read)(&self.path) {
            Ok(value) => {
                held.value = Arc::new(value);
                self.reloads.taken.increment(1);
                tracing::info!(%path, "file of secrets or keys read again");
            }
            Err(problem) => {
                self.reloads.refused.increment(1);
                tracing::error!(%path, problem, "file of secrets or keys not read again; what it held is kept");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What changes with a file's content, or with the file that has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    changed: (i64, i64),
    bytes: u64,
    inode: u64,
}

/// What a file looks like from outside, if it is there.
fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(path).ok()?;
    Some(Stamp {
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
    if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        // To read a pipe would wait.
        return Err("is no regular file".to_owned());
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    let bytes = file.take(most + 1).read_to_string(&mut text);
    if bytes.map_err(unreadable)? as u64 > most {
        return Err(format!("has more than {most} bytes"));
    }
    Ok(text)
}

/// A file's text, which is a secret that others sign with.
///
/// # Errors
/// What is wrong with it, after its name.
pub(super) fn secret(path: &Path) -> Result<String, String> {
    let text = read(path, SECRET_BYTES)?;
    match short(text.trim().len()) {
        Some(problem) => Err(problem),
        None => Ok(text.trim().to_owned()),
    }
}

/// Shortest secret that is signed with, in bytes: what HMAC-SHA256 uses of one (RFC 7518 §3.2).
pub(super) const SHORTEST: usize = 32;

/// Why a secret of so many bytes could be guessed.
pub(super) fn short(bytes: usize) -> Option<String> {
    (bytes < SHORTEST).then(|| {
        format!("has fewer than {SHORTEST} characters: write what `openssl rand -hex 32` prints")
    })
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
fn unreadable(error: std::io::Error) -> String {
    format!("cannot be read: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_any_more_leaves_what_it_held() {
        let path = std::env::temp_dir().join(format!("tidegate-watched-{}", std::process::id()));
        let old = "the old secret, long enough to sign with";
        std::fs::write(&path, old).expect("written");
        let file = Watched::open(&path, secret, &Reloads::none()).expect("it is there");
        let mut seconds = 1;
        let mut holds = |text: &str| {
            seconds += 1;
            *file.get(Timestamp::from_nanos(seconds * 1_000_000_000)) == text
        };
        assert!(holds(old));
        std::fs::write(&path, "short").expect("written");
        assert!(holds(old));
        std::fs::remove_file(&path).expect("it is there");
        assert!(holds(old));
        let new = "the new secret, long enough to sign with";
        std::fs::write(&path, format!("{new}\n")).expect("written");
        assert!(holds(new));
        std::fs::remove_file(&path).expect("it is there");
        assert!(Watched::open(&path, secret, &Reloads::none()).is_err());
    }

    #[test]
    fn a_file_is_looked_at_once_a_second() {
        let path = std::env::temp_dir().join(format!("tidegate-looks-{}", std::process::id()));
        std::fs::write(&path, "one").expect("written");
        let file = Watched::open(&path, |path| read(path, 10), &Reloads::none()).expect("a file");
        let at = |millis: u64| file.get(Timestamp::from_nanos(millis * 1_000_000));
        assert_eq!(*at(5_000), "one");
        std::fs::write(&path, "other").expect("written");
        assert_eq!(*at(5_999), "one");
        assert_eq!(*at(6_000), "other");
        std::fs::remove_file(&path).expect("it is there");
    }
}
