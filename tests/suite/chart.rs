//! The deployed objects: permissions and arguments in deploy/manifests.yaml, which is the rendered chart.

use serde_json::Value;

use crate::helm;

/// Returns the objects of deploy/manifests.yaml, in order.
pub fn objects() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/manifests.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    helm::objects(&text)
}

/// Returns the objects that grant the service account its permissions, with the account itself, moved into `namespace`. Each comes with the
/// path to post it to. Cluster-wide objects get the namespace as a suffix of their names, so that no test grants permissions to another.
pub fn rights(namespace: &str) -> Vec<(String, Value)> {
    rights_of(objects(), namespace)
}

/// Returns the same objects of the chart rendered with other values.
pub fn rights_of(objects: Vec<Value>, namespace: &str) -> Vec<(String, Value)> {
    let mut rights = Vec::new();
    for mut object in objects {
        let kind = object["kind"].as_str().unwrap().to_owned();
        // This role is for users, and not bound.
        let name = object["metadata"]["name"].as_str().unwrap();
        if name.ends_with("-status-reader") {
            continue;
        }
        let place = match kind.as_str() {
            "ServiceAccount" => format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
            "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding" => {
                let scope = match kind.starts_with("Cluster") {
                    true => String::new(),
                    false => format!("/namespaces/{namespace}"),
                };
                let resource = kind.to_lowercase();
                format!("/apis/rbac.authorization.k8s.io/v1{scope}/{resource}s")
            }
            _ => continue,
        };
        let own_name =
            |name: &Value| Value::from(format!("{}-{namespace}", name.as_str().unwrap()));
        if kind.starts_with("Cluster") {
            object["metadata"]["name"] = own_name(&object["metadata"]["name"]);
        } else {
            object["metadata"]["namespace"] = Value::from(namespace);
        }
        if object["roleRef"]["kind"] == "ClusterRole" {
            object["roleRef"]["name"] = own_name(&object["roleRef"]["name"]);
        }
        for subject in object
            .get_mut("subjects")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            subject["namespace"] = Value::from(namespace);
        }
        rights.push((place, object));
    }
    assert!(
        rights.len() >= 5,
        "service account, roles and bindings: {rights:?}"
    );
    rights
}

/// Returns the objects that the controller writes, as the chart creates them, moved into `namespace`; each with the path to post it to.
pub fn state(namespace: &str) -> Vec<(String, Value)> {
    let mut made = Vec::new();
    for mut object in objects() {
        let place = match object["kind"].as_str().unwrap() {
            "ConfigMap" => format!("/api/v1/namespaces/{namespace}/configmaps"),
            "Lease" => format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"),
            _ => continue,
        };
        object["metadata"]["namespace"] = Value::from(namespace);
        made.push((place, object));
    }
    assert_eq!(made.len(), 3, "{made:?}");
    made
}

/// Returns the arguments of the container, without the address to listen on.
pub fn arguments() -> Vec<String> {
    let objects = objects();
    let deployment = helm::find(&objects, "Deployment", "");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let arguments = container["args"].as_array().unwrap().iter();
    arguments
        .map(|argument| argument.as_str().unwrap().to_owned())
        .filter(|argument| !argument.starts_with("--address"))
        .collect()
}
