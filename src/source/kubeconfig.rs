//! How API servers are reached: kubeconfig files, contexts, the pod's service account and proxies, read as kubectl reads them.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderValue, header::USER_AGENT};
use kube::Config;
use kube::config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig};

use super::access::{Access, ConnectError, cannot};
use super::plugin::Plugin;
use crate::config::{self, SourceConfig};
use crate::model::base::plain;
use crate::proxy::{Proxy, is_of_a_host};

const READ_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An error shows this many bytes of an address.
const MAX_SHOWN: usize = 200;
const AGENT: HeaderValue = HeaderValue::from_static(concat!(
    env!("CARGO_PKG_NAME"),
    "/",
    env!("CARGO_PKG_VERSION")
));

/// The configuration of one cluster, and what says which proxy leads to it.
#[derive(Clone)]
struct Reached {
    config: Config,
    way: Way,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A pod reaches its own API server directly: the proxy of its environment is there for the internet.
    Direct,
    /// The environment of this process.
    Environment,
    /// The `proxy-url` of the kubeconfig.
    Kubeconfig,
}

/// Returns the ways into all clusters, by name; none if ConfigMaps come from files. The first one's cluster holds the Lease. Nothing is
/// sent yet. All share the kubeconfig's plugin, so that a person logs in once.
///
/// # Errors
/// If a kubeconfig, an address or a proxy cannot be used.
pub async fn accesses(source: &SourceConfig) -> Result<Vec<(String, Access)>, ConnectError> {
    let SourceConfig::Kubernetes(clusters) = source else {
        return Ok(Vec::new());
    };
    let proxy = Proxy::from_environment().map_err(|error| ConnectError::new(error.to_string()))?;
    // Certificates and credentials of named API servers are those of the pod or kubeconfig, if there are any.
    let mut base = match infer(clusters).await {
        Ok(base) => Some(base),
        Err(_)
            if !clusters.masters.is_empty()
                && clusters.kubeconfig.is_none()
                && clusters.context.is_none() =>
        {
            None
        }
        Err(error) => return Err(error),
    };
    let mut plugin = None;
    if let (Some(base), None) = (&mut base, &clusters.token_file) {
        possible(&base.config.auth_info)?;
        plugin = Plugin::of(&mut base.config.auth_info);
    }
    let access = |reached| Access::new(finished(reached, clusters, &proxy), plugin.clone());
    if let (Some(base), []) = (&base, &clusters.masters[..]) {
        return Ok(vec![(String::new(), access(base.clone()))]);
    }
    let several = clusters.masters.len() > 1;
    let of = |master: &config::Master| {
        let mut reached = base.clone().unwrap_or_else(|| Reached {
            config: Config::new(master.url.clone()),
            way: Way::Environment,
        });
        reached.config.cluster_url = master.url.clone();
        if reached.way == Way::Direct {
            reached.way = Way::Environment;
        }
        // It is the name on the certificate of the kubeconfig's own server.
        reached.config.tls_server_name = None;
        let name = if several {
            master.name.clone()
        } else {
            String::new()
        };
        (name, access(reached))
    };
    Ok(clusters.masters.iter().map(of).collect())
}

/// Refuses what kube-client would leave out without a word: requests would have other rights than the kubeconfig says.
fn possible(user: &AuthInfo) -> Result<(), ConnectError> {
    let (key, remedy) = if user.auth_provider.is_some() {
        (
            "auth-provider",
            "use an exec plugin, as kubectl requires since 1.26",
        )
    } else if user.impersonate_uid.is_some() {
        ("as-uid", "use as and as-groups")
    } else if user.impersonate_user_extra.is_some() {
        ("as-user-extra", "use as and as-groups")
    } else {
        return Ok(());
    };
    let message = format!("the user of the kubeconfig has {key}, which is not supported: {remedy}");
    Err(ConnectError::new(message))
}

/// Credentials, the proxy, deadlines, and no retries below ours: theirs would hide for minutes what has to be reported.
fn finished(reached: Reached, clusters: &config::Clusters, proxy: &Proxy) -> Config {
    let Reached { mut config, way } = reached;
    if let Some(path) = &clusters.token_file {
        config.auth_info = AuthInfo {
            token_file: Some(path.display().to_string()),
            ..AuthInfo::default()
        };
    }
    match way {
        Way::Direct => config.proxy_url = None,
        // kube-client knows no exceptions.
        Way::Environment => config.proxy_url = proxy.of(&config.cluster_url),
        Way::Kubeconfig => {}
    }
    config.headers.push((USER_AGENT, AGENT));
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.write_timeout = Some(READ_TIMEOUT);
    config.default_retry = false;
    config
}

/// What `--kubeconfig`, `$KUBECONFIG`, `~/.kube/config` or the pod's service account say, the first that there is.
async fn infer(clusters: &config::Clusters) -> Result<Reached, ConnectError> {
    let context = clusters.context.as_deref();
    if let Some(path) = &clusters.kubeconfig {
        let what = format!("the kubeconfig {}", path.display());
        let text = format!("cannot read {what}: check --kubeconfig and --context");
        let file = Kubeconfig::read_from(path).map_err(cannot(text))?;
        return load(file, context, &what, "check it, --kubeconfig and --context").await;
    }
    let found = files(
        std::env::var_os("KUBECONFIG").as_deref(),
        std::env::home_dir(),
    );
    if let Some(file) = merged(&found)? {
        let named: Vec<String> = found.iter().map(|it| it.display().to_string()).collect();
        let what = format!("the kubeconfig {}", named.join(", "));
        return load(
            file,
            context,
            &what,
            "check it and --context, or set --kubeconfig",
        )
        .await;
    }
    if let Some(context) = context {
        return Err(ConnectError::new(format!(
            "there is no kubeconfig that could have the context {context:?}: set --kubeconfig"
        )));
    }
    let text = "there is neither a kubeconfig nor a pod's service account: set --kubeconfig or --master, or run in a \
                cluster, or use --manifests"
        .to_owned();
    let config = Config::incluster().map_err(cannot(text))?;
    let way = Way::Direct;
    Ok(Reached { config, way })
}

/// The files of `$KUBECONFIG` that exist, or else the usual one. kubectl skips those that are missing, too.
fn files(variable: Option<&std::ffi::OsStr>, home: Option<PathBuf>) -> Vec<PathBuf> {
    let listed = variable.filter(|list| !list.is_empty());
    let candidates: Vec<PathBuf> = match listed {
        Some(list) => std::env::split_paths(list).collect(),
        None => home
            .map(|home| home.join(".kube/config"))
            .into_iter()
            .collect(),
    };
    let exists = |path: &PathBuf| !path.as_os_str().is_empty() && path.exists();
    candidates.into_iter().filter(exists).collect()
}

fn merged(files: &[PathBuf]) -> Result<Option<Kubeconfig>, ConnectError> {
    let mut all: Option<Kubeconfig> = None;
    for path in files {
        let text = format!(
            "cannot read the kubeconfig {}: correct it, or set --kubeconfig",
            path.display()
        );
        let file = Kubeconfig::read_from(path).map_err(cannot(text.clone()))?;
        all = Some(match all {
            Some(all) => all.merge(file).map_err(cannot(text))?,
            None => file,
        });
    }
    Ok(all)
}

async fn load(
    mut file: Kubeconfig,
    context: Option<&str>,
    what: &str,
    remedy: &str,
) -> Result<Reached, ConnectError> {
    let clusters = file.clusters.iter_mut();
    clusters
        .filter_map(|named| named.cluster.as_mut())
        .for_each(complete);
    let cluster = cluster_of(&file, context);
    let server = cluster.and_then(|cluster| cluster.server.as_deref());
    let usable = |server: &str| server.parse().is_ok_and(|url| is_of_a_host(&url));
    if let Some(server) = server.filter(|server| !usable(server)) {
        return Err(ConnectError::new(format!(
            "{what} has the server {:?}: write its address as https://HOST:PORT",
            plain::short(server, MAX_SHOWN)
        )));
    }
    let proxy = cluster.and_then(|cluster| cluster.proxy_url.as_deref());
    let way = match proxy.filter(|proxy| !proxy.is_empty()) {
        Some(_) => Way::Kubeconfig,
        None => Way::Environment,
    };
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(file, &options).await;
    let config = config.map_err(cannot(format!("cannot use {what}: {remedy}")))?;
    Ok(Reached { config, way })
}

/// An address without a scheme is `https` where the cluster has anything to say about TLS, else `http`, as for kubectl.
fn complete(cluster: &mut Cluster) {
    let secure = cluster.certificate_authority.is_some()
        || cluster.certificate_authority_data.is_some()
        || cluster.insecure_skip_tls_verify == Some(true);
    if let Some(server) = cluster
        .server
        .as_mut()
        .filter(|server| !server.contains("://"))
    {
        let scheme = if secure { "https" } else { "http" };
        *server = format!("{scheme}://{}", server.trim_start_matches('/'));
    }
}

/// Returns the cluster of the context.
fn cluster_of<'a>(file: &'a Kubeconfig, context: Option<&str>) -> Option<&'a Cluster> {
    let context = context.or(file.current_context.as_deref())?;
    let context = file.contexts.iter().find(|named| named.name == context)?;
    let name = &context.context.as_ref()?.cluster;
    let cluster = file.clusters.iter().find(|named| named.name == *name)?;
    cluster.cluster.as_ref()
}

#[cfg(test)]
mod tests {
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
        assert!(cluster_of(&given, None).is_some() && cluster_of(&given, Some("two")).is_none());
        let reached = load(given, None, "x", "y").await.expect("a configuration");
        let clusters = config::Clusters::default();
        let proxy = Proxy::default();
        let config = finished(reached.clone(), &clusters, &proxy);
        assert_eq!(
            config.proxy_url.map(|url| url.to_string()).as_deref(),
            Some("http://proxy:3128/")
        );
        // Whatever kube-client has taken from the environment.
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
}
