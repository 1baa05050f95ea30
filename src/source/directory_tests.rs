use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A directory for one test, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("manifests-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("scratch directory");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(&path, text).expect("file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config_map(name: &str, cidr: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  labels: {{egress: static}}\ndata:\n  a: {cidr}\n"
    )
}

fn names(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.objects.keys().map(|id| id.name.as_str()).collect()
}

#[test]
fn manifests_of_all_subdirectories_are_read() {
    let scratch = Scratch::new();
    scratch.write("b.yaml", &config_map("two", "9.9.9.9"));
    scratch.write("a/deep/one.yml", &config_map("one", "8.8.8.8"));
    let json = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"three","labels":{"egress":"static"}}}"#;
    scratch.write("c.json", json);
    scratch.write("README.md", ": not YAML");
    scratch.write(".git/config.yaml", ": not YAML");
    let snapshot = read(&scratch.0);
    assert_eq!(names(&snapshot), ["one", "three", "two"]);
    assert!(snapshot.missing.is_empty(), "{:?}", snapshot.missing);
    let id = ObjectId {
        namespace: "default".to_owned(),
        name: "one".to_owned(),
        ..ObjectId::default()
    };
    assert_eq!(snapshot.objects[&id].data["a"], "8.8.8.8");
}

#[test]
fn a_file_by_name_needs_no_extension() {
    let scratch = Scratch::new();
    let path = scratch.write("manifest", &config_map("one", "8.8.8.8"));
    assert_eq!(names(&read(&path)), ["one"]);
}

#[test]
fn a_bad_file_is_missing_and_the_others_count() {
    let scratch = Scratch::new();
    scratch.write("good.yaml", &config_map("one", "8.8.8.8"));
    let bad = scratch.write(
        "bad.yaml",
        "kind: ConfigMap\nmetadata:\n  name: x\n bad indentation: [\n",
    );
    let binary = scratch.0.join("binary.yaml");
    fs::write(&binary, [0xff, 0xfe, 0x00]).expect("file");
    let big = scratch.write("big.yaml", &"#".repeat(MAX_FILE_BYTES as usize + 1));
    let snapshot = read(&scratch.0);
    assert_eq!(names(&snapshot), ["one"]);
    let missing: Vec<&str> = snapshot.missing.keys().map(String::as_str).collect();
    let mut expected = [&bad, &big, &binary].map(|path| path.to_str().expect("UTF-8"));
    expected.sort_unstable();
    assert_eq!(missing, expected);
    let why = &snapshot.missing[bad.to_str().expect("UTF-8")];
    assert!(why.contains("line 4"), "{why}");
}

#[test]
fn what_is_not_there_is_missing_and_not_empty() {
    let scratch = Scratch::new();
    let snapshot = read(&scratch.0.join("nothing"));
    assert_eq!(snapshot.missing.len(), 1, "{snapshot:?}");
    assert_eq!(
        read(&scratch.0),
        Snapshot::default(),
        "an empty directory is known to be empty"
    );
}

#[test]
fn the_same_config_map_twice_names_both_files() {
    let scratch = Scratch::new();
    let first = scratch.write("a.yaml", &config_map("one", "8.8.8.8"));
    let second = scratch.write("b.yaml", &config_map("one", "9.9.9.9"));
    let snapshot = read(&scratch.0);
    let why = &snapshot.missing[second.to_str().expect("UTF-8")];
    assert!(
        why.contains(first.to_str().expect("UTF-8")) && why.contains("default/one"),
        "{why}"
    );
    assert_eq!(
        snapshot
            .objects
            .values()
            .next()
            .map(|object| object.data["a"].as_str()),
        Some("8.8.8.8")
    );
    scratch.write("b.yaml", "");
    scratch.write(
        "a.yaml",
        &format!("{0}---\n{0}", config_map("one", "8.8.8.8")),
    );
    assert_eq!(read(&scratch.0).missing.len(), 1, "twice in one file, too");
}

#[test]
fn a_mounted_config_map_is_read_through_its_links() {
    let scratch = Scratch::new();
    scratch.write("..2026_01/one.yaml", &config_map("one", "8.8.8.8"));
    let link =
        |to: &str, name: &str| std::os::unix::fs::symlink(to, scratch.0.join(name)).expect("link");
    link("..2026_01", "..data");
    link("..data/one.yaml", "one.yaml");
    link(".", "loop");
    assert_eq!(names(&read(&scratch.0)), ["one"]);
    link("nowhere", "dangling.yaml");
    assert_eq!(
        read(&scratch.0).missing.len(),
        1,
        "a link to nowhere may have meant something"
    );
}

#[test]
fn too_many_files() {
    let scratch = Scratch::new();
    for number in 0..MAX_FILES + 3 {
        scratch.write(&format!("{number:05}.yaml"), "");
    }
    let snapshot = read(&scratch.0);
    assert_eq!(snapshot.missing.len(), 3);
    let path = scratch.0.join("01000.yaml");
    assert!(
        snapshot.missing.contains_key(path.to_str().expect("UTF-8")),
        "the last ones in order"
    );
}

#[tokio::test]
async fn changes_are_published() {
    let scratch = Scratch::new();
    let path = scratch.write("a.yaml", &config_map("one", "8.8.8.8"));
    let (sender, mut receiver) = watch::channel(None);
    let task = tokio::spawn(watch(scratch.0.clone(), sender));
    let mut next = async || {
        tokio::time::timeout(Duration::from_secs(20), receiver.changed())
            .await
            .expect("in time")
            .expect("watched");
        receiver.borrow_and_update().clone().expect("a snapshot")
    };
    assert_eq!(names(&next().await), ["one"]);
    scratch.write("b.yaml", &config_map("two", "9.9.9.9"));
    assert_eq!(names(&next().await), ["one", "two"]);
    fs::remove_file(&path).expect("file");
    assert_eq!(names(&next().await), ["two"]);
    fs::remove_dir_all(&scratch.0).expect("directory");
    let gone = next().await;
    assert_eq!(
        (gone.objects.len(), gone.missing.len()),
        (0, 1),
        "gone is unknown, not empty"
    );
    task.abort();
}

#[test]
fn the_same_again_wakes_nobody() {
    let (sender, mut receiver) = watch::channel(None);
    publish(&sender, Snapshot::default());
    assert!(
        receiver.has_changed().expect("open"),
        "empty is news after unknown"
    );
    receiver.mark_unchanged();
    publish(&sender, Snapshot::default());
    assert!(!receiver.has_changed().expect("open"));
}

#[test]
fn a_change_of_the_same_length_is_seen() {
    let scratch = Scratch::new();
    let path = scratch.write("a.yaml", &config_map("one", "8.8.8.8"));
    let before = Scan::new(&path);
    assert_eq!(before, Scan::new(&path));
    let other = scratch.write("other", &config_map("one", "9.9.9.9"));
    fs::rename(other, &path).expect("rename");
    assert_ne!(before, Scan::new(&path));
}

#[test]
fn near_misses_are_no_doubt_about_what_is_there() {
    let scratch = Scratch::new();
    scratch.write("one.yaml", &config_map("one", "8.8.8.8"));
    scratch.write(
        "two.yaml",
        &config_map("two", "9.9.9.9").replace("static", "Static"),
    );
    let kustomization = "resources: [one.yaml]\ncommonLabels: {egress: static}\n";
    let path = scratch.write("kustomization.yaml", kustomization);
    let snapshot = read(&scratch.0);
    assert_eq!(names(&snapshot), ["one"]);
    assert!(snapshot.is_certain(), "{:?}", snapshot.missing);
    let found: Vec<String> = snapshot
        .near_misses
        .iter()
        .map(|(subject, _)| subject.to_string())
        .collect();
    let source = format!("source {}", path.display());
    assert_eq!(found, ["ConfigMap default/two", source.as_str()]);
}
