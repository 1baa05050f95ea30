//! The form of single values. An error is a problem and its remedy, ready to be shown.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use super::Master;

/// A problem and its remedy.
pub(super) type Wrong = (String, String);
pub(super) type Judged<T> = Result<T, Wrong>;

/// AWS allows subnets from /16 to /28.
const SUBNET_PREFIXES: std::ops::RangeInclusive<u8> = 16..=28;
const MAX_TAG_KEY: usize = 128;
const MAX_TAG_VALUE: usize = 256;

pub(super) fn wrong<T>(problem: impl Into<String>, remedy: impl Into<String>) -> Judged<T> {
    Err((problem.into(), remedy.into()))
}

/// Returns a value for a message: quoted, on one line, at most 80 characters.
pub(super) fn quote(value: &str) -> String {
    let short: String = value.chars().take(80).collect();
    if short.len() < value.len() {
        format!("{:?}", short + "…")
    } else {
        format!("{short:?}")
    }
}

pub(super) fn boolean(text: &str) -> Judged<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "t" => Ok(true),
        "false" | "0" | "f" => Ok(false),
        _ => wrong(
            format!("{} is neither true nor false", quote(text)),
            "give =true or =false",
        ),
    }
}

/// Parses a whole number from `min` to `max`.
pub(super) fn number(text: &str, min: u16, max: u16) -> Judged<u16> {
    match text.trim().parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => wrong(
            format!("{} is not a number from {min} to {max}", quote(text)),
            "give a whole number within these bounds",
        ),
    }
}

/// Parses a duration in Go's notation, from `min` to `max`.
pub(super) fn duration(text: &str, min: Duration, max: Duration) -> Judged<Duration> {
    let text = text.trim();
    let parsed = if text == "0" {
        Some(Duration::ZERO)
    } else {
        parse_duration(text)
    };
    let Some(value) = parsed else {
        return wrong(
            format!("{} is not a duration", quote(text)),
            "write a number with its unit, such as 300ms, 15s, 5m or 1h30m",
        );
    };
    if value < min || value > max {
        return wrong(
            format!("{text} is out of range"),
            format!("give {min:?} to {max:?}"),
        );
    }
    Ok(value)
}

fn parse_duration(text: &str) -> Option<Duration> {
    jiff::SignedDuration::from_str(text)
        .ok()
        .and_then(|value| Duration::try_from(value).ok())
}

pub(super) fn nat_cidr(text: &str) -> Judged<Ipv4Net> {
    let form = "give the CIDR of a subnet, such as 172.31.64.0/28";
    let net = match text.parse::<IpNet>() {
        Ok(IpNet::V4(net)) => net,
        Ok(IpNet::V6(_)) => {
            return wrong(
                format!("{text} is IPv6"),
                "NAT gateways are IPv4 only: give an IPv4 CIDR",
            );
        }
        Err(_) => return wrong(format!("{} is not a CIDR", quote(text)), form),
    };
    if net.trunc() != net {
        return wrong(
            format!("{text} has host bits set"),
            format!("write {}", net.trunc()),
        );
    }
    if !SUBNET_PREFIXES.contains(&net.prefix_len()) {
        return wrong(
            format!("{text} has a size that AWS does not allow for a subnet"),
            "give a /16 to a /28",
        );
    }
    Ok(net)
}

/// Checks the name of an Availability Zone, Local Zone or Wavelength Zone.
pub(super) fn zone(text: &str) -> Judged<String> {
    let parts: Vec<&str> = text.split('-').collect();
    let well_formed = text.len() <= 64
        && parts.len() >= 3
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && parts.iter().all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        });
    let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let is_region = parts.len() <= 4
        && parts
            .iter()
            .rev()
            .skip(1)
            .all(|part| !part.bytes().any(|b| b.is_ascii_digit()))
        && parts.last().is_some_and(|part| number(part));
    let is_zone_id = parts
        .last()
        .is_some_and(|part| part.strip_prefix("az").is_some_and(number));
    if is_zone_id {
        return wrong(
            format!("{} is a zone's id", quote(text)),
            "give the zone's name, such as eu-west-1a",
        );
    }
    if !well_formed || is_region {
        let what = if well_formed {
            "is a region"
        } else {
            "is not the name of a zone"
        };
        return wrong(
            format!("{} {what}", quote(text)),
            "give the zone's name, such as eu-west-1a",
        );
    }
    Ok(text.to_owned())
}

pub(super) fn tag(text: &str) -> Judged<(String, String)> {
    let Some((key, value)) = text.split_once('=') else {
        return wrong(format!("{} has no =", quote(text)), "write KEY=VALUE");
    };
    let (key, value) = (key.trim(), value.trim());
    tag_key(key)?;
    tag_value(value)?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) fn tag_key(key: &str) -> Judged<()> {
    if key.is_empty() || key.chars().count() > MAX_TAG_KEY || key.chars().any(char::is_control) {
        return wrong(
            format!(
                "the tag key {} is empty, too long or has control characters",
                quote(key)
            ),
            format!("give a key of 1 to {MAX_TAG_KEY} characters"),
        );
    }
    if key.to_ascii_lowercase().starts_with("aws:") {
        return wrong(
            format!("the tag key {} begins with aws:", quote(key)),
            "AWS reserves these: use another key",
        );
    }
    Ok(())
}

pub(super) fn tag_value(value: &str) -> Judged<()> {
    if value.is_empty()
        || value.chars().count() > MAX_TAG_VALUE
        || value.chars().any(char::is_control)
    {
        return wrong(
            format!(
                "the tag value {} is empty, too long or has control characters",
                quote(value)
            ),
            format!("give a value of 1 to {MAX_TAG_VALUE} characters"),
        );
    }
    Ok(())
}

/// Checks a cluster id: a part of a tag key and, cleaned, of the stack's name.
pub(super) fn cluster_id(text: &str) -> Judged<String> {
    if text.len() > MAX_TAG_KEY
        || !text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-=._:/@".contains(c))
    {
        return wrong(
            format!(
                "{} is too long or has characters that a tag cannot have",
                quote(text)
            ),
            format!("give at most {MAX_TAG_KEY} of the characters A-Z a-z 0-9 + - = . _ : / @"),
        );
    }
    Ok(text.to_owned())
}

pub(super) fn vpc_id(text: &str) -> Judged<String> {
    match text.strip_prefix("vpc-") {
        Some(rest)
            if (8..=17).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_hexdigit()) =>
        {
            Ok(text.to_owned())
        }
        _ => wrong(
            format!("{} is not the id of a VPC", quote(text)),
            "give it as vpc-0123456789abcdef0",
        ),
    }
}

pub(super) fn role_arn(text: &str) -> Judged<String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let well_formed = match parts[..] {
        ["arn", partition, "iam", "", account, resource] => {
            partition.starts_with("aws")
                && account.len() == 12
                && account.bytes().all(|b| b.is_ascii_digit())
                && resource.strip_prefix("role/").is_some_and(|name| {
                    (1..=576).contains(&name.len())
                        && name
                            .chars()
                            .all(|c| c.is_ascii_alphanumeric() || "+=,.@-_/".contains(c))
                })
        }
        _ => false,
    };
    if !well_formed {
        return wrong(
            format!("{} is not the ARN of a role", quote(text)),
            "give it as arn:aws:iam::123456789012:role/NAME",
        );
    }
    Ok(text.to_owned())
}

pub(super) fn bucket(text: &str) -> Judged<String> {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let well_formed = (3..=63).contains(&text.len())
        && text.chars().all(|c| edge(c) || c == '-' || c == '.')
        && text.starts_with(edge)
        && text.ends_with(edge)
        && !text.contains("..")
        && text.parse::<IpAddr>().is_err();
    if !well_formed {
        return wrong(
            format!("{} is not the name of a bucket", quote(text)),
            "give the bare name, without s3:// or a path: 3 to 63 lower-case letters, digits, dots and hyphens",
        );
    }
    Ok(text.to_owned())
}

/// Checks a DNS label, the form of a namespace's name.
pub(super) fn label(text: &str) -> Judged<String> {
    if text.len() > 63 || !is_label(text) {
        return wrong(
            format!("{} is not the name of a namespace", quote(text)),
            "give at most 63 lower-case letters, digits and hyphens",
        );
    }
    Ok(text.to_owned())
}

/// Checks a DNS subdomain, the form of most names in Kubernetes.
pub(super) fn subdomain(text: &str) -> Judged<String> {
    if text.len() > 253 || !text.split('.').all(is_label) {
        return wrong(
            format!("{} is not a name that Kubernetes allows", quote(text)),
            "give at most 253 lower-case letters, digits, hyphens and dots",
        );
    }
    Ok(text.to_owned())
}

fn is_label(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(edge) && text.ends_with(edge) && text.chars().all(|c| edge(c) || c == '-')
}

/// Parses `full`, the complete form of `text`. `secrets` says where credentials belong, because a URL is shown.
pub(super) fn url(text: &str, full: &str, form: &str, secrets: &str) -> Judged<http::Uri> {
    let Ok(url) = full.parse::<http::Uri>() else {
        return wrong(format!("{} is not a URL", quote(text)), form);
    };
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        let problem = format!("{} has a scheme other than http and https", quote(text));
        return wrong(problem, form);
    }
    if url.host().is_none_or(str::is_empty) {
        return wrong(format!("{} has no host", quote(text)), form);
    }
    let user = url.authority().map(|of| of.as_str().contains('@'));
    if user == Some(true) || url.query().is_some() {
        // Not quoted: the URL may hold a password.
        return wrong("the URL holds credentials or a query", secrets);
    }
    Ok(url)
}

/// Parses the address of an API server. The default scheme is https.
pub(super) fn master(text: &str) -> Judged<Master> {
    let form = "give it as https://HOST:PORT";
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    let secrets = "credentials come from kubeconfig, pod or token file";
    let url = url(text, &full, form, secrets)?;
    let is_https = url.scheme_str() == Some("https");
    let default_port = if is_https { 443 } else { 80 };
    let host = url.host().unwrap_or_default();
    let port = url.port_u16().unwrap_or(default_port);
    let name = format!(
        "{}:{port}{}",
        host.to_ascii_lowercase(),
        url.path().trim_end_matches('/')
    );
    Ok(Master { url, name })
}

/// Parses an address. `:8080` stands for all interfaces, as in Go.
pub(super) fn address(text: &str) -> Judged<SocketAddr> {
    let form = "give it as :8080, 127.0.0.1:8080 or [::1]:8080";
    if let Some(port) = text.strip_prefix(':') {
        return match port.parse() {
            Ok(port) => Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
            Err(_) => wrong(format!("{} has no valid port", quote(text)), form),
        };
    }
    let numeric = text
        .strip_prefix("localhost:")
        .map(|port| format!("127.0.0.1:{port}"));
    match numeric.as_deref().unwrap_or(text).parse() {
        Ok(address) => Ok(address),
        Err(_) => wrong(format!("{} is not an address", quote(text)), form),
    }
}

pub(super) fn log_level(text: &str) -> Judged<tracing::Level> {
    match text.trim().to_ascii_lowercase().as_str() {
        "panic" | "fatal" | "error" => Ok(tracing::Level::ERROR),
        "warn" | "warning" => Ok(tracing::Level::WARN),
        "info" => Ok(tracing::Level::INFO),
        "debug" => Ok(tracing::Level::DEBUG),
        "trace" => Ok(tracing::Level::TRACE),
        _ => wrong(
            format!("{} is not a log level", quote(text)),
            "give panic, fatal, error, warn, info, debug or trace",
        ),
    }
}

/// Adds a tag to a set in which no key may have two values.
pub(super) fn insert_tag(
    tags: &mut BTreeMap<String, String>,
    (key, value): (String, String),
) -> Judged<()> {
    match tags.get(&key) {
        Some(other) if *other != value => wrong(
            format!(
                "the tag {} has two values, {} and {}",
                quote(&key),
                quote(other),
                quote(&value)
            ),
            "keep one of them",
        ),
        _ => {
            tags.insert(key, value);
            Ok(())
        }
    }
}
