//! The pipelines that this gateway serves: those that ship with it, and those of the configured folder, which win.
//!
//! A reload replaces all of them at once or none: a bad file changes nothing and is reported. Running sessions keep theirs.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rust_embed::RustEmbed;
use tidegate_nodes::compile::{Grants, Pipeline};
use tidegate_nodes::{Code, Error, Registry};

use crate::clock::unix_seconds;

/// Manifests larger than this are refused unread; the largest sensible one has a tenth.
const MANIFEST_BYTES: u64 = 1 << 20;
/// Files read from the folder.
const FILES: usize = 1024;

#[derive(RustEmbed)]
#[folder = "../pipelines"]
struct Shipped;

/// Pipelines by name.
pub(crate) type Set = BTreeMap<String, Arc<Pipeline>>;

/// The pipelines that are served now.
pub(crate) struct Pipelines {
    folder: PathBuf,
    registry: Registry,
    current: ArcSwap<Current>,
}

/// A set, and since when each of it is served as it is.
#[derive(Default)]
struct Current {
    set: Arc<Set>,
    since: BTreeMap<String, u64>,
}

impl Current {
    /// What is served from `now` on, seconds since 1970, in the place of what was.
    fn after(before: &Self, set: Set, now: u64) -> Self {
        let since = |(name, pipeline): (&String, &Arc<Pipeline>)| {
            let same = before.set.get(name);
            let same = same.is_some_and(|before| before.digest() == pipeline.digest());
            let known = before.since.get(name).filter(|_| same);
            (name.clone(), known.copied().unwrap_or(now))
        };
        Self {
            since: set.iter().map(since).collect(),
            set: Arc::new(set),
        }
    }
}

/// Names of the pipelines that a reload found to be not what they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) added: Vec<String>,
    pub(crate) changed: Vec<String>,
    pub(crate) removed: Vec<String>,
}

/// Why a set of pipelines cannot be loaded: every file's errors.
#[derive(Debug, thiserror::Error)]
#[error("pipelines were not loaded:\n{0}")]
pub(crate) struct LoadError(pub(crate) String);

impl Pipelines {
    /// Loads what ships and what the folder has; an empty path means no folder.
    ///
    /// # Errors
    /// The folder cannot be read, or any manifest has an error.
    pub(crate) fn load(folder: &Path, registry: Registry) -> Result<Self, LoadError> {
        let set = read(folder, &registry)?;
        Ok(Self::serving(folder.to_owned(), registry, set))
    }

    /// One pipeline and no other.
    pub(crate) fn only(pipeline: Pipeline, registry: Registry) -> Self {
        let name = pipeline.name().to_owned();
        let set = Set::from([(name, Arc::new(pipeline))]);
        Self::serving(PathBuf::new(), registry, set)
    }

    fn serving(folder: PathBuf, registry: Registry, set: Set) -> Self {
        let current = Current::after(&Current::default(), set, unix_seconds());
        Self {
            folder,
            registry,
            current: ArcSwap::from_pointee(current),
        }
    }

    /// Reads everything again; what runs keeps what it has. Gives the names of those that are not what they were.
    ///
    /// # Errors
    /// As for [`Pipelines::load`]; then nothing has changed.
    pub(crate) fn reload(&self) -> Result<Changes, LoadError> {
        let set = read(&self.folder, &self.registry)?;
        let now = Current::after(&self.current.load(), set, unix_seconds());
        let set = Arc::clone(&now.set);
        let before = Arc::clone(&self.current.swap(Arc::new(now)).set);
        let mut changes = Changes::default();
        for (name, pipeline) in before.iter() {
            match set.get(name) {
                None => changes.removed.push(name.clone()),
                Some(now) if now.digest() != pipeline.digest() => {
                    changes.changed.push(name.clone())
                }
                Some(_) => {}
            }
        }
        let added = set.keys().filter(|name| !before.contains_key(*name));
        changes.added = added.cloned().collect();
        Ok(changes)
    }

    /// The configured folder, if there is one.
    pub(crate) fn folder(&self) -> Option<&Path> {
        (!self.folder.as_os_str().is_empty()).then_some(self.folder.as_path())
    }

    /// The node types that manifests may name.
    pub(crate) const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// All pipelines.
    pub(crate) fn all(&self) -> Arc<Set> {
        Arc::clone(&self.current.load().set)
    }

    /// Since when a pipeline is served as it is, in seconds since 1970.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn since(&self, name: &str) -> Result<u64, Error> {
        let since = self.current.load().since.get(name).copied();
        since.ok_or_else(|| unknown(name))
    }

    /// The pipeline with a name.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Pipeline>, Error> {
        let found = self.current.load().set.get(name).cloned();
        found.ok_or_else(|| unknown(name))
    }

    /// Compiles a manifest that a client sent.
    ///
    /// # Errors
    /// All of its errors, with their positions.
    pub(crate) fn inline(&self, text: &str, endpoints: &[String]) -> Result<Arc<Pipeline>, Error> {
        let invalid = |all: tidegate_nodes::manifest::Diagnostics| {
            Error::new(Code::ManifestInvalid, all.to_string())
        };
        let grants = Grants::stranger(endpoints.iter().cloned());
        Pipeline::from_text("manifest", text, &self.registry, &grants)
            .map(Arc::new)
            .map_err(invalid)
    }
}

fn unknown(name: &str) -> Error {
    let shown: String = name.chars().take(64).collect();
    let text = format!("no pipeline '{shown}': GET /v1/pipelines lists what there is");
    Error::new(Code::UnknownPipeline, text)
}

/// A shipped pipeline's file name and text, by its name.
pub(crate) fn shipped(name: &str) -> Option<(String, String)> {
    let file = format!("{name}.yaml");
    let found = Shipped::get(&file)?;
    let text = String::from_utf8_lossy(&found.data).into_owned();
    Some((format!("pipelines/{file}"), text))
}

/// Names of the shipped pipelines.
pub(crate) fn shipped_names() -> Vec<String> {
    let mut names: Vec<_> = Shipped::iter()
        .filter_map(|path| path.strip_suffix(".yaml").map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn read(folder: &Path, registry: &Registry) -> Result<Set, LoadError> {
    let grants = Grants::operator(crate::config::environment());
    let mut set = Set::new();
    let mut errors = Vec::new();
    for path in Shipped::iter().filter(|path| is_manifest(Path::new(path.as_ref()))) {
        let Some(file) = Shipped::get(&path) else {
            continue;
        };
        let text = String::from_utf8_lossy(&file.data);
        add(
            &mut set,
            &mut errors,
            &format!("pipelines/{path}"),
            &text,
            registry,
            &grants,
            true,
        );
    }
    let mut own = Set::new();
    for path in files(folder, &mut errors) {
        let name = path.display().to_string();
        match text_of(&path) {
            Ok(text) => add(
                &mut own,
                &mut errors,
                &name,
                &text,
                registry,
                &grants,
                false,
            ),
            Err(why) => errors.push(format!("{name}: {why}")),
        }
    }
    if !errors.is_empty() {
        return Err(LoadError(errors.join("\n")));
    }
    set.extend(own);
    Ok(set)
}

fn files(folder: &Path, errors: &mut Vec<String>) -> Vec<PathBuf> {
    if folder.as_os_str().is_empty() {
        return Vec::new();
    }
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            errors.push(format!(
                "{}: the folder cannot be read: {error}",
                folder.display()
            ));
            return Vec::new();
        }
    };
    let mut files: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_manifest(path))
        .take(FILES + 1)
        .collect();
    if files.len() > FILES {
        errors.push(format!(
            "{}: the folder has more than {FILES} manifests: serve them by several gateways",
            folder.display()
        ));
        return Vec::new();
    }
    files.sort();
    files
}

/// A manifest's text, or why there is none. What is no regular file is not opened: a pipe of that name would be waited for, and
/// with it signals.
fn text_of(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let facts = std::fs::metadata(path).map_err(unreadable)?;
    if !facts.is_file() {
        return Err("is not a regular file: take it out of the folder".to_owned());
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    // It may grow while it is read.
    let most = file.take(MANIFEST_BYTES + 1).read_to_string(&mut text);
    if most.map_err(unreadable)? as u64 > MANIFEST_BYTES {
        let size = facts.len().max(MANIFEST_BYTES + 1);
        return Err(format!(
            "{size} bytes, a manifest has at most {MANIFEST_BYTES}"
        ));
    }
    Ok(text)
}

fn is_manifest(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ext| ext == "yaml" || ext == "yml" || ext == "json")
}

fn add(
    set: &mut Set,
    errors: &mut Vec<String>,
    file: &str,
    text: &str,
    registry: &Registry,
    grants: &Grants,
    shipped: bool,
) {
    match Pipeline::from_text(file, text, registry, grants) {
        Err(diagnostics) => errors.push(diagnostics.to_string()),
        Ok(pipeline) => {
            for warning in pipeline.warnings().iter().filter(|_| !shipped) {
                tracing::warn!(%warning, "pipeline");
            }
            let name = pipeline.name().to_owned();
            if set.insert(name.clone(), Arc::new(pipeline)).is_some() {
                errors.push(format!(
                    "{file}: a second pipeline named '{name}'; rename one of the two"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASS: &str = "version: tidegate/v1\nname: own\ninputs: [{name: in, kind: text}]\n\
                        outputs: [{name: out, kind: text}]\nedges: [in -> out]\n";

    fn refused(folder: &Path) -> String {
        let loaded = Pipelines::load(folder, Registry::builtin());
        loaded.err().map(|error| error.0).unwrap_or_default()
    }

    #[test]
    fn only_regular_files_of_a_sensible_size_are_read() {
        let name = format!("tidegate-manifests-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a new folder");
        let own = folder.join("own.yaml");
        std::fs::write(&own, PASS).expect("written");
        assert_eq!(refused(&folder), "");
        let socket = folder.join("socket.yaml");
        let listener = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
        let why = refused(&folder);
        assert!(why.contains("socket.yaml: is not a regular file"), "{why}");
        drop(listener);
        std::fs::remove_file(&socket).expect("removed");
        let most = usize::try_from(MANIFEST_BYTES).expect("small");
        let long = format!("{PASS}#{}", "x".repeat(most));
        std::fs::write(&own, long).expect("written");
        let why = refused(&folder);
        std::fs::remove_dir_all(&folder).expect("removed");
        assert!(why.contains("a manifest has at most"), "{why}");
    }

    #[test]
    fn a_pipeline_is_as_old_as_its_newest_change() {
        let own = |about: &str| {
            let text = format!("{PASS}description: {about}\n");
            let grants = Grants::operator(crate::config::environment());
            let own = Pipeline::from_text("own", &text, &Registry::builtin(), &grants);
            Set::from([("own".to_owned(), Arc::new(own.expect("compiles")))])
        };
        let mut current = Current::default();
        for (about, now, since) in [("one", 5, 5), ("one", 6, 5), ("two", 7, 7)] {
            current = Current::after(&current, own(about), now);
            assert_eq!(current.since["own"], since, "{about} at {now}");
        }
    }

    #[test]
    fn a_reload_says_what_was_added_changed_and_removed() {
        let folder =
            std::env::temp_dir().join(format!("tidegate-reload-{}", rand::random::<u64>()));
        std::fs::create_dir(&folder).expect("a folder");
        let put = |name: &str, about: &str| {
            let text = format!(
                "version: tidegate/v1\nname: {name}\ndescription: {about}\ninputs: [{{name: i, kind: text}}]\n\
                 outputs: [{{name: o, kind: text}}]\nedges: [i -> o]\n"
            );
            std::fs::write(folder.join(format!("{name}.yaml")), text).expect("a file");
        };
        for name in ["stays", "changes", "goes"] {
            put(name, "first");
        }
        let pipelines = Pipelines::load(&folder, Registry::builtin()).expect("compiles");
        put("changes", "second");
        put("comes", "first");
        std::fs::remove_file(folder.join("goes.yaml")).expect("a file");
        let changes = pipelines.reload().expect("compiles");
        std::fs::remove_dir_all(&folder).expect("ours");
        let names = |name: &str| vec![name.to_owned()];
        let expected = Changes {
            added: names("comes"),
            changed: names("changes"),
            removed: names("goes"),
        };
        assert_eq!(changes, expected);
    }
}
