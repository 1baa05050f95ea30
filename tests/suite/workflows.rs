//! The workflows of .github: what can be checked without a run of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::container::{run, said};
use crate::helm::tool;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_workflows_are_well_formed_and_pin_what_they_run() {
    let mut paths = Vec::new();
    for entry in fs::read_dir(root().join(".github/workflows")).unwrap() {
        paths.push(entry.unwrap().path());
    }
    assert_eq!(paths.len(), 2, "{paths:?}");
    let mut lint = Command::new(tool("KSEC_ACTIONLINT"));
    let output = run(lint
        .args(["-no-color", "-shellcheck=", "-pyflakes="])
        .args(&paths));
    assert!(output.status.success(), "{}", said(&output));
    for path in paths {
        let workflow = fs::read_to_string(&path).unwrap();
        for line in workflow
            .lines()
            .filter_map(|line| line.split_once("uses: "))
        {
            let (_, commit) = line.1.split_once('@').unwrap();
            let (commit, _) = commit.split_once(" # v").unwrap_or((commit, ""));
            let pinned =
                commit.len() == 40 && commit.chars().all(|digit| digit.is_ascii_hexdigit());
            assert!(pinned, "{}: {}", path.display(), line.1);
        }
    }
}

/// The version of Go that a module of the testbed needs, as numbers.
fn go_of(module: &Path) -> Vec<u32> {
    let text = fs::read_to_string(module).unwrap();
    let version = text.lines().find_map(|line| line.strip_prefix("go "));
    let version = version.unwrap_or_else(|| panic!("{}", module.display()));
    version
        .split('.')
        .map(|part| part.parse().unwrap())
        .collect()
}

/// CI and releases do not depend on what a runner has.
#[test]
fn the_workflows_use_the_versions_that_the_scripts_need() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let rust = env!("CARGO_PKG_RUST_VERSION");
    let ci = read(".github/workflows/ci.yaml");
    let image = format!("docker.io/library/rust:{rust}-");
    for (path, wanted) in [
        (
            ".github/workflows/ci.yaml",
            format!("rustup toolchain install {rust} "),
        ),
        (
            ".github/workflows/ci.yaml",
            format!("rustup default {rust}\n"),
        ),
        (
            ".github/workflows/release.yaml",
            format!("container: {image}"),
        ),
        ("deploy/image/Dockerfile", format!("FROM {image}")),
        ("README.md", format!("Rust {rust} ")),
        ("tests/README.md", format!("Rust {rust} ")),
    ] {
        assert!(read(path).contains(&wanted), "{path} must have: {wanted}");
    }
    // The workflow takes the version from the module that needs the newest.
    let at = ci.split_once("go-version-file: ").unwrap().1;
    let file = root().join(at.lines().next().unwrap());
    let newest = go_of(&file);
    let modules = ["", "tools/", "release/", "unittest/"];
    for module in modules.map(|name| root().join(format!("tests/testbed/{name}go.mod"))) {
        assert!(go_of(&module) <= newest, "{}: {newest:?}", module.display());
    }
    let newest: Vec<String> = newest.iter().map(u32::to_string).collect();
    let wanted = format!("Go {}", newest.join("."));
    for path in [
        "tests/testbed/install",
        "tests/testbed/README.md",
        "tests/README.md",
    ] {
        assert!(read(path).contains(&wanted), "{path} must have: {wanted}");
    }
    let first = ci
        .find("actions/setup-go@")
        .unwrap()
        .max(ci.find("rustup default").unwrap());
    assert!(
        first < ci.find("tests/run").unwrap(),
        "the tools come before the tests"
    );
}
