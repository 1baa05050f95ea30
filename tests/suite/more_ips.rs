//! A second static IP of each zone is announced, confirmed by partners and used; and whatever happens to NAT gateways, zones and quotas,
//! nothing in use is lost and nobody else waits.

use std::collections::BTreeMap;

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::replica::{Launch, Replica};
use crate::retained::{ips, noted};
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::wait;

const TWO: &str = "--aws-eips-per-zone=2";
const USED: &str = "--aws-eips-in-use-per-zone=2";

fn launch(stage: &Stage, name: &str, flags: &[&str]) -> Launch {
    let launch = stage.replica(name).flag("drift-interval", "10s");
    flags.iter().fold(launch, |launch, flag| launch.arg(flag))
}

/// By zone, the IPs of the working NAT gateways besides the first.
fn in_use(stage: &Stage) -> BTreeMap<String, Vec<String>> {
    let state = stage.aws.state();
    let gateways = state["nat_gateways"].as_array().unwrap().iter();
    let works = gateways.filter(|gateway| gateway["state"] == "available");
    let more = works.map(|gateway| {
        let ips = gateway["more_eips"].as_array().unwrap().iter();
        let ips = ips.map(|ip| ip.as_str().unwrap().to_owned()).collect();
        (gateway["az"].as_str().unwrap().to_owned(), ips)
    });
    more.collect()
}

/// Waits until so many zones have another IP that they do not use, as the status says. Returns these.
async fn announces(replica: &Replica, zones: usize) -> BTreeMap<String, Vec<String>> {
    wait::until(&format!("{zones} zones have another static IP"), || {
        let answer: Value = serde_json::from_str(&replica.get("/api/status")?.body).unwrap();
        let shown = answer["status"]["announcedIps"].clone();
        let shown: BTreeMap<String, Vec<String>> =
            serde_json::from_value(shown).unwrap_or_default();
        wait::check(shown.len() == zones, || answer.to_string()).map(|()| shown)
    })
    .await
}

/// Waits until the NAT gateways use just these besides the first.
async fn uses(stage: &Stage, ips: &BTreeMap<String, Vec<String>>) {
    wait::until(&format!("{ips:?} are used"), || {
        let now = in_use(stage);
        wait::check(now == *ips, || format!("{now:?}"))
    })
    .await;
}

/// Waits until an Event about the ConfigMap says all of this.
async fn told(stage: &Stage, parts: &[&str]) {
    let api: Api<Event> = Api::namespaced(stage.kube.clone(), &stage.namespace);
    wait::until_async(&format!("{parts:?} is told"), async || {
        let all = api.list(&ListParams::default()).await.unwrap().items;
        let changed = |event: &Event| event.reason.as_deref() == Some("StaticIpChanged");
        let notes = all.into_iter().filter(changed);
        let notes: Vec<String> = notes.filter_map(|event| event.note).collect();
        let says = |note: &String| parts.iter().all(|part| note.contains(part));
        wait::check(notes.iter().any(says), || format!("{notes:?}"))
    })
    .await;
}

fn none() -> BTreeMap<String, Vec<String>> {
    let zones = Stage::zones(&["a", "b", "c"]).into_iter();
    zones.map(|zone| (zone, Vec::new())).collect()
}

#[tokio::test]
async fn a_second_ip_is_announced_confirmed_and_used_without_a_gap() {
    let stage = Stage::open("more-ips").await;
    stage.aws.settings(json!({ "eip_quota": 6 }));
    let mut replica = launch(&stage, "r1", &[]).start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let first = stage.routed(&EXAMPLE_CIDRS).await;
    noted(&stage).await;
    replica.terminate().await;
    stage.aws.settings(json!({ "note_gaps": "true" }));
    let mut replica = launch(&stage, "r2", &[TWO]).start();
    let announced = announces(&replica, 3).await;
    uses(&stage, &none()).await;
    let ip = &announced["eu-central-1a"][0];
    told(&stage, &[ip, "no traffic leaves yet", "before it is used"]).await;
    let metrics = replica.get("/metrics").unwrap().body;
    let mut lines = metrics.lines();
    let sample = lines
        .find(|line| line.contains(&format!("ip=\"{ip}\"")))
        .unwrap();
    assert!(sample.contains("in_use=\"false\""), "{sample}");
    replica.terminate().await;
    let mut replica = launch(&stage, "r3", &[TWO, USED]).start();
    uses(&stage, &announced).await;
    told(&stage, &[ip, "traffic leaves from that as well"]).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(exits, first, "same NAT gateways, same first IPs");
    assert_eq!(stage.aws.state()["gaps"], json!([]));
    stage.two_more_looks().await;
    let mark = stage.aws.mark();
    assert_eq!(stage.writes_at_rest(mark).await.len(), 0);
    // A NAT gateway that somebody deletes comes back with both.
    let gateway = &exits["eu-central-1a"].gateway;
    let call = [("NatGatewayId", gateway.as_str())];
    stage.aws.call("ec2", "DeleteNatGateway", &call);
    wait::until("another NAT gateway", || {
        let now = stage.aws.exits();
        let other = now
            .get("eu-central-1a")
            .is_some_and(|it| it.gateway != *gateway);
        wait::check(other, || format!("{now:?}"))
    })
    .await;
    uses(&stage, &announced).await;
    let again = stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(again["eu-central-1a"].ip, first["eu-central-1a"].ip);
    stage.two_more_looks().await;
    noted(&stage).await;
    replica.terminate().await;
    // Flags that say less take nothing away.
    let mark = stage.aws.mark();
    let replica = launch(&stage, "r4", &[]).start();
    wait::until("told", || {
        replica.said(&["StaticIpKept", "uses 2 static IPs"])
    })
    .await;
    assert_eq!(stage.writes_at_rest(mark).await.len(), 0);
    uses(&stage, &announced).await;
}

#[tokio::test]
async fn quotas_hold_up_nothing_but_the_second_ip() {
    let stage = Stage::open("more-ips-quota").await;
    let mut replica = launch(&stage, "r1", &[TWO, USED]).start();
    // Three zones have one each, so there is room for two more.
    stage
        .aws
        .settings(json!({ "eip_quota": 5, "nat_address_quota": 1 }));
    stage.config_map("egress-t1", &EXAMPLE).await;
    announces(&replica, 2).await;
    wait::until("told", || {
        replica.said(&["LimitReached", "its static IP 2"])
    })
    .await;
    wait::until("told", || replica.said(&["ZoneWaits", "more static IPs"])).await;
    // Others go on.
    stage
        .config_map("egress-t2", &[("more", "203.0.113.0/24")])
        .await;
    let all = [&EXAMPLE_CIDRS[..], &["203.0.113.0/24"]].concat();
    stage.routed(&all).await;
    uses(&stage, &none()).await;
    // The quotas are raised; another leader need not wait for the next try.
    stage
        .aws
        .settings(json!({ "eip_quota": 6, "nat_address_quota": 2 }));
    replica.terminate().await;
    let _replica = launch(&stage, "r2", &[TWO, USED]).start();
    wait::until("all are used", || {
        let now = in_use(&stage);
        let all = now.len() == 3 && now.values().all(|ips| ips.len() == 1);
        wait::check(all, || format!("{now:?}"))
    })
    .await;
    stage.routed(&all).await;
}

#[tokio::test]
async fn a_zone_that_comes_back_has_both_ips_again() {
    let stage = Stage::open("more-ips-back").await;
    stage.aws.settings(json!({ "eip_quota": 6 }));
    let mut replica = launch(&stage, "r1", &[TWO, USED]).start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    wait::until("all are used", || {
        let now = in_use(&stage);
        let all = now.len() == 3 && now.values().all(|ips| ips.len() == 1);
        wait::check(all, || format!("{now:?}"))
    })
    .await;
    let first = stage.routed(&EXAMPLE_CIDRS).await;
    let both = in_use(&stage);
    let noted_both = || async {
        let ledger = stage.ledger().await?;
        let further = ledger["furtherIps"].as_object();
        let count = further.map_or(0, serde_json::Map::len);
        wait::check(count == 3, || ledger.to_string())
    };
    wait::until_async("the ledger has them", noted_both).await;
    replica.terminate().await;
    let without = launch(&stage, "r2", &[TWO, USED, "--remove-zone=eu-central-1c"]);
    let mut replica = without.zones(&["a", "b"]).start();
    stage.exits_of(2).await;
    stage.two_more_looks().await;
    replica.terminate().await;
    // As many as are there, and no more.
    let _replica = launch(&stage, "r3", &[TWO, USED]).start();
    stage.exits_of(3).await;
    uses(&stage, &both).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(ips(&exits), ips(&first));
}
