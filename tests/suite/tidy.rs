//! Rules that no compiler checks: layers, sizes, wording, and documents that match the program.

mod chart;
mod code;
mod decisions;
mod deploy;
pub mod docs;
mod iam;
mod imports;
mod layers;
mod monitoring;
mod pages;
mod proofs;
mod sizes;
pub mod values;
mod wording;

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns every file below `directory` with one of these extensions, sorted, relative to the root.
fn files(directory: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root().join(directory)];
    while let Some(directory) = pending.pop() {
        let entries = fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        for path in entries.map(|entry| entry.unwrap().path()) {
            let extension = path
                .extension()
                .and_then(|extension| extension.to_str())
                .unwrap_or_default();
            if path.is_dir() {
                pending.push(path);
            } else if extensions.contains(&extension) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Fails with all findings at once.
fn none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

#[test]
fn no_promises_are_left_in_the_text() {
    // Assembled here, so that this file does not match itself.
    let words = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["XX", "X"].concat(),
    ];
    let extensions = [
        "rs", "md", "toml", "yaml", "yml", "tpl", "txt", "json", "py", "sh", "mod",
    ];
    let mut findings = Vec::new();
    let mut paths: Vec<PathBuf> = ["src", "tests", "charts", "deploy"]
        .iter()
        .flat_map(|directory| files(directory, &extensions))
        .collect();
    paths.extend(["README.md", "CHANGELOG.md", "Cargo.toml", "deny.toml"].map(PathBuf::from));
    for path in paths {
        for (number, line) in (1..).zip(read(&path).lines()) {
            if words.iter().any(|word| line.contains(word.as_str())) {
                findings.push(format!("{}:{number}: {}", path.display(), line.trim()));
            }
        }
    }
    none("what is to be done belongs into an issue", &findings);
}

#[test]
fn one_version_of_the_kubernetes_types() {
    let lock = read("Cargo.lock");
    let count = lock
        .lines()
        .filter(|line| *line == "name = \"k8s-openapi\"")
        .count();
    assert_eq!(
        count, 1,
        "kube and kube-leader-election must share k8s-openapi: see its version in Cargo.toml"
    );
}
