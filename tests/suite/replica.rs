//! Replicas: the real program, started as in the chart.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::http;
use crate::standin::{REGION, REPLICA};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_kube-static-egress-controller");

/// A token as the API server issues it for sts.amazonaws.com, but with a signature that the stand-in does not check.
pub const TOKEN: &str =
    "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOlsic3RzLmFtYXpvbmF3cy5jb20iXSwiZXhwIjo0MDAwMDAwMDAwfQ.-";

/// The configuration of a replica that starts.
#[derive(Clone)]
pub struct Launch {
    pub dir: PathBuf,
    pub name: String,
    pub namespace: String,
    pub standin_port: u16,
    program: PathBuf,
    /// Environment variables besides those of a pod.
    environment: Vec<(&'static str, String)>,
    /// The shell commands that run before the shell becomes the program.
    before: Vec<String>,
    /// The letters of the configured zones, in this order.
    zones: Vec<&'static str>,
    flags: BTreeMap<&'static str, String>,
    more: Vec<String>,
    role: bool,
    /// The name of the AWS profile with the credentials.
    profile: Option<&'static str>,
}

/// The secret access key of all replicas.
pub const SECRET: &str = "unmistakable-secret-key";

/// Returns the CIDR of a zone's NAT subnet, by the zone's letter.
pub fn nat_cidr(letter: &str) -> String {
    let number = letter.bytes().next().unwrap() - b'a';
    format!("172.31.200.{}/28", u32::from(number) * 16)
}

impl Launch {
    pub fn new(dir: PathBuf, name: &str, namespace: &str, standin_port: u16) -> Self {
        let kubeconfig = dir.join("kubeconfig").to_str().unwrap().to_owned();
        let flags = [
            ("provider", "aws"),
            ("cluster-id", "suite"),
            ("namespace", namespace),
            ("kubeconfig", kubeconfig.as_str()),
            ("resync-interval", "10s"),
            // Tests remove most of their few networks at once.
            ("max-removal", "100"),
            ("leader-elect-lease-duration", "4s"),
            ("leader-elect-renew-deadline", "3s"),
            ("leader-elect-retry-period", "500ms"),
            ("log-level", "debug"),
        ];
        Self {
            dir,
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            standin_port,
            program: PathBuf::from(PROGRAM),
            environment: Vec::new(),
            before: Vec::new(),
            zones: vec!["a", "b", "c"],
            flags: flags
                .into_iter()
                .map(|(flag, value)| (flag, value.to_owned()))
                .collect(),
            more: Vec::new(),
            role: false,
            profile: None,
        }
    }

    /// Uses the arguments of the Deployment, and adds only how to reach the cluster.
    pub fn deployed(mut self) -> Self {
        self.flags
            .retain(|flag, _| ["kubeconfig", "namespace"].contains(flag));
        self.zones.clear();
        self.more = crate::chart::arguments();
        self
    }

    /// Uses exactly these arguments.
    pub fn typed(mut self, arguments: Vec<String>) -> Self {
        self.flags.clear();
        self.zones.clear();
        self.more = arguments;
        self
    }

    pub fn flag(mut self, flag: &'static str, value: &str) -> Self {
        self.flags.insert(flag, value.to_owned());
        self
    }

    pub fn without(mut self, flag: &'static str) -> Self {
        self.flags.remove(flag);
        self
    }

    pub fn arg(mut self, argument: &str) -> Self {
        self.more.push(argument.to_owned());
        self
    }

    /// Uses a role through the service account's token (IRSA) instead of access keys.
    pub fn role(mut self) -> Self {
        std::fs::write(self.dir.join("aws-token"), TOKEN).unwrap();
        self.role = true;
        self
    }

    /// Uses this profile of the file `aws-config` in the replica's directory instead of access keys.
    pub fn profile(mut self, name: &'static str, lines: &str) -> Self {
        let text = format!("[profile {name}]\n{lines}");
        std::fs::write(self.dir.join("aws-config"), text).unwrap();
        self.profile = Some(name);
        self
    }

    /// Runs another build of the program.
    pub fn program(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    pub fn zones(mut self, letters: &[&'static str]) -> Self {
        self.zones = letters.to_vec();
        self
    }

    pub fn env(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// Sets another Lease duration, and the other times in client-go's proportions.
    pub fn lease(self, seconds: u32) -> Self {
        let tenths = |share: u32| format!("{}ms", seconds * share * 100);
        self.flag("leader-elect-lease-duration", &format!("{seconds}s"))
            .flag("leader-elect-renew-deadline", &tenths(7))
            .flag("leader-elect-retry-period", &tenths(1))
    }

    /// Sets the port of AWS.
    pub fn aws_port(mut self, port: u16) -> Self {
        self.standin_port = port;
        self
    }

    /// Uses the default times, which are client-go's.
    pub fn default_lease(self) -> Self {
        self.without("leader-elect-lease-duration")
            .without("leader-elect-renew-deadline")
            .without("leader-elect-retry-period")
    }

    /// Runs the process in this control group, from its first instruction.
    pub fn within(mut self, cgroup: &Path) -> Self {
        let processes = cgroup.join("cgroup.procs");
        self.before
            .push(format!("echo $$ >'{}'", processes.display()));
        self
    }

    /// Limits the number of open files.
    pub fn open_files(mut self, most: u32) -> Self {
        self.before.push(format!("ulimit -n {most}"));
        self
    }

    pub fn access_key(&self) -> String {
        format!("{REPLICA}{:0>9}", self.name.to_uppercase())
    }

    pub fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = self
            .flags
            .iter()
            .map(|(flag, value)| format!("--{flag}={value}"))
            .collect();
        for letter in &self.zones {
            arguments.push(format!("--aws-az={REGION}{letter}"));
            arguments.push(format!("--aws-nat-cidr-block={}", nat_cidr(letter)));
        }
        arguments.extend(self.more.iter().cloned());
        arguments
    }

    /// Returns the command with the environment of a pod, and without the tests' environment.
    pub fn command(&self) -> Command {
        let mut command = if self.before.is_empty() {
            Command::new(&self.program)
        } else {
            let script = format!(r#"{} && exec "$0" "$@""#, self.before.join(" && "));
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &script]).arg(&self.program);
            shell
        };
        command
            .env_clear()
            .env(
                "AWS_ENDPOINT_URL",
                format!("http://127.0.0.1:{}", self.standin_port),
            )
            .env("AWS_REGION", REGION)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("POD_NAME", &self.name)
            .env("POD_NAMESPACE", &self.namespace)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        if self.role {
            command
                .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/controller")
                .env("AWS_WEB_IDENTITY_TOKEN_FILE", self.dir.join("aws-token"));
        } else if let Some(profile) = self.profile {
            command
                .env("HOME", &self.dir)
                .env("AWS_PROFILE", profile)
                .env("AWS_CONFIG_FILE", self.dir.join("aws-config"));
        } else {
            command
                .env("AWS_ACCESS_KEY_ID", self.access_key())
                .env("AWS_SECRET_ACCESS_KEY", SECRET);
        }
        command
    }

    pub fn start(self) -> Replica {
        let port = free_port();
        let log = self.dir.join(format!("{}-{port}.log", self.name));
        let file = std::fs::File::create(&log).unwrap();
        let child = self
            .command()
            .args(self.arguments())
            .arg(format!("--address=127.0.0.1:{port}"))
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let access_key = self.access_key();
        Replica {
            child,
            name: self.name,
            access_key,
            port,
            log,
        }
    }
}

/// A running replica. Dropping it kills the process.
pub struct Replica {
    child: Child,
    pub name: String,
    pub access_key: String,
    port: u16,
    log: PathBuf,
}

impl Replica {
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Checks that a line of the log contains all of these texts.
    pub fn said(&self, texts: &[&str]) -> Result<(), String> {
        let found = self
            .log()
            .lines()
            .any(|line| texts.iter().all(|text| line.contains(text)));
        if found {
            Ok(())
        } else {
            Err(format!("{} has not logged {texts:?}", self.name))
        }
    }

    /// Returns when each line with all of these texts was logged, on the replica's clock.
    pub fn when(&self, texts: &[&str]) -> Vec<Timestamp> {
        self.log()
            .lines()
            .filter(|line| texts.iter().all(|text| line.contains(text)))
            .filter_map(|line| line.split(' ').next()?.parse().ok())
            .collect()
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn get(&self, path: &str) -> Result<http::Answer, String> {
        http::get(self.port, path).map_err(|error| format!("{} {path}: {error}", self.name))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Opens a connection to the replica's port, and sends nothing.
    pub fn connect(&self) -> TcpStream {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap()
    }

    pub fn answers(&self, path: &str) -> Result<(), String> {
        let answer = self.get(path)?;
        if answer.status == 200 {
            Ok(())
        } else {
            Err(format!("{path}: {answer:?}"))
        }
    }

    /// Panics unless the process runs, is healthy and ready.
    pub fn assert_well(&mut self) {
        assert!(self.is_alive(), "{} has ended", self.name);
        for path in ["/healthz", "/readyz"] {
            self.answers(path).unwrap();
        }
    }

    /// Returns the value of the metric sample whose line has this prefix.
    pub fn metric(&self, begins: &str) -> Option<f64> {
        let text = self.get("/metrics").ok()?.body;
        let line = text.lines().find(|line| line.starts_with(begins))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Returns an entry of the process's memory status in the kernel, in MiB.
    pub fn memory(&self, name: &str) -> f64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        let number = line.split_whitespace().nth(1).unwrap();
        number.parse::<f64>().unwrap() / 1_024.0
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(status.success(), "kill {signal} {}", self.name);
    }

    /// Sends SIGTERM. Returns the exit status, and how long the process took to end.
    pub async fn terminate(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        self.signal("-TERM");
        let name = self.name.clone();
        let ended = || {
            self.child
                .try_wait()
                .unwrap()
                .ok_or_else(|| "it runs".to_owned())
        };
        let status = crate::wait::until(&format!("{name} ends after SIGTERM"), ended).await;
        (status, start.elapsed())
    }

    /// Crashes the process.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a free port below the range of outgoing connections and of the testbed's ports.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(std::process::id() % 7_000).unwrap();
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + (offset + number) % 7_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
