//! Decisions compare values, not texts: texts of AWS, Kubernetes and the ledger are parsed into a type in one file.

use super::code::shipped;
use super::{files, none, read};

/// Folders whose code decides about changes of the stack.
const FOLDERS: [&str; 2] = ["src/model", "src/provider/aws"];

/// Files that parse texts into types, and the texts that each parses.
const SEAMS: [(&str, &str); 12] = [
    ("src/model/base/owner.rs", "client request tokens"),
    ("src/model/cloud/live.rs", "keys of tags"),
    ("src/model/cloud/network.rs", "targets of routes"),
    ("src/model/cloud/observed.rs", "ids of EC2"),
    ("src/model/cloud/prefix_list.rs", "states of prefix lists"),
    ("src/model/plan/diff.rs", "properties of templates"),
    (
        "src/model/plan/patched_template.rs",
        "intrinsic functions of templates",
    ),
    ("src/model/base/problem.rs", "messages with their remedies"),
    ("src/model/status/from_plan.rs", "ARNs"),
    ("src/provider/aws/codes.rs", "codes and texts of errors"),
    ("src/provider/aws/prefix_lists.rs", "names of prefix lists"),
    ("src/provider/aws/operation.rs", "resource types of events"),
];

const COMPARISONS: [&str; 7] = [
    "starts_with(",
    "ends_with(",
    "contains(",
    "strip_prefix(",
    "== ",
    "!= ",
    "== Some(",
];

/// Returns the lines of shipped code that compare with a literal text.
fn comparisons(raw: &str, shipped: &str) -> Vec<usize> {
    let lines = (1..).zip(raw.lines().zip(shipped.lines()));
    let compares = |(_, (raw, code)): &(usize, (&str, &str))| {
        let mut found = COMPARISONS.iter();
        found.any(|it| code.contains(it) && raw.contains(&format!("{it}\"")))
    };
    lines.filter(compares).map(|(number, _)| number).collect()
}

#[test]
fn decisions_compare_no_texts() {
    let mut findings = Vec::new();
    let mut seams: Vec<&str> = SEAMS.iter().map(|(file, _)| *file).collect();
    for path in FOLDERS.iter().flat_map(|folder| files(folder, &["rs"])) {
        let found = comparisons(&read(&path), &shipped(&path));
        let name = path.to_str().unwrap();
        if SEAMS.iter().any(|(file, _)| *file == name) {
            seams.retain(|file| *file != name || found.is_empty());
        } else {
            findings.extend(found.iter().map(|line| format!("{name}:{line}")));
        }
    }
    none("a text is read into a type first", &findings);
    none(
        "a file that compares no texts is no exception",
        &seams.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>(),
    );
}

#[test]
fn comparisons_with_texts_are_found() {
    let raw = "a == \"b\"\na == b\n// a == \"b\"\nx.starts_with(\"b\")\nx.starts_with('b')\n";
    let code = "a == \na == b\n\nx.starts_with(   )\nx.starts_with(   )\n";
    assert_eq!(comparisons(raw, code), [1, 4]);
}
