//! Tables whose rows name the tests that prove them.

use std::collections::BTreeSet;

use super::{files, none, read};

/// Returns the tests in the last column of all tables, and the rows with neither a test nor a reason why there is none.
fn proofs(text: &str) -> (BTreeSet<&str>, Vec<String>) {
    const LEAST: usize = 20;
    let (mut tests, mut unproven) = (BTreeSet::new(), Vec::new());
    let head = |line: &&str| line.ends_with("| test |");
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        let cell = row.rsplit('|').nth(1).unwrap_or_default().trim();
        let name = cell.strip_prefix('`').and_then(|it| it.strip_suffix('`'));
        let reason = cell.strip_prefix("no test: ");
        match name {
            Some(name) => drop(tests.insert(name)),
            None if head(&row) || reason.is_some_and(|it| it.len() > LEAST) => {}
            None => unproven.push(row.to_owned()),
        }
    }
    (tests, unproven)
}

#[test]
fn a_row_without_a_test_or_a_reason_is_found() {
    let text = "| a | b | test |\n|---|---|---|\n| x | used | `is_used` |\n| y | used | – |\n| z | used | no test: |\n\
                | w | used | no test: its address is not on loopback |\n";
    let (tests, unproven) = proofs(text);
    assert_eq!(tests, BTreeSet::from(["is_used"]));
    assert_eq!(unproven, ["| y | used | – |", "| z | used | no test: |"]);
}

/// A table of tests is worthless if the tests have been renamed.
#[test]
fn tests_that_tables_name_exist() {
    let code: Vec<String> = files("src", &["rs"])
        .iter()
        .chain(&files("tests/suite", &["rs"]))
        .map(read)
        .collect();
    for (page, heading) in [
        ("deploy/docs/access.md", "# The ways into"),
        ("tests/README.md", "## Public reports"),
    ] {
        let text = read(page);
        let (_, part) = text.split_once(heading).unwrap();
        let part = part.split("\n## Documents").next().unwrap();
        let (tests, unproven) = proofs(part);
        assert!(tests.len() > 10, "{page}: {tests:?}");
        none("a row names its test, or says why there is none", &unproven);
        for test in tests {
            let head = format!("fn {test}(");
            let found = code.iter().any(|text| text.contains(&head));
            assert!(found, "{page} names a test {test} that does not exist");
        }
    }
}
