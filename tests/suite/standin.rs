//! The AWS stand-in: it is started when needed, reset for each test, and returns its log.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::{Value, json};

use crate::http;
use crate::lists;
use crate::testbed;

/// The access key of the tests' own calls.
const TESTER: &str = "AKIATESTER0000000000";
/// The prefix of every replica's access key.
pub const REPLICA: &str = "AKIAREPLICA";
/// The prefix of the access key of a replica with a role.
const SESSION: &str = "ASIA";
pub const REGION: &str = "eu-central-1";

/// Ends the server when its standard input is closed, at the latest when the test process ends.
const LEASH: &str =
    r#"exec 3<&0; "$0" "$@" </dev/null 3<&- & pid=$!; cat <&3 >/dev/null; kill "$pid""#;

static POOL: Mutex<Vec<Server>> = Mutex::new(Vec::new());

pub struct Server {
    pub port: u16,
    errors: PathBuf,
    _leash: Child,
}

/// A stand-in of one test. Dropping it returns it to the pool.
pub struct Standin {
    server: Option<Server>,
    errors_before: usize,
}

/// One request in the stand-in's log.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Entry {
    pub n: usize,
    /// The time in milliseconds since 1970.
    pub t: u64,
    pub action: String,
    pub region: Option<String>,
    pub access_key: Option<String>,
    pub user_agent: String,
    pub params: Value,
    pub mutating: bool,
    pub change_set: Option<String>,
    /// For AssumeRoleWithWebIdentity: the pod that the token is bound to, and the access key that it received.
    pub pod: Option<String>,
    pub issued: Option<String>,
    pub token: Option<String>,
    pub result: Option<String>,
    pub fault: Option<String>,
}

/// The NAT gateway and the address of a zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exit {
    pub gateway: String,
    pub allocation: String,
    pub ip: String,
    pub subnet: String,
}

/// Returns the Python interpreter that has the packages of the stand-in and cfn-lint.
pub fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| testbed::installed("standin"))
}

fn start() -> Server {
    serve(
        &[python(), "-m", "standin", "--port", "0"],
        &testbed::directory("standin"),
        &[],
    )
}

/// Starts a server of tests/, which prints its port on its first line.
pub fn serve(command: &[&str], directory: &Path, environment: &[(&str, &Path)]) -> Server {
    let errors = directory.join("stderr");
    let mut child = Command::new("bash")
        .args(["-c", LEASH])
        .args(command)
        .env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&errors).unwrap())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let hello: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
        panic!(
            "{command:?} did not start: {}",
            std::fs::read_to_string(&errors).unwrap()
        )
    });
    let port = hello["port"]
        .as_u64()
        .and_then(|port| port.try_into().ok())
        .unwrap();
    Server {
        port,
        errors,
        _leash: child,
    }
}

impl Standin {
    pub fn take() -> Self {
        let found = POOL.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let server = found.unwrap_or_else(start);
        let mut standin = Self {
            server: Some(server),
            errors_before: 0,
        };
        standin.errors_before = standin.errors().len();
        standin.post("reset", &json!({}));
        standin.settings(json!({ "policies": { REPLICA: rights(), SESSION: rights() } }));
        standin
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub fn port(&self) -> u16 {
        self.server().port
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(&self.server().errors).unwrap_or_default()
    }

    fn control(&self, method: &str, path: &str, body: &str) -> Value {
        let path = format!("/_standin/{path}");
        let answer = http::send(self.port(), method, &path, &[], body).unwrap();
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.control("POST", path, &body.to_string())
    }

    pub fn settings(&self, settings: Value) {
        self.post("settings", &settings);
    }

    pub fn fault(&self, fault: Value) {
        self.post("faults", &fault);
    }

    pub fn clear_faults(&self) {
        self.control("DELETE", "faults", "");
    }

    pub fn state(&self) -> Value {
        self.control("GET", "state", "")
    }

    /// Returns every request since the given one.
    pub fn log_since(&self, number: usize) -> Vec<Entry> {
        let log = self.control("GET", &format!("log?since={number}"), "");
        serde_json::from_value(log["entries"].clone()).unwrap()
    }

    /// Returns the number of the last request. Later requests have higher numbers.
    pub fn mark(&self) -> usize {
        self.control("GET", "log?since=1000000000", "")["last"]
            .as_u64()
            .unwrap()
            .try_into()
            .unwrap()
    }

    /// Returns the changes that replicas made or tried to make since the given request.
    pub fn writes_since(&self, number: usize) -> Vec<Entry> {
        let mut entries = self.log_since(number);
        entries.retain(|entry| entry.mutating && entry.of_replica());
        entries
    }

    /// Returns the number of such calls by replicas.
    pub fn count_since(&self, number: usize, action: &str) -> usize {
        self.log_since(number)
            .iter()
            .filter(|entry| entry.of_replica() && entry.action == action)
            .count()
    }

    /// Sends one call with the tests' own credentials, in AWS's query protocol. Returns the XML of the response.
    pub fn call(&self, service: &str, action: &str, fields: &[(&str, &str)]) -> String {
        let version = if service == "ec2" {
            "2016-11-15"
        } else {
            "2010-05-15"
        };
        let all = [&[("Action", action), ("Version", version)], fields].concat();
        let scope = format!("{TESTER}/20260101/{REGION}/{service}/aws4_request");
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let answer = http::send(self.port(), "POST", "/", &headers, &http::form(&all)).unwrap();
        assert!(
            answer.status < 300,
            "{action}: {} {}",
            answer.status,
            answer.body
        );
        answer.body
    }

    /// Creates a bucket with the tests' own credentials.
    pub fn bucket(&self, name: &str) {
        let scope = format!("{TESTER}/20260101/{REGION}/s3/aws4_request");
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        let place = format!(
            "<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
        );
        let headers = [("Authorization", authorization.as_str())];
        let answer = http::send(self.port(), "PUT", &format!("/{name}"), &headers, &place).unwrap();
        assert!(
            answer.status < 300,
            "bucket {name}: {} {}",
            answer.status,
            answer.body
        );
    }

    /// Returns name and status of every stack that is not deleted.
    pub fn stacks(&self) -> BTreeMap<String, String> {
        let state = self.state();
        let stacks = state["stacks"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        stacks
            .map(|stack| (text(&stack["name"]), text(&stack["status"])))
            .filter(|(_, status)| status != "DELETE_COMPLETE")
            .collect()
    }

    /// Returns the available NAT gateways, by zone.
    pub fn exits(&self) -> BTreeMap<String, Exit> {
        let state = self.state();
        let gateways = state["nat_gateways"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        gateways
            .filter(|gateway| gateway["state"] == "available")
            .map(|gateway| {
                let exit = Exit {
                    gateway: text(&gateway["id"]),
                    allocation: text(&gateway["allocation_id"]),
                    ip: text(&gateway["eip"]),
                    subnet: text(&gateway["subnet"]),
                };
                (text(&gateway["az"]), exit)
            })
            .collect()
    }

    /// Returns the targets of the workers' routes, by table (with its zone) and destination, without the VPC's own and the default route.
    /// A route to a prefix list counts as a route to each entry.
    pub fn routes(&self) -> BTreeMap<(String, String), BTreeMap<String, String>> {
        let state = lists::unfolded(self.state());
        let tables = state["route_tables"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let mut routes = BTreeMap::new();
        for table in tables.filter(|table| table["tags"]["AvailabilityZone"].is_string()) {
            let of_table = table["routes"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|route| {
                    let target = text(&route["target"]);
                    let plain = target.starts_with("local") || target.starts_with("igw-");
                    let state = if route["state"] == "active" {
                        ""
                    } else {
                        " not active"
                    };
                    (!plain).then(|| (text(&route["cidr"]), target + state))
                });
            let key = (text(&table["id"]), text(&table["tags"]["AvailabilityZone"]));
            routes.insert(key, of_table.collect());
        }
        routes
    }

    /// Returns the last requests and the server's own errors, to explain a failure.
    pub fn tail(&self) -> String {
        let log = self.log_since(self.mark().saturating_sub(40));
        let lines: Vec<String> = log.iter().map(Entry::line).collect();
        let errors = self
            .errors()
            .get(self.errors_before..)
            .unwrap_or_default()
            .to_owned();
        format!("{}\n{errors}", lines.join("\n"))
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        let errors = self.errors();
        if let Some(server) = self.server.take() {
            POOL.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(server);
        }
        let new = errors.get(self.errors_before..).unwrap_or_default();
        // A traceback in the server is a failure even if the test succeeded.
        assert!(
            std::thread::panicking() || !new.contains("Traceback"),
            "the stand-in failed: {new}"
        );
    }
}

impl Entry {
    pub fn of_replica(&self) -> bool {
        self.access_key
            .as_ref()
            .is_some_and(|key| key.starts_with(REPLICA) || key.starts_with(SESSION))
    }

    pub fn line(&self) -> String {
        let Self {
            n,
            t,
            action,
            access_key,
            result,
            fault,
            ..
        } = self;
        let (key, result) = (
            access_key.as_deref().unwrap_or("-"),
            result.as_deref().unwrap_or("-"),
        );
        let fault = fault.as_deref().unwrap_or("");
        format!(
            "{n} {}.{:03} {key} {action} {result} {fault}",
            t / 1000 % 1000,
            t % 1000
        )
    }
}

/// Returns the actions in order, for comparisons.
pub fn actions(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.action.as_str()).collect()
}

/// Returns a document of deploy/ with its placeholders replaced.
pub fn shipped(name: &str, fill: &[(&str, &str)]) -> Value {
    let file = format!("{}/deploy/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let mut text = std::fs::read_to_string(file).unwrap();
    for (placeholder, value) in fill {
        text = text.replace(placeholder, value);
    }
    serde_json::from_str(&text).unwrap()
}

/// Returns the permissions of a replica: the policies of deploy/, with or without a role for CloudFormation, for any account, region,
/// bucket and stack of the program.
fn rights() -> Value {
    let any = [
        ("ACCOUNT-ID", "*"),
        ("REGION", "*"),
        ("STACK-NAME", "egress-static-nat*"),
        ("CFN-SERVICE-ROLE", "*"),
        ("TEMPLATE-BUCKET", "*"),
        ("StringEquals\"", "StringLike\""),
    ];
    let policies = ["iam-policy", "iam-policy-with-cfn-role"].map(|name| shipped(name, &any));
    let statements = policies
        .iter()
        .flat_map(|policy| policy["Statement"].as_array().unwrap());
    json!({ "Statement": statements.collect::<Vec<_>>() })
}
