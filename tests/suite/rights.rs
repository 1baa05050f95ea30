//! The controller's permissions in the cluster: exactly those that it needs.

use futures::StreamExt as _;
use futures::stream;
use http::Method;
use serde_json::{Value, json};

use crate::chart;
use crate::replica::Replica;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::wait;

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1";

/// One verb of one rule.
#[derive(Clone, Debug)]
pub struct Right {
    role: String,
    rule: usize,
    pub resource: String,
    /// The only object that the rule covers; empty for all objects.
    pub name: String,
    verb: String,
}

/// Returns all permissions that the chart grants, with the paths of the roles in this namespace.
pub fn rights(namespace: &str) -> Vec<Right> {
    let mut found = Vec::new();
    for (path, object) in chart::rights(namespace) {
        for (rule, given) in (0..).zip(object["rules"].as_array().into_iter().flatten()) {
            let texts = |key: &str| {
                let list = given[key].as_array().unwrap().iter();
                list.map(|text| text.as_str().unwrap().to_owned())
            };
            for resource in texts("resources") {
                found.extend(texts("verbs").map(|verb| {
                    Right {
                        role: format!("{path}/{}", object["metadata"]["name"].as_str().unwrap()),
                        rule,
                        resource: resource.clone(),
                        name: given["resourceNames"][0]
                            .as_str()
                            .unwrap_or_default()
                            .to_owned(),
                        verb,
                    }
                }));
            }
        }
    }
    found
}

async fn send(stage: &Stage, method: Method, path: &str, body: &Value) -> Value {
    let answer = stage.request(method, path, "application/json", body);
    answer
        .await
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Revokes one permission, and waits until the API server applies the change.
pub async fn take(stage: &Stage, right: &Right) {
    let mut role = send(stage, Method::GET, &right.role, &Value::Null).await;
    let verbs = role["rules"][right.rule]["verbs"].as_array_mut().unwrap();
    verbs.retain(|verb| *verb != right.verb);
    if verbs.is_empty() {
        role["rules"].as_array_mut().unwrap().remove(right.rule);
    }
    send(stage, Method::PUT, &right.role, &role).await;
    let account = format!(
        "system:serviceaccount:{}:kube-static-egress-controller",
        stage.namespace
    );
    let group = match right.resource.as_str() {
        "configmaps" | "namespaces" => "",
        "leases" => "coordination.k8s.io",
        "events" => "events.k8s.io",
        other => panic!("the group of {other}"),
    };
    let review = json!({ "spec": { "user": account, "resourceAttributes": {
        "namespace": stage.namespace, "group": group, "resource": right.resource, "verb": right.verb,
        "name": right.name } } });
    wait::until_async(&format!("{right:?} is gone"), async || {
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let answer = send(stage, Method::POST, path, &review).await;
        wait::check(answer["status"]["allowed"] == false, || answer.to_string())
    })
    .await;
}

/// Starts a leader and a standby as in a first installation, in which the Lease had no holder yet.
async fn pair(stage: &Stage) -> [Replica; 2] {
    stage.new_lease().await;
    stage.config_map("egress-t1", &EXAMPLE).await;
    ["r1", "r2"].map(|name| stage.replica(name).start())
}

const DENIED: &str = "forbidden";

#[tokio::test]
async fn each_right_is_needed() {
    let without = async |right: Right| {
        let stage = Stage::open("right").await;
        let right = Right {
            role: right.role.replace("SPACE", &stage.namespace),
            ..right
        };
        take(&stage, &right).await;
        let replicas = pair(&stage).await;
        let what = format!("a replica is denied to {} {}", right.verb, right.resource);
        wait::until(&what, || {
            let told = replicas
                .iter()
                .any(|replica| replica.said(&[DENIED, &right.resource]).is_ok());
            wait::check(told, || "nobody was".to_owned())
        })
        .await;
    };
    let rights = rights("SPACE");
    assert!(rights.len() >= 6, "{rights:?}");
    stream::iter(rights).for_each_concurrent(3, without).await;
}

#[tokio::test]
async fn the_rights_are_enough() {
    let stage = Stage::open("rights").await;
    let mut replicas = pair(&stage).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let leader = stage.some_leader().await;
    let at = replicas
        .iter()
        .position(|replica| replica.name == leader)
        .unwrap();
    replicas[at].terminate().await;
    stage.config_map("egress-t1", &EXAMPLE[..1]).await;
    stage.routed(&EXAMPLE_CIDRS[..1]).await;
    for replica in &replicas {
        replica.said(&[DENIED]).unwrap_err();
    }
}

/// Whoever steals the pod's token writes no object but the controller's own.
#[tokio::test]
async fn no_right_reaches_a_foreign_object() {
    let stage = Stage::open("foreign").await;
    let mut own_lease = None;
    for right in rights(&stage.namespace) {
        let writes = ["create", "update", "patch", "delete", "deletecollection"];
        let is_write = writes.contains(&right.verb.as_str());
        let is_object = ["configmaps", "leases"].contains(&right.resource.as_str());
        assert!(
            !is_write || !is_object || !right.name.is_empty(),
            "{right:?}"
        );
        if is_write && right.resource == "leases" {
            own_lease = Some(right);
        }
    }
    let own_lease = own_lease.expect("the right to renew the Lease");
    let account = format!(
        "system:serviceaccount:{}:kube-static-egress-controller",
        stage.namespace
    );
    let may = async |verb: &str, group: &str, resource: &str, namespace: &str, name: &str| {
        let review = json!({ "spec": { "user": account, "resourceAttributes": {
            "namespace": namespace, "group": group, "resource": resource, "verb": verb, "name": name } } });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let answer = send(&stage, Method::POST, path, &review).await;
        answer["status"]["allowed"] == true
    };
    let own = stage.namespace.as_str();
    let leases = "coordination.k8s.io";
    let renews = may(&own_lease.verb, leases, "leases", own, &own_lease.name).await;
    assert!(renews, "{own_lease:?}");
    for verb in ["create", "update", "patch", "delete"] {
        for (group, resource, namespace, name) in [
            ("", "configmaps", "kube-system", "aws-auth"),
            ("", "configmaps", own, "of-a-team"),
            ("", "secrets", own, "any"),
            (leases, "leases", "kube-system", "kube-scheduler"),
            (leases, "leases", own, "of-another-controller"),
        ] {
            let allowed = may(verb, group, resource, namespace, name).await;
            assert!(!allowed, "{verb} {resource} {namespace}/{name}");
        }
    }
}

/// `helm test`: its pod makes a plan with the permissions, arguments and environment of the controller, and changes nothing.
#[tokio::test]
async fn the_pod_of_helm_test_succeeds_where_the_controller_works() {
    let stage = Stage::open("helmtest").await;
    stage.config_map("egress-t1", &EXAMPLE).await;
    let objects = crate::helm::render(&json!({})).unwrap();
    let pod = crate::helm::find(&objects, "Pod", "-plan");
    let deployed = crate::helm::find(&objects, "Deployment", "");
    let of = |object: &Value, key: &str| object["containers"][0][key].clone();
    for key in ["image", "env", "securityContext"] {
        assert_eq!(
            of(&pod["spec"], key),
            of(&deployed["spec"]["template"]["spec"], key)
        );
    }
    let args = of(&pod["spec"], "args");
    let args = args
        .as_array()
        .unwrap()
        .iter()
        .map(|arg| arg.as_str().unwrap());
    let launch = stage
        .replica("test")
        .deployed()
        .flag("namespace", &stage.namespace);
    let given: Vec<String> = launch.arguments();
    // Only the location of the cluster differs from the pod's environment.
    let place = given
        .iter()
        .filter(|arg| arg.starts_with("--kubeconfig") || arg.starts_with("--namespace"));
    let all: Vec<&str> = args.chain(place.map(String::as_str)).collect();
    let output = launch.command().args(&all).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{all:?}: {said}");
    assert!(said.contains("CreateStack"), "{said}");
    assert!(stage.aws.stacks().is_empty());
    // A missing permission fails the test.
    let role = format!(
        "{ROLES}/clusterroles/kube-static-egress-controller-{}",
        stage.namespace
    );
    stage.take(&role).await;
    let denied = wait::until_async("the plan fails without rights", async || {
        let output = launch.command().args(&all).output().unwrap();
        wait::check(!output.status.success(), || "it succeeds".to_owned())?;
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    })
    .await;
    assert!(
        denied.contains("the permission to read its ConfigMaps is missing"),
        "{denied}"
    );
}
