//! The labelled ConfigMaps in the text of a manifest: YAML or JSON, several documents, lists.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::{Map, Value};

use crate::model::request::{Object, ObjectId};

const LABEL: (&str, &str) = ("egress", "static");
/// A value that is longer is no CIDR; see [`bounded`].
const MAX_VALUE: usize = 4_096;
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
    let documents: Vec<Document> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| explain(&error))?;
    let mut found = Vec::new();
    for (index, Document(document)) in documents.into_iter().enumerate() {
        collect(document, None, 0, &mut found).map_err(|why| format!("document {}: {why}", index + 1))?;
    }
    Ok(found)
}

/// Any YAML value; numbers and dates stay as they come, since only text counts.
struct Document(Value);

impl<'de> serde::Deserialize<'de> for Document {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self)
    }
}

fn explain(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let text = text.lines().next().unwrap_or_default();
    match error.location() {
        Some(location) if !text.contains("line ") => format!("line {}: {text}: mend the YAML", location.line()),
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
        return Err("it is not a Kubernetes object: it must have apiVersion, kind and metadata".to_owned());
    };
    let kind = fields.get("kind").and_then(Value::as_str).or(default_kind).unwrap_or_default().to_owned();
    match kind.as_str() {
        "" => Err("it has no kind: add apiVersion and kind".to_owned()),
        "List" | "ConfigMapList" => {
            if depth >= MAX_LISTS {
                return Err(format!("lists are more than {MAX_LISTS} deep: flatten them"));
            }
            let kind = (kind == "ConfigMapList").then_some("ConfigMap");
            match fields.remove("items") {
                None | Some(Value::Null) => Ok(()),
                Some(Value::Array(items)) => {
                    items.into_iter().try_for_each(|item| collect(item, kind, depth + 1, found))
                }
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
    let text = |metadata: &Value, field: &str| metadata.get(field).and_then(Value::as_str).map(str::to_owned);
    let metadata = fields.remove("metadata").unwrap_or_default();
    let label = metadata.get("labels").and_then(|labels| text(labels, LABEL.0));
    if label.as_deref() != Some(LABEL.1) {
        return Ok(None);
    }
    let Some(name) = text(&metadata, "name").filter(|name| !name.is_empty()) else {
        return Err("a ConfigMap has no metadata.name: add one".to_owned());
    };
    let namespace = text(&metadata, "namespace").filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned());
    let data: BTreeMap<String, String> = match fields.remove("data") {
        None | Some(Value::Null) => BTreeMap::new(),
        Some(Value::Object(data)) => data.into_iter().map(|(key, value)| (key, bounded(value))).collect(),
        Some(_) => return Err(format!("ConfigMap {namespace}/{name}: data must map names to CIDRs")),
    };
    Ok(Some((ObjectId { cluster: String::new(), namespace, name }, Object { uid: String::new(), data })))
}

/// A value as the model is to see it: what an API server would refuse, or what is very long, becomes a text that is
/// certainly no CIDR, so that its owner is told and nobody else is harmed.
fn bounded(value: Value) -> String {
    match value {
        Value::String(text) if text.len() <= MAX_VALUE => text,
        Value::String(text) => format!("{}… ({} bytes)", text.chars().take(40).collect::<String>(), text.len()),
        other => {
            let text = other.to_string();
            format!("{} (not a string)", text.chars().take(40).collect::<String>())
        }
    }
}
