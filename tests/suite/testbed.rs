//! Real API servers, from the scripts in tests/testbed. They end with the test process, whatever ends it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

use crate::wait;

/// One etcd and one API server.
pub struct Testbed {
    dir: PathBuf,
    pub url: String,
    pub ca: String,
}

pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/testbed")
        .join(name)
}

/// Installs a tool into the cache with tests/testbed/install, if it is missing. Returns its path.
pub fn installed(name: &str) -> String {
    let output = Command::new(script("install"))
        .arg(name)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let status = output.status;
    assert!(status.success(), "tests/testbed/install {name}: {status}");
    let text = String::from_utf8(output.stdout).unwrap();
    let path = text.trim().strip_prefix(&format!("{name}="));
    path.unwrap().to_owned()
}

/// Returns a new directory for this run, and deletes those of runs that have ended.
pub fn directory(name: &str) -> PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let root = ROOT.get_or_init(|| {
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let over =
                |pid: &str| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists();
            if name.strip_prefix("suite-").is_some_and(over) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        parent.join(format!("suite-{}", std::process::id()))
    });
    let dir = root.join(format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

impl Testbed {
    /// Returns the API server that most tests share, each with its own namespace.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Testbed> = OnceLock::new();
        SHARED.get_or_init(|| Self::start("apiserver"))
    }

    /// Returns the API server for objects that exist once per cluster. It also has the controller manager.
    pub fn cluster() -> &'static Self {
        static CLUSTER: OnceLock<Testbed> = OnceLock::new();
        CLUSTER.get_or_init(|| Self::start_with("cluster", &["--controllers"]))
    }

    /// Returns the API server on which an admission policy checks all ConfigMaps.
    pub fn policed() -> &'static Self {
        static POLICED: OnceLock<Testbed> = OnceLock::new();
        POLICED.get_or_init(|| Self::start("policed"))
    }

    /// Starts an API server for a test that stops it.
    pub fn start(name: &str) -> Self {
        Self::start_with(name, &[])
    }

    /// Starts an API server with more arguments for `tests/testbed/start`. Arguments after `--` are for the API server.
    pub fn start_with(name: &str, more: &[&str]) -> Self {
        let dir = directory(name);
        let parent = std::process::id().to_string();
        let (dir_text, started) = (dir.to_str().unwrap(), std::time::Instant::now());
        run("start", &[&[dir_text, "--parent", &parent], more].concat());
        wait::measured(&format!(
            "API server ready after {:.1} s",
            started.elapsed().as_secs_f64()
        ));
        let text = std::fs::read_to_string(dir.join("env")).unwrap();
        let env: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        Self {
            url: env["KUBE_URL"].to_owned(),
            ca: env["KUBE_CA"].to_owned(),
            dir,
        }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    pub fn stop_apiserver(&self) {
        run("stop-apiserver", &[self.dir.to_str().unwrap()]);
    }

    pub fn restart_apiserver(&self) {
        run("restart-apiserver", &[self.dir.to_str().unwrap()]);
    }

    /// Saves a backup of etcd (`save`), or restores it (`restore`).
    pub fn etcd_state(&self, what: &str) {
        run("etcd-state", &[self.dir.to_str().unwrap(), what]);
    }

    pub async fn admin(&self) -> kube::Client {
        kube::Client::try_from(self.config().await).unwrap()
    }

    /// Returns a client that does not retry refused requests.
    pub async fn impatient(&self) -> kube::Client {
        let mut config = self.config().await;
        config.default_retry = false;
        kube::Client::try_from(config).unwrap()
    }

    async fn config(&self) -> kube::Config {
        let file = Kubeconfig::read_from(self.kubeconfig()).unwrap();
        let config =
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        config.unwrap()
    }
}

/// Sends one request with a JSON body of this kind.
pub async fn request(
    kube: &kube::Client,
    method: Method,
    path: &str,
    kind: &str,
    body: &Value,
) -> Result<Value, kube::Error> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", kind);
    kube.request(request.body(body.to_string().into_bytes()).unwrap())
        .await
}

impl Drop for Testbed {
    fn drop(&mut self) {
        let _ = Command::new(script("stop"))
            .arg(&self.dir)
            .stdin(Stdio::null())
            .status();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn run(name: &str, arguments: &[&str]) {
    let mut command = Command::new(script(name));
    let status = command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(
        status.success(),
        "tests/testbed/{name} {arguments:?}: {status}"
    );
}
