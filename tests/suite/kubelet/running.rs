//! A running container of a pod, and its probes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::pod;
use crate::container::Container;
use crate::http;

/// A probe of the pod.
pub struct Probe {
    path: String,
    address: String,
    period: Duration,
    timeout: Duration,
    threshold: u64,
    due: Instant,
    failures: u64,
}

impl Probe {
    /// Returns the container's probe of this kind, if it has one.
    fn of(container: &Value, name: &str, host: &str) -> Option<Self> {
        let (probe, get) = (&container[name], &container[name]["httpGet"]);
        if probe.is_null() {
            return None;
        }
        let number = |key: &str| probe[key].as_u64().unwrap();
        let mut ports = container["ports"].as_array().unwrap().iter();
        let port = ports.find(|port| port["name"] == get["port"]).unwrap();
        assert!(probe["initialDelaySeconds"].is_null() && number("successThreshold") == 1);
        Some(Self {
            path: get["path"].as_str().unwrap().to_owned(),
            address: format!("{host}:{}", port["containerPort"]),
            period: Duration::from_secs(number("periodSeconds")),
            timeout: Duration::from_secs(number("timeoutSeconds")),
            threshold: number("failureThreshold"),
            due: Instant::now(),
            failures: 0,
        })
    }

    /// Sends the probe when it is due. Returns true if it succeeded, and false if it failed too often in a row.
    pub fn ask(&mut self) -> Option<bool> {
        if Instant::now() < self.due {
            return None;
        }
        self.due = Instant::now() + self.period;
        let good = http::probe(&self.address, &self.path, self.timeout)
            .is_ok_and(|answer| (200..400).contains(&answer.status));
        self.failures = if good { 0 } else { self.failures + 1 };
        (good || self.failures >= self.threshold).then_some(good)
    }
}

/// A running container. Dropping it kills the process.
pub struct Running {
    pub name: String,
    pub runc: Child,
    /// The file with the process id.
    pid: PathBuf,
    address: String,
    pub started: String,
    readiness: Option<Probe>,
    liveness: Option<Probe>,
    pub ready: bool,
    /// The time of SIGTERM.
    pub ending: Option<Instant>,
    /// Whether the container has ended by itself.
    pub over: bool,
}

impl Running {
    /// Starts the container of the pod, whose API server has this URL. The container has its own address, port and probes.
    pub fn start(
        pod: &Value,
        api: &str,
        mounts: &[(PathBuf, String)],
        dir: &Path,
        log: &Path,
    ) -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let rest = format!("{}.{}.{count}", 1 + process % 250, process / 250 % 250);
        let host = format!("127.{rest}");
        let container = pod::container(pod);
        let heard = format!("--address={host}:");
        let arguments = container["args"].as_array().unwrap().iter();
        let arguments: Vec<String> = arguments
            .map(|argument| argument.as_str().unwrap().replace("--address=:", &heard))
            .collect();
        let (scheme, port) = api.rsplit_once(':').unwrap();
        let at = (scheme.trim_start_matches("https://"), port);
        let run = Container {
            arguments: &arguments,
            environment: &pod::environment(pod, at),
            mounts,
            network: true,
        };
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        let own = dir.join(format!("{name}-container"));
        let file = std::fs::File::create(log).unwrap();
        let mut command = run.command(&own);
        command.stdout(file.try_clone().unwrap()).stderr(file);
        Self {
            name,
            runc: command.spawn().unwrap(),
            pid: own.join("pid"),
            address: format!("10.{rest}"),
            started: Timestamp::now().to_string(),
            readiness: Probe::of(container, "readinessProbe", &host),
            liveness: Probe::of(container, "livenessProbe", &host),
            ready: false,
            ending: None,
            over: false,
        }
    }

    /// Returns the directory of the container.
    pub fn dir(&self) -> &Path {
        self.pid.parent().unwrap()
    }

    /// Returns whether the container is ready now: always, if nothing asks it.
    pub fn is_ready(&mut self) -> bool {
        let was = self.ready;
        self.readiness
            .as_mut()
            .is_none_or(|probe| probe.ask().unwrap_or(was))
    }

    /// Returns whether the liveness probe has failed too often.
    pub fn is_dead(&mut self) -> bool {
        let probe = self.liveness.as_mut();
        probe.is_some_and(|probe| probe.ask() == Some(false))
    }

    /// Sends a signal. Returns false if the process no longer exists.
    pub fn signal(&mut self, signal: &str) -> bool {
        let runs = matches!(self.runc.try_wait(), Ok(None));
        let pid = std::fs::read_to_string(&self.pid).unwrap_or_default();
        let mut kill = Command::new("kill");
        kill.args([signal, &pid]).stderr(Stdio::null());
        runs && !pid.is_empty() && kill.status().is_ok_and(|status| status.success())
    }

    /// Returns the pod's status as a kubelet writes it.
    pub fn status(&self, pod: &Value, phase: &str, state: &Value) -> Value {
        let told = |kind: &str, is: bool| json!({ "type": kind, "status": if is { "True" } else { "False" } });
        let (ready, container) = (self.ready, &pod["spec"]["containers"][0]);
        let conditions = [
            ("PodScheduled", true),
            ("Initialized", true),
            ("ContainersReady", ready),
            ("Ready", ready),
        ];
        json!({
            "phase": phase, "startTime": self.started,
            "podIP": self.address, "podIPs": [{ "ip": self.address }],
            "conditions": conditions.map(|(kind, is)| told(kind, is)),
            "containerStatuses": [{
                "name": container["name"], "image": container["image"], "imageID": container["image"], "ready": ready,
                "started": phase == "Running", "restartCount": 0, "state": state,
            }],
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.signal("-KILL") {
            let _ = self.runc.kill();
        }
        let _ = self.runc.wait();
        // The container's own root is as large as the image.
        let _ = std::fs::remove_dir_all(self.dir());
    }
}
