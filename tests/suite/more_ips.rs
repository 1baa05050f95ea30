//! Additional static IPs: partners can allow them before traffic leaves from them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::kept;
use crate::memory::{self, status};
use crate::replica::{Launch, Replica};
use crate::retained::{addresses, allocate, delete_stack, noted, without_stack};
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::standin::Exit;
use crate::wait;

/// A replica that looks at EC2 as often as it may, and gives each zone this number of static IPs.
fn launch(stage: &Stage, name: &str, eips: u8) -> Launch {
    let launch = stage.replica(name).flag("drift-interval", "10s");
    launch.flag("aws-eips-per-zone", &eips.to_string())
}

/// Waits until each of so many zones has an announced IP. Returns the status.
async fn announced(replica: &Replica, zones: usize) -> Value {
    wait::until("the additional static IPs are announced", || {
        let status = status(replica)?;
        let announced = status["announcedIps"].as_object().map_or(0, |it| it.len());
        let rests = status["plan"]["action"] == "Keep";
        wait::check(announced == zones && rests, || status.to_string()).map(|()| status.clone())
    })
    .await
}

fn texts(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().into_iter().flatten();
    list.map(|it| it.as_str().unwrap().to_owned()).collect()
}

fn first_ips(exits: &BTreeMap<String, Exit>) -> BTreeSet<String> {
    exits.values().map(|exit| exit.ip.clone()).collect()
}

/// Deletes the NAT gateway of zone a, and waits for another one.
async fn another_gateway(stage: &Stage, gateway: &str) {
    let call = [("NatGatewayId", gateway)];
    stage.aws.call("ec2", "DeleteNatGateway", &call);
    wait::until("another NAT gateway", || {
        let now = stage.aws.exits();
        let found = now.get("eu-central-1a");
        let other = found.is_some_and(|it| it.gateway != gateway);
        wait::check(other, || format!("{now:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_second_static_ip_is_announced_and_outlives_its_zone() {
    let stage = Stage::open("more-announced").await;
    stage.aws.settings(json!({ "eip_quota": 6 }));
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let first = stage.routed(&EXAMPLE_CIDRS).await;
    noted(&stage).await;
    replica.terminate().await;
    let mut replica = launch(&stage, "r2", 2).start();
    let status = announced(&replica, 3).await;
    assert_eq!(stage.aws.exits(), first, "no NAT gateway changed");
    let zone = "eu-central-1a";
    let second = status["announcedIps"][zone][0].as_str().unwrap().to_owned();
    let mut all = first_ips(&first);
    for ips in status["announcedIps"].as_object().unwrap().values() {
        all.extend(texts(ips));
    }
    assert_eq!((all.len(), &all), (6, &addresses(&stage)));
    for entry in status["entries"].as_array().unwrap() {
        assert_eq!(texts(&entry["staticIps"]), all, "{entry}");
    }
    assert_eq!(status["keptIps"], json!([]));
    let shown = |in_use: &str| {
        let text = replica.get("/metrics")?.body;
        let mut lines = text.lines();
        let is_it = |line: &str| {
            line.contains("static_ip_info{") && line.contains(&second) && line.contains(in_use)
        };
        wait::check(lines.any(is_it), || text.clone())
    };
    wait::until("the metric has it", || shown("in_use=\"false\"")).await;
    replica.terminate().await;
    // A flag that is lowered gives up nothing, and writes nothing.
    let before = stage.aws.state()["stacks"].clone();
    let mut replica = launch(&stage, "r3", 1).start();
    wait::until("told", || {
        replica.said(&["StaticIpKept", "--aws-eips-per-zone=2"])
    })
    .await;
    stage.two_more_looks().await;
    assert_eq!(stage.aws.state()["stacks"], before);
    replica.terminate().await;
    // The zone goes, and both its IPs stay in the account.
    let without = launch(&stage, "r4", 2).zones(&["b", "c"]);
    let replica = without.arg("--remove-zone=eu-central-1a").start();
    stage.exits_of(2).await;
    let ips: BTreeSet<String> = [first[zone].ip.clone(), second].into();
    wait::until("both are kept", || {
        let status = memory::status(&replica)?;
        let kept = status["keptIps"].as_array().into_iter().flatten();
        let kept = kept.map(|it| it["ip"].as_str().unwrap().to_owned());
        wait::check(kept.collect::<BTreeSet<_>>() == ips, || status.to_string())
    })
    .await;
    assert_eq!(addresses(&stage), all);
}

/// Partners have to allow it, so everybody whom it will serve is told.
#[tokio::test]
async fn an_announced_static_ip_is_an_event_on_every_config_map() {
    let stage = Stage::open("more-events").await;
    stage.aws.settings(json!({ "eip_quota": 6 }));
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    let cidrs = [&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat();
    stage.routed(&cidrs).await;
    noted(&stage).await;
    replica.terminate().await;
    let replica = launch(&stage, "r2", 2).start();
    let status = announced(&replica, 3).await;
    let second = status["announcedIps"]["eu-central-1a"][0].as_str().unwrap();
    for name in ["egress-t1", "egress-t2"] {
        wait::until_async(&format!("{name} is told"), || async {
            let notes = kept::told(&stage, name, "Routed").await;
            let has_it = notes.iter().any(|note| note.contains(second));
            wait::check(has_it, || format!("{notes:?}"))
        })
        .await;
    }
}

#[tokio::test]
async fn an_account_without_room_for_a_second_static_ip_holds_up_nobody() {
    let stage = Stage::open("more-full").await;
    stage.aws.settings(json!({ "eip_quota": 4 }));
    let replica = launch(&stage, "r1", 2).start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    announced(&replica, 1).await;
    wait::until("told", || {
        replica.said(&["LimitReached", "more static IPs"])
    })
    .await;
    stage.config_map("more", &[("dns", "9.9.9.9")]).await;
    stage
        .routed(&[&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat())
        .await;
    stage.aws.settings(json!({ "eip_quota": 20 }));
    announced(&replica, 3).await;
}

/// By zone, the IPs of the working NAT gateways besides the first.
fn in_use(stage: &Stage) -> BTreeMap<String, BTreeSet<String>> {
    let state = stage.aws.state();
    let gateways = state["nat_gateways"].as_array().unwrap().iter();
    let works = gateways.filter(|gateway| gateway["state"] == "available");
    let more = works.map(|it| {
        (
            it["az"].as_str().unwrap().to_owned(),
            texts(&it["more_eips"]),
        )
    });
    more.collect()
}

/// Waits until each of the three NAT gateways uses one more IP, and nothing is left to be done.
pub async fn all_use_two(stage: &Stage, replica: &Replica) -> BTreeMap<String, BTreeSet<String>> {
    wait::until("each zone uses two static IPs", || {
        let now = in_use(stage);
        let status = status(replica)?;
        let all = now.len() == 3 && now.values().all(|ips| ips.len() == 1);
        let rests = status["plan"]["action"] == "Keep" && status["announcedIps"] == json!({});
        wait::check(all && rests, || format!("{now:?}: {status}")).map(|()| now)
    })
    .await
}

#[tokio::test]
async fn a_second_static_ip_is_announced_and_used_by_a_later_change_without_a_gap() {
    let stage = Stage::open("more-used").await;
    stage.aws.settings(json!({ "eip_quota": 6 }));
    let mut replica = launch(&stage, "r1", 2).start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let status = announced(&replica, 3).await;
    let first = stage.routed(&EXAMPLE_CIDRS).await;
    assert!(in_use(&stage).values().all(BTreeSet::is_empty));
    noted(&stage).await;
    replica.terminate().await;
    stage.aws.settings(json!({ "note_gaps": "true" }));
    let used = |name| launch(&stage, name, 2).flag("aws-eips-in-use-per-zone", "2");
    let mut replica = used("r2").start();
    let both = all_use_two(&stage, &replica).await;
    for (zone, ips) in &both {
        assert_eq!(*ips, texts(&status["announcedIps"][zone]));
    }
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(exits, first, "same NAT gateways, same first IPs");
    assert_eq!(stage.aws.state()["gaps"], json!([]));
    // A NAT gateway that somebody deletes comes back with both.
    another_gateway(&stage, &exits["eu-central-1a"].gateway).await;
    assert_eq!(all_use_two(&stage, &replica).await, both);
    let again = stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(first_ips(&again), first_ips(&first));
    // So does a static IP that somebody takes from a NAT gateway.
    let ip = both["eu-central-1b"].first().unwrap();
    let harm = json!({ "action": "detach_address", "public_ip": ip });
    stage.aws.post("tamper", &harm);
    wait::until("told", || replica.said(&["StaticIpDetached", ip])).await;
    assert_eq!(all_use_two(&stage, &replica).await, both);
    replica.terminate().await;
    // A flag that is lowered takes nothing away.
    let replica = launch(&stage, "r3", 2).start();
    wait::until("told", || {
        replica.said(&["StaticIpKept", "--aws-eips-in-use-per-zone=2"])
    })
    .await;
    stage.two_more_looks().await;
    assert_eq!(in_use(&stage), both);
}

#[tokio::test]
async fn a_nat_gateway_that_takes_no_more_ips_holds_up_nobody() {
    let stage = Stage::open("more-quota").await;
    stage
        .aws
        .settings(json!({ "eip_quota": 6, "nat_address_quota": 1 }));
    let used = |name| launch(&stage, name, 2).flag("aws-eips-in-use-per-zone", "2");
    let mut replica = used("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    wait::until("told", || {
        replica.said(&["LimitReached", "additional static IPs failed"])
    })
    .await;
    stage.config_map("more", &[("dns", "9.9.9.9")]).await;
    let all = [&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat();
    let exits = stage.routed(&all).await;
    assert_eq!(exits.len(), 3);
    assert!(in_use(&stage).values().all(BTreeSet::is_empty));
    // The quota is raised, and another leader looks again.
    stage.aws.settings(json!({ "nat_address_quota": 2 }));
    noted(&stage).await;
    replica.terminate().await;
}

/// The quota leaves no room for a new address, so every IP that comes back is one of before.
#[tokio::test]
async fn a_stack_and_a_zone_that_come_back_have_their_additional_static_ips() {
    let stage = Stage::open("more-back").await;
    stage.aws.settings(json!({ "eip_quota": 6 }));
    let used = |name| launch(&stage, name, 2).flag("aws-eips-in-use-per-zone", "2");
    let mut replica = used("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let both = all_use_two(&stage, &replica).await;
    let first = first_ips(&stage.routed(&EXAMPLE_CIDRS).await);
    let all = addresses(&stage);
    wait::until_async("the ledger has all of them", || async {
        let ledger = stage.ledger().await?;
        let known = ledger["formerIps"].as_object().map_or(0, |it| it.len());
        wait::check(known == 3, || ledger.to_string())
    })
    .await;
    replica.terminate().await;
    delete_stack(&stage);
    without_stack(&stage).await;
    let mut replica = used("r2").start();
    assert_eq!(all_use_two(&stage, &replica).await, both);
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!((first_ips(&exits), addresses(&stage)), (first, all.clone()));
    // They are no resources of the stack, and a NAT gateway that is made again has both of them.
    another_gateway(&stage, &exits["eu-central-1a"].gateway).await;
    assert_eq!(all_use_two(&stage, &replica).await, both);
    replica.terminate().await;
    let launch = used("r3").zones(&["b", "c"]);
    let mut replica = launch.arg("--remove-zone=eu-central-1a").start();
    stage.exits_of(2).await;
    replica.terminate().await;
    let replica = used("r4").start();
    assert_eq!(all_use_two(&stage, &replica).await, both);
    assert_eq!(addresses(&stage), all);
}

#[tokio::test]
async fn a_zone_has_the_static_ips_that_the_flag_names_in_their_order() {
    let stage = Stage::open("more-named").await;
    stage.aws.settings(json!({ "eip_quota": 6 }));
    let own = [allocate(&stage), allocate(&stage)];
    let state = stage.aws.state();
    let ip = |id: &String| {
        let mut all = state["addresses"].as_array().unwrap().iter();
        let found = all.find(|it| it["allocation_id"] == id.as_str());
        found.unwrap()["public_ip"].as_str().unwrap().to_owned()
    };
    let used = |name| launch(&stage, name, 2).flag("aws-eips-in-use-per-zone", "2");
    let named = own
        .iter()
        .map(|id| format!("--aws-eip-allocation-id=eu-central-1a={id}"));
    let launch = named.fold(used("r1"), |launch, flag| launch.arg(&flag));
    let mut replica = launch.start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let both = all_use_two(&stage, &replica).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(exits["eu-central-1a"].allocation, own[0]);
    assert_eq!(both["eu-central-1a"], [ip(&own[1])].into());
    replica.terminate().await;
    // Without the flags nothing changes.
    let before = stage.aws.state()["stacks"].clone();
    let replica = used("r2").start();
    wait::until("r2 leads", || replica.said(&["this replica leads"])).await;
    stage.two_more_looks().await;
    assert_eq!(stage.aws.state()["stacks"], before);
}

#[tokio::test]
async fn an_additional_static_ip_that_was_released_comes_back() {
    let stage = Stage::open("more-released").await;
    stage.aws.settings(json!({ "eip_quota": 6 }));
    let mut replica = launch(&stage, "r1", 2).start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let status = announced(&replica, 3).await;
    let all = addresses(&stage);
    wait::until_async("the ledger has all of them", || async {
        let ledger = stage.ledger().await?;
        let known = ledger["formerIps"].as_object().map_or(0, |it| it.len());
        wait::check(known == 3, || ledger.to_string())
    })
    .await;
    replica.terminate().await;
    delete_stack(&stage);
    without_stack(&stage).await;
    let second = &status["announcedIps"]["eu-central-1a"][0];
    let harm = json!({ "action": "release_address", "public_ip": second });
    stage.aws.post("tamper", &harm);
    let mut replica = launch(&stage, "r2", 2).start();
    let after = announced(&replica, 3).await;
    assert_eq!(after["announcedIps"], status["announcedIps"]);
    assert_eq!(addresses(&stage), all);
    replica.assert_well();
}

/// A person used the IPs before a partner allowed them.
#[tokio::test]
async fn a_zone_uses_fewer_static_ips_on_request_and_keeps_them_announced() {
    let stage = Stage::open("more-fewer").await;
    stage.aws.settings(json!({ "eip_quota": 6 }));
    let used = |name, number| launch(&stage, name, 2).flag("aws-eips-in-use-per-zone", number);
    let mut replica = used("r1", "2").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let both = all_use_two(&stage, &replica).await;
    let gateways = stage.routed(&EXAMPLE_CIDRS).await;
    replica.terminate().await;
    stage.aws.settings(json!({ "note_gaps": "true" }));
    let fewer = used("r2", "1").flag("replace-static-ip", "eu-central-1a");
    let mut replica = fewer.start();
    let status = announced(&replica, 1).await;
    let zone = "eu-central-1a";
    assert_eq!(texts(&status["announcedIps"][zone]), both[zone]);
    let mut expected = both.clone();
    expected.insert(zone.to_owned(), BTreeSet::new());
    assert_eq!(in_use(&stage), expected);
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, gateways);
    assert_eq!(stage.aws.state()["gaps"], json!([]));
    replica.assert_well();
}
