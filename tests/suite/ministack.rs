//! The main job on ministack, an implementation of CloudFormation and EC2 that is not ours: what both refuse or show is not
//! only what we believe of AWS.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::replica::PROGRAM;
use crate::standin::{REGION, python};
use crate::testbed;

/// Ends the server when the pipe to its standard input is closed: at the latest when the test process is gone.
const LEASH: &str = r#"exec 3<&0; "$0" -m aws.second_opinion </dev/null 3<&- & pid=$!; cat <&3 >/dev/null; kill "$pid""#;
const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");

fn interpreter() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let output = Command::new(testbed::script("install"))
            .arg("second-opinion")
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "install: {}", output.status);
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim()
            .strip_prefix("second-opinion=")
            .unwrap()
            .to_owned()
    })
}

struct Ministack {
    port: u64,
    directory: std::path::PathBuf,
    _leash: Child,
}

impl Ministack {
    fn start(name: &str) -> Self {
        let directory = testbed::directory(name);
        let errors = directory.join("ministack.err");
        let mut child = Command::new("bash")
            .args(["-c", LEASH, interpreter()])
            .env("PYTHONPATH", TESTS)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // It writes its data and its process id there.
            .env("TMPDIR", &directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let hello: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("{}", std::fs::read_to_string(&errors).unwrap()));
        Self {
            port: hello["port"].as_u64().unwrap(),
            directory,
            _leash: child,
        }
    }

    /// Walks these steps, and returns what was found out.
    fn walked(&self, steps: &str) -> Vec<Value> {
        let output = self.directory.join("walk");
        let done = Command::new(format!("{TESTS}/aws/run"))
            .args(["--yes", "--no-roles", "--run", "walk", "--steps", steps])
            .args(["--patience", "60", "--program", PROGRAM])
            .args(["--output", output.to_str().unwrap()])
            .env_remove("AWS_PROFILE")
            .env("KSEC_STANDIN_PYTHON", python())
            .env(
                "AWS_ENDPOINT_URL",
                format!("http://127.0.0.1:{}", self.port),
            )
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", "AKIATESTER0000000000")
            .env("AWS_SECRET_ACCESS_KEY", "none")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let log = std::fs::read_to_string(output.join("controller.log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(15).collect();
        let printed = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{printed}\n{}", tail.join("\n"));
        assert!(printed.contains("nothing of walk is left"), "{printed}");
        let findings = std::fs::read_to_string(output.join("findings.json")).unwrap();
        serde_json::from_str(&findings).unwrap()
    }
}

#[test]
fn networks_come_and_go_on_ministack_and_static_ips_stay() {
    Ministack::start("ministack-edits").walked("one-role,edits,tags,remove-zone,delete");
}

#[test]
fn what_somebody_deletes_on_ministack_comes_back() {
    let findings = Ministack::start("ministack-drift").walked("drift,delete");
    let repaired = findings.iter().filter(|finding| {
        let question = finding["question"].as_str().unwrap();
        let calls = finding["answer"].as_array();
        question.starts_with("changes that repaired")
            && calls.is_some_and(|calls| calls.contains(&json!("ExecuteChangeSet")))
    });
    assert_eq!(repaired.count(), 3, "{findings:#?}");
}
