//! The tables in the documents match the code.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Arg, CommandFactory as _};
use kube_static_egress_controller::config::Cli;
use kube_static_egress_controller::model;
use kube_static_egress_controller::model::base::reason::Reason;
use kube_static_egress_controller::model::cloud::status::{Phase, Status};
use kube_static_egress_controller::model::input::annotations::KEYS;

use super::{files, none, pages, read};

const VARIABLES: &str = "KUBE_STATIC_EGRESS_CONTROLLER_";

/// Returns the text between `<!-- name -->` and `<!-- end of name -->` in the one document that has these marks.
pub fn section(name: &str) -> String {
    let (start, end) = (
        format!("<!-- {name} -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let texts: Vec<String> = pages::all().iter().map(read).collect();
    let mut found = texts.iter().filter_map(|text| text.split_once(&start));
    let after = found
        .next()
        .unwrap_or_else(|| panic!("no document has {start}"));
    assert!(found.next().is_none(), "two documents have {start}");
    let text = after.1.split_once(&end);
    let text = text.unwrap_or_else(|| panic!("no document has {end}"));
    text.0.trim().to_owned()
}

/// Returns the first two cells of each row; the first one without its backquotes.
pub fn rows(table: &str) -> Vec<(String, String)> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        Some((
            cells.next()?.trim_end_matches('`').to_owned(),
            cells.next()?.to_owned(),
        ))
    };
    table.lines().filter_map(row).collect()
}

#[test]
fn the_flags() {
    let command = Cli::command();
    let own = [("plan", "Plan"), ("status", "Status and check")];
    let own = own.into_iter().flat_map(|(name, heading)| {
        let subcommand = command.find_subcommand(name).unwrap();
        subcommand
            .get_arguments()
            .filter(move |arg| arg.get_help_heading() == Some(heading))
    });
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let all: Vec<&Arg> = shown.chain(own).collect();
    let mut text = String::new();
    let mut heading = "";
    for arg in &all {
        if arg.get_help_heading() != Some(heading) {
            heading = arg.get_help_heading().unwrap();
            text.push_str(&format!(
                "\n**{heading}**\n\n| flag | default | meaning |\n|---|---|---|\n"
            ));
        }
        text.push_str(&row(arg));
    }
    let expected = text.trim();
    assert!(
        section("flags") == expected,
        "deploy/docs/flags.md must have:\n\n{expected}\n"
    );
}

fn row(arg: &Arg) -> String {
    let help = arg.get_help().unwrap().to_string().replace('|', "\\|");
    let (meaning, told) = help.split_once("Default: ").unwrap_or((&help, "–"));
    let given: Vec<&str> = arg
        .get_default_values()
        .iter()
        .filter_map(|value| value.to_str())
        .collect();
    let default = match given.as_slice() {
        [] => told.trim_end_matches('.').to_owned(),
        [value] => format!("`{value}`"),
        several => panic!("{several:?}"),
    };
    let meaning = meaning.trim().trim_end_matches('.');
    format!(
        "| `--{}` | {default} | {meaning} |\n",
        arg.get_long().unwrap()
    )
}

#[test]
fn every_flag_has_its_variable() {
    for arg in Cli::command().get_arguments() {
        let name = arg.get_long().unwrap().to_uppercase().replace('-', "_");
        let variable = arg.get_env().and_then(|name| name.to_str());
        assert_eq!(variable, Some(format!("{VARIABLES}{name}").as_str()));
    }
}

/// Returns the text of a cell as a terminal shows it: without links and quotes.
fn plain(cell: &str) -> String {
    let mut text = String::new();
    let mut rest = cell;
    while let Some((before, link)) = rest.split_once('[') {
        let (shown, after) = link.split_once("](").unwrap();
        text += &format!("{before}{shown}");
        rest = after.split_once(')').unwrap().1;
    }
    (text + rest).replace('`', "")
}

#[test]
fn the_reasons() {
    let table = section("reasons");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let told: BTreeSet<(String, String)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            (plain(cells[0]), plain(cells[2]))
        })
        .collect();
    let reasons = Reason::ALL.iter();
    let reasons: BTreeSet<(String, String)> = reasons
        .map(|reason| (reason.name().to_owned(), reason.remedy().to_owned()))
        .collect();
    let missing: Vec<_> = reasons.difference(&told).collect();
    let unknown: Vec<_> = told.difference(&reasons).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "deploy/docs/reasons.md lacks {missing:#?} and has {unknown:#?}"
    );
}

/// Each reason occurs in a scenario or in a test.
#[test]
fn every_reason_is_brought_about_by_a_test() {
    let is_test = |path: &PathBuf| {
        let path = path.to_str().unwrap();
        let suite = path.starts_with("tests/") && !path.contains("/tidy");
        // Scenarios count by their outputs, not by the list of reasons without a scenario.
        suite && !path.ends_with("scenarios.rs")
            || path.contains("/tests/")
            || path.ends_with("tests.rs")
    };
    let mut tests = files("src", &["rs"]);
    tests.extend(files("tests", &["rs", "json"]));
    let texts: String = tests.iter().filter(|it| is_test(it)).map(read).collect();
    let is_value = |name: &str| {
        let mut found = texts.split("Reason::").skip(1);
        found.any(|rest| {
            rest.starts_with(name) && !rest[name.len()..].starts_with(char::is_alphanumeric)
        })
    };
    let named = |name: &str| texts.contains(&format!("\"{name}\"")) || is_value(name);
    let names = Reason::ALL.iter().map(|reason| reason.name());
    let missing: Vec<String> = names
        .filter(|name| !named(name))
        .map(str::to_owned)
        .collect();
    none("a test brings each reason about", &missing);
}

#[test]
fn the_spans() {
    let mut spans = BTreeSet::from(["pass", "takeover", "SERVICE.OPERATION"].map(str::to_owned));
    for path in files("src", &["rs"]) {
        for call in read(&path).split("spans::step").skip(1) {
            let name = call.split('"').nth(1).unwrap();
            spans.insert(name.to_owned());
        }
    }
    let table = section("spans");
    let first = table.lines().filter_map(|line| line.split('|').nth(1));
    let quoted = first.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let told: BTreeSet<String> = quoted
        .filter(|name| *name != "EC2.DescribeVpcs")
        .map(str::to_owned)
        .collect();
    assert_eq!(
        told, spans,
        "the spans in deploy/docs/metrics.md and those in src"
    );
}

#[test]
fn the_stack_statuses() {
    let told = rows(&section("statuses"));
    for (status, word) in &told {
        let expected = match Status::read(status).phase() {
            Phase::Settled => "at rest",
            Phase::Busy => "busy",
            Phase::CreateFailed => "creation failed",
            Phase::RollbackFailed => "rollback failed",
            Phase::DeleteFailed => "deletion failed",
            Phase::Review => "never executed",
            Phase::Gone => "gone",
            Phase::Unknown => "unknown",
        };
        assert_eq!(word, expected, "{status}");
    }
    // CloudFormation's API has 23 statuses; the last row is for all others.
    assert_eq!(
        told.iter()
            .map(|(status, _)| status)
            .collect::<BTreeSet<_>>()
            .len(),
        24
    );
}

/// Returns the maximum number of calls with which the controller leaves this status, from deploy/docs/statuses.md.
pub fn most_calls(status: &str) -> usize {
    let table = section("statuses");
    let of = |name: &str| {
        let row = table
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")))?;
        row.split('|').nth(4)?.trim().parse().ok()
    };
    of(status).or_else(|| of("any other")).unwrap_or_else(|| {
        panic!("deploy/docs/statuses.md does not say how many calls {status} takes")
    })
}

/// Returns every word in backquotes in the first cells of a table.
fn names(table: &str) -> BTreeSet<String> {
    let cells = table.lines().filter_map(|line| line.split('|').nth(1));
    let words = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    words.map(str::to_owned).collect()
}

#[test]
fn the_status() {
    let status = serde_json::to_value(model::status::Status::default()).unwrap();
    let fields: BTreeSet<String> = status.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names(&section("status")), fields);
    for part in ["leader", "stack", "plan", "counts", "omitted"] {
        let told = section("status");
        for field in status[part].as_object().unwrap().keys() {
            assert!(told.contains(&format!("`{field}`")), "{part}: {field}");
        }
    }
    // Returns the names of an enum's values from its file.
    let named = |file: &str, from: &str| -> BTreeSet<String> {
        let text = read(file);
        let part = text
            .split_once(from)
            .unwrap()
            .1
            .split_once("\n}")
            .unwrap()
            .0;
        part.split("=> \"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(
        names(&section("states")),
        named("src/model/status.rs", "impl State {")
    );
    assert_eq!(
        names(&section("events")),
        named("src/model/status/notifications.rs", "impl Kind {")
    );
}

#[test]
fn the_ledger() {
    let file = read("src/model/persisted/ledger.rs");
    let document = file.split_once("\nstruct Document {").unwrap().1;
    let document = document.split_once("\n}").unwrap().0;
    let fields = document.lines().filter_map(|line| {
        let (name, _) = line.trim().split_once(": ")?;
        let is_name = name.bytes().all(|it| it == b'_' || it.is_ascii_lowercase());
        is_name.then(|| camel_case(name))
    });
    assert_eq!(names(&section("ledger")), fields.collect());
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |text, word| {
        let (head, rest) = word.split_at(1);
        text + &head.to_uppercase() + rest
    })
}

#[test]
fn the_annotations() {
    let told = names(&section("annotations"));
    assert_eq!(told, KEYS.map(str::to_owned).into());
}

#[test]
fn the_metrics() {
    let code: String = files("src/report", &["rs"]).iter().map(read).collect();
    let registered = code
        .split("registry.register(")
        .skip(1)
        .filter_map(|call| call.split('"').nth(1));
    let registered: BTreeSet<String> = registered
        .map(|name| format!("kube_static_egress_controller_{name}"))
        .collect();
    let told: BTreeSet<String> = rows(&section("metrics"))
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        told, registered,
        "the metrics in deploy/docs/metrics.md and those in src/report"
    );
}

#[test]
fn the_example() {
    let manifest = read("deploy/example/egress-t1.yaml");
    let body: Vec<&str> = manifest
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    for page in ["README.md", "deploy/docs/teams.md"] {
        let shown = read(page).contains(&body.join("\n"));
        assert!(shown, "{page} must show deploy/example/egress-t1.yaml");
    }
}
