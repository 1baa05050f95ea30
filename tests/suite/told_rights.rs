//! Without permission to publish, the controller says so once, and continues.

use crate::rights;
use crate::stage::Stage;
use crate::wait;

const WRITES: &str = "kube_static_egress_controller_cluster_writes_total";

#[tokio::test]
async fn rights_to_tell_that_are_missing_are_told_once_and_harm_no_route() {
    let stage = Stage::open("told-rights").await;
    for right in rights::rights(&stage.namespace) {
        if right.resource == "events" || right.name.ends_with("-status") {
            rights::take(&stage, &right).await;
        }
    }
    let mut replica = stage.replica("r1").start();
    let cidrs = ["8.8.8.8/32", "9.9.9.9/32", "203.0.113.0/24"];
    for (number, cidr) in (1..).zip(cidrs) {
        let name = format!("egress-t{number}");
        stage.config_map(&name, &[("one", cidr)]).await;
        stage.routed(&cidrs[..number]).await;
    }
    let refused = |object: &str, least: f64| {
        let sample = format!("{WRITES}{{object=\"{object}\",result=\"forbidden\"}}");
        let count = replica.metric(&sample);
        wait::check(count >= Some(least), || format!("{sample}: {count:?}"))
    };
    // Accepted and Routed for three ConfigMaps, and the leader's own Event.
    wait::until("Events are refused", || refused("event", 6.0)).await;
    wait::until("the status is refused twice", || refused("status", 2.0)).await;
    for (what, remedy) in [
        (
            "an Event on the ConfigMap",
            "check the permission to create events.events.k8s.io",
        ),
        (
            "kube-static-egress-controller-status",
            "the permission to get and patch it",
        ),
    ] {
        let warned = replica.when(&["WARN", "forbidden", what, remedy]);
        assert_eq!(warned.len(), 1, "{what}: {}", replica.log());
    }
    replica.assert_well();
}
