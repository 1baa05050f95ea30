//! Plain English in comments, messages and documents.

use std::path::Path;

use super::code::code;
use super::{files, none, pages, read};

/// Words that are hard to read. A comment or message names the thing instead.
const RETIRED: [&str; 9] = [
    "anew", "bears", "gone on", "in vain", "mended", "somebody", "thereof", "told", "whoever",
];

/// Phrases without a clear noun or verb.
const VAGUE: [&str; 20] = [
    "anybody",
    "as good as",
    "by turns",
    "comes to",
    "ever more seldom",
    "for ever",
    "go on",
    "goes on",
    "hang on",
    "hangs on",
    "is believed",
    "it is about",
    "looked at",
    "looks at",
    "people",
    "set right",
    "taken out",
    "to be had",
    "what becomes",
    "what is there",
];

/// The part of a logical id in live stacks that cannot be renamed.
const LOGICAL_ID: &str = "\"Anew\"";

/// Returns the comments and literals of each line, without tests of the same file.
fn texts(path: &Path) -> Vec<String> {
    let raw = read(path);
    let shipped = raw.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    let text: String = shipped
        .chars()
        .zip(code(path).chars())
        .map(|(raw, code)| if raw == code && raw != '\n' { ' ' } else { raw })
        .collect();
    text.lines().map(str::to_owned).collect()
}

/// Returns the words of a text with one space around each. A key such as `told.json`, or a name with a placeholder, is one word.
fn words(text: &str) -> String {
    let separator = |c: char| !(c.is_alphanumeric() || "._{}".contains(c));
    let words = text.split(separator).map(|word| word.trim_matches('.'));
    let words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    format!(" {} ", words.join(" "))
}

/// Returns the faults of a line.
fn faults(text: &str) -> Vec<String> {
    let words = words(&text.replace(LOGICAL_ID, ""));
    let found = RETIRED
        .iter()
        .chain(&VAGUE)
        .filter(|word| words.contains(&format!(" {word} ")));
    let mut found: Vec<String> = found.map(|word| format!("{word:?}")).collect();
    if text.trim_start().starts_with("/// Of ") {
        found.push("a doc comment starts with \"Of\"".to_owned());
    }
    found
}

#[test]
fn comments_and_messages_use_plain_words() {
    let mut findings = Vec::new();
    for path in files("src", &["rs"]) {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if stem.ends_with("tests") || path.iter().any(|part| part == "tests") {
            continue;
        }
        let name = path.display().to_string();
        for (number, text) in (1..).zip(texts(&path)) {
            let found = faults(&text).into_iter();
            findings.extend(found.map(|fault| format!("{name}:{number}: {fault}")));
        }
    }
    none(
        "a comment or message names the thing, in plain words",
        &findings,
    );
}

/// Everything that users and operators read, and the texts of the chart. The names of tests in the documents may have any words.
#[test]
fn documents_and_the_chart_use_plain_words() {
    let mut paths = pages::all();
    paths.extend(files("charts", &["yaml", "json", "tpl", "txt"]));
    paths.extend(files("src/decisions", &["md"]));
    paths.extend(files(".github", &["md"]));
    let more = [
        "CHANGELOG.md",
        "deploy/example-values.yaml",
        "deploy/iam.cloudformation.yaml",
    ];
    paths.extend(more.map(Into::into));
    let mut findings = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        for (number, line) in (1..).zip(read(&path).lines()) {
            let found = faults(line).into_iter();
            findings.extend(found.map(|fault| format!("{name}:{number}: {fault}: {line}")));
        }
    }
    none("a document names the thing, in plain words", &findings);
}

#[test]
fn retired_words_are_found() {
    assert_eq!(
        faults("/// Of one request."),
        ["a doc comment starts with \"Of\""]
    );
    assert_eq!(
        faults("// made anew, IN VAIN."),
        ["\"anew\"", "\"in vain\""]
    );
    for text in ["split(\"Anew\")", "\"told.json\"", "// a renewed Lease"] {
        assert!(faults(text).is_empty(), "{text}");
    }
    assert_eq!(faults("// It is looked at again."), ["\"looked at\""]);
    let own = texts(Path::new("tests/suite/tidy/wording.rs"));
    assert!(own[0].contains("Plain English") && own[2].trim().is_empty());
}
