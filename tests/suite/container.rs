//! Containers of the image, as runc runs them: its own entry point, as its own user, with a read-only root and without
//! capabilities.

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

/// Who is not root has one user to give away, which must be the container's first.
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

/// Builds the image into the directory; what the script says.
pub fn build(output: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/image/build");
    let binary = release().unwrap_or_else(|| PathBuf::from(PROGRAM));
    let built = run(Command::new(script).arg("--binary").arg(binary).arg(output));
    assert!(built.status.success(), "{}", said(&built));
    said(&built)
}

/// An image as a tool reads it that others wrote.
pub struct Image {
    pub layout: PathBuf,
    pub bundle: PathBuf,
    /// What the script said that built it.
    pub told: String,
}

/// The one that tests run, built when the first one needs it.
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

/// What is run.
pub struct Container<'a> {
    /// Behind the entry point.
    pub arguments: &'a [String],
    pub environment: &'a [String],
    /// Directories of this machine, each with the path that it has in the container, where it cannot be written to.
    pub mounts: &'a [(PathBuf, String)],
    /// With the machine's network, or with none at all.
    pub network: bool,
}

impl Container<'_> {
    /// The command that runs it until it ends. `dir` is its own; the process id of the program will be in `pid` there.
    pub fn command(&self, dir: &Path) -> Command {
        let file = IMAGE.bundle.join("config.json");
        let config = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let config = self.configured(config);
        // A root of its own, in which the places of mounts are made.
        std::fs::create_dir_all(dir).unwrap();
        let copied = run(Command::new("cp")
            .arg("-a")
            .arg(IMAGE.bundle.join("rootfs"))
            .arg(dir));
        assert!(copied.status.success(), "{}", said(&copied));
        std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
        let name = format!(
            "{}-{}",
            dir.file_name().unwrap().display(),
            std::process::id()
        );
        let mut runc = Command::new(tool("KSEC_RUNC"));
        runc.arg("--root").arg(dir.join("state"));
        runc.args(["run", "--pid-file"]).arg(dir.join("pid"));
        runc.arg("--bundle").arg(dir).arg(name).stdin(Stdio::null());
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
