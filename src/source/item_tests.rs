use super::*;
use crate::model::input::annotations::KEYS;
use crate::model::input::request::MAX_ENTRIES_PER_OBJECT;

fn good() -> serde_json::Value {
    serde_json::json!({
        "kind": "ConfigMap",
        "metadata": {
            "name": "one", "namespace": "team", "uid": "u-1", "resourceVersion": "7",
            "annotations": { KEYS[0]: "198.51.100.1", "other": "theirs" },
        },
        "data": { "dns": "8.8.8.8" },
    })
}

fn read(value: &serde_json::Value) -> Item {
    item(value.to_string().as_bytes()).expect("it has a name")
}

/// Returns a valid object with this text at the end of its metadata.
fn with_metadata(more: &str) -> String {
    good()
        .to_string()
        .replace("\"uid\":\"u-1\"", &format!("\"uid\":\"u-1\",{more}"))
}

#[test]
fn what_matters_is_read() {
    let item = read(&good());
    assert_eq!(
        (
            item.namespace.as_str(),
            item.name.as_str(),
            item.version.as_str()
        ),
        ("team", "one", "7")
    );
    assert_eq!(item.object.uid, "u-1");
    assert_eq!(
        item.object.data,
        [("dns".to_owned(), "8.8.8.8".to_owned())].into()
    );
    assert_eq!(
        item.object.annotations,
        [(KEYS[0], "198.51.100.1".to_owned())].into()
    );
    let mut empty = good();
    empty["data"] = serde_json::Value::Null;
    assert!(read(&empty).object.data.is_empty());
    empty["binaryData"] = serde_json::json!({"a": "AAAA", "b": ""});
    assert_eq!(read(&empty).object.binary_keys, 2);
}

/// Each of these objects once made every list and watch of the cluster fail.
#[test]
fn what_does_not_matter_is_not_interpreted() {
    let nested = format!(
        "{}{}",
        "{\"f:a\":".repeat(100_000),
        "1".to_owned() + &"}".repeat(100_000)
    );
    let lists = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for odd in [
        r#""managedFields":[{"manager":"x","time":"9999-12-31T23:59:59Z"}]"#.to_owned(),
        r#""creationTimestamp":"-1-1-1","generation":1e999,"finalizers":7,"ownerReferences":"no""#
            .to_owned(),
        r#""managedFields":"\ud800""#.to_owned(),
        format!(r#""managedFields":[{{"fieldsV1":{nested}}}]"#),
        format!(r#""managedFields":{lists}"#),
    ] {
        let item = item(with_metadata(&odd).as_bytes()).expect("it has a name");
        assert_eq!(item, read(&good()), "{}", &odd[..odd.len().min(80)]);
    }
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let good = good().to_string();
    let deep = format!(
        "\"data\":{{\"dns\":{}1{}}}",
        "[".repeat(500),
        "]".repeat(500)
    );
    for (bad, part) in [
        (good.replace("\"8.8.8.8\"", "8"), "dns"),
        (good.replace("{\"dns\":\"8.8.8.8\"}", "[1]"), "data"),
        (good.replace("\"data\":{\"dns\":\"8.8.8.8\"}", &deep), "dns"),
        (good.replace("\"8.8.8.8\"", "\"\\ud800\""), "hex escape"),
        (good.replace("\"198.51.100.1\"", "{}"), "annotations"),
        (good[..good.len() - 1].to_owned(), "EOF"),
    ] {
        let item = item(bad.as_bytes()).unwrap_or_else(|why| panic!("{why}: {bad}"));
        assert_eq!(
            (item.namespace.as_str(), item.name.as_str()),
            ("team", "one")
        );
        let why = item.object.unreadable.expect("it cannot be read");
        assert!(why.contains(part) && why.len() < 300, "{part}: {why}");
        assert!(
            item.object.data.is_empty(),
            "half of it is worse than nothing"
        );
    }
    for nameless in ["{}", "7", "", "{\"metadata\":{\"name\":7}}", "[]", "null"] {
        assert!(item(nameless.as_bytes()).is_err(), "{nameless}");
    }
}

#[test]
fn a_hundred_thousand_keys_stay_small() {
    let mut huge = good();
    huge["data"] = (0..100_000)
        .map(|key| (format!("k{key}"), "x".repeat(200)))
        .collect();
    let object = read(&huge).object;
    assert_eq!(object.data.len(), MAX_ENTRIES_PER_OBJECT);
    assert_eq!(object.more_keys, 100_000 - MAX_ENTRIES_PER_OBJECT);
}

#[test]
fn events_are_told_apart() {
    let of = |kind: &str, object: &serde_json::Value| {
        event(format!("{{\"type\":{kind:?},\"object\":{object}}}").as_bytes())
    };
    assert_eq!(of("ADDED", &good()), Event::Set(read(&good())));
    assert_eq!(of("MODIFIED", &good()), Event::Set(read(&good())));
    assert_eq!(of("DELETED", &good()), Event::Deleted(read(&good())));
    assert_eq!(of("BOOKMARK", &good()), Event::Bookmark("7".to_owned()));
    let gone = serde_json::json!({"kind": "Status", "code": 410, "message": "too old"});
    let (code, message) = (410, "too old".to_owned());
    assert_eq!(of("ERROR", &gone), Event::Failed { code, message });
    let mut broken = good();
    broken["data"] = 7.into();
    for kind in ["ADDED", "DELETED"] {
        let (Event::Set(item) | Event::Deleted(item)) = of(kind, &broken) else {
            panic!("it has a name");
        };
        assert!(item.name == "one" && item.object.uid == "u-1" && item.version == "7");
        assert!(item.object.unreadable.is_some());
    }
    for line in [
        "",
        "nonsense",
        "{}",
        "{\"type\":7}",
        "{\"type\":\"NEW\",\"object\":{}}",
    ] {
        assert!(
            matches!(event(line.as_bytes()), Event::Unknown(_)),
            "{line}"
        );
    }
}
