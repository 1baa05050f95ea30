//! The container image: what is in it, that it is always the same, and that it runs as the chart runs it.
//!
//! With KSEC_RELEASE_BINARY it is made of that program, and its size counts; else of the one that the tests use.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::helm::{find, render, tool};
use crate::replica::PROGRAM;
use crate::{testbed, wait};

const NAME: &str = "kube-static-egress-controller";
const MAX_BYTES: u64 = 30_000_000;

fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{err}")
}

fn release() -> Option<PathBuf> {
    std::env::var_os("KSEC_RELEASE_BINARY").map(PathBuf::from)
}

/// Builds the image into the directory; what the script says.
fn build(output: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/image/build");
    let binary = release().unwrap_or_else(|| PathBuf::from(PROGRAM));
    let built = run(Command::new(script).arg("--binary").arg(binary).arg(output));
    assert!(built.status.success(), "{}", said(&built));
    said(&built)
}

/// A blob by its digest.
fn blob(image: &Path, digest: &Value) -> Value {
    let (_, hex) = digest.as_str().unwrap().split_once(':').unwrap();
    let text = std::fs::read(image.join("blobs/sha256").join(hex)).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Paths of all files below a directory, and the bytes in them.
fn files(root: &Path) -> (BTreeSet<String>, u64) {
    let (mut found, mut bytes, mut pending) = (BTreeSet::new(), 0, vec![root.to_owned()]);
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                pending.push(entry.path());
            } else {
                let path = entry.path();
                found.insert(
                    path.strip_prefix(root)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                );
                bytes += entry.metadata().unwrap().len();
            }
        }
    }
    (found, bytes)
}

/// Runs the image's own entry point with more arguments in a container: read-only root, as the image's user, without
/// capabilities and without a network. `folder` is at /in.
fn contained(bundle: &Path, id: &str, folder: &Path, arguments: &[&str], env: &[&str]) -> Output {
    let file = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let process = &mut config["process"];
    let entry = process["args"][0].clone();
    process["args"] = json!([&[entry.as_str().unwrap()], arguments].concat());
    process["env"] = json!(env);
    process["terminal"] = json!(false);
    process["capabilities"] = json!({});
    assert_eq!(process["user"], json!({ "uid": 65532, "gid": 65532 }));
    // Who is not root has one user to give away, which must be the container's first.
    let root = run(Command::new("id").arg("-u")).stdout == b"0\n";
    if !root {
        process["user"] = json!({ "uid": 0, "gid": 0 });
    }
    config["root"]["readonly"] = json!(true);
    config["mounts"] = json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
        { "destination": "/in", "type": "bind", "source": folder, "options": ["bind", "ro"] },
    ]);
    let spaces = ["pid", "mount", "ipc", "uts", "network", "user"];
    let spaces = spaces.iter().filter(|kind| !root || **kind != "user");
    config["linux"]["namespaces"] = spaces.map(|kind| json!({ "type": kind })).collect();
    if root {
        let linux = config["linux"].as_object_mut().unwrap();
        linux.retain(|key, _| !key.ends_with("Mappings"));
    }
    let name = format!("{id}-{}", std::process::id());
    let own = bundle.parent().unwrap().join(id);
    run(Command::new("cp").arg("-a").arg(bundle).arg(&own));
    std::fs::write(own.join("config.json"), config.to_string()).unwrap();
    let state = own.join("state");
    let mut runc = Command::new(tool("KSEC_RUNC"));
    run(runc
        .arg("--root")
        .arg(state)
        .args(["run", "--bundle"])
        .arg(&own)
        .arg(name))
}

/// What the image says of itself is what Cargo.toml and the chart say.
fn says_what_it_is(image: &Path, told: &str) {
    let index = std::fs::read(image.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let reference = &index["manifests"][0];
    assert!(
        told.contains(reference["digest"].as_str().unwrap()),
        "{told}"
    );
    let config = blob(
        image,
        &blob(image, &reference["digest"])["config"]["digest"],
    );
    let labels = &config["config"]["Labels"];
    for (label, value) in [
        ("title", NAME),
        ("version", env!("CARGO_PKG_VERSION")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
    ] {
        assert_eq!(labels[format!("org.opencontainers.image.{label}")], value);
    }
    let chart = render(&json!({})).unwrap();
    let pod = &find(&chart, "Deployment", "")["spec"]["template"]["spec"];
    let user = &pod["securityContext"];
    let user = format!("{}:{}", user["runAsUser"], user["runAsGroup"]);
    assert_eq!(config["config"]["User"], user);
    let name = pod["containers"][0]["image"].as_str().unwrap();
    let tag = &reference["annotations"]["org.opencontainers.image.ref.name"];
    assert!(name.ends_with(tag.as_str().unwrap()), "{name}, {tag}");
}

/// The image as a tool reads it that others wrote.
fn unpacked(image: &Path) -> PathBuf {
    let bundle = image.with_file_name("bundle");
    let from = format!("{}:{}", image.display(), env!("CARGO_PKG_VERSION"));
    let mut umoci = Command::new(tool("KSEC_UMOCI"));
    umoci.args(["unpack", "--rootless", "--image", &from]);
    let output = run(umoci.arg(&bundle));
    assert!(output.status.success(), "{}", said(&output));
    bundle
}

#[test]
fn the_image_holds_what_is_needed_and_runs_as_the_chart_runs_it() {
    let dir = testbed::directory("image");
    let image = dir.join("image");
    let told = build(&image);
    says_what_it_is(&image, &told);
    let bundle = unpacked(&image);
    let (paths, bytes) = files(&bundle.join("rootfs"));
    let known = |path: &String| {
        path == NAME || path == "etc/ssl/certs/ca-certificates.crt" || path.starts_with("lib")
    };
    assert!(paths.iter().all(known) && paths.len() <= 8, "{paths:?}");
    let what = release().map_or("the tests' program", |_| "the release");
    wait::measured(&format!("image of {what}: {bytes} bytes unpacked\n{told}"));
    let too_big = release().is_some() && bytes > MAX_BYTES;
    assert!(!too_big, "{bytes} bytes are more than {MAX_BYTES}");

    let folder = dir.join("in");
    std::fs::create_dir(&folder).unwrap();
    for file in ["example/manifests.yaml", "network.yaml"] {
        let file = crate::scenarios::root().join(file);
        std::fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
    }
    let plan = |id: &str, more: &str, env: &[&str]| {
        let zone = [
            "--aws-az=eu-central-1a",
            "--aws-nat-cidr-block=172.31.200.0/28",
        ];
        let arguments = [&["plan", "--manifests=/in/manifests.yaml", more], &zone[..]].concat();
        contained(&bundle, id, &folder, &arguments, env)
    };
    let planned = plan("offline", "--network=/in/network.yaml", &[]);
    assert_eq!(planned.status.code(), Some(2), "{}", said(&planned));
    let text = said(&planned);
    assert!(text.contains("+ route 8.8.8.8/32"), "{text}");
    // The certificates are found: without them the client cannot even be made.
    let env = [
        "AWS_REGION=eu-central-1",
        "AWS_ACCESS_KEY_ID=a",
        "AWS_SECRET_ACCESS_KEY=b",
        "AWS_ENDPOINT_URL=https://127.0.0.1:1",
    ];
    let asked = said(&plan("online", "--provider=aws", &env));
    assert!(
        asked.contains("no connection to AWS for ec2:DescribeVpcs"),
        "{asked}"
    );
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn the_same_files_make_the_same_image() {
    let dir = testbed::directory("images");
    let [one, two] = ["one", "two"].map(|name| dir.join(name));
    let second = two.clone();
    let other = std::thread::spawn(move || build(&second));
    assert_eq!(build(&one), other.join().unwrap());
    assert_eq!(files(&one).0, files(&two).0);
    assert_eq!(
        std::fs::read(one.join("index.json")).unwrap(),
        std::fs::read(two.join("index.json")).unwrap()
    );
    let _ = std::fs::remove_dir_all(dir);
}
