//! Access to clusters and accounts as kubectl and the AWS CLI support it. deploy/docs/access.md names these tests.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::forward_proxy::{Heads, proxy, serve, socks_proxy};
use crate::replica::PROGRAM;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::wait;

/// A name on the API server's certificate that this host cannot resolve, so that only a proxy can reach it.
const FAR: &str = "kubernetes.default.svc";

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
    // Such files end with a line break.
    let replica = stage
        .replica("r1")
        .env("HTTPS_PROXY", &format!(" {proxy}\n"));
    // Plain HTTP requests may carry a token of the node, so they never use the proxy.
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

    let (port, heads) = crate::forward_proxy::proxy();
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

#[tokio::test]
async fn a_socks_proxy_of_the_kubeconfig_resolves_names() {
    let stage = Stage::open("socks").await;
    let (port, heads) = socks_proxy();
    let far = format!("{FAR}:{}", port_of(&stage));
    kubeconfig(&stage, |file| {
        cluster(file)["server"] = format!("https://{far}").into();
        cluster(file)["proxy-url"] = format!("socks5://127.0.0.1:{port}").into();
    });
    let _replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    heads.some().unwrap();
    assert!(
        heads.all().iter().all(|head| *head == far),
        "{:?}",
        heads.all()
    );
}

/// The plugin counts its runs. Its first token is refused, and later ones are valid for two seconds more than the margin.
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

/// The address has no scheme, so it is plain HTTP, as for kubectl. It leads through a gateway that serves several clusters by path.
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
        *cluster(file) = json!({ "server": format!("127.0.0.1:{port}/k8s/clusters/c1") });
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
        let head = head.to_lowercase();
        assert!(head.contains(agent), "{head}");
        assert_eq!(head.matches("user-agent:").count(), 1, "{head}");
        assert!(head.contains(" /k8s/clusters/c1/"), "{head}");
    }
}

/// Runs `plan` with a kubeconfig that has this cluster and user. The command must end before it sends a request.
fn refused(dir: &Path, cluster: &str, user: &str) -> String {
    let file = dir.join("kubeconfig");
    let text = format!(
        "current-context: one\ncontexts: [{{name: one, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n\
         clusters: [{{name: c, cluster: {{server: \"https://127.0.0.1:1\"{cluster}}}}}]\n"
    );
    std::fs::write(&file, text).unwrap();
    let mut plan = Command::new(PROGRAM);
    plan.env_clear().args(["plan", "--provider=in-memory"]);
    let output = plan.arg("--kubeconfig").arg(file).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn what_is_wrong_with_a_kubeconfig_is_named_once_and_without_secrets() {
    let dir = crate::testbed::directory("kubeconfigs");
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        let command = command.args(arguments.split(' ')).current_dir(&dir);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -subj /CN=ca",
    );
    openssl(
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key -out csr -subj /CN=me",
    );
    // Without extensions, openssl makes a certificate of version 1.
    openssl("x509 -req -in csr -CA ca.crt -CAkey ca.key -CAcreateserial -out v1.crt");
    for (cluster, user, part) in [
        (
            "",
            "client-certificate: v1.crt, client-key: key",
            "X.509 version 3",
        ),
        (
            "",
            "client-certificate: v1.crt",
            "failed to load client key",
        ),
        ("", "token: \"secret\\nsecret\"", "write it in one line"),
        (
            ", certificate-authority: missing.crt",
            "token: secret",
            "missing.crt",
        ),
        (
            ", proxy-url: \"ftp://me:secret@proxy:1\"",
            "token: secret",
            "proxy-url",
        ),
        (
            ", tls-server-name: \"a b\"",
            "token: secret",
            "tls-server-name",
        ),
    ] {
        let told = refused(&dir, cluster, user);
        assert!(told.contains(part) && !told.contains("secret"), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        // The cause is at the end of the line.
        let cause = told.trim_end().rsplit(": ").next().unwrap();
        assert_eq!(told.matches(cause).count(), 1, "{told}");
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

/// The API server stands in for an AWS endpoint with a private certificate authority. Only the TLS handshake matters.
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
    // An API server refuses a request of AWS.
    wait::until("the API server answers", || {
        with.said(&["no answer of AWS"])
    })
    .await;
    assert!(with.said(&["certificate", "AWS_CA_BUNDLE"]).is_err());
}
