use super::*;

fn kubeconfig(server: &str, more: &str) -> Kubeconfig {
    let text = format!(
        "current-context: one\ncontexts: [{{name: one, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: \
         {{token: t}}}}]\nclusters: [{{name: c, cluster: {{server: \"{server}\"{more}}}}}]\n"
    );
    Kubeconfig::from_yaml(&text).expect("a kubeconfig")
}

async fn url(server: &str, more: &str) -> Result<String, String> {
    let loaded = load(
        kubeconfig(server, more),
        None,
        "the kubeconfig x",
        "check it",
    )
    .await;
    loaded
        .map(|reached| reached.config.cluster_url.to_string())
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn an_address_is_completed_as_kubectl_does() {
    let good = |text: &str| Ok(text.to_owned());
    assert_eq!(
        url("127.0.0.1:18443", "").await,
        good("http://127.0.0.1:18443/")
    );
    let insecure = ", insecure-skip-tls-verify: true";
    assert_eq!(url("api:6443", insecure).await, good("https://api:6443/"));
    assert_eq!(url("https://api", "").await, good("https://api/"));
    assert_eq!(url("[::1]:6443", "").await, good("http://[::1]:6443/"));
    let rancher = "https://rancher/k8s/clusters/c1";
    assert_eq!(url(rancher, "").await, good(rancher));
    for bad in ["htps://api:6443", "https:///x", "ftp://api"] {
        let error = url(bad, "").await.expect_err(bad);
        assert!(
            error.contains("the kubeconfig x") && error.contains(bad),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_proxy_of_the_kubeconfig_is_used_and_one_of_the_environment_has_exceptions() {
    let given = kubeconfig("https://api", ", proxy-url: \"http://proxy:3128\"");
    let mut given = given;
    assert!(
        cluster_of(&mut given, None).is_some() && cluster_of(&mut given, Some("two")).is_none()
    );
    let reached = load(given, None, "x", "y").await.expect("a configuration");
    let clusters = config::Clusters::default();
    let proxy = Proxy::default();
    let config = finished(reached.clone(), &clusters, &proxy);
    assert_eq!(
        config.proxy_url.map(|url| url.to_string()).as_deref(),
        Some("http://proxy:3128/")
    );
    // kube-client may have read a proxy from the environment.
    let mut other = reached;
    other.way = Way::Environment;
    assert_eq!(finished(other, &clusters, &proxy).proxy_url, None);
}

async fn of_masters(text: &str) -> Vec<(String, Access)> {
    let path = std::env::temp_dir().join(format!("masters-{}", std::process::id()));
    std::fs::write(&path, text).expect("a file");
    let master = |name: &str| config::Master {
        name: name.to_owned(),
        url: format!("https://{name}").parse().expect("an address"),
    };
    let source = SourceConfig::Kubernetes(config::Clusters {
        kubeconfig: Some(path.clone()),
        masters: vec![master("one"), master("two")],
        ..config::Clusters::default()
    });
    let found = accesses(&source).await.expect("two ways");
    std::fs::remove_file(&path).expect("a file");
    found
}

#[tokio::test]
async fn clients_share_a_plugin_that_is_run_in_the_same_way() {
    let exec = "{exec: {apiVersion: client.authentication.k8s.io/v1, command: true}}";
    let text = format!(
        "current-context: one\ncontexts: [{{name: one, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: \
         {exec}}}]\nclusters: [{{name: c, cluster: {{server: https://api}}}}]\n"
    );
    let (first, other) = (of_masters(&text).await, of_masters(&text).await);
    let [(_, one), (_, two)] = &first[..] else {
        panic!("two ways");
    };
    assert!(one.shares(two) && one.shares(&one.with(one.config.clone())));
    assert!(!one.shares(&other[0].1), "that of another kubeconfig");
}

#[test]
fn what_would_be_left_out_is_refused() {
    let user = |text: &str| serde_saphyr::from_str::<AuthInfo>(text).expect("a user");
    for text in [
        "as-uid: u",
        "as-user-extra: {a: [b]}",
        "auth-provider: {name: gcp}",
    ] {
        let error = possible(&user(text)).expect_err(text).to_string();
        let (key, _) = text.split_once(':').expect("a key");
        assert!(
            error.contains(key) && error.contains("not supported: use"),
            "{error}"
        );
    }
    possible(&user("{as: me, as-groups: [g], token: t}")).expect("supported");
}

#[test]
fn missing_files_of_a_list_are_skipped() {
    let dir = std::env::temp_dir().join(format!("kubeconfigs-{}", std::process::id()));
    std::fs::create_dir_all(dir.join(".kube")).expect("a directory");
    let one = dir.join("one");
    std::fs::write(&one, "clusters: []\n").expect("a file");
    let list = std::env::join_paths([&dir.join("missing"), &one]).expect("paths");
    assert_eq!(
        files(Some(list.as_os_str()), None),
        std::slice::from_ref(&one)
    );
    assert!(merged(&[one]).expect("readable").is_some());
    assert!(files(None, Some(dir.clone())).is_empty());
    std::fs::write(dir.join(".kube/config"), "clusters: []\n").expect("a file");
    assert_eq!(files(None, Some(dir.clone())), [dir.join(".kube/config")]);
    std::fs::remove_dir_all(&dir).expect("a directory");
}

#[tokio::test]
async fn tls_server_name_is_for_the_kubeconfig_s_own_server_only() {
    let text = serde_json::to_string(&kubeconfig("https://api", ", tls-server-name: other"));
    let text = text.expect("JSON");
    let own = load(
        Kubeconfig::from_yaml(&text).expect("a file"),
        None,
        "x",
        "y",
    )
    .await;
    let own = own.expect("a configuration").config.tls_server_name;
    assert_eq!(own.as_deref(), Some("other"));
    for (name, access) in of_masters(&text).await {
        assert_eq!(access.config.tls_server_name, None, "{name}");
    }
}

#[tokio::test]
async fn what_kubectl_refuses_is_refused_without_secrets() {
    let both = ", insecure-skip-tls-verify: true, certificate-authority-data: eA==";
    for (more, part) in [
        (both, "remove insecure-skip-tls-verify"),
        (
            ", proxy-url: \"ftp://user:secret@proxy:1\"",
            "socks5://HOST:PORT",
        ),
        (", proxy-url: \"proxy:3128\"", "socks5://HOST:PORT"),
        (
            ", proxy-url: \"http://user:secret@pro xy\"",
            "socks5://HOST:PORT",
        ),
    ] {
        let error = url("https://api", more).await.expect_err(more);
        assert!(
            error.starts_with("the kubeconfig x") && error.contains(part),
            "{error}"
        );
        assert!(!error.contains("secret"), "{error}");
    }
    for proxy in ["https://proxy:1", "socks5://user:secret@proxy:1"] {
        let more = format!(", proxy-url: \"{proxy}\"");
        url("https://api", &more).await.expect("a proxy");
    }
    let mut none = kubeconfig("https://api", "");
    none.current_context = None;
    let error = load(none, None, "the kubeconfig x", "y").await.err();
    let error = error.expect("no context").to_string();
    assert!(error.contains("kubectl config use-context"), "{error}");
}

/// kube-client would panic.
#[test]
fn a_token_of_several_lines_is_an_error_that_does_not_show_it() {
    for token in ["secret\nsecret", "secret\u{7}"] {
        let user = serde_json::json!({ "token": token });
        let user: AuthInfo = serde_json::from_value(user).expect("a user");
        let error = possible(&user).expect_err(token).to_string();
        assert!(
            error.contains("token") && !error.contains("secret"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn empty_texts_are_as_good_as_none() {
    let dir = std::env::temp_dir().join(format!("empty-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let (first, second) = (dir.join("first"), dir.join("second"));
    let empty = "certificate-authority: \"\", certificate-authority-data: \"\", proxy-url: \"\", tls-server-name: \"\"";
    let user = "token: \"\", tokenFile: \"\", username: \"\", as: \"\", client-certificate: \"\", client-key: \"\", \
                client-certificate-data: \"\", client-key-data: \"\"";
    let text = format!(
        "current-context: \"\"\nclusters: [{{name: c, cluster: {{server: \"api:1\", {empty}}}}}]\nusers: [{{name: u, user: \
         {{{user}}}}}]\ncontexts: null\n"
    );
    std::fs::write(&first, text).expect("a file");
    let context = "current-context: one\ncontexts: [{name: one, context: {cluster: c, user: u}}]\n";
    std::fs::write(&second, context).expect("a file");
    let file = merged(&[first, second]).expect("readable").expect("a file");
    let reached = load(file, None, "x", "y").await.expect("a configuration");
    // Without any TLS setting the scheme is plain HTTP.
    assert_eq!(reached.config.cluster_url.to_string(), "http://api:1/");
    assert!(reached.way == Way::Environment && reached.config.tls_server_name.is_none());
    let user = serde_json::to_value(&reached.config.auth_info).expect("JSON");
    assert_eq!(user, serde_json::json!({}));
    std::fs::remove_dir_all(&dir).expect("a directory");
}

#[tokio::test]
async fn a_plugin_learns_the_proxy_of_the_kubeconfig_and_no_other() {
    for (more, told) in [
        ("", None),
        (", proxy-url: \"http://p:1\"", Some("http://p:1")),
    ] {
        let text = serde_json::to_string(&kubeconfig("https://api", more)).expect("JSON");
        let exec = "{\"exec\":{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"command\":\"x\",\"provideClusterInfo\":true}}";
        let text = text.replace("{\"token\":\"t\"}", exec);
        let file = Kubeconfig::from_yaml(&text).expect("a kubeconfig");
        let config = load(file, None, "x", "y")
            .await
            .expect("a configuration")
            .config;
        let cluster = config
            .auth_info
            .exec
            .and_then(|exec| exec.cluster)
            .expect("told");
        assert_eq!(
            (cluster.server.as_deref(), cluster.proxy_url.as_deref()),
            (Some("https://api"), told)
        );
    }
}
