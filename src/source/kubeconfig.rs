//! Reads kubeconfig files, contexts, the pod's service account and proxies as kubectl does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderValue, Uri, header::USER_AGENT};
use kube::Config;
use kube::config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::access::{Access, ConnectError, Renewal, cannot};
use super::plugin::Plugin;
use crate::agent::AGENT;
use crate::config::{self, SourceConfig};
use crate::model::base::plain;
use crate::proxy::{Proxy, is_of_a_host};

const READ_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Stands for a missing `proxy-url`.
const NO_PROXY: &str = "http://unused";
/// The maximum length of an address in an error, in bytes.
const MAX_SHOWN: usize = 200;

/// The configuration of one cluster, and the source of its proxy.
#[derive(Clone)]
struct Reached {
    config: Config,
    way: Way,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// No proxy: a pod reaches its own API server directly, and the proxy of its environment is for the internet.
    Direct,
    /// The environment of this process.
    Environment,
    /// The `proxy-url` of the kubeconfig.
    Kubeconfig,
}

/// Returns the access to each cluster, by name; none if ConfigMaps come from files. The first cluster holds the Lease. Sends no request.
/// All clusters share the kubeconfig's plugin, so that a user logs in once.
///
/// # Errors
/// If a kubeconfig, an address or a proxy cannot be used.
pub async fn accesses(source: &SourceConfig) -> Result<Vec<(String, Access)>, ConnectError> {
    let SourceConfig::Kubernetes(clusters) = source else {
        return Ok(Vec::new());
    };
    let proxy = Proxy::from_environment().map_err(|error| ConnectError::new(error.to_string()))?;
    // API servers named by flags use the certificates and credentials of the pod or kubeconfig, if there are any.
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
    let mut renewal = clusters.token_file.clone().map(Renewal::TokenFile);
    if let (Some(base), None) = (&mut base, &renewal) {
        possible(&base.config.auth_info)?;
        renewal = renewal_of(&mut base.config.auth_info);
    }
    let access = |reached| Access::new(finished(reached, clusters, &proxy), renewal.clone());
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
        // This name belongs to the certificate of the kubeconfig's own server.
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

/// Removes credentials that change from a user of a kubeconfig. As for kubectl, a file with a token takes precedence over a token, and
/// blanks around its token do not count. kube-client would send them.
fn renewal_of(user: &mut AuthInfo) -> Option<Renewal> {
    if let Some(path) = user.token_file.take() {
        user.token = None;
        return Some(Renewal::TokenFile(path.into()));
    }
    Plugin::of(user).map(Renewal::Plugin)
}

/// Refuses fields that kube-client would ignore silently: requests would have other permissions than the kubeconfig says. kube-client would
/// panic on a token that a header cannot hold.
fn possible(user: &AuthInfo) -> Result<(), ConnectError> {
    let token = serde_json::to_value(user).unwrap_or_default();
    let token = token["token"].as_str().unwrap_or_default();
    if HeaderValue::try_from(format!("Bearer {token}")).is_err() {
        let message = "the token of the user of the kubeconfig has characters that a token cannot have: write it in one line";
        return Err(ConnectError::new(message.to_owned()));
    }
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

/// Adds credentials, the proxy and timeouts. Disables kube-client's own retries, which would hide a failure for minutes.
fn finished(reached: Reached, clusters: &config::Clusters, proxy: &Proxy) -> Config {
    let Reached { mut config, way } = reached;
    if clusters.token_file.is_some() {
        config.auth_info = AuthInfo::default();
    }
    match way {
        Way::Direct => config.proxy_url = None,
        // kube-client does not support exceptions (`NO_PROXY`).
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

/// Reads the first that exists of `--kubeconfig`, `$KUBECONFIG`, `~/.kube/config` and the pod's service account.
async fn infer(clusters: &config::Clusters) -> Result<Reached, ConnectError> {
    let context = clusters.context.as_deref();
    if let Some(path) = &clusters.kubeconfig {
        let what = format!("the kubeconfig {}", path.display());
        let text = format!("cannot read {what}: check --kubeconfig and --context");
        let file = read(path, text)?;
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
            "no kubeconfig exists that could have the context {context:?}: set --kubeconfig"
        )));
    }
    let text = "there is neither a kubeconfig nor a pod's service account: set --kubeconfig or --master, or run in a \
                cluster, or use --manifests"
        .to_owned();
    let config = Config::incluster().map_err(cannot(text))?;
    let way = Way::Direct;
    Ok(Reached { config, way })
}

/// Returns the files of `$KUBECONFIG` that exist, or else the default file. Like kubectl, skips missing files.
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

/// Reads a file. Like kubectl, which writes `current-context: ""`, treats an empty text as missing.
fn read(path: &Path, unreadable: String) -> Result<Kubeconfig, ConnectError> {
    let mut file = Kubeconfig::read_from(path).map_err(cannot(unreadable))?;
    file.current_context = file.current_context.filter(|name| !name.is_empty());
    let clusters = file.clusters.iter_mut();
    clusters.for_each(|named| named.cluster = named.cluster.take().and_then(without_empty));
    let users = file.auth_infos.iter_mut();
    users.for_each(|named| named.auth_info = named.auth_info.take().and_then(without_empty));
    Ok(file)
}

/// Removes empty texts, and paths that consist of the kubeconfig's own directory only.
fn without_empty<T: Serialize + DeserializeOwned>(part: T) -> Option<T> {
    let is_path = |key: &str| {
        [
            "certificate-authority",
            "client-certificate",
            "client-key",
            "tokenFile",
        ]
        .contains(&key)
    };
    let Ok(Value::Object(mut fields)) = serde_json::to_value(part) else {
        return None;
    };
    fields.retain(|key, value| {
        let text = value.as_str();
        !text.is_some_and(|text| text.is_empty() || is_path(key) && text.ends_with('/'))
    });
    serde_json::from_value(Value::Object(fields)).ok()
}

fn merged(files: &[PathBuf]) -> Result<Option<Kubeconfig>, ConnectError> {
    let mut all: Option<Kubeconfig> = None;
    for path in files {
        let text = format!(
            "cannot read the kubeconfig {}: correct it, or set --kubeconfig",
            path.display()
        );
        let file = read(path, text.clone())?;
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
    if context.or(file.current_context.as_deref()).is_none() {
        return Err(ConnectError::new(format!(
            "{what} has no current-context: set --context, or run kubectl config use-context"
        )));
    }
    let way = match cluster_of(&mut file, context) {
        Some(cluster) => reachable(cluster, what)?,
        None => Way::Environment,
    };
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(file, &options).await;
    let mut config = config.map_err(cannot(format!("cannot use {what}: {remedy}")))?;
    let plugin = config.auth_info.exec.as_mut();
    if let Some(told) = plugin.and_then(|plugin| plugin.cluster.as_mut())
        && way != Way::Kubeconfig
    {
        told.proxy_url = None;
    }
    Ok(Reached { config, way })
}

/// Adds a missing scheme to the server's address, as kubectl does: `https` if the cluster has any TLS setting, else `http`.
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

/// Refuses what kubectl refuses. Returns the source of the cluster's proxy.
fn reachable(cluster: &mut Cluster, what: &str) -> Result<Way, ConnectError> {
    let usable = |server: &str| server.parse().is_ok_and(|url| is_of_a_host(&url));
    let server = cluster.server.as_deref();
    if let Some(server) = server.filter(|server| !usable(server)) {
        return Err(ConnectError::new(format!(
            "{what} has the server {:?}: write its address as https://HOST:PORT",
            plain::short(server, MAX_SHOWN)
        )));
    }
    let has_authority =
        cluster.certificate_authority.is_some() || cluster.certificate_authority_data.is_some();
    if has_authority && cluster.insecure_skip_tls_verify == Some(true) {
        return Err(ConnectError::new(format!(
            "{what} has a certificate authority and insecure-skip-tls-verify for the same cluster, which contradict each other: remove \
             insecure-skip-tls-verify"
        )));
    }
    let Some(proxy) = &cluster.proxy_url else {
        // Without a value, kube-client would read the environment, and fail on blanks. `finished` sets the right proxy.
        cluster.proxy_url = Some(NO_PROXY.to_owned());
        return Ok(Way::Environment);
    };
    match proxy.parse().is_ok_and(|url| leads_somewhere(&url)) {
        true => Ok(Way::Kubeconfig),
        // The value may hold a password.
        false => Err(ConnectError::new(format!(
            "{what} has a proxy-url that is not the address of a proxy: write it as http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT"
        ))),
    }
}

fn leads_somewhere(proxy: &Uri) -> bool {
    let socks = proxy.scheme_str() == Some("socks5");
    is_of_a_host(proxy) || socks && proxy.host().is_some_and(|host| !host.is_empty())
}

/// Returns the context's cluster.
fn cluster_of<'a>(file: &'a mut Kubeconfig, context: Option<&str>) -> Option<&'a mut Cluster> {
    let context = context.or(file.current_context.as_deref())?;
    let context = file.contexts.iter().find(|named| named.name == context)?;
    let name = &context.context.as_ref()?.cluster;
    let mut clusters = file.clusters.iter_mut();
    clusters.find(|named| named.name == *name)?.cluster.as_mut()
}

#[cfg(test)]
#[path = "kubeconfig_tests.rs"]
mod tests;
