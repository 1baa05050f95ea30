//! A node for tests: it runs Pods in containers of the image, probes them and ends them as a kubelet does. So a real controller manager
//! handles the Deployment.
//!
//! The node also schedules: it takes every pod of its namespace. Several pods share one machine without networks of their own, so three
//! things differ from a cluster: a pod's IP `10.x.y.z` is `127.x.y.z` here, an `--address` without a host gets that IP, and the API server
//! has its real address instead of a Service's IP. A container that ends by itself is not restarted, but reported as a fault, unless its pod
//! has the restart policy `Never`: then the pod has succeeded or failed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::stage::Stage;
use crate::testbed;

use running::Running;

mod pod;
mod running;

const PACE: Duration = Duration::from_millis(50);
/// The renewal interval of the node's Lease, as a kubelet has it. After 50 s without a renewal the node counts as lost.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The history of a pod's container.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub log: PathBuf,
    /// The directory of the container.
    pub container: PathBuf,
    /// The exit code, and the time that the end took after SIGTERM.
    pub ended: Option<(Option<i32>, Duration)>,
    /// Faults: the container ended by itself, failed its liveness probe, or had to be killed.
    pub faults: Vec<String>,
}

type Book = Arc<Mutex<BTreeMap<String, Told>>>;

/// A running node. Dropping it ends all its containers.
pub struct Kubelet {
    book: Book,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Kubelet {
    /// Starts the node of the stage's namespace, in a thread of its own, so that no test delays it.
    pub fn start(stage: &Stage, testbed: &'static testbed::Testbed) -> Self {
        let (book, stop) = (Book::default(), Arc::new(AtomicBool::new(false)));
        let (namespace, dir, url) = (
            stage.namespace.clone(),
            stage.dir.clone(),
            stage.url.clone(),
        );
        let (told, ended) = (book.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let mut node = Node {
                    kube: testbed.admin().await,
                    path: format!("/api/v1/namespaces/{namespace}"),
                    name: format!("node-{namespace}"),
                    dir,
                    url,
                    told,
                    running: BTreeMap::new(),
                    beats: Instant::now(),
                    complaint: String::new(),
                };
                node.register().await;
                while !ended.load(Ordering::Relaxed) {
                    node.round().await;
                    tokio::time::sleep(PACE).await;
                }
            });
        });
        Self {
            book,
            stop,
            thread: Some(thread),
        }
    }

    /// Returns the history of each pod, by name.
    pub fn told(&self) -> BTreeMap<String, Told> {
        let over = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        assert!(!over, "the tests' kubelet has failed, see above");
        self.book.lock().unwrap().clone()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let failed = thread.join().is_err();
            assert!(
                !failed || std::thread::panicking(),
                "the tests' kubelet has failed, see above"
            );
        }
    }
}

struct Node {
    kube: kube::Client,
    /// The API path of the namespace.
    path: String,
    name: String,
    dir: PathBuf,
    /// The URL of the API server.
    url: String,
    told: Book,
    /// The running containers, by the UIDs of their pods.
    running: BTreeMap<String, Running>,
    beats: Instant,
    /// The last error, so that a repeated error is printed once.
    complaint: String,
}

impl Node {
    async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let kind = if method == "PATCH" {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let method = method.parse().unwrap();
        let answer = testbed::request(&self.kube, method, path, kind, body).await;
        answer.map_err(|error| format!("{path}: {error}"))
    }

    async fn register(&self) {
        let body = json!({ "metadata": { "name": self.name } });
        self.ask("POST", "/api/v1/nodes", &body).await.unwrap();
        let ready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }] } });
        let path = format!("/api/v1/nodes/{}/status", self.name);
        self.ask("PATCH", &path, &ready).await.unwrap();
        let lease = json!({ "metadata": { "name": self.name }, "spec": self.beat() });
        let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
        self.ask("POST", path, &lease).await.unwrap();
    }

    fn beat(&self) -> Value {
        json!({ "holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": format!("{:.6}", Timestamp::now()) })
    }

    async fn round(&mut self) {
        if self.beats.elapsed() > HEARTBEAT {
            self.beats = Instant::now();
            let path = format!(
                "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{}",
                self.name
            );
            let _ = self
                .ask("PATCH", &path, &json!({ "spec": self.beat() }))
                .await;
        }
        let Ok(pods) = self
            .ask("GET", &format!("{}/pods", self.path), &Value::Null)
            .await
        else {
            return;
        };
        let pods = pods["items"].as_array().unwrap().clone();
        let is_there = |uid: &String| pods.iter().any(|pod| pod["metadata"]["uid"] == **uid);
        self.running.retain(|uid, _| is_there(uid));
        for pod in pods {
            let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
            let leaving = pod["metadata"]["deletionTimestamp"].is_string();
            let done = match (self.running.contains_key(&uid), leaving) {
                (false, false) => self.take(&uid, &pod).await,
                (false, true) => self.forget(&pod).await,
                (true, false) => self.look(&uid, &pod).await,
                (true, true) => self.end(&uid, &pod).await,
            };
            // A failed step is retried in the next round.
            if let Err(complaint) = done
                && self.complaint != complaint
            {
                eprintln!("{}: {complaint}", self.name);
                self.complaint = complaint;
            }
        }
    }

    fn path_of(&self, pod: &Value) -> String {
        format!(
            "{}/pods/{}",
            self.path,
            pod["metadata"]["name"].as_str().unwrap()
        )
    }

    fn tell(&self, running: &str, told: impl FnOnce(&mut Told)) {
        told(
            self.told
                .lock()
                .unwrap()
                .entry(running.to_owned())
                .or_default(),
        );
    }

    async fn take(&mut self, uid: &str, pod: &Value) -> Result<(), String> {
        let meta = &pod["metadata"];
        if pod["spec"]["nodeName"].is_null() {
            let target = json!({ "kind": "Node", "name": self.name });
            let binding = json!({ "metadata": { "name": meta["name"] }, "target": target });
            let path = format!("{}/binding", self.path_of(pod));
            // The next round reads the new version of the pod.
            return self.ask("POST", &path, &binding).await.map(drop);
        }
        let account = pod["spec"]["serviceAccountName"].as_str().unwrap();
        let account = format!("{}/serviceaccounts/{account}", self.path);
        let pod = &pod::with_role(pod.clone(), &self.ask("GET", &account, &Value::Null).await?);
        let name = meta["name"].as_str().unwrap().to_owned();
        let dir = self.dir.join(&name);
        let _ = std::fs::remove_dir_all(&dir);
        let mounts = self.mounts(pod, &dir).await?;
        let log = self.dir.join(format!("{name}.log"));
        let running = Running::start(pod, &self.url, &mounts, &dir, &log);
        let container = running.dir().to_owned();
        self.tell(&name, |told| {
            *told = Told {
                log,
                container,
                ..Told::default()
            }
        });
        self.running.insert(uid.to_owned(), running);
        let state = json!({ "running": { "startedAt": Timestamp::now().to_string() } });
        self.say(uid, pod, "Running", state).await
    }

    /// Writes the pod's status.
    async fn say(&self, uid: &str, pod: &Value, phase: &str, state: Value) -> Result<(), String> {
        let status = json!({ "status": self.running[uid].status(pod, phase, &state) });
        let path = format!("{}/status", self.path_of(pod));
        self.ask("PATCH", &path, &status).await.map(drop)
    }

    /// Probes the container, and reports changes.
    async fn look(&mut self, uid: &str, pod: &Value) -> Result<(), String> {
        let running = self.running.get_mut(uid).unwrap();
        if running.over {
            return Ok(());
        }
        let was = running.ready;
        if let Some(code) = running.runc.try_wait().unwrap() {
            (running.over, running.ready) = (true, false);
            if pod["spec"]["restartPolicy"] == "Never" {
                return self.finish(uid, pod, code.code()).await;
            }
            let name = running.name.clone();
            self.tell(&name, |told| {
                told.faults.push(format!("it ended by itself: {code}"))
            });
        } else {
            running.ready = running.is_ready();
            if running.is_dead() {
                let name = running.name.clone();
                self.tell(&name, |told| {
                    told.faults.push("it is not alive by its probe".to_owned())
                });
            }
        }
        let running = &self.running[uid];
        if running.ready == was {
            return Ok(());
        }
        let state = json!({ "running": { "startedAt": running.started } });
        let said = self.say(uid, pod, "Running", state).await;
        if said.is_err() {
            // The next round reports the container's new state.
            let running = self.running.get_mut(uid).unwrap();
            (running.over, running.ready) = (false, was);
        }
        said
    }

    /// Reports the end of a container that is not started again.
    async fn finish(&mut self, uid: &str, pod: &Value, code: Option<i32>) -> Result<(), String> {
        let phase = match code {
            Some(0) => "Succeeded",
            _ => "Failed",
        };
        let state = json!({ "terminated": { "exitCode": code.unwrap_or(1) } });
        let said = self.say(uid, pod, phase, state).await;
        // The next round reports a phase that the API server does not know yet.
        self.running.get_mut(uid).unwrap().over = said.is_ok();
        said
    }

    /// Ends the container by SIGTERM and, after the grace period, SIGKILL. Then deletes the pod.
    async fn end(&mut self, uid: &str, pod: &Value) -> Result<(), String> {
        let running = self.running.get_mut(uid).unwrap();
        if running.over && running.ending.is_none() {
            return self.forget(pod).await;
        }
        let Some(since) = running.ending else {
            if running.signal("-TERM") {
                running.ending = Some(Instant::now());
            }
            return Ok(());
        };
        let grace = Duration::from_secs(
            pod["metadata"]["deletionGracePeriodSeconds"]
                .as_u64()
                .unwrap(),
        );
        let name = running.name.clone();
        match running.runc.try_wait().unwrap() {
            Some(code) => {
                (running.over, running.ready) = (true, false);
                let code = code.code();
                self.tell(&name, |told| {
                    told.ended = told.ended.or(Some((code, since.elapsed())))
                });
                self.finish(uid, pod, code).await?;
                self.forget(pod).await
            }
            None => {
                if since.elapsed() > grace && running.signal("-KILL") {
                    self.tell(&name, |told| {
                        told.faults.push(format!("it was killed after {grace:?}"))
                    });
                }
                Ok(())
            }
        }
    }

    async fn forget(&self, pod: &Value) -> Result<(), String> {
        let body =
            json!({ "gracePeriodSeconds": 0, "preconditions": { "uid": pod["metadata"]["uid"] } });
        self.ask("DELETE", &self.path_of(pod), &body)
            .await
            .map(drop)
    }
}
