//! The ways into clusters and accounts that kubectl and the AWS CLI know. deploy/docs/access.md names these tests.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::wait;

/// A name on the API server's certificate that no resolver here knows: only a proxy leads to it.
const FAR: &str = "kubernetes.default.svc";

/// The beginnings of the connections that a server has got.
#[derive(Clone, Default)]
struct Heads(Arc<Mutex<Vec<String>>>);

impl Heads {
    /// Reads the head of one request.
    fn read(&self, stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        self.0.lock().unwrap().push(head.clone());
        head
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn some(&self) -> Result<(), String> {
        wait::check(!self.all().is_empty(), || "nobody has connected".to_owned())
    }
}

/// Serves every connection in a thread of its own, until the tests end.
fn serve(heads: &Heads, each: impl Fn(TcpStream, &Heads) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = heads.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (each, heads) = (each.clone(), heads.clone());
            thread::spawn(move || each(stream, &heads));
        }
    });
    port
}

/// Starts an HTTP proxy for CONNECT. It takes every name for this host, as a proxy resolves names that its clients cannot.
fn proxy() -> (u16, Heads) {
    let heads = Heads::default();
    let port = serve(&heads, |mut client, heads| {
        let head = heads.read(&mut client);
        let port = head
            .split(' ')
            .nth(1)
            .and_then(|target| target.rsplit(':').next()?.parse::<u16>().ok());
        let Some(mut server) = port.and_then(|port| TcpStream::connect(("127.0.0.1", port)).ok())
        else {
            let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n");
            return;
        };
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let (mut from_client, mut to_server) =
            (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || {
            let _ = std::io::copy(&mut from_client, &mut to_server);
            let _ = to_server.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Both);
    });
    (port, heads)
}

fn port_of(stage: &Stage) -> &str {
    stage.url.rsplit(':').next().unwrap()
}

/// Changes the kubeconfig of a stage, and returns what it was.
fn kubeconfig(stage: &Stage, change: impl FnOnce(&mut Value)) -> Value {
    let path = stage.dir.join("kubeconfig");
    let before: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let mut after = before.clone();
    change(&mut after);
    std::fs::write(path, after.to_string()).unwrap();
    before
}

fn cluster(file: &mut Value) -> &mut Value {
    &mut file["clusters"][0]["cluster"]
}

#[tokio::test]
async fn the_proxy_of_the_environment_leads_to_the_api_server_and_no_proxy_excepts_it() {
    let stage = Stage::open("proxied").await;
    let far = format!("{FAR}:{}", port_of(&stage));
    kubeconfig(&stage, |file| {
        cluster(file)["server"] = format!("https://{far}").into()
    });
    let (port, heads) = proxy();
    let proxy = format!("http://user:pass@127.0.0.1:{port}");
    let replica = stage.replica("r1").env("HTTPS_PROXY", &proxy);
    // Plain HTTP may carry a token of the node: it never goes there.
    let replica = replica
        .env("HTTP_PROXY", &proxy)
        .env("NO_PROXY", "other.example");
    let mut replica = replica.start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    for head in heads.all() {
        assert!(head.starts_with(&format!("CONNECT {far} ")), "{head}");
        assert!(
            head.to_lowercase().contains("proxy-authorization: basic "),
            "{head}"
        );
    }
    replica.terminate().await;

    let (port, heads) = self::proxy();
    let replica = stage
        .replica("r2")
        .env("HTTPS_PROXY", &format!("http://127.0.0.1:{port}"))
        .env("NO_PROXY", "10.0.0.0/8,.svc")
        .start();
    wait::until("the API server cannot be reached", || {
        replica.said(&["Lease"])
    })
    .await;
    assert_eq!(heads.all(), [""; 0]);
}

#[tokio::test]
async fn a_proxy_url_of_the_kubeconfig_comes_before_the_environment() {
    let stage = Stage::open("proxy-url").await;
    let (port, heads) = proxy();
    kubeconfig(&stage, |file| {
        cluster(file)["server"] = format!("https://{FAR}:{}", port_of(&stage)).into();
        cluster(file)["proxy-url"] = format!("http://127.0.0.1:{port}").into();
    });
    // The files of a list that do not exist are skipped.
    let list = format!("{dir}/missing:{dir}/kubeconfig", dir = stage.dir.display());
    let _replica = stage
        .replica("r1")
        .without("kubeconfig")
        .env("KUBECONFIG", &list)
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .env("NO_PROXY", "*")
        .start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    heads.some().unwrap();
}

/// The plugin counts its runs; the first token is refused, later ones are good for two seconds more than the margin.
#[tokio::test]
async fn an_exec_plugin_runs_again_after_a_401_and_before_its_token_expires() {
    let stage = Stage::open("plugin").await;
    let (runs, script) = (stage.dir.join("runs"), stage.dir.join("plugin"));
    let before = kubeconfig(&stage, |file| {
        file["users"][0]["user"] = json!({ "exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
            "command": "/bin/sh", "args": [script],
            "env": [{ "name": "RUNS", "value": runs }],
        } });
    });
    let token = before["users"][0]["user"]["token"].as_str().unwrap();
    let text = format!(
        r#"expiry=$(date -u -d '+62 seconds' +%Y-%m-%dT%H:%M:%SZ)
[ -e "$RUNS" ] && token={token} || token=refused
echo run >>"$RUNS"
printf '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"%s","expirationTimestamp":"%s"}}}}' "$token" "$expiry"
"#
    );
    std::fs::write(script, text).unwrap();
    let mut replica = stage.replica("r1").env("PATH", "/usr/bin:/bin").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let count = || {
        std::fs::read_to_string(&runs)
            .unwrap_or_default()
            .lines()
            .count()
    };
    wait::until("it has run four times", || {
        wait::check(count() >= 4, || format!("{} runs", count()))
    })
    .await;
    replica.assert_well();
    stage.config_map("egress-t1", &[("dns", "9.9.9.9")]).await;
    stage.routed(&["9.9.9.9/32"]).await;
}

/// The address has no scheme, so it is plain HTTP, as for kubectl.
#[tokio::test]
async fn every_request_to_an_api_server_names_the_program() {
    let stage = Stage::open("agent").await;
    let heads = Heads::default();
    let port = serve(&heads, |mut stream, heads| {
        heads.read(&mut stream);
        let _ = stream.write_all(
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        );
    });
    kubeconfig(&stage, |file| {
        *cluster(file) = json!({ "server": format!("127.0.0.1:{port}") });
    });
    let _candidate = stage.replica("r1").start();
    let _leader = stage.replica("r2").flag("leader-elect", "false").start();
    let seen = |part: &str| {
        let seen = heads.all().iter().any(|head| head.contains(part));
        wait::check(seen, || format!("no request with {part}"))
    };
    for part in ["/leases", "/configmaps", "/kube-system"] {
        wait::until(part, || seen(part)).await;
    }
    for head in heads.all() {
        let agent = concat!(
            "user-agent: kube-static-egress-controller/",
            env!("CARGO_PKG_VERSION")
        );
        assert!(head.to_lowercase().contains(agent), "{head}");
    }
}

#[tokio::test]
async fn a_server_address_that_is_none_is_named_with_its_form() {
    let stage = Stage::open("address").await;
    for bad in ["htps://api:6443", "https:///api"] {
        kubeconfig(&stage, |file| cluster(file)["server"] = bad.into());
        let replica = stage.replica("r1").start();
        wait::until(bad, || replica.said(&[bad, "https://HOST:PORT"])).await;
    }
}

#[tokio::test]
async fn a_credential_process_of_a_profile_gives_the_keys() {
    let stage = Stage::open("process").await;
    let replica = stage.replica("r1");
    let keys =
        json!({ "Version": 1, "AccessKeyId": replica.access_key(), "SecretAccessKey": "secret" });
    let file = stage.dir.join("keys.json");
    std::fs::write(&file, keys.to_string()).unwrap();
    let line = format!("credential_process = cat {}\n", file.display());
    let _replica = replica
        .profile("dev", &line)
        .env("PATH", "/usr/bin:/bin")
        .start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
}

#[tokio::test]
async fn what_a_profile_lacks_is_named_with_the_command_that_helps() {
    let stage = Stage::open("profile").await;
    let sso = "sso_session = corp\nsso_account_id = 123456789012\nsso_role_name = egress\n\
               [sso-session corp]\nsso_region = eu-central-1\nsso_start_url = https://corp.awsapps.com/start\n";
    // The SDK names the file by the SHA-1 of the session's name.
    let cache = stage.dir.join(".aws/sso/cache");
    std::fs::create_dir_all(&cache).unwrap();
    let token = json!({ "accessToken": "t", "expiresAt": "2020-01-01T00:00:00Z", "startUrl": "https://corp.awsapps.com/start",
                        "region": "eu-central-1" });
    let file = "ee0bfd2552fbd840c02cc48b6e823320543c450f.json";
    std::fs::write(cache.join(file), token.to_string()).unwrap();
    for (lines, remedy) in [
        (sso, "aws sso login --profile dev"),
        (
            "credential_process = false\n",
            "credential_process of the AWS profile dev",
        ),
        (
            "login_session = arn:aws:iam::123456789012:user/me\n",
            "aws configure export-credentials --profile dev",
        ),
    ] {
        let mut replica = stage
            .replica("r1")
            .profile("dev", lines)
            .env("PATH", "/usr/bin:/bin")
            .start();
        wait::until(remedy, || replica.said(&[remedy])).await;
        assert!(replica.is_alive(), "the user may log in later");
    }
}

/// The API server stands for an AWS behind a private authority: only the handshake counts.
#[tokio::test]
async fn an_authority_of_aws_ca_bundle_is_trusted_and_the_proxy_leads_to_aws() {
    let stage = Stage::open("bundle").await;
    let text = std::fs::read_to_string(stage.dir.join("kubeconfig")).unwrap();
    let mut file: Value = serde_json::from_str(&text).unwrap();
    let authority = cluster(&mut file)["certificate-authority"].take();
    let far = format!("{FAR}:{}", port_of(&stage));
    let (port, heads) = proxy();
    let launch = || {
        stage
            .replica("r1")
            .env("AWS_ENDPOINT_URL", &format!("https://{far}"))
            .env("HTTPS_PROXY", &format!("http://127.0.0.1:{port}"))
    };
    let without = launch().start();
    wait::until("its certificate is not trusted", || {
        without.said(&["no connection to AWS", "certificate", "AWS_CA_BUNDLE"])
    })
    .await;
    let head = heads.all().pop().unwrap();
    assert!(head.starts_with(&format!("CONNECT {far} ")), "{head}");
    drop(without);
    let with = launch()
        .env("AWS_CA_BUNDLE", authority.as_str().unwrap())
        .start();
    // An API server refuses what is no request of its own.
    wait::until("the API server answers", || {
        with.said(&["no answer of AWS"])
    })
    .await;
    assert!(with.said(&["certificate", "AWS_CA_BUNDLE"]).is_err());
}
