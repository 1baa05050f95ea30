//! The main job on ministack, another implementation of CloudFormation and EC2. It confirms that the stand-in's behaviour is not only this
//! project's assumption about AWS.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::replica::PROGRAM;
use crate::standin::{REGION, Server, python, serve};
use crate::testbed;

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");

struct Ministack {
    server: Server,
    directory: PathBuf,
}

impl Ministack {
    fn start(name: &str) -> Self {
        static PYTHON: OnceLock<String> = OnceLock::new();
        let python = PYTHON.get_or_init(|| testbed::installed("second-opinion"));
        let directory = testbed::directory(name);
        let command = [python, "-m", "aws.second_opinion"];
        // ministack writes its data and its process id there.
        let server = serve(&command, &directory, &[("TMPDIR", &directory)]);
        Self { server, directory }
    }

    /// Walks these steps, and returns the findings.
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
                format!("http://127.0.0.1:{}", self.server.port),
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
