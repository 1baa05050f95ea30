//! An account with a home directory, for tests of what the AWS CLI documents. The client is `plan`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::agent::AGENT;
use crate::forward_proxy::{Heads, serve};
use crate::replica::{PROGRAM, TOKEN, nat_cidr};
use crate::standin::{Entry, REGION, REPLICA, Standin};
use crate::testbed;

pub const ROLE: &str = "arn:aws:iam::123456789012:role/egress";
const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\ndata: {dns: 8.8.8.8}\n\
                          metadata: {name: egress-t1, namespace: default, labels: {egress: static}}\n";

/// An account and a home directory.
pub struct Account {
    pub aws: Standin,
    pub home: PathBuf,
}

/// The result of `plan`.
pub struct Told {
    pub code: Option<i32>,
    pub text: String,
    log: Vec<Entry>,
}

impl Account {
    pub fn open(name: &str) -> Self {
        let (aws, home) = (Standin::take(), testbed::directory(name));
        aws.post("world", &json!({}));
        std::fs::create_dir_all(home.join(".aws/sso/cache")).unwrap();
        std::fs::create_dir(home.join("manifests")).unwrap();
        let account = Self { aws, home };
        account.write("manifests/egress.yaml", CONFIG_MAP);
        account.write("token", TOKEN);
        account
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.home.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.aws.port())
    }

    /// Runs `plan` with exactly this environment, the home directory and a search path.
    pub fn plan(&self, environment: &[(&str, &str)]) -> Told {
        let mark = self.aws.mark();
        let zones = ["a", "b", "c"].map(|letter| {
            let block = nat_cidr(letter);
            [
                format!("--aws-az={REGION}{letter}"),
                format!("--aws-nat-cidr-block={block}"),
            ]
        });
        let output = Command::new(PROGRAM)
            .env_clear()
            .args([
                "plan",
                "--provider=aws",
                "--cluster-id=suite",
                "--manifests",
            ])
            .arg(self.home.join("manifests"))
            .args(zones.as_flattened())
            .env("HOME", &self.home)
            .env("PATH", "/usr/bin:/bin")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Told {
            code: output.status.code(),
            text: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
            log: self.aws.log_since(mark),
        }
    }

    /// Runs `plan` against the stand-in. It succeeds, its calls to EC2 have an access key that begins like this, and every call names the
    /// program.
    pub fn works(&self, what: &str, key: &str, environment: &[(&str, &str)]) -> Told {
        let url = self.url();
        let here = [("AWS_ENDPOINT_URL", url.as_str()), ("AWS_REGION", REGION)];
        let told = self.plan(&[&here[..], environment].concat());
        assert_eq!(told.code, Some(2), "{what}: {}", told.text);
        let keys = told.of("DescribeRouteTables", |call| call.access_key.clone());
        let fits = |used: &Option<String>| used.as_ref().is_some_and(|used| used.starts_with(key));
        let unnamed = told
            .log
            .iter()
            .find(|call| !call.user_agent.starts_with(AGENT));
        assert!(unnamed.is_none(), "{what}: {unnamed:?}");
        assert!(
            !keys.is_empty() && keys.iter().all(fits),
            "{what}: {keys:?}"
        );
        told
    }
}

impl Told {
    pub fn of<T>(&self, action: &str, part: impl Fn(&Entry) -> T) -> Vec<T> {
        let calls = self.log.iter().filter(|call| call.action == action);
        calls.map(part).collect()
    }
}

pub fn key(number: u32) -> String {
    format!("{REPLICA}{number:09}")
}

pub fn keys_of(number: u32) -> String {
    format!(
        "aws_access_key_id = {}\naws_secret_access_key = secret\n",
        key(number)
    )
}

/// Starts a server that answers each path that begins like one of these, the longest first, with its body, and others with 404.
pub fn server(answers: Vec<(&'static str, String)>) -> (u16, Heads) {
    let heads = Heads::default();
    let port = serve(&heads, move |mut stream, heads| {
        let head = heads.read(&mut stream);
        let path = head.split(' ').nth(1).unwrap_or_default();
        let found = answers.iter().filter(|(begin, _)| path.starts_with(begin));
        let body = found
            .max_by_key(|(begin, _)| begin.len())
            .map(|(_, body)| body);
        let status = if body.is_some() {
            "200 OK"
        } else {
            "404 Not Found"
        };
        let body = body.map_or("", String::as_str);
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all((head + body).as_bytes());
    });
    (port, heads)
}
