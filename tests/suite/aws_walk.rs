//! `tests/aws/run`, which walks a real account, against the stand-in: the walk works, its remains after a kill can be removed, and it keeps
//! resources that it did not create.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::in_memory;
use crate::replica::PROGRAM;
use crate::standin::{REGION, Standin, python};
use crate::testbed;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/aws/run");
const KILLED: i32 = 9;
/// The points at which the script is killed: the step, and the number of the change within it.
const IN_FIRST_STEPS: [(&str, usize); 8] = [
    ("network", 1),
    ("network", 4),
    ("roles", 1),
    ("one-role", 1),
    ("install", 1),
    ("edits", 2),
    ("clean-up", 1),
    ("clean-up", 12),
];
const IN_CHANGES: [(&str, usize); 5] = [
    ("tags", 1),
    ("drift", 1),
    ("remove-zone", 1),
    ("delete", 1),
    ("address", 3),
];
const IN_QUESTIONS: [(&str, usize); 6] = [
    ("failed-creation", 1),
    ("same-token", 2),
    ("failing-change-set", 3),
    ("rollback-failed", 4),
    ("propagation", 5),
    ("prefix-list", 3),
];

/// An account with a foreign network.
pub struct Account {
    pub aws: Standin,
    directory: PathBuf,
    others: Value,
}

impl Account {
    pub fn open(name: &str) -> Self {
        let aws = Standin::take();
        aws.post("world", &json!({ "vpc_cidr": "10.9.0.0/16" }));
        // Each role has exactly the permissions that the script grants.
        aws.settings(json!({ "policies": {}, "nat_pending_ms": 300 }));
        let mut account = Self {
            aws,
            directory: testbed::directory(name),
            others: Value::Null,
        };
        account.others = account.what_is_there();
        account
    }

    fn script(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(SCRIPT);
        command
            .args(arguments)
            .args(["--patience", "60"])
            .env_remove("AWS_PROFILE")
            .env("KSEC_STANDIN_PYTHON", python())
            .env(
                "AWS_ENDPOINT_URL",
                format!("http://127.0.0.1:{}", self.aws.port()),
            )
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", "AKIATESTER0000000000")
            .env("AWS_SECRET_ACCESS_KEY", "none")
            .stdin(Stdio::null());
        command
    }

    pub fn walk(&self, run: &str, steps: &str) -> Command {
        let mut command = self.asking(run, steps);
        command.arg("--yes");
        command
    }

    /// Returns a walk that asks before it starts.
    pub fn asking(&self, run: &str, steps: &str) -> Command {
        let output = self.directory.join(run);
        let mut command = self.script(&["--run", run, "--steps", steps]);
        command.args(["--program", PROGRAM, "--output", output.to_str().unwrap()]);
        command
    }

    /// Returns the whole account, without deleted objects that are only remembered.
    fn what_is_there(&self) -> Value {
        let mut state = self.aws.state();
        let kept = |list: &mut Value, key: &str, gone: &str| {
            list.as_array_mut().unwrap().retain(|one| one[key] != gone);
        };
        kept(&mut state["stacks"], "status", "DELETE_COMPLETE");
        kept(&mut state["nat_gateways"], "state", "deleted");
        state
    }

    pub fn assert_clean(&self, context: &str) {
        assert_eq!(self.what_is_there(), self.others, "{context}");
    }

    /// Walks these steps, and returns the findings.
    fn walked(&self, run: &str, steps: &str) -> Vec<Value> {
        let output = self.walk(run, steps).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        let log = self.directory.join(run).join("controller.log");
        let log = std::fs::read_to_string(log).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(15).collect();
        assert!(output.status.success(), "{text}\n{}", tail.join("\n"));
        self.assert_clean(&text);
        let findings = std::fs::read_to_string(self.directory.join(run).join("findings.json"));
        serde_json::from_str(&findings.unwrap()).unwrap()
    }

    /// Kills the script after the given change of each step was made and before its response arrives. The next run cleans up.
    fn survives(&self, kills: &[(&str, usize)]) {
        for (step, number) in kills {
            let steps = match *step {
                "network" | "roles" => "address",
                "clean-up" => "install",
                step => step,
            };
            let run = format!("kill-{step}-{number}");
            let killed = self
                .walk(&run, steps)
                .env("KSEC_AWS_RUN_DIES", format!("{step}:{number}"))
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&killed.stderr);
            let signal = std::os::unix::process::ExitStatusExt::signal(&killed.status);
            assert_eq!(signal, Some(KILLED), "{run}: {text}");
            let cleaned = self.script(&["--clean-up", &run]).output().unwrap();
            let text = String::from_utf8_lossy(&cleaned.stderr);
            assert!(cleaned.status.success(), "{run}: {text}");
            self.assert_clean(&run);
        }
    }
}

/// Replays a recording on a new account. Returns the exit code, the differences, and standard error.
fn replayed(file: &std::path::Path) -> (Option<i32>, String, String) {
    let fresh = Account::open("aws-replayed");
    let file = file.to_str().unwrap();
    let output = fresh.script(&["--replay", file]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), printed, errors)
}

fn answer<'a>(findings: &'a [Value], question: &str) -> &'a Value {
    let found = findings
        .iter()
        .find(|finding| finding["question"].as_str().unwrap().contains(question));
    &found.unwrap_or_else(|| panic!("nothing about {question}: {findings:#?}"))["answer"]
}

#[test]
fn the_main_job_is_walked_and_leaves_nothing_behind() {
    let account = Account::open("aws-main-job");
    let steps = "one-role,install,edits,remove-zone,delete";
    let findings = account.walked("main-job", steps);
    assert_eq!(answer(&findings, "that were not deleted"), &json!([]));
    for of in ["the stack of one role", "a removed zone", "a deleted stack"] {
        let question = format!("the static IPs of {of} are kept");
        assert_eq!(answer(&findings, &question), &json!(true), "{of}");
    }
}

#[test]
fn changes_of_tags_and_deviations_are_walked() {
    let account = Account::open("aws-deviations");
    let findings = account.walked("deviations", "tags,drift");
    let stayed = answer(&findings, "associations of the static IPs");
    assert_eq!(stayed, &json!(true));
}

#[test]
fn what_the_documents_leave_open_is_asked_and_recorded() {
    let account = Account::open("aws-questions");
    let steps = "failed-creation,address,same-token,failing-change-set,rollback-failed,propagation,prefix-list";
    let findings = account.walked("questions", steps);
    for (question, expected) in [
        ("role releases the EIP of a failed creation", json!(true)),
        ("had back by AllocateAddress", json!(true)),
        ("had back by AWS::EC2::EIP", json!(true)),
        (
            "without DisableRollback ends",
            json!("UPDATE_ROLLBACK_COMPLETE"),
        ),
        (
            "during an update that fails leaves",
            json!("UPDATE_ROLLBACK_FAILED"),
        ),
        ("with ResourcesToSkip", json!("UPDATE_ROLLBACK_COMPLETE")),
        ("changes that the program made about it", json!([])),
    ] {
        assert_eq!(answer(&findings, question), &expected, "{question}");
    }
    let recording = account.directory.join("questions").join("recording.jsonl");
    let recording = std::fs::read_to_string(recording).unwrap();
    let controller = recording.matches(r#""who": "controller""#).count();
    assert!(controller > 20, "the program's calls are recorded, too");
    for secret in ["AKIATESTER", "SecretAccessKey", "questions-", "10.9."] {
        assert!(!recording.contains(secret), "{secret} is in the recording");
    }
}

#[test]
fn what_a_kill_leaves_of_the_first_steps_is_removed() {
    Account::open("aws-kills-first").survives(&IN_FIRST_STEPS);
}

#[test]
fn what_a_kill_leaves_of_changes_and_repairs_is_removed() {
    Account::open("aws-kills-changes").survives(&IN_CHANGES);
}

#[test]
fn what_a_kill_leaves_of_the_open_questions_is_removed() {
    Account::open("aws-kills-questions").survives(&IN_QUESTIONS);
}

#[test]
fn the_script_is_killed_in_each_of_its_steps() {
    let walk = include_str!("../aws/walk.py");
    let steps = walk.split("STEPS = {").nth(1).unwrap();
    let steps = steps.split('}').next().unwrap().lines();
    let steps: Vec<&str> = steps.filter_map(|line| line.split('"').nth(1)).collect();
    assert!(steps.len() >= 13, "{steps:?}");
    let kills = [&IN_FIRST_STEPS[..], &IN_CHANGES, &IN_QUESTIONS].concat();
    for step in steps.into_iter().chain(["network", "roles", "clean-up"]) {
        assert!(kills.iter().any(|(killed, _)| *killed == step), "{step}");
    }
}

/// For a recording of the same implementation, every response equals the recorded one. For a changed recording, the differences are listed.
#[test]
fn a_recording_is_replayed_and_says_where_answers_differ() {
    let account = Account::open("aws-replay");
    account.walked("replay", "install,failing-change-set,delete");
    let file = account.directory.join("replay").join("recording.jsonl");
    let (code, printed, errors) = replayed(&file);
    assert_eq!((code, printed.as_str()), (Some(0), ""), "{errors}");
    let recording = std::fs::read_to_string(&file).unwrap();
    let other = recording.replace("InvalidNatGatewayID.NotFound", "InvalidNatGatewayID.Gone");
    assert_ne!(other, recording);
    let doctored = account.directory.join("doctored.jsonl");
    std::fs::write(&doctored, other).unwrap();
    let (code, printed, errors) = replayed(&doctored);
    assert_eq!(code, Some(2), "{printed}{errors}");
    let named = printed
        .lines()
        .all(|line| line.contains("DescribeStackEvents: StackEvents[]."));
    assert!(
        named && printed.contains("InvalidNatGatewayID.Gone"),
        "{printed}"
    );
    // Known differences are listed next to the recording.
    let known = format!("{}.known", doctored.display());
    std::fs::write(known, &printed).unwrap();
    let (code, unknown, errors) = replayed(&doctored);
    assert_eq!(code, Some(0), "{unknown}{errors}\nknown:\n{printed}");
}

/// The account in memory does what the stand-in does with the same calls. A changed recording differs where it was changed.
#[test]
fn a_recording_is_replayed_in_memory_and_says_where_it_differs() {
    let account = Account::open("aws-in-memory");
    account.walked("in-memory", "install,edits,remove-zone,delete");
    let file = account.directory.join("in-memory").join("recording.jsonl");
    let recording = std::fs::read_to_string(&file).unwrap();
    let outcome = in_memory::replay(&recording);
    assert_eq!(outcome.differences, [""; 0]);
    assert!(outcome.compared > 30, "{}", outcome.compared);
    for (now, other, about) in [
        ("UPDATE_COMPLETE\"", "UPDATE_ROLLBACK_COMPLETE\"", "status"),
        ("\"Action\": \"Remove\"", "\"Action\": \"Add\"", "changes"),
        (
            "\"State\": \"available\"",
            "\"State\": \"failed\"",
            "NAT gateways",
        ),
        (
            "\"AssociationId\":",
            "\"NoAssociation\":",
            "addresses in use",
        ),
        (
            "\"NatGatewayId\": \"nat-",
            "\"GatewayId\": \"nat-",
            "routes",
        ),
    ] {
        let doctored = recording.replace(now, other);
        assert_ne!(doctored, recording, "{about}");
        let found = in_memory::replay(&doctored).differences;
        let named = found.iter().any(|text| text.contains(about));
        assert!(named, "{about}: {found:?}");
    }
}

/// For recordings of AWS itself, if there are any, the account in memory does the same apart from the known differences.
#[test]
fn the_account_in_memory_does_as_aws_did() {
    for path in recordings() {
        let recording = std::fs::read_to_string(&path).unwrap();
        let known = format!("{}.known-in-memory", path.display());
        let known = std::fs::read_to_string(known).unwrap_or_default();
        let mut found = in_memory::replay(&recording).differences;
        found.retain(|text| !known.lines().any(|line| line == text));
        assert_eq!(found, [""; 0], "{}", path.display());
    }
}

/// Returns the recordings of AWS itself.
fn recordings() -> Vec<PathBuf> {
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/aws/recorded");
    let entries = std::fs::read_dir(recorded).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let is_recording = |path: &PathBuf| path.extension().is_some_and(|it| it == "jsonl");
    paths.filter(is_recording).collect()
}

/// For recordings of AWS itself, if there are any, the stand-in's responses are equal apart from the known differences.
#[test]
fn the_stand_in_answers_as_aws_did() {
    for path in recordings() {
        let (code, printed, errors) = replayed(&path);
        assert_eq!(code, Some(0), "{}: {printed}{errors}", path.display());
    }
}

/// A stack that only has the name of the run belongs to another user.
#[test]
fn what_only_has_the_name_of_a_run_is_not_touched() {
    let mut account = Account::open("aws-not-ours");
    let template = json!({ "Resources": { "Address": { "Type": "AWS::EC2::EIP", "Properties": { "Domain": "vpc" } } } });
    account.aws.call(
        "cloudformation",
        "CreateStack",
        &[
            ("StackName", "theirs-probe"),
            ("TemplateBody", &template.to_string()),
        ],
    );
    account.aws.post("finish", &json!({}));
    account.others = account.what_is_there();
    let refused = account.script(&["--clean-up", "theirs"]).output().unwrap();
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("has not the run's tag"), "{text}");
    account.assert_clean(&text);
}
