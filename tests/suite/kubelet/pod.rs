//! The arguments, environment and files of a Pod's only container. Unknown fields are refused.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Node;
use crate::container;

/// Fields that a kubelet uses and this one ignores: it cannot apply them here, or the image test covers them.
const OF_POD: &str = "containers volumes serviceAccountName serviceAccount securityContext restartPolicy \
                      terminationGracePeriodSeconds dnsPolicy schedulerName enableServiceLinks priority \
                      preemptionPolicy tolerations topologySpreadConstraints nodeName nodeSelector \
                      automountServiceAccountToken";
const OF_CONTAINER: &str = "name image imagePullPolicy args env ports resources livenessProbe readinessProbe \
                            securityContext terminationMessagePath terminationMessagePolicy volumeMounts";

fn refuse_unknown(object: &Value, known: &str) {
    for key in object.as_object().unwrap().keys() {
        assert!(
            known.split_whitespace().any(|name| name == key),
            "the tests' kubelet does not know {key}: {object}"
        );
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Adds a role as the EKS webhook does at admission, if the pod's service account is annotated with a role.
pub fn with_role(mut pod: Value, service_account: &Value) -> Value {
    let role = &service_account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"];
    if role.is_null() {
        return pod;
    }
    let (volume, place) = (
        "aws-iam-token",
        "/var/run/secrets/eks.amazonaws.com/serviceaccount",
    );
    let mut add = |path: &str, object: Value| {
        let list = pod.pointer_mut(path).unwrap();
        if list.is_null() {
            *list = json!([]);
        }
        list.as_array_mut().unwrap().push(object);
    };
    let token =
        json!({ "audience": "sts.amazonaws.com", "expirationSeconds": 86400, "path": "token" });
    let sources = json!([{ "serviceAccountToken": token }]);
    add(
        "/spec/volumes",
        json!({ "name": volume, "projected": { "sources": sources } }),
    );
    let mount = json!({ "name": volume, "mountPath": place, "readOnly": true });
    add("/spec/containers/0/volumeMounts", mount);
    for (name, value) in [
        ("AWS_STS_REGIONAL_ENDPOINTS", json!("regional")),
        ("AWS_ROLE_ARN", role.clone()),
        (
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            json!(format!("{place}/token")),
        ),
    ] {
        add(
            "/spec/containers/0/env",
            json!({ "name": name, "value": value }),
        );
    }
    pod
}

/// Returns the only container, if every field of it and of the pod is known.
pub fn container(pod: &Value) -> &Value {
    let spec = &pod["spec"];
    refuse_unknown(spec, OF_POD);
    assert_eq!(list(&spec["containers"]).count(), 1, "{spec}");
    let container = &spec["containers"][0];
    refuse_unknown(container, OF_CONTAINER);
    // Otherwise the environment would contain each Service of the namespace.
    assert_eq!(spec["enableServiceLinks"], false);
    container
}

/// Returns a field of the downward API.
fn field(pod: &Value, path: &Value) -> String {
    let pointer = format!("/{}", text(path).replace('.', "/"));
    text(pod.pointer(&pointer).unwrap_or(&Value::Null)).to_owned()
}

/// Returns `NAME=value` pairs for a cluster whose API server has this host and port.
pub fn environment(pod: &Value, (host, port): (&str, &str)) -> Vec<String> {
    let mut all = vec![
        format!("HOSTNAME={}", text(&pod["metadata"]["name"])),
        format!("KUBERNETES_SERVICE_HOST={host}"),
        format!("KUBERNETES_SERVICE_PORT={port}"),
        format!("KUBERNETES_SERVICE_PORT_HTTPS={port}"),
    ];
    for variable in list(&container(pod)["env"]) {
        let from = &variable["valueFrom"];
        let value = match (&variable["value"], &from["fieldRef"]) {
            (Value::String(value), _) => value.clone(),
            (_, field_ref) if field_ref.is_object() => field(pod, &field_ref["fieldPath"]),
            _ => panic!("the tests' kubelet does not know {variable}"),
        };
        assert!(
            !value.contains("$("),
            "references are not resolved here: {variable}"
        );
        all.push(format!("{}={value}", text(&variable["name"])));
    }
    all
}

impl Node {
    /// Returns directories with the content that the pod mounts, each with its path in the container.
    pub async fn mounts(&self, pod: &Value, dir: &Path) -> Result<Vec<(PathBuf, String)>, String> {
        let mut mounts = Vec::new();
        for mount in list(&container(pod)["volumeMounts"]) {
            refuse_unknown(mount, "name mountPath readOnly");
            let name = text(&mount["name"]);
            let mut volumes = list(&pod["spec"]["volumes"]);
            let volume = volumes.find(|volume| volume["name"] == name).unwrap();
            refuse_unknown(volume, "name projected");
            let folder = dir.join(name);
            self.project(pod, &volume["projected"], &folder).await?;
            mounts.push((folder, text(&mount["mountPath"]).to_owned()));
        }
        Ok(mounts)
    }

    async fn project(&self, pod: &Value, volume: &Value, folder: &Path) -> Result<(), String> {
        let mut files = BTreeMap::new();
        let mut secret = false;
        for source in list(&volume["sources"]) {
            refuse_unknown(source, "serviceAccountToken configMap downwardAPI");
            let token = &source["serviceAccountToken"];
            if token.is_object() {
                secret = true;
                files.insert(
                    text(&token["path"]).to_owned(),
                    self.token(pod, token).await?,
                );
            }
            let map = &source["configMap"];
            if map.is_object() {
                let path = format!("{}/configmaps/{}", self.path, text(&map["name"]));
                let found = self.ask("GET", &path, &Value::Null).await?;
                for item in list(&map["items"]) {
                    let content = text(&found["data"][text(&item["key"])]);
                    files.insert(text(&item["path"]).to_owned(), content.to_owned());
                }
            }
            for item in list(&source["downwardAPI"]["items"]) {
                let value = field(pod, &item["fieldRef"]["fieldPath"]);
                files.insert(text(&item["path"]).to_owned(), value);
            }
        }
        let user = &pod["spec"]["securityContext"]["runAsUser"];
        write(folder, &files, user.as_u64().filter(|_| secret));
        Ok(())
    }

    /// The token is bound to the pod, so it becomes invalid when the pod is deleted.
    async fn token(&self, pod: &Value, source: &Value) -> Result<String, String> {
        let meta = &pod["metadata"];
        let bound =
            json!({ "apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"] });
        let mut spec =
            json!({ "expirationSeconds": source["expirationSeconds"], "boundObjectRef": bound });
        if source["audience"].is_string() {
            spec["audiences"] = json!([source["audience"]]);
        }
        let account = text(&pod["spec"]["serviceAccountName"]);
        let path = format!("{}/serviceaccounts/{account}/token", self.path);
        let made = self.ask("POST", &path, &json!({ "spec": spec })).await?;
        Ok(text(&made["status"]["token"]).to_owned())
    }
}

/// Writes files as a kubelet does to replace them later: through a link to the current files. With a token among them, only the user can
/// read them.
fn write(folder: &Path, files: &BTreeMap<String, String>, user: Option<u64>) {
    let day = folder.join("..1");
    std::fs::create_dir_all(&day).unwrap();
    symlink("..1", folder.join("..data")).unwrap();
    for (path, content) in files {
        let file = day.join(path);
        std::fs::write(&file, content).unwrap();
        symlink(Path::new("..data").join(path), folder.join(path)).unwrap();
        if let Some(user) = user {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            if container::is_root() {
                chown(&file, user.try_into().ok(), None).unwrap();
            }
        }
    }
}
