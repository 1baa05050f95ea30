//! Checks the `Host` header of requests for the status, as a protection against DNS rebinding.
//!
//! A foreign web page can let its own DNS name resolve to the address of a port-forward or a pod. The browser then treats both as one
//! origin and lets the page read responses. The request still has the foreign name in `Host`, so it is refused.

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header};

/// Suffixes of names that no public registry sells.
const PRIVATE: [&str; 5] = [".localhost", ".svc", ".local", ".internal", ".home.arpa"];

/// The response to a request under any other name.
pub(super) const REFUSAL: &str = "the status is not served under this host name, because a foreign web page could use it: use \
    localhost, an IP address or the name of a Service (NAME.NAMESPACE.svc), or let the proxy set Host to one of these\n";

/// Whether `Host` is an IP address, a name of one label, or a name that exists only in private networks.
pub(super) fn is_ours(headers: &HeaderMap, uri: &Uri) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let header = match (hosts.next(), hosts.next()) {
        // A browser always sends it.
        (None, _) => true,
        (Some(host), None) => host.to_str().is_ok_and(is_private),
        (Some(_), Some(_)) => false,
    };
    header && uri.authority().is_none_or(|host| is_private(host.as_str()))
}

fn is_private(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        return rest
            .split_once(']')
            .is_some_and(|(ip, port)| ip.parse::<IpAddr>().is_ok() && is_port(port));
    }
    let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    is_port(port)
        && !name.is_empty()
        && name.bytes().all(plain)
        && (name.parse::<IpAddr>().is_ok()
            || !name.contains('.')
            || PRIVATE.iter().any(|end| name.ends_with(end)))
}

/// Whether the text is empty, or a colon and digits.
fn is_port(text: &str) -> bool {
    text.is_empty()
        || text
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_private_names_are_ours_and_public_names_are_not() {
        for ours in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:8080",
            "10.1.2.3",
            "[::1]:8080",
            "[fd00::7]",
            "egress",
            "egress.kube-system.svc",
            "egress.kube-system.svc.cluster.local:8080",
            "ip-10-0-0-1.eu-central-1.compute.internal",
            "localhost.",
        ] {
            assert!(is_private(ours), "{ours}");
        }
        for foreign in [
            "rebind.example.com",
            "rebind.example.com:8080",
            "127.0.0.1.example.com",
            "localhost.example.com",
            "svc.example.com",
            "a.svc.example.com",
            "xlocalhost.dev",
            "[::1",
            "[::1].example.com",
            "localhost:80.example.com",
            "a@localhost.example.com",
            "",
            ":8080",
            ".",
        ] {
            assert!(!is_private(foreign), "{foreign}");
        }
    }

    #[test]
    fn two_names_are_none() {
        let mut headers = HeaderMap::new();
        let uri = |text: &str| text.parse::<Uri>().expect("a URI");
        assert!(is_ours(&headers, &uri("/")));
        headers.append(header::HOST, "localhost".parse().expect("a value"));
        assert!(is_ours(&headers, &uri("/")));
        assert!(!is_ours(&headers, &uri("http://example.com/")));
        headers.append(header::HOST, "localhost".parse().expect("a value"));
        assert!(!is_ours(&headers, &uri("/")));
    }
}
