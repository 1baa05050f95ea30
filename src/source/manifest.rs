//! Reads the labelled ConfigMaps from a manifest: YAML or JSON, several documents, lists.

use serde_json::{Map, Value};

use super::names;
use super::near_miss::{self, is_labelled};
use crate::model::base::ids::ObjectId;
use crate::model::input::request::Object;

const MAX_LISTS: usize = 4;
const MAX_DOCUMENTS: usize = 1_000;
/// The maximum number of mappings, sequences and scalars in one file. Ordinary manifests of 1 MiB have fewer.
const MAX_NODES: usize = 200_000;

/// The fields of a ConfigMap besides `metadata`. An API server that checks manifests refuses all others.
const FIELDS: [&str; 5] = ["apiVersion", "kind", "data", "binaryData", "immutable"];

/// The fields of `metadata`.
const METADATA: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The result of parsing a file.
#[derive(Default)]
pub struct Manifest {
    pub objects: Vec<(ObjectId, Object)>,
    /// Objects that were probably meant to be labelled ConfigMaps, and why they are not. An object is a ConfigMap or something else in the
    /// file.
    pub near_misses: Vec<(Option<ObjectId>, String)>,
}

/// Parses every document. Ignores objects that are not labelled ConfigMaps. An object that may be one and cannot be parsed is an error,
/// which names its line if known. Objects without a kind have the `default_kind`.
pub fn parse(text: &str, default_kind: Option<&str>) -> Result<Manifest, String> {
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
    let mut found = Manifest::default();
    for (index, document) in documents.into_iter().enumerate() {
        collect(document, default_kind, 0, &mut found)
            .map_err(|why| format!("document {}: {why}", index + 1))?;
    }
    Ok(found)
}

fn explain(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    // An error within nested aliases names the definition of each alias. The first one is enough.
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
    found: &mut Manifest,
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
        "ConfigMap" => config_map(fields, default_kind.is_some(), found),
        "Kustomization" | "Component" => {
            let near = near_miss::of_kustomization(&fields);
            found.near_misses.extend(near.map(|why| (None, why)));
            Ok(())
        }
        _ => {
            let metadata = fields.get("metadata").unwrap_or(&Value::Null);
            let near = near_miss::of_other(&kind, metadata)?;
            found.near_misses.extend(near.map(|why| (None, why)));
            Ok(())
        }
    }
}

/// Reads a ConfigMap. Items of a list need no apiVersion.
fn config_map(
    mut fields: Map<String, Value>,
    is_item: bool,
    found: &mut Manifest,
) -> Result<(), String> {
    let metadata = fields.remove("metadata").unwrap_or_default();
    let text = |field: &str| {
        let text = metadata.get(field).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    };
    let namespace = text("namespace").unwrap_or("default").to_owned();
    let name = text("name").unwrap_or_default().to_owned();
    let id = ObjectId {
        cluster: String::new(),
        namespace,
        name,
    };
    let place = |why: String| format!("ConfigMap {id}: {why}");
    if !is_labelled(&metadata) {
        let near = near_miss::of_config_map(&metadata, &fields).map_err(place)?;
        found.near_misses.extend(near.map(|why| (Some(id), why)));
        return Ok(());
    }
    if id.name.is_empty() {
        return Err("a ConfigMap has no metadata.name: add one".to_owned());
    }
    let keys = |field: &str| fields.get(field).and_then(Value::as_object);
    let (data, binary) = (keys("data"), keys("binaryData"));
    let all = [data, binary].into_iter().flatten().flat_map(Map::keys);
    names::check(&id.namespace, &id.name, all)?;
    well_formed(&metadata, &fields, is_item).map_err(place)?;
    let mut object = Object::default();
    match fields.remove("data") {
        None | Some(Value::Null) => {}
        Some(Value::Object(data)) => data.iter().for_each(|(key, value)| match value {
            Value::String(text) => object.put(key, text),
            // An API server refuses the value, and no CIDR looks like this text.
            other => object.put(key, &format!("{other} (not a string)")),
        }),
        Some(_) => return Err(place("data must map names to CIDRs".to_owned())),
    }
    if let Some(Value::Object(keys)) = fields.get("binaryData") {
        object.binary_keys = keys.len();
    }
    found.objects.push((id, object));
    Ok(())
}

/// Checks whether an API server accepts the names and fields of the ConfigMap.
fn well_formed(metadata: &Value, fields: &Map<String, Value>, is_item: bool) -> Result<(), String> {
    match fields.get("apiVersion").map(Value::as_str) {
        Some(Some("v1")) => {}
        None if is_item => {}
        None => return Err("it has no apiVersion: add apiVersion: v1".to_owned()),
        Some(_) => return Err("its apiVersion is not v1: write apiVersion: v1".to_owned()),
    }
    if let Some(field) = fields
        .keys()
        .find(|field| !FIELDS.contains(&field.as_str()))
    {
        return Err(format!(
            "it has the field {}, which no ConfigMap has: write the networks under data",
            names::quoted(field)
        ));
    }
    let mut of_metadata = metadata.as_object().into_iter().flatten();
    if let Some((field, _)) = of_metadata.find(|(field, _)| !METADATA.contains(&field.as_str())) {
        return Err(format!(
            "its metadata has the field {}, which no API server knows: correct or remove it",
            names::quoted(field)
        ));
    }
    if !matches!(metadata["namespace"], Value::Null | Value::String(_)) {
        return Err("metadata.namespace is not a string: put it in quotes".to_owned());
    }
    let pairs = |of: &str| metadata[of].as_object().into_iter().flatten();
    pairs("labels").try_for_each(|(key, value)| names::check_label(key, value))?;
    pairs("annotations").try_for_each(|(key, value)| names::check_annotation(key, value))?;
    let binary = fields.get("binaryData").and_then(Value::as_object);
    let mut data = fields
        .get("data")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    match data.find(|(key, _)| binary.is_some_and(|binary| binary.contains_key(*key))) {
        None => Ok(()),
        Some((key, _)) => Err(format!(
            "the key {} is in data and in binaryData, which every API server refuses: remove it from binaryData",
            names::quoted(key)
        )),
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
