//! Runs containers of the image with runc: its own entry point and user, a read-only root, and no capabilities.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::helm::tool;
use crate::replica::PROGRAM;
use crate::testbed;

pub fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Without root, a process has one user for the container, which must be the container's first.
pub fn is_root() -> bool {
    static ROOT: LazyLock<bool> =
        LazyLock::new(|| run(Command::new("id").arg("-u")).stdout == b"0\n");
    *ROOT
}

pub fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{err}")
}

pub fn release() -> Option<PathBuf> {
    std::env::var_os("KSEC_RELEASE_BINARY").map(PathBuf::from)
}

/// Builds the image into the directory. Returns the script's output.
pub fn build(output: &Path) -> String {
    build_with(output, &[])
}

/// Same as [`build`], with more arguments of the script.
pub fn build_with(output: &Path, more: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/image/build");
    let binary = release().unwrap_or_else(|| PathBuf::from(PROGRAM));
    let mut command = Command::new(script);
    command.args(more).arg("--binary").arg(binary).arg(output);
    let built = run(&mut command);
    assert!(built.status.success(), "{}", said(&built));
    said(&built)
}

/// An image as another tool reads it.
pub struct Image {
    pub layout: PathBuf,
    pub bundle: PathBuf,
    /// The output of the script that built the image.
    pub told: String,
}

/// The image that tests run. It is built when the first test needs it.
pub static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let dir = testbed::directory("image");
    let (layout, bundle) = (dir.join("image"), dir.join("bundle"));
    let told = build(&layout);
    let from = format!("{}:{}", layout.display(), env!("CARGO_PKG_VERSION"));
    let mut umoci = Command::new(tool("KSEC_UMOCI"));
    umoci.args(["unpack", "--rootless", "--image", &from]);
    let output = run(umoci.arg(&bundle));
    assert!(output.status.success(), "{}", said(&output));
    Image {
        layout,
        bundle,
        told,
    }
});

/// Returns runc for the containers of this directory.
fn runc(dir: &Path) -> Command {
    let mut runc = Command::new(tool("KSEC_RUNC"));
    runc.arg("--root").arg(dir.join("state"));
    runc.stdin(Stdio::null());
    runc
}

/// Returns the name of the container of this directory.
fn name(dir: &Path) -> String {
    let folder = dir.file_name().unwrap().display();
    format!("{folder}-{}", std::process::id())
}

/// Returns the command that runs a program in the running container of this directory, with the container's user and environment, as
/// `kubectl exec` does.
pub fn exec(dir: &Path, program: &[&str]) -> Command {
    let mut runc = runc(dir);
    runc.arg("exec").arg(name(dir)).args(program);
    runc
}

/// A container to run.
pub struct Container<'a> {
    /// The arguments after the entry point.
    pub arguments: &'a [String],
    pub environment: &'a [String],
    /// Directories of this machine, each with its path in the container, where it is read-only.
    pub mounts: &'a [(PathBuf, String)],
    /// Whether the container has the machine's network, or none.
    pub network: bool,
}

impl Container<'_> {
    /// Returns the command that runs the container until it ends. `dir` is its directory, in which `pid` will contain the program's process
    /// id.
    pub fn command(&self, dir: &Path) -> Command {
        let file = IMAGE.bundle.join("config.json");
        let config = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let config = self.configured(config);
        // A root of its own, in which the mount points are created.
        std::fs::create_dir_all(dir).unwrap();
        let copied = run(Command::new("cp")
            .arg("-a")
            .arg(IMAGE.bundle.join("rootfs"))
            .arg(dir));
        assert!(copied.status.success(), "{}", said(&copied));
        std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
        let mut runc = runc(dir);
        runc.args(["run", "--pid-file"]).arg(dir.join("pid"));
        runc.arg("--bundle").arg(dir).arg(name(dir));
        runc
    }

    fn configured(&self, mut config: Value) -> Value {
        let process = &mut config["process"];
        let entry = process["args"][0].as_str().unwrap().to_owned();
        process["args"] = json!([&[entry], self.arguments].concat());
        process["env"] = json!(self.environment);
        process["terminal"] = json!(false);
        process["capabilities"] = json!({});
        assert_eq!(process["user"], json!({ "uid": 65532, "gid": 65532 }));
        if !is_root() {
            process["user"] = json!({ "uid": 0, "gid": 0 });
        }
        config["root"]["readonly"] = json!(true);
        let mut mounts = vec![
            json!({ "destination": "/proc", "type": "proc", "source": "proc" }),
            json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs" }),
        ];
        mounts.extend(self.mounts.iter().map(|(source, destination)| {
            json!({ "destination": destination, "type": "bind", "source": source, "options": ["bind", "ro"] })
        }));
        config["mounts"] = json!(mounts);
        let spaces = ["pid", "mount", "ipc", "uts", "network", "user"]
            .iter()
            .filter(|kind| match **kind {
                "network" => !self.network,
                "user" => !is_root(),
                _ => true,
            });
        config["linux"]["namespaces"] = spaces.map(|kind| json!({ "type": kind })).collect();
        if is_root() {
            let linux = config["linux"].as_object_mut().unwrap();
            linux.retain(|key, _| !key.ends_with("Mappings"));
        }
        config
    }
}
