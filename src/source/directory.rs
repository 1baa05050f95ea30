//! ConfigMaps from YAML manifests on disk, for tests without a cluster and for checks of pull requests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use super::manifest;
use crate::model::base::ids::ObjectId;
use crate::model::base::problem::Subject;
use crate::model::input::request::{Object, Snapshot};

const MAX_FILES: usize = 1_000;
const MAX_FILE_BYTES: u64 = 1024 * 1024;
const MAX_DEPTH: usize = 16;
/// The maximum number of reported near misses.
const MAX_NEAR_MISSES: usize = 100;
/// The interval at which the files' dates and sizes are checked. Polling also detects changes on network file systems.
const POLL: Duration = Duration::from_millis(500);

/// Follows the manifests forever: publishes a new snapshot whenever one of them changes.
pub async fn watch(path: PathBuf, sender: watch::Sender<Option<Snapshot>>) {
    let (mut seen, mut published) = (None, None);
    loop {
        let (path, before, last) = (path.clone(), published.clone(), seen.clone());
        let look = tokio::task::spawn_blocking(move || {
            // The scan comes before the read, so the next scan finds a change in between. A file that differs between two scans may be half
            // written, and half a file looks like removed entries.
            let scan = Scan::new(&path);
            let news = last.as_ref() == Some(&scan) && before.as_ref() != Some(&scan);
            (news.then(|| load(&scan)), scan)
        });
        if let Ok((snapshot, scan)) = look.await {
            if let Some(snapshot) = snapshot {
                published = Some(scan.clone());
                publish(&sender, snapshot);
            }
            seen = Some(scan);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Reads the manifests once.
pub fn read(path: &Path) -> Snapshot {
    load(&Scan::new(path))
}

fn publish(sender: &watch::Sender<Option<Snapshot>>, snapshot: Snapshot) {
    let news = Some(snapshot);
    sender.send_if_modified(|current| {
        if *current == news {
            return false;
        }
        if let Some(snapshot) = &news {
            for (path, why) in &snapshot.missing {
                tracing::warn!(source = path, "{why}");
            }
        }
        *current = news;
        true
    });
}

/// The metadata that shows whether a file has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    length: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The manifests in the directory, and the paths that cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Scan {
    files: BTreeMap<PathBuf, Mark>,
    missing: BTreeMap<PathBuf, String>,
}

impl Scan {
    fn new(path: &Path) -> Self {
        let mut scan = Self::default();
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => scan.directory(path, 0),
            // A file that the flag names is read whatever its extension.
            Ok(metadata) => scan.file(path, &metadata),
            Err(error) => scan.unreadable(path, &error),
        }
        scan
    }

    fn directory(&mut self, path: &Path, depth: usize) {
        if depth > MAX_DEPTH {
            let why = format!("it is more than {MAX_DEPTH} directories deep: move it up");
            self.missing.insert(path.to_owned(), why);
            return;
        }
        // `collect` stops at the first unreadable entry: an incomplete listing must not count.
        let entries = fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        let mut names: Vec<PathBuf> = match entries {
            Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect(),
            Err(error) => return self.unreadable(path, &error),
        };
        names.sort();
        for path in names.iter().filter(|path| !hidden(path)) {
            let link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
            match fs::metadata(path) {
                // A linked directory may lead back here. A linked file, as in a mounted ConfigMap, cannot.
                Ok(metadata) if metadata.is_dir() && link => {}
                Ok(metadata) if metadata.is_dir() => self.directory(path, depth + 1),
                Ok(metadata) if is_manifest(path) => self.file(path, &metadata),
                Err(error) if is_manifest(path) => self.unreadable(path, &error),
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn file(&mut self, path: &Path, metadata: &fs::Metadata) {
        let why = if !metadata.is_file() {
            "it is neither a file nor a directory: check --manifests".to_owned()
        } else if metadata.len() > MAX_FILE_BYTES {
            format!("it has more than {MAX_FILE_BYTES} bytes: split it")
        } else if self.files.len() >= MAX_FILES {
            format!("it comes after {MAX_FILES} other manifests: merge some, with --- between them")
        } else {
            let mark = Mark {
                length: metadata.len(),
                inode: metadata.ino(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            };
            self.files.insert(path.to_owned(), mark);
            return;
        };
        // One path too many already makes the result incomplete.
        if self.missing.len() < MAX_FILES {
            self.missing.insert(path.to_owned(), why);
        }
    }

    fn unreadable(&mut self, path: &Path, error: &std::io::Error) {
        self.missing.insert(
            path.to_owned(),
            format!("it cannot be read ({error}): check its path and rights"),
        );
    }
}

/// Whether the path is hidden: `.git`, or the `..data` of a mounted ConfigMap, to which its visible links lead.
fn hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["yaml", "yml", "json"]
            .iter()
            .any(|known| extension == *known)
    })
}

/// Returns the kind of an object that names none: kustomize needs no kind in its own file.
fn default_kind(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    let own = ["kustomization.yaml", "kustomization.yml"].contains(&name);
    own.then_some("Kustomization")
}

fn load(scan: &Scan) -> Snapshot {
    let mut objects: BTreeMap<ObjectId, Object> = BTreeMap::new();
    let mut origin: BTreeMap<ObjectId, &Path> = BTreeMap::new();
    let mut missing: BTreeMap<String, String> = scan
        .missing
        .iter()
        .map(|(path, why)| (path.display().to_string(), why.clone()))
        .collect();
    let mut near_misses = BTreeSet::new();
    for path in scan.files.keys() {
        let shown = path.display().to_string();
        let manifest = read_file(path).and_then(|text| manifest::parse(&text, default_kind(path)));
        let found = match manifest {
            Ok(found) => found,
            Err(why) => {
                missing.insert(shown, why);
                continue;
            }
        };
        for (id, why) in found.near_misses {
            let subject = id.map_or_else(|| Subject::Source(shown.clone()), Subject::Object);
            near_misses.insert((subject, why));
        }
        let mut twice = BTreeSet::new();
        for (id, object) in found.objects {
            if let Some(first) = origin.get(&id) {
                twice.insert(format!("ConfigMap {id} is also in {}", first.display()));
                continue;
            }
            origin.insert(id.clone(), path);
            objects.insert(id, object);
        }
        if !twice.is_empty() {
            let all: Vec<String> = twice.into_iter().collect();
            missing.insert(shown, format!("{}: remove one of them", all.join(", ")));
        }
    }
    Snapshot {
        objects,
        missing,
        near_misses: near_misses.into_iter().take(MAX_NEAR_MISSES).collect(),
        ..Snapshot::default()
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    // The file may have grown since the scan.
    let read =
        File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 > MAX_FILE_BYTES => {
            Err(format!("it has more than {MAX_FILE_BYTES} bytes: split it"))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(format!(
            "it cannot be read ({error}): check its rights, and that it is UTF-8 text"
        )),
    }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
