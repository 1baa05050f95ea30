//! The labelled ConfigMaps in the text of a manifest: YAML or JSON, several documents, lists.

use serde_json::{Map, Value};

use super::names;
use crate::model::base::ids::ObjectId;
use crate::model::input::request::Object;

const LABEL: (&str, &str) = ("egress", "static");
const MAX_LISTS: usize = 4;
const MAX_DOCUMENTS: usize = 1_000;
/// Mappings, sequences and scalars of one file; 1 MiB of honest manifests has fewer.
const MAX_NODES: usize = 200_000;

/// Reads every document. What is not a labelled ConfigMap does not matter; what might be one and cannot be read is an
/// error, which names its line where that is known.
pub fn parse(text: &str) -> Result<Vec<(ObjectId, Object)>, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: MAX_DOCUMENTS,
            max_nodes: MAX_NODES,
            max_depth: 64,
            max_aliases: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_NODES, max_replay_stack_depth: 16 },
        with_snippet: false,
    };
    let documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| explain(&error))?;
    let mut found = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        collect(document, None, 0, &mut found)
            .map_err(|why| format!("document {}: {why}", index + 1))?;
    }
    Ok(found)
}

fn explain(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    // An error within nested aliases tells where each of them was defined: the first is enough.
    let text: String = text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(160)
        .collect();
    match error.location() {
        Some(location) if !text.contains("line ") => {
            format!("line {}: {text}: mend the YAML", location.line())
        }
        _ => format!("{text}: mend the YAML"),
    }
}

fn collect(
    value: Value,
    default_kind: Option<&str>,
    depth: usize,
    found: &mut Vec<(ObjectId, Object)>,
) -> Result<(), String> {
    let Value::Object(mut fields) = value else {
        return Err(
            "it is not a Kubernetes object: it must have apiVersion, kind and metadata".to_owned(),
        );
    };
    let kind = fields
        .get("kind")
        .and_then(Value::as_str)
        .or(default_kind)
        .unwrap_or_default()
        .to_owned();
    match kind.as_str() {
        "" => Err("it has no kind: add apiVersion and kind".to_owned()),
        "List" | "ConfigMapList" => {
            if depth >= MAX_LISTS {
                return Err(format!(
                    "lists are more than {MAX_LISTS} deep: flatten them"
                ));
            }
            let kind = (kind == "ConfigMapList").then_some("ConfigMap");
            match fields.remove("items") {
                None | Some(Value::Null) => Ok(()),
                Some(Value::Array(items)) => items
                    .into_iter()
                    .try_for_each(|item| collect(item, kind, depth + 1, found)),
                Some(_) => Err("items is not a list: write each item with a leading -".to_owned()),
            }
        }
        "ConfigMap" => {
            found.extend(config_map(fields)?);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn config_map(mut fields: Map<String, Value>) -> Result<Option<(ObjectId, Object)>, String> {
    let text = |metadata: &Value, field: &str| {
        metadata
            .get(field)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let metadata = fields.remove("metadata").unwrap_or_default();
    let label = metadata
        .get("labels")
        .and_then(|labels| text(labels, LABEL.0));
    if label.as_deref() != Some(LABEL.1) {
        return Ok(None);
    }
    let Some(name) = text(&metadata, "name").filter(|name| !name.is_empty()) else {
        return Err("a ConfigMap has no metadata.name: add one".to_owned());
    };
    let namespace = text(&metadata, "namespace")
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "default".to_owned());
    let data = fields.get("data").and_then(Value::as_object);
    names::check(&namespace, &name, data.into_iter().flat_map(Map::keys))?;
    let mut object = Object::default();
    match fields.remove("data") {
        None | Some(Value::Null) => {}
        Some(Value::Object(data)) => data.iter().for_each(|(key, value)| match value {
            Value::String(text) => object.put(key, text),
            // An API server refuses it, and no CIDR looks like this.
            other => object.put(key, &format!("{other} (not a string)")),
        }),
        Some(_) => {
            return Err(format!(
                "ConfigMap {namespace}/{name}: data must map names to CIDRs"
            ));
        }
    }
    if let Some(Value::Object(keys)) = fields.get("binaryData") {
        object.binary_keys = keys.len();
    }
    let id = ObjectId {
        cluster: String::new(),
        namespace,
        name,
    };
    Ok(Some((id, object)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: &str = "metadata: {name: one, namespace: team, labels: {egress: static, app: x}}";

    fn data(text: &str) -> Vec<(String, String)> {
        let found = parse(text).expect("a manifest");
        found
            .into_iter()
            .flat_map(|(_, object)| object.data)
            .collect()
    }

    #[test]
    fn what_counts_and_what_does_not() {
        let ids = |text: &str| {
            parse(text).map(|found| {
                found
                    .iter()
                    .map(|(id, _)| id.to_string())
                    .collect::<Vec<_>>()
            })
        };
        let one = Ok(vec!["team/one".to_owned()]);
        let none = Ok(Vec::new());
        let deployment = "kind: Deployment\nmetadata: 7\ndata: {a: {b: [1, .nan]}}";
        for (text, expected) in [
            (String::new(), &none),
            ("# nothing\n---\n---\n".to_owned(), &none),
            (format!("apiVersion: v1\nkind: ConfigMap\n{META}"), &one),
            (
                format!("{deployment}\n---\nkind: ConfigMap\n{META}\n---\n{deployment}"),
                &one,
            ),
            (
                "kind: ConfigMap\nmetadata: {name: one, labels: {egress: dynamic}}".to_owned(),
                &none,
            ),
            ("kind: ConfigMap\nmetadata: {name: one}".to_owned(), &none),
            (format!("kind: Secret\n{META}"), &none),
            (
                format!(
                    "kind: List\nitems:\n- {{kind: ConfigMap, {META}}}\n- {{kind: Secret, {META}}}"
                ),
                &one,
            ),
            (format!("kind: ConfigMapList\nitems:\n- {{{META}}}"), &one),
            ("kind: List\nitems:".to_owned(), &none),
            ("kind: ConfigMapList\nitems: []".to_owned(), &none),
        ] {
            assert_eq!(&ids(&text), expected, "{text}");
        }
    }

    #[test]
    fn values_that_are_no_text_are_told_as_invalid() {
        let text = format!(
            "kind: ConfigMap\n{META}\ndata:\n  a: 8.8.8.8/32\n  b: 8\n  c: {{d: e}}\n  f: |\n    9.9.9.9\n"
        );
        let values = data(&text);
        assert_eq!(values[0].1, "8.8.8.8/32");
        assert_eq!(values[3].1.trim(), "9.9.9.9");
        for (key, value) in &values[1..3] {
            assert!(
                crate::model::base::cidr::parse(value).is_err(),
                "{key}: {value}"
            );
        }
        let long = format!(
            "kind: ConfigMap\n{META}\ndata:\n  a: 8.8.8.8{}\n",
            " ".repeat(5_000) + "x"
        );
        let value = &data(&long)[0].1;
        assert!(
            value.len() < 140 && crate::model::base::cidr::parse(value).is_err(),
            "{value}"
        );
    }

    #[test]
    fn what_might_have_been_a_config_map_is_an_error_that_helps() {
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                    d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e]\n\
                    kind: ConfigMap\n";
        let deep = format!(
            "kind: ConfigMap\na: {}{}",
            "[".repeat(10_000),
            "]".repeat(10_000)
        );
        let nested = "{kind: List, items: [".repeat(6) + &"]}".repeat(6);
        for (text, part) in [
            ("just text", "document 1"),
            ("- a\n- b", "apiVersion"),
            ("metadata: {}", "kind"),
            (
                "kind: ConfigMap\nmetadata: {labels: {egress: static}}",
                "metadata.name",
            ),
            (
                "kind: ConfigMap\nmetadata: {name: x, labels: {egress: static}}\ndata: [8.8.8.8]",
                "default/x",
            ),
            ("kind: List\nitems: {}", "items"),
            ("kind: ConfigMap\nkind: ConfigMap", "line 2"),
            ("kind: ConfigMap\ndata: {a: 1", "line"),
            (bomb, "mend"),
            (&deep, "mend"),
            (&nested, "flatten"),
        ] {
            let why = parse(text).expect_err(text);
            assert!(why.contains(part), "{text}: {why}");
            assert!(why.lines().count() == 1 && why.len() < 300, "{why}");
        }
    }
}
