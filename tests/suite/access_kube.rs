//! What kubectl documents about kubeconfigs. deploy/docs/access.md names these tests.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::forward_proxy::{Heads, serve};
use crate::replica::PROGRAM;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::testbed::{self, Testbed};
use crate::wait;

/// A command that is killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that records requests and answers 503.
fn recorder() -> (u16, Heads) {
    let heads = Heads::default();
    let port = serve(&heads, |mut stream, heads| {
        heads.read(&mut stream);
        let _ = stream.write_all(
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        );
    });
    (port, heads)
}

/// Returns a kubeconfig with settings that mean nothing to a controller: preferences, extensions and a context's namespace.
fn kubeconfig(port: u16, cluster: &Value, user: &Value) -> Value {
    let mut cluster = cluster.clone();
    cluster["server"] = format!("http://127.0.0.1:{port}").into();
    let extensions = json!([{ "name": "other-tool", "extension": { "a": 1 } }]);
    json!({
        "apiVersion": "v1", "kind": "Config", "preferences": { "colors": true }, "extensions": extensions, "current-context": "one",
        "contexts": [{ "name": "one", "context": { "cluster": "c", "user": "u", "namespace": "team", "extensions": extensions } }],
        "clusters": [{ "name": "c", "cluster": cluster }], "users": [{ "name": "u", "user": user }],
    })
}

/// Returns the first request of `plan` with this environment.
async fn first_request(heads: &Heads, environment: &[(&str, &Path)], arguments: &[&str]) -> String {
    let child = Command::new(PROGRAM)
        .env_clear()
        .args(["plan", "--provider=in-memory"])
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _running = Running(child.unwrap());
    wait::until("a request", || heads.some()).await;
    heads.all().swap_remove(0).to_lowercase()
}

#[tokio::test]
async fn what_a_kubeconfig_says_of_a_user_is_sent() {
    let dir = testbed::directory("users");
    std::fs::write(dir.join("token"), "from-a-file\n").unwrap();
    for (cluster, user, expected) in [
        (
            json!({}),
            json!({ "username": "me", "password": "pass" }),
            "authorization: basic bwu6cgfzcw==\r\n",
        ),
        (
            json!({}),
            json!({ "token": "given" }),
            "authorization: bearer given\r\n",
        ),
        // The path is relative to the kubeconfig, and the file comes before the token.
        (
            json!({}),
            json!({ "token": "given", "tokenFile": "token" }),
            "authorization: bearer from-a-file\r\n",
        ),
        (
            json!({}),
            json!({ "token": "t", "as": "admin", "as-groups": ["ops", "dev"] }),
            "impersonate-user: admin\r\n",
        ),
        (
            json!({}),
            json!({ "token": "t", "as": "admin", "as-groups": ["ops", "dev"] }),
            "impersonate-group: dev\r\n",
        ),
        (
            json!({ "disable-compression": true }),
            json!({}),
            "host: 127.0.0.1",
        ),
        (
            json!({ "disable-compression": false }),
            json!({}),
            "host: 127.0.0.1",
        ),
    ] {
        let (port, heads) = recorder();
        std::fs::write(
            dir.join("config"),
            kubeconfig(port, &cluster, &user).to_string(),
        )
        .unwrap();
        let head = first_request(&heads, &[("KUBECONFIG", &dir.join("config"))], &[]).await;
        assert!(head.contains(expected), "{user}: {head}");
        assert!(!head.contains("accept-encoding"), "{head}");
        // ConfigMaps of all namespaces count, whatever the context says.
        assert!(!head.contains("/namespaces/team/"), "{head}");
    }
}

#[tokio::test]
async fn the_first_kubeconfig_that_names_something_wins() {
    let home = testbed::directory("merged");
    std::fs::create_dir(home.join(".kube")).unwrap();
    let of = |port: u16| kubeconfig(port, &json!({}), &json!({ "token": "t" }));
    let write = |name: &str, file: &Value| -> PathBuf {
        std::fs::write(home.join(name), file.to_string()).unwrap();
        home.join(name)
    };
    let (port, heads) = recorder();
    let (other_port, other) = recorder();
    // The second file has the same names, and a context of its own.
    let first = write("first", &of(port));
    let mut file = of(other_port);
    file["current-context"] = "two".into();
    file["contexts"][0]["name"] = "two".into();
    file["contexts"][0]["context"]["cluster"] = "other".into();
    file["clusters"][0]["name"] = "other".into();
    let second = write("second", &file);
    let list = std::env::join_paths([&home.join("missing"), &first, &second]).unwrap();
    let list = [("KUBECONFIG", Path::new(&list))];
    first_request(&heads, &list, &[]).await;
    assert_eq!(other.all(), [""; 0]);
    first_request(&other, &list, &["--context=two"]).await;

    let (port, heads) = recorder();
    write(".kube/config", &of(port));
    first_request(&heads, &[("HOME", &home)], &[]).await;
    let (port, heads) = recorder();
    let given = write("given", &of(port));
    let flag = format!("--kubeconfig={}", given.display());
    first_request(&heads, &list, &[&flag]).await;
}

/// Client certificates from the authority of an API server.
struct Issuer {
    dir: PathBuf,
    authority: PathBuf,
}

impl Issuer {
    fn of(server: &Testbed) -> Self {
        let (dir, authority) = (testbed::directory("issuer"), PathBuf::from(&server.ca));
        let config = "[req]\ndistinguished_name = name\n[name]\n[ca]\ndefault_ca = here\n[here]\ndatabase = index.txt\n\
                      new_certs_dir = .\nrand_serial = yes\ndefault_md = sha256\npolicy = any\nunique_subject = no\n\
                      [any]\ncommonName = supplied\norganizationName = optional\n[client]\nextendedKeyUsage = clientAuth\n";
        std::fs::write(dir.join("openssl.cnf"), config).unwrap();
        std::fs::write(dir.join("index.txt"), "").unwrap();
        Self { dir, authority }
    }

    fn openssl(&self, arguments: &[&str]) {
        let mut command = Command::new("openssl");
        let output = command.args(arguments).current_dir(&self.dir).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    /// Issues `NAME.crt` with `NAME.key`, valid for this long.
    fn issue(&self, name: &str, subject: &str, valid: SignedDuration) -> Timestamp {
        let (key, request, certificate) = (
            format!("{name}.key"),
            format!("{name}.csr"),
            format!("{name}.crt"),
        );
        let authority_key = self.authority.with_extension("key");
        let (end, yesterday) = (
            Timestamp::now() + valid,
            Timestamp::now() - SignedDuration::from_hours(24),
        );
        let text = |time: Timestamp| time.strftime("%Y%m%d%H%M%SZ").to_string();
        self.openssl(&[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
            &key,
        ]);
        self.openssl(&[
            "req",
            "-config",
            "openssl.cnf",
            "-new",
            "-key",
            &key,
            "-subj",
            subject,
            "-out",
            &request,
        ]);
        self.openssl(&[
            "ca",
            "-config",
            "openssl.cnf",
            "-batch",
            "-notext",
            "-cert",
            self.authority.to_str().unwrap(),
            "-keyfile",
            authority_key.to_str().unwrap(),
            "-extensions",
            "client",
            "-in",
            &request,
            "-out",
            &certificate,
            "-startdate",
            &text(yesterday),
            "-enddate",
            &text(end),
        ]);
        end
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name)).unwrap()
    }

    /// Returns a file in the form of a kubeconfig's data.
    fn data(&self, name: &str) -> Value {
        json!(ByteString(self.read(name).into_bytes()))
    }

    /// Returns the output of a plugin that gives this certificate.
    fn credential(&self, name: &str, more: Value) -> String {
        let mut status = more;
        status["clientCertificateData"] = self.read(&format!("{name}.crt")).into();
        status["clientKeyData"] = self.read(&format!("{name}.key")).into();
        let answer = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status,
        });
        answer.to_string()
    }
}

fn exec(script: &str) -> Value {
    json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
        "command": "/bin/sh", "args": ["-c", script],
    } })
}

#[tokio::test]
async fn authorities_and_client_certificates_are_used_from_files_data_and_plugins() {
    let stage = Stage::open("certificates").await;
    let server = Testbed::shared();
    let issuer = Issuer::of(server);
    issuer.issue(
        "admin",
        "/O=system:masters/CN=admin",
        SignedDuration::from_hours(1),
    );
    std::fs::copy(&server.ca, issuer.dir.join("ca.pem")).unwrap();
    std::fs::write(
        issuer.dir.join("credential"),
        issuer.credential("admin", json!({})),
    )
    .unwrap();
    let script = format!("cat {}", issuer.dir.join("credential").display());
    let (file, data) = (
        json!({ "client-certificate": "admin.crt", "client-key": "admin.key" }),
        json!({ "client-certificate-data": issuer.data("admin.crt"), "client-key-data": issuer.data("admin.key") }),
    );
    let authority = json!({ "certificate-authority-data": issuer.data("ca.pem") });
    for (cluster, user) in [
        (json!({ "certificate-authority": "ca.pem" }), &file),
        (authority.clone(), &data),
        (authority, &exec(&script)),
        (json!({ "insecure-skip-tls-verify": true }), &data),
    ] {
        let mut config = kubeconfig(1, &cluster, user);
        config["clusters"][0]["cluster"]["server"] = server.url.clone().into();
        let path = issuer.dir.join("config");
        std::fs::write(&path, config.to_string()).unwrap();
        let mut plan = Command::new(PROGRAM);
        plan.env_clear().args(["plan", "--provider=in-memory"]);
        plan.arg(format!("--namespace={}", stage.namespace));
        let output = plan.arg("--kubeconfig").arg(path).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{cluster} {user}: {output:?}"
        );
    }
}

/// The first certificate expires within seconds. The API server refuses it afterwards, also on connections that exist.
#[tokio::test]
async fn the_certificate_of_a_plugin_is_renewed() {
    let stage = Stage::open("plugin-certificate").await;
    let issuer = Issuer::of(Testbed::shared());
    let subject = "/O=system:masters/CN=admin";
    issuer.issue("later", subject, SignedDuration::from_hours(1));
    let (runs, begun) = (issuer.dir.join("runs"), Instant::now());
    let end = issuer.issue("soon", subject, SignedDuration::from_secs(20));
    // The plugin runs again a minute before this time.
    let expiry = (end + SignedDuration::from_secs(50))
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let write = |name: &str, text: String| std::fs::write(issuer.dir.join(name), text).unwrap();
    write(
        "1",
        issuer.credential("soon", json!({ "expirationTimestamp": expiry })),
    );
    write("2", issuer.credential("later", json!({})));
    let script = format!(
        "cd {}; [ -e runs ] && answer=2 || answer=1; echo run >>runs; cat $answer",
        issuer.dir.display()
    );
    let path = stage.dir.join("kubeconfig");
    let mut file: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    file["users"][0]["user"] = exec(&script);
    std::fs::write(path, file.to_string()).unwrap();
    let mut replica = stage.replica("r1").env("PATH", "/usr/bin:/bin").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    wait::measured(&format!(
        "routed after {:.1} s",
        begun.elapsed().as_secs_f64()
    ));
    wait::until("the first certificate has expired", || {
        wait::check(Timestamp::now() > end, || format!("it ends at {end}"))
    })
    .await;
    stage.config_map("egress-t1", &[("dns", "9.9.9.9")]).await;
    stage.routed(&["9.9.9.9/32"]).await;
    replica.assert_well();
    let count = std::fs::read_to_string(runs).unwrap().lines().count();
    assert_eq!(count, 2, "no request was refused");
}
