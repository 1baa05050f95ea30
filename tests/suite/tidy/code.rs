//! A minimal parser of Rust: comments, literals, braces, and code that is compiled for tests only.

use std::path::Path;

use super::read;

/// Returns the file's code. Comments and the contents of literals are blanked, and line numbers stay the same.
pub fn code(path: &Path) -> String {
    blank(&read(path))
}

/// Returns the file's code without code that is compiled for tests only; empty for a file of tests.
pub fn shipped(path: &Path) -> String {
    if is_test_file(path) {
        String::new()
    } else {
        untested(path)
    }
}

/// Returns the file's code without its own tests.
pub fn untested(path: &Path) -> String {
    without_tests(&code(path))
}

pub fn is_test_file(path: &Path) -> bool {
    has_tests_only(path) || path.iter().any(|part| part == "simulation")
}

/// Whether the file's name says that it contains only tests and their helpers.
pub fn has_tests_only(path: &Path) -> bool {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    stem == "tests" || stem.ends_with("_tests") || path.iter().any(|part| part == "tests")
}

fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        out.extend(
            chars[at..end]
                .iter()
                .map(|c| if *c == '\n' { '\n' } else { ' ' }),
        );
        at = end;
    }
    out
}

/// Returns the end of the comment or literal that begins at `at`; `at` itself if there is none.
fn literal_end(chars: &[char], at: usize) -> usize {
    let is = |at: usize, c: char| chars.get(at) == Some(&c);
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match chars[at] {
        '/' if is(at + 1, '/') => find(chars, at, "\n"),
        '/' if is(at + 1, '*') => find(chars, at + 2, "*/") + 2,
        '"' => quoted_end(chars, at + 1, '"'),
        'r' if !in_word => {
            let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
            if !is(at + 1 + hashes, '"') {
                return at;
            }
            let end = format!("\"{}", "#".repeat(hashes));
            find(chars, at + 2 + hashes, &end) + end.len()
        }
        // A quote begins a lifetime unless the literal ends one character, or an escape, later.
        '\'' if is(at + 1, '\\') => quoted_end(chars, at + 1, '\''),
        '\'' if is(at + 2, '\'') => at + 3,
        _ => at,
    }
    .min(chars.len())
}

fn find(chars: &[char], from: usize, text: &str) -> usize {
    let text: Vec<char> = text.chars().collect();
    (from..chars.len())
        .find(|at| chars[*at..].starts_with(&text))
        .unwrap_or(chars.len())
}

fn quoted_end(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut rest = code;
    let mut out = String::new();
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        let item = &rest[at + MARK.len()..];
        let end = item_end(item);
        // Line numbers stay the same.
        out.extend(item[..end].chars().filter(|c| *c == '\n'));
        rest = &item[end..];
    }
    out + rest
}

/// Returns the end of the item at the beginning of `code`: its semicolon or closing brace.
pub fn item_end(code: &str) -> usize {
    let (mut braces, mut brackets) = (0, 0);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            '{' => braces += 1,
            '}' => braces -= 1,
            _ => {}
        }
        if (c == '}' && braces == 0) || (c == ';' && braces == 0 && brackets == 0) {
            return at + 1;
        }
    }
    code.len()
}

#[test]
fn comments_and_literals_are_blanked() {
    let text = "let a = \"un\\\"wrap()\"; // panic!\nlet b = r#\"x\"y\"#; let c = '\\''; fn f<'a>(x: &'a str) {} /* z\n */ 'x'";
    let blanked = blank(text);
    assert_eq!(blanked.lines().count(), text.lines().count());
    assert_eq!(
        blanked.split_whitespace().collect::<Vec<_>>().join(" "),
        "let a = ; let b = ; let c = ; fn f<'a>(x: &'a str) {}"
    );
    assert_eq!(
        without_tests("a\n#[cfg(test)]\nmod t;\nb\n#[cfg(test)]\nmod u { fn f() { [1; 2] } }\nc"),
        "a\n\n\nb\n\n\nc"
    );
}
