//! Static IPs without a NAT gateway, which cost money, and changed static IPs, which partners must know, are reported.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::ledger::LEDGER;
use crate::page;
use crate::replica::{Launch, Replica};
use crate::retained::{allocate, noted};
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::standin::Exit;
use crate::wait;

const METRIC: &str = "kube_static_egress_controller_static_ip_info";

/// A replica that reads EC2 at the shortest interval.
fn launch(stage: &Stage, name: &str) -> Launch {
    stage.replica(name).flag("drift-interval", "10s")
}

/// Returns the metric sample of a static IP.
fn sample(zone: &str, exit: &Exit, in_use: bool) -> String {
    let Exit { ip, allocation, .. } = exit;
    format!(
        "{METRIC}{{zone=\"{zone}\",ip=\"{ip}\",allocation_id=\"{allocation}\",in_use=\"{in_use}\"}} 1"
    )
}

/// Waits until a replica exports a sample, or no longer exports it.
async fn exports(replica: &Replica, sample: &str, yes: bool) {
    wait::until(&format!("{sample}: {yes}"), || {
        let text = replica.get("/metrics")?.body;
        wait::check(text.contains(sample) == yes, || text)
    })
    .await;
}

/// Waits until a replica's status lists exactly these static IPs as kept, by IP.
async fn lists(replica: &Replica, ips: &[&str]) -> Value {
    wait::until(&format!("{ips:?} are kept"), || {
        let answer: Value = serde_json::from_str(&replica.get("/api/status")?.body).unwrap();
        let kept = answer["status"]["keptIps"].clone();
        let listed = kept.as_array().into_iter().flatten();
        let is: Vec<&str> = listed.map(|it| it["ip"].as_str().unwrap()).collect();
        wait::check(is == ips, || answer.to_string()).map(|()| kept)
    })
    .await
}

#[tokio::test]
async fn a_static_ip_that_is_kept_is_shown_until_it_is_released_or_used() {
    let stage = Stage::open("kept-shown").await;
    let mut replica = launch(&stage, "r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let first = stage.routed(&EXAMPLE_CIDRS).await;
    noted(&stage).await;
    let zones = ["eu-central-1b", "eu-central-1c"];
    let [b, c] = zones.map(|zone| &first[zone]);
    exports(&replica, &sample(zones[1], c, true), true).await;
    lists(&replica, &[]).await;
    replica.terminate().await;
    let without = launch(&stage, "r2").zones(&["a"]);
    let removes = zones.map(|zone| format!("--remove-zone={zone}"));
    let mut replica = without.arg(&removes[0]).arg(&removes[1]).start();
    stage.exits_of(1).await;
    let ips = [b.ip.as_str(), c.ip.as_str()];
    let kept = lists(&replica, &ips).await;
    let expected = json!({ "zone": zones[0], "ip": b.ip, "allocationId": b.allocation });
    assert_eq!(kept[0], expected);
    exports(&replica, &sample(zones[1], c, false), true).await;
    exports(&replica, &sample(zones[1], c, true), false).await;
    page_shows(&replica, b).await;
    // The operator releases the address, as the page advises.
    let call = [("AllocationId", b.allocation.as_str())];
    stage.aws.call("ec2", "ReleaseAddress", &call);
    lists(&replica, &[&c.ip]).await;
    exports(&replica, &sample(zones[0], b, false), false).await;
    replica.terminate().await;
    // The zone is added again.
    let replica = launch(&stage, "r3").zones(&["a", "c"]).start();
    stage.exits_of(2).await;
    lists(&replica, &[]).await;
    exports(&replica, &sample(zones[1], c, true), true).await;
    exports(&replica, &sample(zones[1], c, false), false).await;
}

async fn page_shows(replica: &Replica, exit: &Exit) {
    let browser = Browser::open();
    page::open(&browser, replica).await;
    let rows = "document.querySelectorAll('#kept tr').length";
    page::shows(&browser, rows, json!(2)).await;
    let code =
        browser.value("[...document.querySelectorAll('#kept code')].map(it => it.textContent)");
    let command = format!(
        "aws ec2 release-address --allocation-id {}",
        exit.allocation
    );
    assert!(code.as_array().unwrap().contains(&json!(command)), "{code}");
    assert_eq!(browser.inaccessible(), [""; 0]);
    browser.shot("kept");
    browser.phone();
    browser.shot("kept-phone");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[tokio::test]
async fn the_static_ips_of_a_deleted_stack_are_shown() {
    let stage = Stage::open("kept-deleted").await;
    let deletes = launch(&stage, "r1").flag("empty-grace-period", "0s");
    let replica = deletes.flag("on-empty", "delete").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    noted(&stage).await;
    stage.delete_config_map("egress-t1").await;
    crate::retained::without_stack(&stage).await;
    let ips: Vec<&str> = exits.values().map(|exit| exit.ip.as_str()).collect();
    lists(&replica, &ips).await;
    let zone = "eu-central-1a";
    let call = [("AllocationId", exits[zone].allocation.as_str())];
    stage.aws.call("ec2", "ReleaseAddress", &call);
    lists(&replica, &ips[1..]).await;
    exports(&replica, &sample(zone, &exits[zone], false), false).await;
}

/// Nothing but its tags shows that the IP of the removed zone is kept.
#[tokio::test]
async fn a_static_ip_is_shown_although_the_ledger_was_lost() {
    let stage = Stage::open("kept-untold").await;
    let mut replica = launch(&stage, "r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let first = stage.routed(&EXAMPLE_CIDRS).await;
    noted(&stage).await;
    replica.terminate().await;
    let without = launch(&stage, "r2").zones(&["a", "b"]);
    let mut replica = without.arg("--remove-zone=eu-central-1c").start();
    stage.exits_of(2).await;
    replica.terminate().await;
    stage.delete_config_map(LEDGER).await;
    let zone = "eu-central-1c";
    let replica = launch(&stage, "r3").zones(&["a", "b"]).start();
    let kept = lists(&replica, &[&first[zone].ip]).await;
    assert_eq!(kept[0]["allocationId"], first[zone].allocation);
    let call = [("AllocationId", first[zone].allocation.as_str())];
    stage.aws.call("ec2", "ReleaseAddress", &call);
    lists(&replica, &[]).await;
}

/// Returns the notes of a ConfigMap's Events with this reason.
pub async fn told(stage: &Stage, name: &str, reason: &str) -> Vec<String> {
    let api: Api<Event> = Api::namespaced(stage.kube.clone(), &stage.namespace);
    let all = api.list(&ListParams::default()).await.unwrap().items;
    let of_it = all.into_iter().filter(|event| {
        let regarding = event.regarding.as_ref();
        event.reason.as_deref() == Some(reason)
            && regarding.is_some_and(|it| it.name.as_deref() == Some(name))
    });
    of_it.filter_map(|event| event.note).collect()
}

/// Waits until the status ConfigMap records that a change was reported for some ConfigMap: its fourth mark.
async fn written_down(stage: &Stage) {
    let api: Api<ConfigMap> = Api::namespaced(stage.kube.clone(), &stage.namespace);
    wait::until_async("what was told is written down", async || {
        let name = "kube-static-egress-controller-status";
        let object = api.get(name).await.map_err(|error| error.to_string())?;
        let text = &object.data.unwrap()["told.json"];
        let told: BTreeMap<String, Vec<String>> = serde_json::from_str(text).unwrap();
        let is_told = told.values().any(|marks| marks.len() == 4);
        wait::check(is_told, || text.clone())
    })
    .await;
}

#[tokio::test]
async fn a_static_ip_that_changed_is_told_once_to_everybody_whom_it_serves() {
    let stage = Stage::open("kept-changed").await;
    let mut replica = launch(&stage, "r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.config_map("typo", &[("dns", "8.8.8.8/33")]).await;
    let first = stage.routed(&EXAMPLE_CIDRS).await;
    noted(&stage).await;
    let zone = "eu-central-1c";
    let own = allocate(&stage);
    replica.terminate().await;
    let without = launch(&stage, "r2").zones(&["a", "b"]);
    let mut replica = without.arg("--remove-zone=eu-central-1c").start();
    stage.exits_of(2).await;
    lists(&replica, &[&first[zone].ip]).await;
    replica.terminate().await;
    let flag = format!("--aws-eip-allocation-id={zone}={own}");
    let mut replica = launch(&stage, "r3").arg(&flag).start();
    stage.exits_of(3).await;
    let now = &stage.aws.exits()[zone];
    let (from, to) = (first[zone].ip.as_str(), now.ip.as_str());
    let changed = "StaticIpChanged";
    let notes = wait::until_async("told", async || {
        let notes = told(&stage, "egress-t1", changed).await;
        wait::check(notes.len() == 1, || format!("{notes:?}")).map(|()| notes)
    })
    .await;
    for part in [zone, from, to, "tell every partner"] {
        assert!(notes[0].contains(part), "{notes:?}");
    }
    let problem = format!("kube_static_egress_controller_problems{{reason=\"{changed}\"}} 1");
    exports(&replica, &problem, true).await;
    exports(&replica, &sample(zone, &first[zone], false), true).await;
    exports(&replica, &sample(zone, now, true), true).await;
    // Another leader knows the record, and reports nothing twice.
    written_down(&stage).await;
    replica.terminate().await;
    let replica = launch(&stage, "r4").arg(&flag).start();
    exports(&replica, &problem, true).await;
    stage.two_more_looks().await;
    assert_eq!(told(&stage, "egress-t1", changed).await, notes);
    assert_eq!(told(&stage, "typo", changed).await, [""; 0]);
}
