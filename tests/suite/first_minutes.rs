//! The first minutes of a user: README's section "Try it", with its commands, its log, its edits and its answers.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::memory::status;
use crate::replica::{Launch, PROGRAM, Replica};
use crate::{testbed, wait};

const FOLDER: &str = "deploy/example";
const PAGE: &str = "http://localhost:8080";

fn section() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let (_, section) = readme.split_once("\n## Try it\n").unwrap();
    section.split("\n## ").next().unwrap().to_owned()
}

/// Returns the section's code blocks.
fn blocks() -> Vec<Vec<String>> {
    let section = section();
    let mut blocks: Vec<Vec<String>> = Vec::new();
    let mut inside = false;
    for line in section.lines() {
        let code = line.strip_prefix("    ");
        if let Some(code) = code {
            if !inside {
                blocks.push(Vec::new());
            }
            blocks.last_mut().unwrap().push(code.to_owned());
        }
        inside = code.is_some();
    }
    blocks
}

/// Returns the program's arguments in a block that is one `cargo run`.
fn arguments(block: &[String]) -> Vec<String> {
    let [line] = block else { panic!("{block:?}") };
    let (cargo, arguments) = line.split_once(" -- ").unwrap();
    assert_eq!(cargo, "cargo run --locked --no-default-features");
    arguments.split(' ').map(str::to_owned).collect()
}

/// Checks that the log has these lines in this order. A line of README is a part of the logged one; `…` stands for the rest.
fn has_in_order(log: &str, lines: &[String]) -> Result<(), String> {
    let mut rest = log;
    for line in lines {
        let part = line.trim_end_matches('…').trim();
        let found = rest.find(part);
        let at = found.ok_or_else(|| format!("{part:?} is not in {rest}"))?;
        rest = &rest[at + part.len()..];
    }
    Ok(())
}

/// Returns the state of a route in how many route tables; None if there is no such route.
fn route(status: &Value, cidr: &str) -> Option<(String, usize)> {
    let mut routes = status["routes"].as_array().unwrap().iter();
    let route = routes.find(|route| route["cidr"] == cidr)?;
    let tables = route["routeTables"].as_array().unwrap().len();
    Some((route["state"].as_str().unwrap().to_owned(), tables))
}

/// Returns the state of an entry, and whether it has a remedy.
fn entry(status: &Value, key: &str) -> (String, bool) {
    let mut entries = status["entries"].as_array().unwrap().iter();
    let entry = entries.find(|entry| entry["key"] == key);
    let entry = entry.unwrap_or(&Value::Null);
    let state = entry["state"].as_str().unwrap_or_default();
    (state.to_owned(), entry["remedy"].is_string())
}

fn live(tables: usize) -> Option<(String, usize)> {
    Some(("Live".to_owned(), tables))
}

struct Trial {
    replica: Replica,
    file: std::path::PathBuf,
    check: Vec<String>,
}

impl Trial {
    fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.file).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&self.file, text.replace(from, to)).unwrap();
    }

    /// Waits until the status is as expected.
    async fn shows(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        wait::until(what, || {
            let status = status(&self.replica)?;
            wait::check(holds(&status), || status.to_string())
        })
        .await;
    }

    /// Asks the page as README does.
    fn is_served(&self) {
        let page = self.replica.url("");
        let arguments = self.check.iter().map(|word| match word.as_str() {
            PAGE => page.clone(),
            other => other.to_owned(),
        });
        let output = Command::new(PROGRAM).env_clear().args(arguments).output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("198.51.100.1"),
            "{text}"
        );
    }
}

/// Starts the program with README's command on a copy of the example.
fn start(run: &[String], check: Vec<String>) -> Trial {
    let dir = testbed::directory("first-minutes");
    let copy = dir.join("example");
    std::fs::create_dir(&copy).unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    for file in std::fs::read_dir(example).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    let arguments: Vec<String> = run
        .iter()
        .map(|word| word.replace(FOLDER, copy.to_str().unwrap()))
        .collect();
    let launch = Launch::new(dir, "r1", "default", 1);
    Trial {
        replica: launch.typed(arguments).start(),
        file: copy.join("egress-t1.yaml"),
        check,
    }
}

#[tokio::test]
async fn readme_s_first_minutes_are_as_it_says() {
    let blocks = blocks();
    let [run, log, check] = blocks.as_slice() else {
        panic!("{blocks:?}")
    };
    let edits: Vec<String> = section()
        .lines()
        .filter(|line| line.starts_with("| ") && *line != "| edit | result |")
        .map(str::to_owned)
        .collect();
    assert_eq!(
        edits,
        [
            "| add `quad9: 9.9.9.9/32` under `data` | three routes are created, one in each route table |",
            "| change `8.8.8.8/32` to `8.8.8.8/33` | the entry is refused with a remedy, and its route **stays** |",
            "| change it back and remove a line | its three routes go |",
            "| delete the file | most routes would go: they wait, in case it was a mistake (`LargeRemovalWaits`) |",
        ],
        "the steps below are these"
    );
    let trial = start(&arguments(run), arguments(check));
    let address = trial.replica.url("");
    let lines: Vec<String> = log
        .iter()
        .map(|line| line.replace(PAGE, &address))
        .collect();
    assert!(lines.len() >= 6 && lines[0].contains(&address), "{lines:?}");
    wait::until("the log is README's", || {
        has_in_order(&trial.replica.log(), &lines)
    })
    .await;
    trial.is_served();

    let google = "google-dns: 8.8.8.8/32";
    trial.edit(google, &format!("{google}\n  quad9: 9.9.9.9/32"));
    let added = |status: &Value| route(status, "9.9.9.9/32") == live(3);
    trial.shows("three routes are created", added).await;

    trial.edit("8.8.8.8/32", "8.8.8.8/33");
    let stays = |status: &Value| {
        let refused = entry(status, "google-dns") == ("Refused".to_owned(), true);
        refused && route(status, "8.8.8.8/32") == Some(("Kept".to_owned(), 3))
    };
    trial.shows("it is refused, and routed", stays).await;

    trial.edit("8.8.8.8/33", "8.8.8.8/32");
    trial.edit("\n  quad9: 9.9.9.9/32", "");
    let goes = |status: &Value| {
        let routed = entry(status, "google-dns").0 == "Routed";
        routed && route(status, "9.9.9.9/32").is_none()
    };
    trial.shows("its routes go", goes).await;
    trial.is_served();

    std::fs::remove_file(&trial.file).unwrap();
    let waits = |status: &Value| {
        let mut problems = status["problems"].as_array().unwrap().iter();
        let waits = problems.any(|problem| problem["reason"] == "LargeRemovalWaits");
        waits && route(status, "8.8.8.8/32").is_some_and(|(state, _)| state == "Kept")
    };
    trial.shows("most routes wait", waits).await;
}

#[test]
fn lines_in_another_order_are_found() {
    let lines = ["one …", "two"].map(str::to_owned);
    assert!(has_in_order("INFO one: 1\nINFO two\n", &lines).is_ok());
    assert!(has_in_order("INFO two\nINFO one: 1\n", &lines).is_err());
}
