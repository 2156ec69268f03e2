//! Small files, read again when they have changed.

use std::collections::HashMap;
use std::io::{Error, ErrorKind, Read as _, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tidegate_media::Timestamp;

use super::LOOK;

/// Largest file: a chain of certificates has some KiB.
const BYTES_MAX: u64 = 1 << 20;
/// Files that are remembered. Only operators name files.
const FILES_MAX: usize = 1_024;

/// The files that hops name, shared by all hops of a process.
///
/// They are read in the caller's own task: such files are local and small, and a look at one takes microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files(Arc<Mutex<HashMap<PathBuf, Known>>>);

#[derive(Debug)]
struct Known {
    stamp: Stamp,
    text: Arc<str>,
    looked: Timestamp,
}

/// What changes with a file's content, or with the file that has its name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    inode: u64,
}

impl Files {
    /// The file's text without white space around it. It is looked at now, and read if it has changed since it was read last.
    pub(super) fn read(&self, path: &Path, now: Timestamp) -> Result<Arc<str>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(path)?;
        if let Some(known) = known.get_mut(path)
            && known.stamp == stamp
        {
            known.looked = now;
            return Ok(Arc::clone(&known.text));
        }
        let text: Arc<str> = Arc::from(load(path)?.trim());
        if known.len() >= FILES_MAX {
            known.clear();
        }
        let fresh = Known {
            stamp,
            text: Arc::clone(&text),
            looked: now,
        };
        known.insert(path.to_owned(), fresh);
        Ok(text)
    }

    /// Whether the file holds something else now. Looked at no more than once in [`LOOK`], whoever asks; a file that cannot be
    /// read holds what it held: it is being replaced.
    pub(super) fn has_changed(&self, path: &Path, held: &Arc<str>, now: Timestamp) -> bool {
        let recent = {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let known = known.get(path);
            known
                .filter(|known| now.saturating_since(known.looked) < LOOK)
                .map(|known| Arc::clone(&known.text))
        };
        let text = recent.map_or_else(|| self.read(path, now), Ok);
        text.is_ok_and(|text| !text.is_empty() && text != *held)
    }
}

fn stamp(path: &Path) -> Result<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(path)?;
    if !meta.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is no file"));
    }
    Ok(Stamp {
        modified: meta.modified().ok(),
        len: meta.len(),
        inode: meta.ino(),
    })
}

fn load(path: &Path) -> Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    let read = file.take(BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > BYTES_MAX {
        let message = format!("it has more than {BYTES_MAX} bytes");
        return Err(Error::new(ErrorKind::InvalidData, message));
    }
    Ok(text)
}
