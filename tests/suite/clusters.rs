//! Access to ConfigMaps: several API servers, tokens in files, missing permissions.

use serde_json::{Value, json};

use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::standin::actions;
use crate::wait;

const TOKEN_FILE: &str = "kube-static-egress-controller-token-secret";

/// Returns another name of the same server, which stands in for a second cluster.
fn other_name(url: &str) -> String {
    url.replace("127.0.0.1", "localhost")
}

#[tokio::test]
async fn the_config_maps_of_two_clusters_are_merged() {
    let stage = Stage::open("clusters").await;
    let second = other_name(&stage.url);
    let replica = stage
        .replica("r1")
        .arg(&format!("--master={},{second}", stage.url))
        .start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    stage.config_map("egress-t2", &[("typo", "9.9.9")]).await;
    for url in [&stage.url, &second] {
        let cluster = url.strip_prefix("https://").unwrap();
        let named = format!("{cluster}/{}/egress-t2", stage.namespace);
        wait::until("each cluster's is told of", || {
            replica.said(&["NotACidr", &named])
        })
        .await;
    }
    stage.delete_config_map("egress-t2").await;
    stage.config_map("egress-t1", &[("dns", "9.9.9.9")]).await;
    stage.routed(&["9.9.9.9/32"]).await;
}

/// A source that is not loaded is not empty.
#[tokio::test]
async fn while_a_cluster_is_away_routes_are_added_and_never_removed() {
    let stage = Stage::open("away-cluster").await;
    let masters = |second: &str| format!("--master={},{second}", stage.url);
    let mut replica = stage
        .replica("r1")
        .arg(&masters(&other_name(&stage.url)))
        .start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    replica.terminate().await;

    // The unreachable cluster may request the same network.
    stage.delete_config_map("egress-t1").await;
    let replica = stage
        .replica("r2")
        .arg(&masters("https://127.0.0.1:1"))
        .flag("empty-grace-period", "0s")
        .flag("on-empty", "delete")
        .start();
    wait::until("told", || {
        replica.said(&[
            "SourceNotLoaded",
            "127.0.0.1:1",
            "only added, never removed",
        ])
    })
    .await;
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    stage
        .routed(&[&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat())
        .await;
    drop(replica);

    let _replica = stage
        .replica("r3")
        .arg(&masters(&other_name(&stage.url)))
        .start();
    stage.routed(&["9.9.9.9/32"]).await;
}

#[tokio::test]
async fn a_token_is_read_from_its_file_again_and_again() {
    let stage = Stage::open("token").await;
    let text = std::fs::read_to_string(stage.dir.join("kubeconfig")).unwrap();
    let mut kubeconfig: Value = serde_json::from_str(&text).unwrap();
    let token = kubeconfig["users"][0]["user"]["token"].take();
    kubeconfig["users"][0]["user"] = json!({});
    let path = stage.dir.join("kubeconfig-without-token");
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    std::fs::write(stage.dir.join(TOKEN_FILE), "expired").unwrap();
    let mut replica = stage
        .replica("r1")
        .flag("kubeconfig", path.to_str().unwrap())
        .flag("use-platform-credentials", "true")
        .flag("credentials-dir", stage.dir.to_str().unwrap())
        .start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    wait::until("told", || {
        replica
            .said(&["401"])
            .or_else(|_| replica.said(&["credentials"]))
    })
    .await;
    replica.assert_well();
    std::fs::write(stage.dir.join(TOKEN_FILE), token.as_str().unwrap()).unwrap();
    stage.routed(&EXAMPLE_CIDRS).await;
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    let stage = Stage::open("rights").await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let binding = format!(
        "{rbac}/clusterrolebindings/kube-static-egress-controller-{}",
        stage.namespace
    );
    let removed = stage.take(&binding).await;
    let election = format!(
        "{rbac}/namespaces/{}/rolebindings/kube-static-egress-controller-leader-election",
        stage.namespace
    );
    let election_removed = stage.take(&election).await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    wait::until("told of the Lease", || {
        replica.said(&["Lease", "forbidden"])
    })
    .await;
    replica.assert_well();
    stage.put_back(&election, election_removed).await;
    wait::until("told of ConfigMaps", || {
        replica.said(&["bind a role with list and watch on configmaps"])
    })
    .await;
    assert_eq!(actions(&stage.aws.writes_since(0)), [""; 0]);
    replica.assert_well();
    stage.put_back(&binding, removed).await;
    stage.routed(&EXAMPLE_CIDRS).await;
}
