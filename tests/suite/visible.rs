//! The leader is visible: in the log, in the metrics, and in Events on the Lease.

use serde_json::Value;

use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::wait;

/// Returns the notes of the Events on the Lease, with the replica that wrote each.
async fn events(stage: &Stage) -> Vec<(String, String)> {
    let path = stage.path("events.k8s.io/v1", "events");
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    let list: Value = stage.kube.request(request).await.unwrap();
    let lease = stage.lease().await.unwrap();
    let mut told = Vec::new();
    for event in list["items"].as_array().unwrap() {
        let regarding = &event["regarding"];
        if regarding["kind"] != "Lease" {
            continue;
        }
        let uid = &lease["metadata"]["uid"];
        assert_eq!(
            &regarding["uid"], uid,
            "kubectl describe finds Events by it: {event}"
        );
        assert_eq!(event["reason"], "LeaderElection");
        let note = event["note"].as_str().unwrap().to_owned();
        told.push((event["eventTime"].to_string(), note));
    }
    told.sort();
    told
}

#[tokio::test]
async fn each_change_of_the_leader_is_told_once_everywhere() {
    let stage = Stage::open("visible").await;
    let mut first = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let second = stage.replica("r2").start();
    wait::until("r2 stands by", || second.said(&["another replica leads"])).await;
    first.terminate().await;
    wait::until("r2 leads", || second.said(&["this replica leads"])).await;
    stage.two_more_looks().await;

    assert_eq!(first.when(&["this replica leads: "]).len(), 1);
    assert_eq!(
        first
            .when(&["no longer leads: it releases the Lease"])
            .len(),
        1
    );
    assert_eq!(
        second
            .when(&["this replica leads: the Lease was released"])
            .len(),
        1
    );
    let told = wait::until_async("three Events", async || {
        let told = events(&stage).await;
        wait::check(told.len() >= 3, || format!("{told:?}")).map(|()| told)
    })
    .await;
    let notes: Vec<&str> = told.iter().map(|(_, note)| note.as_str()).collect();
    assert_eq!(notes.len(), 3, "{notes:?}");
    let is = |name: &str, what: &str| {
        let good = |note: &&&str| note.starts_with(&format!("{name}_")) && note.contains(what);
        assert_eq!(
            notes.iter().filter(good).count(),
            1,
            "{name} {what}: {notes:?}"
        );
    };
    is("r1", " became leader: the Lease was free");
    is("r1", " stopped leading: it releases the Lease");
    is("r2", " became leader: the Lease was released");

    let metric = |name: &str| {
        let name = format!("kube_static_egress_controller_{name}");
        second.metric(&name).unwrap_or_else(|| panic!("no {name}"))
    };
    assert!((metric("leader") - 1.0).abs() < f64::EPSILON);
    assert!((metric("lease_epoch") - 2.0).abs() < f64::EPSILON);
    assert!((metric("takeover_duration_seconds_count") - 1.0).abs() < f64::EPSILON);
    assert!(metric("takeover_duration_seconds_sum") > 0.0);
    assert!(metric("lease_renewal_latency_seconds") > 0.0);
    assert!(metric("lease_renewal_age_seconds") < 60.0);
    wait::until("a renewal", || {
        let renewals = metric("lease_renewals{outcome=\"ok\"}");
        wait::check(renewals >= 1.0, || renewals.to_string())
    })
    .await;
}

/// Without the permission to write Events everything else continues, and one line names the missing permission.
#[tokio::test]
async fn events_that_may_not_be_written_hold_nothing_up() {
    let stage = Stage::open("no-events").await;
    let path = format!(
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/kube-static-egress-controller-{}",
        stage.namespace
    );
    let mut role = stage.take(&path).await;
    let rules = role["rules"].as_array_mut().unwrap();
    rules.retain(|rule| rule["resources"] != serde_json::json!(["events"]));
    stage.put_back(&path, role).await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    wait::until("told", || replica.said(&["create events.events.k8s.io"])).await;
    assert!(replica.terminate().await.0.success());
    // One line of the writer of Events on the Lease, and one of the writer of Events on ConfigMaps.
    let lines = replica.when(&["WARN", "an Event on the", "could not be written"]);
    assert!((1..=2).contains(&lines.len()), "{lines:?}");
}
