//! The container image: its contents, that builds are reproducible, and that it runs as in the chart.
//!
//! With KSEC_RELEASE_BINARY the image contains that program, and its size is checked. Otherwise it contains the tests' own program.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::container::{Container, IMAGE, build, build_with, release, run, said};
use crate::helm::{find, render};
use crate::replica::PROGRAM;
use crate::{testbed, wait};

const NAME: &str = "kube-static-egress-controller";
const MAX_BYTES: u64 = 30_000_000;

/// Returns a blob by its digest.
fn blob(image: &Path, digest: &Value) -> Value {
    let (_, hex) = digest.as_str().unwrap().split_once(':').unwrap();
    let text = std::fs::read(image.join("blobs/sha256").join(hex)).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Returns the paths of all files below a directory, and their total size in bytes.
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

/// Checks that the image's labels match Cargo.toml and the chart.
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

#[test]
fn the_image_holds_what_is_needed_and_runs_as_the_chart_runs_it() {
    let (bundle, told) = (&IMAGE.bundle, &IMAGE.told);
    says_what_it_is(&IMAGE.layout, told);
    let (paths, bytes) = files(&bundle.join("rootfs"));
    let known = |path: &String| {
        let for_scanners = path == "etc/os-release" || path.starts_with("var/lib/dpkg/status.d/");
        path == NAME
            || *path == format!("{NAME}.spdx.json")
            || path == "etc/ssl/certs/ca-certificates.crt"
            || for_scanners
            || path.starts_with("lib")
    };
    assert!(paths.iter().all(known) && paths.len() <= 14, "{paths:?}");
    let what = release().map_or("the tests' program", |_| "the release");
    wait::measured(&format!("image of {what}: {bytes} bytes unpacked\n{told}"));
    let too_big = release().is_some() && bytes > MAX_BYTES;
    assert!(!too_big, "{bytes} bytes are more than {MAX_BYTES}");

    let dir = testbed::directory("contained");
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
        let container = Container {
            arguments: &arguments.into_iter().map(str::to_owned).collect::<Vec<_>>(),
            environment: &env.iter().map(|&text| text.to_owned()).collect::<Vec<_>>(),
            mounts: &[(folder.clone(), "/in".to_owned())],
            network: false,
        };
        run(&mut container.command(&dir.join(id)))
    };
    let planned = plan("offline", "--network=/in/network.yaml", &[]);
    assert_eq!(planned.status.code(), Some(2), "{}", said(&planned));
    let text = said(&planned);
    assert!(text.contains("+ route 8.8.8.8/32"), "{text}");
    // The CA certificates are found: without them the client cannot be created.
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

/// Returns the value of an instruction of the Dockerfile's last stage.
fn instruction(name: &str) -> String {
    let text = dockerfile();
    let (_, last) = text.rsplit_once("\nFROM ").unwrap();
    let mut lines = last.lines().filter_map(|line| line.strip_prefix(name));
    lines.next().unwrap().trim().to_owned()
}

fn dockerfile() -> String {
    std::fs::read_to_string(root().join("deploy/image/Dockerfile")).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Dockerfile copies what the script writes with `--rootfs`: the files of the image with the same modes.
#[test]
fn the_dockerfile_s_files_are_those_of_the_image() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = testbed::directory("rootfs");
    let copied = dir.join("rootfs");
    let rootfs = copied.to_str().unwrap();
    build_with(&dir.join("layout"), &["--rootfs", rootfs]);
    let unpacked = IMAGE.bundle.join("rootfs");
    let (paths, _) = files(&copied);
    assert_eq!(paths, files(&unpacked).0);
    for path in &paths {
        let of = |root: &Path| {
            let file = root.join(path);
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            (std::fs::read(file).unwrap(), mode)
        };
        assert!(of(&copied) == of(&unpacked), "{path}");
    }
    let layout = &IMAGE.layout;
    let index = std::fs::read(layout.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let manifest = blob(layout, &index["manifests"][0]["digest"]);
    let config = &blob(layout, &manifest["config"]["digest"])["config"];
    assert_eq!(config["User"], instruction("USER "));
    assert_eq!(config["WorkingDir"], instruction("WORKDIR "));
    let entry: Value = serde_json::from_str(&instruction("ENTRYPOINT ")).unwrap();
    assert_eq!(config["Entrypoint"], entry);
    assert_eq!(instruction("COPY "), "--from=build /rootfs/ /");
    let script = "RUN deploy/image/build --rootfs /rootfs /layout";
    assert!(dockerfile().contains(script), "{}", dockerfile());
    let _ = std::fs::remove_dir_all(dir);
}

/// Cargo reads every target of Cargo.toml, so a copy without one does not build.
#[test]
fn the_dockerfile_copies_what_the_build_needs() {
    let text = dockerfile();
    let (stage, _) = text.rsplit_once("\nFROM ").unwrap();
    let copies = stage.lines().filter_map(|line| line.strip_prefix("COPY "));
    let sources: BTreeSet<&str> = copies
        .flat_map(|line| line.rsplit_once(' ').unwrap().0.split(' '))
        .collect();
    for source in &sources {
        assert!(root().join(source).exists(), "{source}");
    }
    let copied = |path: &str| {
        sources
            .iter()
            .any(|source| Path::new(path).starts_with(source))
    };
    let cargo = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let targets = cargo
        .lines()
        .filter_map(|line| line.strip_prefix("path = "));
    let targets: Vec<&str> = targets.map(|path| path.trim_matches('"')).collect();
    assert!(targets.len() >= 3, "{targets:?}");
    let needed = [
        "Cargo.toml",
        "Cargo.lock",
        "src/main.rs",
        "src/lib.rs",
        "deploy/image/build",
    ];
    for path in targets.iter().chain(&needed) {
        assert!(root().join(path).exists() && copied(path), "{path}");
    }
    let toolchain = ["rust-toolchain.toml", "build.rs", ".cargo/config.toml"];
    for path in toolchain.iter().filter(|path| root().join(path).exists()) {
        assert!(copied(path), "{path}");
    }
}

/// With an older glibc the resolver is a library that the program loads at run time, so the image would lack it.
#[test]
fn an_old_glibc_is_refused() {
    let dir = testbed::directory("old-glibc");
    let old = |version: &str, name: &str| {
        let script = root().join("deploy/image/build");
        let code = format!(
            "import os, runpy, sys; os.confstr = lambda name: 'glibc {version}'; sys.path.insert(0, '{}'); \
             sys.argv = ['build', '--binary', '{PROGRAM}', '{}']; runpy.run_path('{}', run_name='__main__')",
            root().join("deploy/image").display(),
            dir.join(name).display(),
            script.display()
        );
        run(Command::new("python3").args(["-B", "-c", &code]))
    };
    let refused = old("2.31", "refused");
    let text = said(&refused);
    assert!(
        !refused.status.success()
            && text.contains("glibc 2.31 of this machine cannot resolve names"),
        "{text}"
    );
    assert!(!dir.join("refused").exists());
    let built = old("2.34", "built");
    assert!(built.status.success(), "{}", said(&built));
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
