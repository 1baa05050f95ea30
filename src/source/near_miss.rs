//! Detects objects that look like requests for routes and are not. Without a report their owners would not notice, because the label
//! selector skips them silently.

use serde_json::{Map, Value};

use super::names;

/// The label that selects ConfigMaps.
pub(super) const LABEL: (&str, &str) = ("egress", "static");
/// The fields in which users write a label that belongs under `metadata.labels`. An API server refuses the last four.
const PLACES: [&str; 5] = ["annotations", "label", "Labels", "labels", "label"];
/// The number of these fields that are in `metadata`. The others are next to it.
const IN_METADATA: usize = 3;

/// Whether key and value are the label.
fn is_label(key: &str, value: &Value) -> bool {
    (key, value.as_str()) == (LABEL.0, Some(LABEL.1))
}

/// Whether key and value are probably meant to be the label: in another case, with blanks, or with a prefix.
fn is_near(key: &str, value: &Value) -> bool {
    let same = |text: &str, wanted: &str| text.trim().eq_ignore_ascii_case(wanted);
    let name = key.rsplit('/').next().unwrap_or(key);
    same(name, LABEL.0) && value.as_str().is_some_and(|value| same(value, LABEL.1))
}

fn near(map: Option<&Value>) -> Option<(&String, &Value)> {
    let mut pairs = map?.as_object()?.iter();
    pairs.find(|(key, value)| is_near(key, value))
}

/// Whether the object has the label.
pub(super) fn is_labelled(metadata: &Value) -> bool {
    metadata["labels"]
        .get(LABEL.0)
        .is_some_and(|value| is_label(LABEL.0, value))
}

/// Returns why the controller ignores a ConfigMap of a cluster. None if it has the label.
pub fn why_not(metadata: &Value) -> Option<String> {
    if is_labelled(metadata) {
        return None;
    }
    let near = of_config_map(metadata, &Map::new()).unwrap_or_else(Some);
    let (key, value) = LABEL;
    Some(near.unwrap_or_else(|| format!("it does not have the label {key}: {value}; add it")))
}

/// Returns why a ConfigMap without the label was probably meant to have it. None if nothing resembles the label.
///
/// # Errors
/// If every API server refuses the ConfigMap.
pub(super) fn of_config_map(
    metadata: &Value,
    beside: &Map<String, Value>,
) -> Result<Option<String>, String> {
    let (key, value) = LABEL;
    if let Some((found, as_value)) = near(metadata.get("labels")) {
        names::check_label(found, as_value)?;
        return Ok(Some(format!(
            "it has the label {found}: {}, which selects nothing; write {key}: {value}",
            as_value.as_str().unwrap_or_default()
        )));
    }
    if let Some(odd) = metadata["labels"].get(key) {
        names::check_label(key, odd)?;
    }
    for (number, place) in PLACES.iter().enumerate() {
        let map = match number < IN_METADATA {
            true => metadata.get(*place),
            false => beside.get(*place),
        };
        if near(map).is_none() {
            continue;
        }
        let what = format!("it has {key}: {value} under {place}; write it under metadata.labels");
        return match number {
            0 => Ok(Some(what)),
            _ => Err(format!("{what}, because no API server knows that field")),
        };
    }
    Ok(None)
}

/// Returns why an object of another kind was probably meant to be a labelled ConfigMap.
///
/// # Errors
/// If no API server knows the kind.
pub(super) fn of_other(kind: &str, metadata: &Value) -> Result<Option<String>, String> {
    if near(metadata.get("labels")).is_none() {
        return Ok(None);
    }
    if ["configmap", "configmaps"].contains(&kind.to_ascii_lowercase().as_str()) {
        return Err(format!(
            "{} is not a kind that an API server knows: write kind: ConfigMap",
            names::quoted(kind)
        ));
    }
    let what = "a Secret has the label egress: static, but only ConfigMaps are read; write its networks into a ConfigMap";
    Ok((kind == "Secret").then(|| what.to_owned()))
}

/// Returns why a Kustomization, of kustomize or of Flux, is reported: it adds the label to the objects that it renders.
pub(super) fn of_kustomization(fields: &Map<String, Value>) -> Option<String> {
    let mut given = vec![
        fields.get("commonLabels"),
        fields.get("generatorOptions").map(|it| &it["labels"]),
        fields.get("spec").map(|it| &it["commonMetadata"]["labels"]),
    ];
    let items = |field: &str| fields.get(field).and_then(Value::as_array);
    let labels = items("labels").into_iter().flatten();
    given.extend(labels.map(|it| it.get("pairs")));
    let generators = items("configMapGenerator").into_iter().flatten();
    given.extend(generators.map(|it| it["options"].get("labels")));
    let gives = |map: &Option<&Value>| {
        let pairs = map.and_then(Value::as_object);
        pairs.is_some_and(|pairs| pairs.iter().any(|(key, value)| is_label(key, value)))
    };
    given.iter().any(gives).then(|| {
        "a Kustomization adds the label egress: static, but files are read without rendering; give --manifests the output of kustomize build"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn judged(object: &Value) -> Result<Option<String>, String> {
        let mut fields = object.as_object().expect("an object").clone();
        let metadata = fields.remove("metadata").unwrap_or_default();
        of_config_map(&metadata, &fields)
    }

    #[test]
    fn what_is_nearly_the_label_is_named_and_what_is_not_is_left_alone() {
        for (labels, part) in [
            (json!({"Egress": "static"}), "Egress: static"),
            (json!({"egress": "Static"}), "egress: Static"),
            (json!({"x.example/egress": "static"}), "x.example/egress"),
        ] {
            let told = judged(&json!({"metadata": {"labels": labels}}));
            let told = told.expect("an API server takes it").expect("near");
            assert!(told.contains(part) && told.ends_with("write egress: static"));
        }
        let told = judged(&json!({"metadata": {"annotations": {"egress": "static"}}}));
        assert!(
            told.expect("taken")
                .is_some_and(|it| it.contains("annotations"))
        );
        for other in [
            json!({}),
            json!({"metadata": {"labels": {"egress": "dynamic", "app": "static"}}}),
            json!({"metadata": {"labels": null, "annotations": ["egress"]}}),
        ] {
            assert_eq!(judged(&other), Ok(None), "{other}");
        }
    }

    #[test]
    fn whatever_does_not_count_has_a_reason() {
        for (labels, told) in [
            (json!({"egress": "static"}), None),
            (json!({"egress": "STATIC"}), Some("write egress: static")),
            (json!({"app": "x"}), Some("add it")),
            (Value::Null, Some("add it")),
        ] {
            let why = why_not(&json!({ "labels": labels }));
            let is = why.as_deref().and_then(|why| why.split("; ").nth(1));
            assert_eq!(is, told);
        }
    }

    #[test]
    fn what_no_api_server_takes_is_an_error() {
        for (object, part) in [
            (
                json!({"metadata": {"labels": {"egress": "static "}}}),
                "\"static \"",
            ),
            (
                json!({"metadata": {"labels": {" egress": "static"}}}),
                "\" egress\"",
            ),
            (
                json!({"metadata": {"labels": {"egress": ["static"]}}}),
                "egress",
            ),
            (json!({"labels": {"egress": "static"}}), "metadata.labels"),
            (
                json!({"metadata": {"label": {"egress": "static"}}}),
                "metadata.labels",
            ),
        ] {
            let why = judged(&object).expect_err(part);
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn other_kinds_and_kustomizations_are_named_only_with_the_label() {
        let labelled = json!({"labels": {"egress": "static"}});
        assert!(of_other("Secret", &labelled).is_ok_and(|it| it.is_some()));
        assert_eq!(of_other("Deployment", &labelled), Ok(None));
        assert_eq!(of_other("configmap", &json!({})), Ok(None));
        let why = of_other("Configmap", &labelled).expect_err("no kind");
        assert!(why.contains("\"Configmap\""), "{why}");
        for (given, gives) in [
            (json!({"commonLabels": {"egress": "static"}}), true),
            (
                json!({"labels": [{"pairs": {"a": "b"}}, {"pairs": {"egress": "static"}}]}),
                true,
            ),
            (
                json!({"generatorOptions": {"labels": {"egress": "static"}}}),
                true,
            ),
            (
                json!({"configMapGenerator": [{"options": {"labels": {"egress": "static"}}}]}),
                true,
            ),
            (
                json!({"spec": {"commonMetadata": {"labels": {"egress": "static"}}}}),
                true,
            ),
            (
                json!({"commonLabels": {"egress": "dynamic"}, "labels": 7, "spec": []}),
                false,
            ),
            (json!({"resources": ["a.yaml"]}), false),
        ] {
            let found = of_kustomization(given.as_object().expect("an object"));
            assert_eq!(found.is_some(), gives, "{given}");
        }
    }
}
