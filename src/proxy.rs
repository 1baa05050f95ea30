//! Selects the proxy for a URL from the environment: `HTTPS_PROXY` and `NO_PROXY`, in upper or lower case.
//!
//! Only `https` URLs use a proxy. Credential endpoints on the node use plain HTTP, and a proxy could read the token in such a request. So
//! `HTTP_PROXY` is never used. `ALL_PROXY` is used if it names an HTTP proxy. kubectl and the AWS CLI do not know this variable, so any
//! other value of it is not an error.

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// Hosts that are never reached through a proxy: this host, and the link-local addresses of the instance metadata service, of ECS and of
/// EKS Pod Identity.
const DIRECT: &str = "localhost,127.0.0.0/8,::1,169.254.0.0/16,fe80::/10,fd00:ec2::/32";

/// The port of HTTPS, which all AWS services use.
pub const HTTPS: u16 = 443;

/// The proxy that the environment names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    url: Option<Uri>,
    /// The items of `NO_PROXY`.
    exceptions: Vec<String>,
}

/// The address of a proxy cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{variable} is not the address of a proxy: write it as http://HOST:PORT, or unset the variable"
)]
pub struct ProxyError {
    /// The value may hold a password, so it is not part of the message.
    variable: &'static str,
}

impl Proxy {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// If the variable in use does not hold an `http` or `https` URL with a host.
    pub fn from_environment() -> Result<Self, ProxyError> {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ProxyError> {
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| {
                let value = variable(name).filter(|value| !value.trim().is_empty())?;
                Some((name, value.trim().to_owned()))
            })
        };
        let url = match first(["HTTPS_PROXY", "https_proxy"]) {
            Some((variable, value)) => Some(url(&value).ok_or(ProxyError { variable })?),
            None => first(["ALL_PROXY", "all_proxy"]).and_then(|(_, value)| url(&value)),
        };
        let (_, listed) = first(["NO_PROXY", "no_proxy"]).unwrap_or_default();
        let items = listed.split([',', ' ']).map(str::trim);
        let exceptions = items
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>();
        // The matcher accepts an asterisk for names only, not for addresses.
        let url = url.filter(|_| !exceptions.iter().any(|item| item == "*"));
        Ok(Self { url, exceptions })
    }

    #[cfg(test)]
    pub fn for_tests(url: &str) -> Self {
        Self::read(|name| (name == "HTTPS_PROXY").then(|| url.to_owned())).expect("a proxy")
    }

    /// Returns the URL of the proxy, with user and password if it has them.
    pub fn url(&self) -> Option<&Uri> {
        self.url.as_ref()
    }

    /// Returns the hosts, domains and networks that are reached directly at this port, separated by commas.
    pub fn exceptions(&self, port: u16) -> String {
        let mut items: Vec<String> = Vec::new();
        for item in &self.exceptions {
            // The matcher does not support ports.
            let (host, named) = split(item);
            if named.is_none_or(|named| named == port) {
                items.push(host.trim_start_matches('*').to_owned());
            }
        }
        items.push(DIRECT.to_owned());
        items.join(",")
    }

    /// Returns the proxy for this URL; None if the URL is reached directly.
    pub fn of(&self, target: &Uri) -> Option<Uri> {
        let proxy = self.url.as_ref()?;
        let exceptions = self.exceptions(target.port_u16().unwrap_or(HTTPS));
        let matcher = Matcher::builder()
            .https(proxy.to_string())
            .no(exceptions)
            .build();
        matcher.intercept(target).map(|_| proxy.clone())
    }
}

/// Splits an exception into host and port. An IPv6 address has a port only behind brackets.
fn split(item: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = item.strip_prefix('[').and_then(|it| it.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|it| it.parse().ok()));
    }
    match item.split_once(':') {
        Some((host, port)) if !port.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (item, None),
        },
        _ => (item, None),
    }
}

/// Parses a proxy's URL. The default scheme is `http`, as for kubectl and curl.
fn url(text: &str) -> Option<Uri> {
    let text = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    text.parse().ok().filter(is_of_a_host)
}

/// Whether a URL has the scheme `http` or `https`, and a host.
pub fn is_of_a_host(url: &Uri) -> bool {
    let known = matches!(url.scheme_str(), Some("http" | "https"));
    known && url.host().is_some_and(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(variables: &[(&str, &str)]) -> Result<Proxy, ProxyError> {
        let of = |name: &str| {
            let mut variables = variables.iter();
            let found = variables.find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Proxy::read(of)
    }

    fn of(variables: &[(&str, &str)], target: &str) -> Option<String> {
        let target = target.parse().expect("a URL");
        let proxy = proxy(variables).expect("a proxy").of(&target);
        proxy.map(|url| url.to_string())
    }

    #[test]
    fn https_goes_through_the_proxy_that_counts_first() {
        let api = "https://10.0.0.1:6443";
        assert_eq!(of(&[], api), None);
        let one = ("HTTPS_PROXY", "http://one:3128");
        assert_eq!(of(&[one], api).as_deref(), Some("http://one:3128/"));
        let all = ("ALL_PROXY", "two:3128");
        // A shell may set the variable for curl.
        assert_eq!(of(&[("all_proxy", "socks5://x:1080")], api), None);
        assert_eq!(of(&[all], api).as_deref(), Some("http://two:3128/"));
        assert_eq!(of(&[one, all], api).as_deref(), Some("http://one:3128/"));
        assert_eq!(of(&[("https_proxy", " ")], api), None);
        // The variable for plain HTTP does not affect https.
        assert_eq!(of(&[("HTTP_PROXY", "http://three:3128")], api), None);
        let secret = ("HTTPS_PROXY", "http://user:pass@one:3128");
        let url = of(&[secret], api);
        assert_eq!(url.as_deref(), Some("http://user:pass@one:3128/"));
    }

    #[test]
    fn exceptions_are_reached_directly() {
        let proxy = ("HTTPS_PROXY", "http://one:3128");
        let no = (
            "NO_PROXY",
            "10.0.0.0/8, .corp.example,api.example *.wild.example,port.example:6443,[2001:db8::1]:6443,2001:db8::2",
        );
        for direct in [
            "https://10.1.2.3",
            "https://x.corp.example",
            "https://api.example:6443",
            "https://x.wild.example",
            "https://port.example:6443",
            "https://[2001:db8::1]:6443",
            "https://[2001:db8::2]",
        ] {
            assert_eq!(of(&[proxy, no], direct), None, "{direct}");
        }
        for far in ["https://port.example", "https://[2001:db8::1]"] {
            assert!(of(&[proxy, no], far).is_some(), "{far}");
        }
        assert!(of(&[proxy, no], "https://11.1.2.3").is_some());
        assert!(of(&[proxy, no], "https://notapi.example").is_some());
        for all in ["*", "a.example, *"] {
            assert_eq!(of(&[proxy, ("no_proxy", all)], "https://11.1.2.3"), None);
        }
    }

    #[test]
    fn no_token_for_this_host_or_node_meets_a_proxy() {
        let variables = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"];
        let all = variables.map(|name| (name, "http://one:3128"));
        for direct in [
            "http://169.254.170.23/v1/credentials",
            "https://169.254.169.254/latest",
            "https://127.0.0.1:6443",
            "https://localhost:6443",
            "https://[::1]:6443",
            "https://[fd00:ec2::23]/v1/credentials",
            "http://sts.example",
        ] {
            assert_eq!(of(&all, direct), None, "{direct}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_an_error_without_its_password() {
        for bad in [
            "socks9://x",
            "socks5://proxy:1080",
            "http://",
            "http://user:secret@ho st",
        ] {
            let error = proxy(&[("https_proxy", bad)]).expect_err(bad).to_string();
            assert!(error.contains("https_proxy"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
