//! The chart's values: each is documented, has a type, and has an effect.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::read;
use crate::helm::{self, CHART};

/// A setting, a value that differs from its default, and the part of the rendered objects that it changes.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub path: String,
    pub value: Value,
    shows: Option<String>,
    hides: Option<String>,
    /// Whether the chart itself does not read the setting.
    #[serde(default)]
    same: bool,
}

/// Returns every value of the chart with another value than its default.
pub fn cases() -> Vec<Case> {
    serde_saphyr::from_str(&read("tests/suite/tidy/values.yaml")).unwrap()
}

/// Returns values with all optional parts, and with the settings that this value needs.
pub fn everything(path: &str) -> Value {
    let on = |name: &str| json!({ name: true });
    let mut values = json!({
        "networkPolicy": on("enabled"), "serviceMonitor": on("enabled"), "prometheusRule": on("enabled"),
        "grafanaDashboard": on("enabled"), "admissionPolicy": on("enabled"), "podMonitor": on("enabled"),
    });
    match path {
        "leaderElection.enabled" => values["replicaCount"] = json!(1),
        "podDisruptionBudget.minAvailable" => {
            values["podDisruptionBudget"] = json!({ "maxUnavailable": "" });
        }
        "service.enabled" => values["serviceMonitor"]["enabled"] = json!(false),
        _ if path.ends_with(".enabled") => values = json!({}),
        _ => {}
    }
    values
}

pub fn set(values: &mut Value, path: &str, value: Value) {
    let mut at = values;
    for part in path.split('.') {
        if !at.is_object() {
            *at = json!({});
        }
        at = at
            .as_object_mut()
            .unwrap()
            .entry(part)
            .or_insert(Value::Null);
    }
    *at = value;
}

/// Maps with arbitrary keys. Each map is one setting.
const FREE: [&str; 8] = [
    "resources",
    "grafanaDashboard.labels",
    "nodeSelector",
    "strategy",
    "livenessProbe",
    "readinessProbe",
    "podSecurityContext",
    "securityContext",
];

/// Returns the paths of all settings with their defaults. An empty map, or a map with arbitrary keys, is one setting.
fn settings() -> Vec<(String, Value)> {
    fn walk(path: &str, value: &Value, found: &mut Vec<(String, Value)>) {
        let free = FREE.contains(&path);
        match value.as_object().filter(|map| !map.is_empty() && !free) {
            Some(map) => {
                for (key, value) in map {
                    let path = format!("{path}.{key}");
                    walk(path.trim_start_matches('.'), value, found);
                }
            }
            None => found.push((path.to_owned(), value.clone())),
        }
    }
    let values = serde_saphyr::from_str(&read(format!("{CHART}/values.yaml"))).unwrap();
    let mut found = Vec::new();
    walk("", &values, &mut found);
    assert!(found.len() > 60, "{found:?}");
    found
}

#[test]
fn every_value_shows_in_what_is_installed() {
    let cases = cases();
    let tried: BTreeSet<&str> = cases.iter().map(|case| case.path.as_str()).collect();
    let settings = settings();
    let all: BTreeSet<&str> = settings.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(tried, all, "every value needs a case in values.yaml");
    let render = |values: &Value| {
        let objects = helm::render(values).unwrap_or_else(|error| panic!("{values}: {error}"));
        Value::from(objects).to_string()
    };
    let mut usual = BTreeMap::new();
    for case in cases {
        let mut values = everything(&case.path);
        let before = usual
            .entry(values.to_string())
            .or_insert_with(|| render(&values))
            .clone();
        set(&mut values, &case.path, case.value);
        let after = render(&values);
        let (path, shows, hides) = (case.path, case.shows, case.hides);
        if case.same {
            assert_eq!(before, after, "{path}");
            continue;
        }
        assert!(shows.is_some() != hides.is_some(), "{path}");
        let shown = shows.is_none_or(|text| after.contains(&text) && !before.contains(&text));
        let hidden = hides.is_none_or(|text| before.contains(&text) && !after.contains(&text));
        assert!(shown && hidden, "{path} does not do what values.yaml says");
    }
}

#[test]
fn a_value_that_is_misspelt_or_of_another_type_fails_the_installation() {
    let fails = |path: &str, value: Value, why: &[&str]| {
        let mut values = json!({});
        set(&mut values, path, value.clone());
        let error = match helm::render(&values) {
            Ok(_) => panic!("{path}={value} was accepted"),
            Err(error) => error,
        };
        assert!(
            error.contains("values.schema.json") || error.contains("schema"),
            "{path}: {error}"
        );
        assert!(
            why.iter().any(|why| error.contains(why)),
            "{path}={value}: {error}"
        );
    };
    let mut groups = BTreeSet::from([String::new()]);
    for (path, default) in settings() {
        let wrong = if default.is_number() {
            json!("text")
        } else {
            json!(12.5)
        };
        fails(
            &path,
            wrong,
            &[
                "got number",
                "got string",
                "must be one of",
                "does not match pattern",
            ],
        );
        groups.extend(path.rsplit_once('.').map(|(group, _)| group.to_owned()));
    }
    // The global values of an umbrella chart apply to all of its charts.
    groups.remove("global");
    assert!(groups.len() > 10, "{groups:?}");
    for group in groups {
        let path = format!("{group}.typo");
        fails(
            path.trim_start_matches('.'),
            json!(true),
            &["additional properties 'typo' not allowed"],
        );
    }
}

/// Returns the comment lines directly above a setting, starting with the line that begins with `--`.
fn comment(lines: &[&str], path: &str) -> String {
    let depth = path.matches('.').count();
    let mut from = 0;
    // Finds the group first, then the setting.
    for (level, part) in path.split('.').enumerate() {
        let key = format!("{}{part}:", "  ".repeat(level.min(depth)));
        let at = lines[from..].iter().position(|line| line.starts_with(&key));
        from += at.unwrap_or_else(|| panic!("values.yaml has no {path}"));
    }
    let above = lines[..from].iter().rev().map(|line| line.trim());
    let mut above: Vec<&str> = above.take_while(|line| line.starts_with('#')).collect();
    above.reverse();
    let start = above.iter().position(|line| line.starts_with("# -- "));
    let start = start.unwrap_or_else(|| panic!("values.yaml must explain {path}"));
    let text: Vec<&str> = above[start..]
        .iter()
        .map(|line| line.trim_start_matches("# -- ").trim_start_matches("# "))
        .collect();
    text.join(" ")
}

/// Adds the description of a setting to its type.
fn describe(schema: &mut Value, path: &str, meaning: &str) {
    let mut at = schema;
    for part in path.split('.') {
        at = &mut at["properties"][part];
        assert!(at.is_object(), "values.schema.json has no {path}");
    }
    at["description"] = json!(meaning);
}

/// Collects the paths of properties without a description: groups, settings, and members of lists and maps.
fn undescribed(schema: &Value, path: &str, found: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let text = property["description"].as_str().unwrap_or_default();
        if text.is_empty() {
            found.push(path.clone());
        }
        undescribed(property, &path, found);
    }
    for members in ["items", "additionalProperties"] {
        if let Some(members) = schema.get(members).filter(|members| members.is_object()) {
            undescribed(members, &format!("{path}[]"), found);
        }
    }
}

#[test]
fn the_schema_describes_every_property() {
    let schema = read(format!("{CHART}/values.schema.json"));
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let mut found = Vec::new();
    undescribed(&schema, "", &mut found);
    super::none("values.schema.json has no description", &found);
    let bare = json!({ "properties": { "zones": { "description": "x",
        "items": { "properties": { "zone": { "type": "string" } } } } } });
    undescribed(&bare, "", &mut found);
    assert_eq!(found, [".zones[].zone"]);
}

/// Fails if a file differs from the output of values.yaml, or writes the file with UPDATE_GOLDEN=1.
fn is_current(path: &str, expected: &str) {
    let is = read(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(super::root().join(path), expected).unwrap();
    } else if is != expected {
        panic!("{path} is older than values.yaml: UPDATE_GOLDEN=1 tests/run explained writes it");
    }
}

#[test]
fn every_value_is_explained() {
    let text = read(format!("{CHART}/values.yaml"));
    let lines: Vec<&str> = text.lines().collect();
    let mut schema: Value =
        serde_json::from_str(&read(format!("{CHART}/values.schema.json"))).unwrap();
    let mut table = "| value | default | meaning |\n|---|---|---|\n".to_owned();
    for (path, default) in settings() {
        let meaning = comment(&lines, &path);
        let meaning = meaning.trim_end_matches('.');
        describe(&mut schema, &path, meaning);
        let default = match default.as_str() {
            Some("") => "–".to_owned(),
            Some(text) => format!("`{text}`"),
            None => format!("`{default}`"),
        };
        let meaning = meaning.replace('|', "\\|");
        table += &format!("| `{path}` | {default} | {meaning} |\n");
    }
    let readme = format!("{CHART}/README.md");
    let (head, rest) = read(&readme)
        .split_once("<!-- values -->\n")
        .map(|(head, rest)| (head.to_owned(), rest.to_owned()))
        .unwrap();
    let (_, tail) = rest.split_once("<!-- end of values -->").unwrap();
    let whole = format!("{head}<!-- values -->\n{table}<!-- end of values -->{tail}");
    is_current(&readme, &whole);
    let schema = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    is_current(&format!("{CHART}/values.schema.json"), &schema);
}
