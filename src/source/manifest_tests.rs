use super::*;

const META: &str = "metadata: {name: one, namespace: team, labels: {egress: static, app: x}}";

fn data(text: &str) -> Vec<(String, String)> {
    let found = parse(text, None).expect("a manifest");
    found
        .objects
        .into_iter()
        .flat_map(|(_, object)| object.data)
        .collect()
}

#[test]
fn what_counts_and_what_does_not() {
    let ids = |text: &str| {
        parse(text, None).map(|found| {
            found
                .objects
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
            format!(
                "{deployment}\n---\napiVersion: v1\nkind: ConfigMap\n{META}\n---\n{deployment}"
            ),
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
                "kind: List\nitems:\n- {{apiVersion: v1, kind: ConfigMap, {META}}}\n- {{kind: Secret, {META}}}"
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
        "apiVersion: v1\nkind: ConfigMap\n{META}\ndata:\n  a: 8.8.8.8/32\n  b: 8\n  c: {{d: e}}\n  f: |\n    9.9.9.9\n"
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
        "apiVersion: v1\nkind: ConfigMap\n{META}\ndata:\n  a: 8.8.8.8{}\n",
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
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: {egress: static}}\ndata: [8.8.8.8]",
            "default/x",
        ),
        ("kind: List\nitems: {}", "items"),
        ("kind: ConfigMap\nkind: ConfigMap", "line 2"),
        ("kind: ConfigMap\ndata: {a: 1", "line"),
        (bomb, "mend"),
        (&deep, "mend"),
        (&nested, "flatten"),
    ] {
        let why = parse(text, None).err().expect(text);
        assert!(why.contains(part), "{text}: {why}");
        assert!(why.lines().count() == 1 && why.len() < 300, "{why}");
    }
}

#[test]
fn what_an_api_server_refuses_is_refused() {
    for (text, part) in [
        (META.replace("static,", "\"static \","), "\"static \""),
        (META.replace("app: x", "\"a b\": x"), "\"a b\""),
        (META.replace("app: x", "app: true"), "\"app\""),
        (
            META.replace("labels", "annotations: {a: true}, labels"),
            "put it in quotes",
        ),
        (
            META.replace("namespace: team", "namspace: team"),
            "\"namspace\"",
        ),
        (
            META.replace("namespace: team", "namespace: 7"),
            "metadata.namespace",
        ),
        (
            META.replace("namespace: team", "namespace: Team_A"),
            "Team_A",
        ),
        (
            format!("{META}\nstringData: {{a: 8.8.8.8}}"),
            "\"stringData\"",
        ),
        (format!("{META}\ndata: {{a b: 8.8.8.8}}"), "\"a b\""),
        (format!("{META}\nbinaryData: {{a b: AA==}}"), "\"a b\""),
        (
            format!("{META}\ndata: {{a: b}}\nbinaryData: {{a: AA==}}"),
            "binaryData",
        ),
        (
            "metadata: {name: one}\nlabels: {egress: static}".to_owned(),
            "metadata.labels",
        ),
    ] {
        let text = format!("apiVersion: v1\nkind: ConfigMap\n{text}");
        let why = parse(&text, None).err().expect(&text);
        assert!(why.contains(part) && why.len() < 300, "{text}: {why}");
    }
    for (head, part) in [
        ("kind: ConfigMap", "no apiVersion"),
        ("apiVersion: v1beta1\nkind: ConfigMap", "v1: write"),
        ("apiVersion: v1\nkind: Configmap", "\"Configmap\""),
    ] {
        let why = parse(&format!("{head}\n{META}"), None).err().expect(head);
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn near_misses_are_named() {
    let near = |text: &str, kind| parse(text, kind).expect("a manifest").near_misses;
    let misspelt =
        "apiVersion: v1\nkind: ConfigMap\n".to_owned() + &META.replace("egress", "Egress");
    let [(Some(id), why)] = &near(&misspelt, None)[..] else {
        panic!("one near miss");
    };
    assert!(
        id.to_string() == "team/one" && why.contains("Egress: static"),
        "{why}"
    );
    let custom = "resources: [a.yaml]\ncommonLabels: {egress: static}";
    assert_eq!(near(custom, Some("Kustomization")).len(), 1);
    assert_eq!(
        near(&format!("apiVersion: v1\nkind: Secret\n{META}"), None).len(),
        1
    );
    assert_eq!(near("kind: Kustomization\nresources: [a.yaml]", None), []);
}
