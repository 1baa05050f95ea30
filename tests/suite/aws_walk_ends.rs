//! `tests/aws/run` starts only if a user agrees, and removes everything after an error and after a signal.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::aws_walk::Account;
use crate::standin::Entry;

#[test]
fn nothing_starts_without_an_answer() {
    let account = Account::open("aws-asking");
    for answer in ["", "\n", "n\n", "yes?\n"] {
        let mark = account.aws.mark();
        let mut asking = account.asking("asking", "install");
        let asking = asking
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = asking.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(answer.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{answer:?}: {text}");
        assert!(
            text.contains("about 2 USD"),
            "it says what it costs: {text}"
        );
        assert!(
            text.contains("give --yes") && !text.contains("Traceback"),
            "{text}"
        );
        let log = account.aws.log_since(mark);
        let changes: Vec<&Entry> = log.iter().filter(|call| call.mutating).collect();
        assert!(changes.is_empty(), "{changes:?}");
        account.assert_clean(&text);
    }
}

#[test]
fn a_step_that_fails_leaves_nothing_behind() {
    let account = Account::open("aws-failing");
    let fault = json!({ "kind": "resource_fails", "logical_id": "NATGateway*", "message": "no" });
    account.aws.fault(fault);
    let mut walk = account.walk("failing", "install");
    // The last value counts.
    let output = walk.args(["--patience", "8"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("tests/aws: error: step install: "), "{text}");
    assert!(
        text.contains("cleans up") && !text.contains("Traceback"),
        "{text}"
    );
    account.assert_clean(&text);
}

#[test]
fn a_signal_ends_the_walk_and_leaves_nothing_behind() {
    for (signal, code) in [("-TERM", 143), ("-HUP", 129), ("-INT", 130)] {
        let account = Account::open("aws-signal");
        let mut walk = account.walk("signal", "edits");
        let walk = walk.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = walk.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        while !text.contains("step edits") {
            assert_ne!(said.read_line(&mut text).unwrap(), 0, "{text}");
        }
        let pid = child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
        said.read_to_string(&mut text).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{text}");
        assert!(
            text.contains("cleans up") && !text.contains("Traceback"),
            "{text}"
        );
        account.assert_clean(&text);
    }
}
