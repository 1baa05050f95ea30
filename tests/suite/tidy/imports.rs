//! The files of `src` do not import each other in circles, and the model's folders import only downwards.

use std::collections::{BTreeMap, BTreeSet};

use super::code::{has_tests_only, untested};
use super::layers::module;
use super::{files, none};

/// The model's folders, from the lowest to the highest. Folders of one rank do not import each other.
const RANKS: [&[&str]; 8] = [
    &["base"],
    &["input", "cloud"],
    &["persisted"],
    &["desired"],
    &["drift"],
    &["plan"],
    &["status"],
    &["schedule"],
];

/// Folders whose files may import each other in a circle.
const CIRCLES: [&str; 1] = ["simulation"];

/// Returns the imports of each file, except for files of tests, by module path such as `model::plan::types`.
fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let paths = files("src", &["rs"]).into_iter();
    let paths: Vec<_> = paths.filter(|path| !has_tests_only(path)).collect();
    let name = |path: &std::path::PathBuf| module(path).replace('/', "::");
    let modules: BTreeSet<String> = paths.iter().map(name).collect();
    let imports = |path| {
        let own = name(path);
        let found = imports(&untested(path), &own).into_iter();
        let found = found.filter_map(|path| owner(&path, &modules));
        let found = found.filter(|other| *other != own).collect();
        (own, found)
    };
    paths.iter().map(imports).collect()
}

/// Returns the longest prefix of a path that is a file.
fn owner(mut path: &str, modules: &BTreeSet<String>) -> Option<String> {
    while !modules.contains(path) {
        path = path.rsplit_once("::")?.0;
    }
    Some(path.to_owned())
}

/// Returns the absolute paths, without `crate`, that the code of a module names.
pub fn imports(code: &str, module: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let before = &code[..at];
            let in_word = before.ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c));
            if !in_word && !before.ends_with("pub(in ") {
                expand(&code[at..], "", &mut found);
            }
        }
    }
    let absolute = |path: String| {
        let mut base: Vec<&str> = module.split("::").collect();
        let mut rest = path.split("::").filter(|part| !part.is_empty()).peekable();
        if rest.next_if_eq(&"crate").is_some() {
            base.clear();
        }
        while rest.next_if_eq(&"super").is_some() {
            base.pop();
        }
        let all = base.into_iter().chain(rest.filter(|part| *part != "self"));
        all.collect::<Vec<_>>().join("::")
    };
    found.into_iter().map(absolute).collect()
}

/// Adds the paths at the beginning of a text, with all braces expanded. Returns the length of their text.
fn expand(text: &str, prefix: &str, found: &mut Vec<String>) -> usize {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let length = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let path = format!("{prefix}{}", &text[..length]);
    let Some(list) = text[length..]
        .strip_prefix('{')
        .filter(|_| path.ends_with("::"))
    else {
        found.push(path);
        return length;
    };
    let mut at = 0;
    while !list[at..].starts_with('}') && at < list.len() {
        let skipped = list[at..]
            .find(|c| is_part(c) || c == '}')
            .unwrap_or(list.len() - at);
        at += skipped;
        if !list[at..].starts_with('}') {
            at += expand(&list[at..], &path, found).max(1);
        }
    }
    length + 1 + at + 1
}

/// Returns the files that a file imports, directly or through others.
fn reachable<'a>(
    graph: &'a BTreeMap<String, BTreeSet<String>>,
    from: &'a str,
) -> BTreeSet<&'a str> {
    let (mut seen, mut pending) = (BTreeSet::new(), vec![from]);
    while let Some(file) = pending.pop() {
        for next in graph.get(file).into_iter().flatten() {
            if seen.insert(next.as_str()) {
                pending.push(next);
            }
        }
    }
    seen
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let graph = graph();
    let is_known = |file: &str| CIRCLES.iter().any(|folder| file.starts_with(folder));
    let in_circle = |file: &&String| reachable(&graph, file).contains(file.as_str());
    let circle: Vec<String> = graph.keys().filter(in_circle).cloned().collect();
    let (known, new): (Vec<_>, Vec<_>) = circle.into_iter().partition(|file| is_known(file));
    none("no file imports itself through others", &new);
    for folder in CIRCLES {
        let left = known.iter().any(|file| file.starts_with(folder));
        assert!(
            left,
            "{folder} has no circle any more: remove it from CIRCLES"
        );
    }
}

#[test]
fn the_model_imports_downwards() {
    let rank = |module: &str| {
        let folder = module.strip_prefix("model::")?.split("::").next()?;
        let rank = RANKS.iter().position(|folders| folders.contains(&folder));
        Some((
            rank.unwrap_or_else(|| panic!("{folder} has no rank")),
            folder.to_owned(),
        ))
    };
    let mut by_folder: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut findings = Vec::new();
    for (file, imports) in graph() {
        let Some((own, folder)) = rank(&file) else {
            continue;
        };
        for import in imports {
            let Some((other, below)) = rank(&import) else {
                findings.push(format!(
                    "{file} imports {import}, which is outside of the model"
                ));
                continue;
            };
            if other >= own && below != folder {
                findings.push(format!("{file} imports {import}"));
            }
            by_folder.entry(folder.clone()).or_default().insert(below);
        }
    }
    for (folder, mut below) in by_folder {
        below.remove(&folder);
        println!(
            "{folder} → {}",
            below.into_iter().collect::<Vec<_>>().join(", ")
        );
    }
    none("the model's folders import only downwards", &findings);
}

#[test]
fn imports_are_found() {
    let code = "use crate::a::{B, c::{self, D}};\nuse super::e::F;\nlet x = super::super::g();\n";
    let expected = ["a::B", "a::c", "a::c::D", "m::n::e::F", "m::g"];
    assert_eq!(imports(code, "m::n::o"), expected);
}
