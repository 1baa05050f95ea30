//! The chart's ValidatingAdmissionPolicy on a real API server: the policy and the controller refuse the same entries with the same texts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::helm::CHART;
use crate::install::{ask_at, helm_at, values};
use crate::scenarios;
use crate::testbed::Testbed;
use crate::wait;

const RELEASE: &str = "admission";

/// Reasons that the API server cannot check.
const UNSEEN: [&str; 4] = [
    "LimitReached",
    "RoutedElsewhere",
    "TooManyAddresses",
    "NamespaceFull",
];

/// The limits of namespaces, and the network of tests/scenarios.
fn settings() -> Value {
    let zones = [("a", "172.31.200.0/28"), ("b", "172.31.200.16/28")];
    let zones =
        zones.map(|(zone, cidr)| json!({ "zone": format!("eu-central-1{zone}"), "natCidr": cidr }));
    json!({ "clusterId": "c1", "image": { "repository": "r.example/c" }, "zones": zones, "admissionPolicy": {
        "enabled": true,
        "vpcCidrs": ["172.31.0.0/16"],
        "allowedNamespaces": ["default", "team", "few"],
        "namespaces": { "few": { "maxEntries": 2, "allowedRanges": ["198.51.100.0/24", "203.0.113.0/24"] } },
    } })
}

async fn ask(method: &str, path: &str, body: &Value) -> Result<Value, kube::Error> {
    ask_at(Testbed::policed(), method, path, body).await
}

/// Installs the policy once, and waits until it refuses a ConfigMap.
async fn installed() {
    static DONE: OnceCell<()> = OnceCell::const_new();
    DONE.get_or_init(|| async {
        for name in ["team", "few", "other"] {
            let namespace = json!({ "metadata": { "name": name } });
            ask("POST", "/api/v1/namespaces", &namespace).await.unwrap();
        }
        let old = config_map("old", &json!({ "k": "typo" }));
        ask("POST", "/api/v1/namespaces/team/configmaps", &old)
            .await
            .unwrap();
        let settings = values(&settings());
        let install = ["install", RELEASE, CHART, "--values", settings.as_str()];
        helm_at(Testbed::policed(), "default", &install).unwrap();
        wait::until_async("the policy refuses", async || {
            let answer = write("default", &[("k", "x")]).await;
            wait::check(answer.is_err(), || "it does not".to_owned())
        })
        .await;
    })
    .await;
}

fn config_map(name: &str, data: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": { "name": name, "labels": { "egress": "static" } } })
}

/// Tries to create a ConfigMap. Returns the policy's refusals, one per entry.
async fn send(namespace: &str, object: &Value) -> Result<(), BTreeSet<String>> {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps?dryRun=All");
    match ask("POST", &path, object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => {
            let (_, said) = status
                .message
                .split_once("denied request: ")
                .unwrap_or_else(|| panic!("not by the policy: {status}"));
            Err(said.split(" | ").map(str::to_owned).collect())
        }
        Err(other) => panic!("{other}"),
    }
}

async fn write(namespace: &str, data: &[(&str, &str)]) -> Result<(), BTreeSet<String>> {
    let data: BTreeMap<&str, &str> = data.iter().copied().collect();
    send(namespace, &config_map("c", &json!(data))).await
}

/// Returns the labelled ConfigMaps of a scenario.
fn config_maps(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("manifests.yaml")).unwrap();
    let mut found = Vec::new();
    for part in text.split("\n---\n") {
        let object: Value = serde_saphyr::from_str(part).unwrap();
        match object["items"].as_array() {
            Some(items) => found.extend(items.iter().cloned()),
            None => found.push(object),
        }
    }
    found.retain(|object| object["kind"] == "ConfigMap");
    found
}

/// Returns the entries of one ConfigMap that the controller's plan refuses, in the policy's words. Without entries that wait for room, and
/// without refusals that depend on route tables: one ConfigMap does not show either.
fn refused(plan: &Value, object: &Value) -> BTreeSet<String> {
    let of_it = |problem: &&Value| {
        let entry = &problem["subject"]["entry"];
        problem["severity"] == "Refused"
            && !UNSEEN.iter().any(|reason| problem["reason"] == *reason)
            && entry["name"] == object["metadata"]["name"]
            && entry["namespace"] == object["metadata"]["namespace"]
    };
    let problems = plan["problems"].as_array().unwrap().iter().filter(of_it);
    let text = |problem: &Value| {
        format!(
            "key {}: {}",
            problem["subject"]["entry"]["key"],
            problem["message"].as_str().unwrap()
        )
    };
    problems.map(text).collect()
}

#[tokio::test]
async fn policy_and_controller_agree_on_every_scenario() {
    installed().await;
    let mut refusals = 0;
    for folder in scenarios::folders() {
        let plan = std::fs::read_to_string(folder.join("plan.json")).unwrap();
        let plan: Value = serde_json::from_str(&plan).unwrap();
        for mut object in config_maps(&folder) {
            let wanted = refused(&plan, &object);
            // A scenario may use any namespace.
            object["metadata"]["namespace"] = json!("default");
            let said = send("default", &object).await.err().unwrap_or_default();
            assert_eq!(said, wanted, "{}", folder.display());
            refusals += wanted.len();
        }
    }
    assert!(refusals > 25, "{refusals}");
}

/// Returns the controller's own plan for the same data and network.
fn planned(data: &Value) -> BTreeSet<String> {
    let folder = crate::testbed::directory("spelling");
    let mut object = config_map("c", data);
    object["metadata"]["namespace"] = json!("default");
    std::fs::write(folder.join("manifests.yaml"), object.to_string()).unwrap();
    std::fs::copy(
        scenarios::root().join("network.yaml"),
        folder.join("network.yaml"),
    )
    .unwrap();
    let plan = scenarios::plan(&folder, "json");
    refused(&serde_json::from_slice(&plan.stdout).unwrap(), &object)
}

#[tokio::test]
async fn policy_and_controller_read_odd_spellings_alike() {
    installed().await;
    let long = format!("8.8.8.8/{}32", "0".repeat(60));
    let longest = format!("8.8.8.8/{}32", "0".repeat(54));
    let blanks = format!("8.8.8.8/32{}", " ".repeat(150));
    let values = [
        "8.8.8.8/032",
        "8.8.8.8 /\t24",
        "\u{a0}8.8.8.8\u{3000}",
        "8.8.8.8/",
        "/8",
        "8.8.8.8/8/8",
        "8.8.8.8/-1",
        "8.8.8.8/256",
        "8.8.8.8/99999999999999999999",
        "008.8.8.8",
        "8.8.8",
        "8.8.8.8.8",
        "256.8.8.8",
        "8.8.8.8/3２",
        "0x8.8.8.8",
        "::1/128",
        "::FFFF:1.2.3.4",
        "fe80::1%eth0",
        "2001:db8::/999",
        ":",
        "2001:db8:::/32",
        "ffff:ffff:ffff:ffff:ffff:ffff:1.2.3.4",
        "1.2.3.4:80",
        long.as_str(),
        longest.as_str(),
        blanks.as_str(),
        "8.0.0.0/7",
        "0.0.0.0",
        "172.31.200.5",
        "172.30.0.0/15",
        "ä",
        "a\\b",
        "tab\there",
    ];
    let data: BTreeMap<String, &str> = (0..)
        .map(|number: u32| format!("k{number:02}"))
        .zip(values)
        .collect();
    let said = send("default", &config_map("c", &json!(data)))
        .await
        .err()
        .unwrap_or_default();
    assert_eq!(said, planned(&json!(data)));
    assert!(said.len() > 15 && said.len() < data.len(), "{said:#?}");
}

#[tokio::test]
async fn a_namespace_has_its_limits() {
    installed().await;
    let one = [("a", "198.51.100.0/25")];
    write("few", &one).await.unwrap();
    write("few", &[one[0], ("b", "203.0.113.7")]).await.unwrap();
    let says = |answer: Result<(), BTreeSet<String>>, text: &str| {
        let said = answer.unwrap_err();
        assert!(
            said.iter().any(|refusal| refusal.contains(text)),
            "{text}: {said:?}"
        );
    };
    let three = [one[0], ("b", "203.0.113.7"), ("c", "203.0.113.8")];
    says(
        write("few", &three).await,
        "there are 3 entries, and a ConfigMap of namespace few may have 2; merge",
    );
    let range = "key \"a\": 8.8.8.8/32 is not inside 198.51.100.0/24 or 203.0.113.0/24, and namespace few may ask for nothing else";
    says(write("few", &[("a", "8.8.8.8")]).await, range);
    write("team", &[("a", "8.8.8.8")]).await.unwrap();
    says(
        write("other", &one).await,
        "namespace other may not ask for static IPs",
    );
}

/// Changes of a ConfigMap that is older than the policy, and of a ConfigMap without the label.
#[tokio::test]
async fn what_asks_for_nothing_new_passes() {
    installed().await;
    let path = "/api/v1/namespaces/team/configmaps";
    let mut object = config_map("old", &json!({ "k": "typo" }));
    let put = async |object: &Value| ask("PUT", &format!("{path}/old"), object).await;
    object["metadata"]["annotations"] = json!({ "note": "x" });
    put(&object).await.unwrap();
    object["data"] = json!({ "k": "typo", "l": "8.8.8.8" });
    let error = put(&object).await.unwrap_err().to_string();
    assert!(
        error.contains("key \"k\": \"typo\" is not an IPv4 CIDR"),
        "{error}"
    );
    object["data"] = json!({ "k": "8.8.8.8" });
    put(&object).await.unwrap();
    // Without the label every value is accepted, until the ConfigMap gets the label.
    object["metadata"]["labels"] = json!({});
    object["data"] = json!({ "k": "typo" });
    put(&object).await.unwrap();
    object["metadata"]["labels"] = json!({ "egress": "static" });
    put(&object).await.unwrap_err();
}

/// The API server limits the cost of CEL expressions, and refuses objects that exceed it.
#[tokio::test]
async fn the_largest_config_maps_are_judged_too() {
    installed().await;
    let many = |value: &dyn Fn(usize) -> String| -> Value {
        let entries =
            (0..1000).map(|number| (format!("{:x<250}", format!("k{number:04}")), value(number)));
        json!(entries.collect::<BTreeMap<String, String>>())
    };
    let good = many(&|number| {
        format!(
            "  8.{}.{}.0 /  00000000000024  ",
            number / 250,
            number % 250
        )
    });
    send("default", &config_map("c", &good)).await.unwrap();
    for bad in [
        many(&|_| "x".repeat(780)),
        many(&|_| "/".repeat(780)),
        json!({ "k": "x".repeat(1_040_000) }),
    ] {
        let said = send("default", &config_map("c", &bad)).await.unwrap_err();
        assert!(
            said.iter()
                .any(|refusal| refusal.contains("is not an IPv4 CIDR")),
            "{said:?}"
        );
    }
}
