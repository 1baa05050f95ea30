//! All documents: their links, their pictures, and the length of README.md.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{files, none, read, root};

const MAX_README_WORDS: usize = 1200;

/// Returns every document for users, operators and developers, except the changelog and the decisions.
pub fn all() -> Vec<PathBuf> {
    let mut pages = vec![
        PathBuf::from("README.md"),
        PathBuf::from("src/ARCHITECTURE.md"),
    ];
    for directory in ["deploy", "tests", "charts"] {
        pages.extend(files(directory, &["md"]));
    }
    pages
}

#[test]
fn the_first_page_is_short() {
    let readme = read("README.md");
    let words = readme.split_whitespace().count();
    assert!(
        words <= MAX_README_WORDS,
        "README.md has {words} words: at most {MAX_README_WORDS}; the rest belongs into deploy/docs"
    );
    // Visitors and the CI run the tests with this command.
    assert!(readme.contains("`tests/run`"));
}

/// Returns the anchor of a heading, as GitHub and GitLab make it.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-")
}

/// Returns the error in a link of a page, if there is one.
fn broken(page: &Path, link: &str) -> Option<String> {
    if link.starts_with("http") || link.starts_with("mailto:") {
        return None;
    }
    let (path, section) = link.split_once('#').unwrap_or((link, ""));
    let target = match path {
        "" => root().join(page),
        path => root().join(page).parent().unwrap().join(path),
    };
    let text = std::fs::read_to_string(&target).unwrap_or_default();
    let mut headings = text.lines().filter(|line| line.starts_with('#'));
    let found = section.is_empty() || headings.any(|heading| anchor(heading) == section);
    (!target.exists() || !found).then(|| format!("{}: {link}", page.display()))
}

#[test]
fn links_lead_somewhere() {
    let mut pages = all();
    pages.extend(files("src/decisions", &["md"]));
    let mut findings = Vec::new();
    for page in pages {
        let text = read(&page);
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        findings.extend(links.filter_map(|link| broken(&page, link)));
    }
    none("links lead to files and sections that exist", &findings);
}

#[test]
fn broken_links_are_found() {
    let page = Path::new("README.md");
    assert_eq!(broken(page, "deploy/docs/runbook.md#stop-it-now"), None);
    for link in [
        "deploy/docs/runbok.md",
        "deploy/docs/runbook.md#stop",
        "#nowhere",
    ] {
        assert_eq!(broken(page, link), Some(format!("README.md: {link}")));
    }
}

/// Readers find pages through the index only.
#[test]
fn the_index_names_every_page() {
    let index = read("deploy/README.md");
    let pages = files("deploy/docs", &["md"]);
    let missing = pages.iter().filter_map(|page| {
        let link = format!("]({})", page.strip_prefix("deploy").unwrap().display());
        (!index.contains(&link)).then(|| page.display().to_string())
    });
    none("deploy/README.md links to", &missing.collect::<Vec<_>>());
}

/// The ways in which a command or a manifest creates objects in `kube-system`.
const IN_KUBE_SYSTEM: [&str; 6] = [
    "--namespace kube-system",
    "--namespace=kube-system",
    "-n kube-system",
    "namespace: kube-system",
    "Default: kube-system",
    ":kube-system:",
];

/// Copied commands install the controller into its own namespace. Only the migration out of `kube-system` names that namespace.
#[test]
fn what_is_installed_has_a_namespace_of_its_own() {
    let mut pages = all();
    for directory in ["deploy", "charts", ".github"] {
        pages.extend(files(directory, &["yaml", "json", "tpl", "txt"]));
    }
    let mut findings = Vec::new();
    let mut moves = 0;
    for page in &pages {
        let mut heading = String::new();
        for line in read(page).lines() {
            if line.starts_with('#') {
                heading = line.to_owned();
            }
            let placed = IN_KUBE_SYSTEM.iter().any(|way| line.contains(way));
            if placed && heading == "### Move to another namespace" {
                moves += 1;
            } else if placed {
                findings.push(format!("{}: {line}", page.display()));
            }
        }
    }
    none("nothing is placed in kube-system", &findings);
    assert!(moves > 2, "{moves}");
    assert!(read("README.md").contains("--namespace static-egress --create-namespace"));
}

/// The script that takes the pictures writes the hash of the page.
#[test]
fn the_pictures_show_the_page_as_it_is() {
    let mut parts = files("src/report/page", &["html", "css", "js"]);
    parts.sort();
    let page = Sha256::digest(parts.iter().map(read).collect::<String>());
    let page: String = page.iter().map(|byte| format!("{byte:02x}")).collect();
    let shown = read("deploy/docs/images/page.sha256");
    assert_eq!(
        shown.trim(),
        page,
        "src/report/page has changed since the pictures were taken: run deploy/docs/images/make"
    );
}
