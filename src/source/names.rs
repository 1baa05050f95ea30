//! Names in manifests, judged as an API server judges them: what it would refuse is refused here, with the reason.

const MAX_NAME: usize = 253;
const MAX_NAMESPACE: usize = 63;

/// Whether an API server takes this namespace, name and keys for a ConfigMap; else the first of them that it refuses, and why.
pub(super) fn check<'a>(
    namespace: &str,
    name: &str,
    mut keys: impl Iterator<Item = &'a String>,
) -> Result<(), String> {
    if !is_label(namespace) || namespace.len() > MAX_NAMESPACE {
        return Err(format!(
            "metadata.namespace {} is no name of a namespace: use at most {MAX_NAMESPACE} lower-case letters, digits and -, \
             with a letter or digit at both ends",
            quoted(namespace)
        ));
    }
    if !name.split('.').all(is_label) || name.len() > MAX_NAME {
        return Err(format!(
            "metadata.name {} is no name of a ConfigMap: use at most {MAX_NAME} lower-case letters, digits, - and ., with a \
             letter or digit at both ends and beside each .",
            quoted(name)
        ));
    }
    match keys.find(|key| !is_key(key)) {
        None => Ok(()),
        Some(key) => Err(format!(
            "ConfigMap {namespace}/{name}: data has the key {}, which no API server takes: use at most {MAX_NAME} letters, \
             digits, -, _ and .",
            quoted(key)
        )),
    }
}

/// Whether it is a label of DNS as in RFC 1123, but for its length.
fn is_label(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(good) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_key(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(good)
        && text != "."
        && !text.starts_with("..")
}

/// The beginning of it, in quotes, with escapes for what is not to be shown.
fn quoted(text: &str) -> String {
    let first: String = text.chars().take(40).collect();
    format!("{first:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(namespace: &str, name: &str, key: &str) -> Result<(), String> {
        check(namespace, name, [key.to_owned()].iter())
    }

    #[test]
    fn what_an_api_server_refuses_is_refused_with_its_place() {
        let (long, longer) = ("n".repeat(64), "n".repeat(254));
        for (namespace, name, key) in [
            ("team", "partners", "bank-1_a.B"),
            ("0", "a.b-c.0", ".hidden"),
            (&long[1..], &longer[1..], &longer[1..]),
        ] {
            assert_eq!(judged(namespace, name, key), Ok(()));
        }
        for bad in [
            "Team_A",
            "",
            "-a",
            "a-",
            "a.b",
            "a b",
            "a\n::error::b",
            "a\u{1b}[31m",
            &long,
        ] {
            let why = judged(bad, "name", "key").expect_err(bad);
            assert!(
                why.starts_with("metadata.namespace \"") && !why.contains(char::is_control),
                "{why}"
            );
        }
        for bad in ["A", "", "a..b", ".a", "a_b", "a/b", "a\nb", "ä", &longer] {
            let why = judged("team", bad, "key").expect_err(bad);
            assert!(why.starts_with("metadata.name \""), "{why}");
        }
        for bad in ["a b", "", ".", "..", "..a", "a/b", "a\u{202e}b", &longer] {
            let why = judged("team", "name", bad).expect_err(bad);
            assert!(
                why.starts_with("ConfigMap team/name: data has the key \""),
                "{why}"
            );
            assert_eq!(crate::model::base::plain::plain(&why), why);
        }
    }
}
