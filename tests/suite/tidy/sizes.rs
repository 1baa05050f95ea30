//! Files and functions are short enough to be read in one sitting.

use super::code::{code, item_end};
use super::{files, none, read};

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 70;

#[test]
fn files_are_short() {
    let mut findings = Vec::new();
    for path in ["src", "tests"]
        .iter()
        .flat_map(|directory| files(directory, &["rs"]))
    {
        let lines = read(&path).lines().count();
        if lines > MAX_FILE_LINES {
            findings.push(format!("{} has {lines}", path.display()));
        }
    }
    none(&format!("at most {MAX_FILE_LINES} lines a file"), &findings);
}

#[test]
fn functions_are_short() {
    let mut findings = Vec::new();
    for path in ["src", "tests"]
        .iter()
        .flat_map(|directory| files(directory, &["rs"]))
    {
        let long = functions(&code(&path))
            .into_iter()
            .filter(|(_, lines)| *lines > MAX_FUNCTION_LINES);
        findings
            .extend(long.map(|(name, lines)| format!("{}: {name} has {lines}", path.display())));
    }
    none(
        &format!("at most {MAX_FUNCTION_LINES} lines a function"),
        &findings,
    );
}

/// Returns name and length of every function with a body, from its `fn` to the closing brace.
fn functions(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let inside_word = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let name: String = code[at + 3..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let item = &code[at..at + item_end(&code[at..])];
        if !inside_word && !name.is_empty() && item.ends_with('}') {
            found.push((name, item.lines().count()));
        }
    }
    found
}

#[test]
fn functions_are_found() {
    let code = "trait T { fn a(x: [u8; 2]) -> u8; fn b() -> [u8; 1] {\n\n[0]\n} }\nlet f: fn (u8); pub async fn c() { d }";
    assert_eq!(functions(code), [("b".to_owned(), 4), ("c".to_owned(), 1)]);
}

#[test]
fn the_architecture_is_one_page() {
    let lines = super::read("src/ARCHITECTURE.md").lines().count();
    assert!(
        lines <= 150,
        "src/ARCHITECTURE.md has {lines} lines: move decisions to src/decisions"
    );
}

#[test]
fn every_decision_is_listed() {
    let index = super::read("src/decisions/README.md");
    let pages = super::files("src/decisions", &["md"]).into_iter();
    let names = pages.filter_map(|page| Some(page.file_name()?.to_str()?.to_owned()));
    let missing: Vec<String> = names
        .filter(|name| name != "README.md" && !index.contains(&format!("({name})")))
        .collect();
    super::none("src/decisions/README.md lists every page", &missing);
}
