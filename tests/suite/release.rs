//! A release, as far as one machine can test it: an index with the images of two processors, their contents, a push of image and chart to a
//! registry, and an installation from it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::container::{IMAGE, run, said};
use crate::helm::{self, find, tool};
use crate::install::helm_in;
use crate::replica::free_port;
use crate::{testbed, wait};

const NAME: &str = "kube-static-egress-controller";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a script of deploy/. Returns its output, or its error.
fn script(path: &str, arguments: &[&str]) -> Result<String, String> {
    script_with(&[], path, arguments)
}

/// Runs a script of deploy/ with these variables.
fn script_with(own: &[(&str, &str)], path: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(root().join("deploy").join(path));
    command.args(arguments).env("HELM", tool("KSEC_HELM"));
    for variable in ["REGISTRY_USERNAME", "REGISTRY_PASSWORD", "SOURCE", "CHARTS"] {
        command.env_remove(variable);
    }
    command.envs(own.iter().copied());
    let output = run(command.env("DOCKER_CONFIG", "/nonexistent"));
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned()),
        false => Err(said(&output)),
    }
}

/// A registry on this machine, until it is dropped.
struct Registry {
    child: Child,
    host: String,
}

impl Registry {
    async fn start(dir: &Path) -> Self {
        let host = format!("127.0.0.1:{}", free_port());
        let config = json!({
            "version": 0.1, "log": { "level": "error", "accesslog": { "disabled": true } },
            "storage": { "filesystem": { "rootdirectory": dir.join("registry") } },
            "http": { "addr": host },
        });
        let file = dir.join("registry.yaml");
        fs::write(&file, config.to_string()).unwrap();
        let child = Command::new(tool("KSEC_REGISTRY"))
            .arg("serve")
            .arg(file)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait::until("the registry answers", || {
            let open = std::net::TcpStream::connect(&host);
            open.map(drop).map_err(|error| error.to_string())
        })
        .await;
        Self { child, host }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes the smallest program for arm64 that the kernel accepts: it exits with 0.
fn arm64_program(dir: &Path) -> PathBuf {
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    elf.resize(16, 0);
    let mut number = |value: u64, bytes: usize| elf.extend(&value.to_le_bytes()[..bytes]);
    // An executable for machine 183: header, one segment, code.
    for (value, bytes) in [(2, 2), (183, 2), (1, 4), (0x40_0078, 8), (64, 8), (0, 8)] {
        number(value, bytes);
    }
    for (value, bytes) in [(0, 4), (64, 2), (56, 2), (1, 2), (0, 2), (0, 2), (0, 2)] {
        number(value, bytes);
    }
    for (value, bytes) in [(1, 4), (5, 4), (0, 8), (0x40_0000, 8), (0x40_0000, 8)] {
        number(value, bytes);
    }
    for (value, bytes) in [(132, 8), (132, 8), (0x1000, 8)] {
        number(value, bytes);
    }
    // mov x8, #93; mov x0, #0; svc #0
    for code in [0xd280_0ba8, 0xd280_0000, 0xd400_0001] {
        number(code, 4);
    }
    let path = dir.join("arm64");
    fs::write(&path, elf).unwrap();
    path
}

fn digest_of(body: &[u8]) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(body);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Pulls a blob or manifest from the registry, and checks its digest.
fn pulled(registry: &Registry, kind: &str, digest: &str) -> Vec<u8> {
    let url = format!("http://{}/v2/team/{NAME}/{kind}/{digest}", registry.host);
    let accept =
        "application/vnd.oci.image.index.v1+json,application/vnd.oci.image.manifest.v1+json";
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--noproxy", "*", "--header"])
        .arg(format!("Accept: {accept}"));
    let output = run(curl.arg(&url));
    assert!(output.status.success(), "{url}: {}", said(&output));
    if digest.starts_with("sha256:") {
        assert_eq!(digest_of(&output.stdout), digest);
    }
    output.stdout
}

fn as_json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Pulls a whole image, and checks that it has two processors.
fn holds_two_processors(registry: &Registry, digest: &str) {
    let index = as_json(&pulled(registry, "manifests", digest));
    let by_tag = pulled(registry, "manifests", env!("CARGO_PKG_VERSION"));
    assert_eq!(as_json(&by_tag), index);
    let mut processors = BTreeSet::new();
    for image in index["manifests"].as_array().unwrap() {
        let manifest = as_json(&pulled(registry, "manifests", text(&image["digest"])));
        let config = pulled(registry, "blobs", text(&manifest["config"]["digest"]));
        let processor = as_json(&config)["architecture"].clone();
        assert_eq!(processor, image["platform"]["architecture"]);
        processors.insert(text(&processor).to_owned());
        for layer in manifest["layers"].as_array().unwrap() {
            pulled(registry, "blobs", text(&layer["digest"]));
        }
    }
    assert_eq!(processors.len(), 2, "{processors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_for_two_processors_and_a_chart_that_names_it_are_pushed_pulled_and_installed() {
    let dir = testbed::directory("release");
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let registry = Registry::start(&dir).await;
    let arm64 = arm64_program(&dir);
    let binary = format!("--binary={}", arm64.display());
    script("image/build", &[&binary, &path("arm64-image")]).unwrap();
    let native = IMAGE.layout.to_str().unwrap();
    let said = script(
        "image/index",
        &[native, &path("arm64-image"), &path("both")],
    )
    .unwrap();
    let target = format!("{}/team/{NAME}", registry.host);
    let push = ["--plain-http", &path("both"), &target];
    let image = script("image/push", &push).unwrap();
    let digest = said.strip_prefix("digest ").unwrap();
    assert_eq!(image, format!("{target}@{digest}"));
    // Existing blobs are not pushed again.
    assert_eq!(script("image/push", &push).unwrap(), image);

    holds_two_processors(&registry, digest);
    let package = script("release/chart", &[&target, digest, &path("")]).unwrap();
    let charts = format!("oci://{}/charts", registry.host);
    helm::run(&["push", "--plain-http", &package, &charts]).unwrap();
    let chart = format!("{charts}/{NAME}");
    // The example values name no image; the chart does.
    let example = testbed::directory("values").join("example.yaml");
    let shipped = fs::read_to_string(root().join("deploy/example-values.yaml")).unwrap();
    let without = shipped.replace(
        "image:\n  repository: registry.example.com/kube-static-egress-controller\n",
        "",
    );
    assert_ne!(shipped, without);
    fs::write(&example, without).unwrap();
    helm_in(
        "released",
        &[
            "install",
            "released",
            &chart,
            "--plain-http",
            "--create-namespace",
            "--values",
            example.to_str().unwrap(),
        ],
    )
    .unwrap();
    let manifest = helm_in("released", &["get", "manifest", "released"]).unwrap();
    let objects = helm::objects(&manifest);
    let pod = &find(&objects, "Deployment", "")["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], format!("{target}@{digest}"));
    helm_in("released", &["uninstall", "released"]).unwrap();
    let _ = fs::remove_dir_all(dir);
}

#[test]
fn the_document_in_the_image_names_every_crate_of_the_lock_file() {
    let file = IMAGE
        .bundle
        .join("rootfs")
        .join(format!("{NAME}.spdx.json"));
    let document = as_json(&fs::read(file).unwrap());
    assert_eq!(document["spdxVersion"], "SPDX-2.3");
    let packages = document["packages"].as_array().unwrap();
    let named: BTreeSet<(String, String)> = packages
        .iter()
        .map(|package| {
            let part = |key: &str| text(&package[key]).to_owned();
            (part("name"), part("versionInfo"))
        })
        .collect();
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let mut missing = Vec::new();
    for package in lock.split("[[package]]\n").skip(1) {
        let part = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap().trim_matches('"').to_owned()
        };
        let crate_ = (part("name = "), part("version = "));
        if !named.contains(&crate_) {
            missing.push(crate_);
        }
    }
    assert!(missing.is_empty() && named.len() > 200, "{missing:?}");
    let ids: BTreeSet<&str> = packages
        .iter()
        .map(|package| text(&package["SPDXID"]))
        .collect();
    assert_eq!(ids.len(), packages.len(), "each has an id of its own");
    // On a machine with Debian's packages, the C library belongs to one of them, and scanners find it.
    if Path::new("/var/lib/dpkg/status").is_file() {
        assert!(named.iter().any(|(name, _)| name == "libc6"), "{named:?}");
        let status = IMAGE.bundle.join("rootfs/var/lib/dpkg/status.d/libc6");
        assert!(fs::read_to_string(status).unwrap().contains("Version: "));
    }
}

/// Scanners read the section that cargo-auditable defined. The reader is cargo-auditable's own.
#[test]
fn the_program_in_the_image_names_its_crates_to_scanners() {
    let program = IMAGE.bundle.join("rootfs").join(NAME);
    let limits = auditable_info::Limits::default();
    let info = auditable_info::audit_info_from_file(&program, limits).unwrap();
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let mut names = BTreeSet::new();
    for package in &info.packages {
        let (name, version) = (&package.name, &package.version);
        let locked = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        assert!(lock.contains(&locked), "{name} {version}");
        assert!(package.root == (name == NAME), "{name}");
        assert!(
            package
                .dependencies
                .iter()
                .all(|&at| at < info.packages.len())
        );
        names.insert(name.as_str());
    }
    for linked in [
        NAME,
        "aws-sdk-ec2",
        "hyper",
        "kube",
        "rustls",
        "serde",
        "tokio",
    ] {
        assert!(names.contains(linked), "{linked} is not in {names:?}");
    }
    // These run at the build or in tests only, or on other systems.
    for not_linked in [
        "auditable-info",
        "proptest",
        "serde_derive",
        "cc",
        "windows-sys",
    ] {
        assert!(!names.contains(not_linked), "{not_linked}");
    }
}

/// A package has no files of the repository, and its README is what people see on Artifact Hub.
#[test]
fn a_released_chart_says_where_it_is_from_and_its_links_lead_there() {
    let source = "https://github.com/team/fork";
    let files = format!("{source}/blob/v{}", env!("CARGO_PKG_VERSION"));
    let dir = testbed::directory("released-chart");
    let digest = digest_of(b"");
    let arguments = ["ghcr.io/team/image", &digest, dir.to_str().unwrap()];
    let own = [("SOURCE", source), ("CHARTS", "ghcr.io/team/charts")];
    let package = script_with(&own, "release/chart", &arguments).unwrap();
    let about = helm::run(&["show", "chart", &package]).unwrap();
    let about: Value = serde_saphyr::from_str(&about).unwrap();
    assert_eq!(about["home"], source);
    assert_eq!(about["sources"], json!([source]));

    let readme = helm::run(&["show", "readme", &package]).unwrap();
    let links = readme.split("](").skip(1);
    let links: Vec<&str> = links.filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 3, "{links:?}");
    for link in links {
        let path = link
            .strip_prefix(&files)
            .and_then(|rest| rest.strip_prefix('/'));
        let path = path.unwrap_or_else(|| panic!("{link} leads nowhere outside of the repository"));
        let path = path.split('#').next().unwrap();
        assert!(root().join(path).is_file(), "{link}");
    }
    let install = format!(
        "oci://ghcr.io/team/charts/{NAME} --version {} ",
        env!("CARGO_PKG_VERSION")
    );
    assert!(readme.contains(&install), "{readme}");

    let values = "--values=deploy/example-values.yaml";
    let rules = [
        "--set=prometheusRule.enabled=true",
        "--show-only=templates/prometheusrule.yaml",
    ];
    let rendered = helm::run(&[&["template", "r", &package, values], &rules[..]].concat()).unwrap();
    let objects = helm::objects(&rendered);
    for rule in objects[0]["spec"]["groups"][0]["rules"].as_array().unwrap() {
        let section = text(&rule["alert"]).to_lowercase();
        let page = format!("{files}/deploy/docs/runbook.md#{section}");
        assert_eq!(rule["annotations"]["runbook_url"], page);
    }
    for (own, said) in [
        (
            [("SOURCE", "github.com/team/fork")],
            "is no address of a repository",
        ),
        (
            [("CHARTS", "oci://ghcr.io/team/charts")],
            "is no place for charts",
        ),
    ] {
        let refused = script_with(&own, "release/chart", &arguments).unwrap_err();
        assert!(refused.contains(said), "{refused}");
    }
    let _ = fs::remove_dir_all(dir);
}

#[test]
fn what_cannot_be_released_is_refused() {
    let dir = testbed::directory("not-released");
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let native = IMAGE.layout.to_str().unwrap();
    let twice = script("image/index", &[native, native, &path("twice")]).unwrap_err();
    assert!(twice.contains("for the same processor"), "{twice}");
    let bad = script("release/chart", &["ghcr.io/x/y", "latest", &path("")]).unwrap_err();
    assert!(bad.contains("is no digest"), "{bad}");
    let nowhere = script("image/push", &[native, NAME]).unwrap_err();
    assert!(nowhere.contains("must be REGISTRY/NAME"), "{nowhere}");
    fs::write(dir.join("text"), "#!/bin/sh\n").unwrap();
    let binary = format!("--binary={}", path("text"));
    let script_ = script("image/build", &[&binary, &path("image")]).unwrap_err();
    assert!(script_.contains("is no 64-bit program"), "{script_}");
    let notes = script("release/notes", &["9.9.9"]).unwrap_err();
    assert!(notes.contains("no section ## [9.9.9]"), "{notes}");
    assert!(
        script("release/notes", &[env!("CARGO_PKG_VERSION")])
            .unwrap()
            .len()
            > 100
    );
    let _ = fs::remove_dir_all(dir);
}
