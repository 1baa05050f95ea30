//! Checks names in manifests by the rules of the API server, and explains each refusal.

use serde_json::Value;

const MAX_NAME: usize = 253;
const MAX_NAMESPACE: usize = 63;
/// The maximum length of a label's value, and of its key without the prefix, in characters.
const MAX_LABEL: usize = 63;

/// Checks namespace, name and keys of a ConfigMap. Returns why the API server refuses the first invalid one.
pub(super) fn check<'a>(
    namespace: &str,
    name: &str,
    mut keys: impl Iterator<Item = &'a String>,
) -> Result<(), String> {
    if !is_label(namespace) || namespace.len() > MAX_NAMESPACE {
        return Err(format!(
            "metadata.namespace {} is not a valid namespace name: use at most {MAX_NAMESPACE} lower-case letters, digits and -, \
             with a letter or digit at both ends",
            quoted(namespace)
        ));
    }
    if !name.split('.').all(is_label) || name.len() > MAX_NAME {
        return Err(format!(
            "metadata.name {} is not a valid ConfigMap name: use at most {MAX_NAME} lower-case letters, digits, - and ., with a \
             letter or digit at both ends and beside each .",
            quoted(name)
        ));
    }
    match keys.find(|key| !is_key(key)) {
        None => Ok(()),
        Some(key) => Err(format!(
            "ConfigMap {namespace}/{name}: data has the key {}, which every API server refuses: use at most {MAX_NAME} letters, \
             digits, -, _ and .",
            quoted(key)
        )),
    }
}

/// Whether the text is a DNS label as in RFC 1123, apart from its length.
fn is_label(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(good) && !text.starts_with('-') && !text.ends_with('-')
}

/// Checks a label. Returns why the API server refuses it.
pub(super) fn check_label(key: &str, value: &Value) -> Result<(), String> {
    check_qualified("label", key)?;
    let text = value.as_str();
    if text.is_some_and(|text| text.is_empty() || is_label_text(text)) {
        return Ok(());
    }
    let shown = text.map_or_else(|| quoted(&value.to_string()), quoted);
    Err(format!(
        "the label {} has the value {shown}, which every API server refuses: use at most {MAX_LABEL} letters, digits, -, _ and ., with a \
         letter or digit at both ends",
        quoted(key)
    ))
}

/// Checks an annotation. Returns why the API server refuses it.
pub(super) fn check_annotation(key: &str, value: &Value) -> Result<(), String> {
    check_qualified("annotation", key)?;
    match value {
        Value::String(_) => Ok(()),
        _ => Err(format!(
            "the annotation {} has a value that is not a string, which every API server refuses: put it in quotes",
            quoted(key)
        )),
    }
}

/// Checks the key of a label or annotation: a name, with or without a domain and a slash before it.
fn check_qualified(what: &str, key: &str) -> Result<(), String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let is_domain = |text: &str| text.len() <= MAX_NAME && text.split('.').all(is_label);
    if is_label_text(name) && prefix.is_none_or(is_domain) {
        return Ok(());
    }
    Err(format!(
        "every API server refuses the key {} of a {what}: use at most {MAX_LABEL} letters, digits, -, _ and ., with a letter or digit at both \
         ends, after a domain and a slash if you like",
        quoted(key)
    ))
}

fn is_label_text(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    text.len() <= MAX_LABEL && text.bytes().all(good) && ends(bytes.first()) && ends(bytes.last())
}

fn is_key(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(good)
        && text != "."
        && !text.starts_with("..")
}

/// Returns the beginning of the text in quotes, with unprintable characters escaped.
pub(super) fn quoted(text: &str) -> String {
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

    #[test]
    fn labels_and_annotations_are_judged_as_an_api_server_does() {
        let text = |text: &str| Value::from(text);
        let long = "l".repeat(MAX_LABEL + 1);
        for (key, value) in [
            ("egress", "static"),
            ("a.example/b_C.d", ""),
            (&long[1..], &long[1..]),
        ] {
            assert_eq!(check_label(key, &text(value)), Ok(()));
            assert_eq!(check_annotation(key, &text("any text: \u{202e}")), Ok(()));
        }
        for bad in ["static ", "-a", "a b", "ä", &long] {
            let why = check_label("egress", &text(bad)).expect_err(bad);
            assert!(why.starts_with("the label \"egress\""), "{why}");
        }
        for bad in ["", " a", "a/", "/a", "A.example/a", "a/b/c", &long] {
            check_label(bad, &text("x")).expect_err(bad);
            check_annotation(bad, &text("x")).expect_err(bad);
        }
        for odd in [Value::Null, Value::from(true), Value::from(7)] {
            assert!(check_label("a", &odd).is_err() && check_annotation("a", &odd).is_err());
        }
    }
}
