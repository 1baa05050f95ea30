//! Another principal releases a static IP. The controller recovers it, or the zone waits and affects no other.

use std::time::Instant;

use serde_json::json;

use crate::drift::{kept, looking};
use crate::drift_zone::{delete_gateway, of_a, pieces, whole};
use crate::more_ips::all_use_two;
use crate::stage::{EXAMPLE_CIDRS, Stage};
use crate::standin::{REGION, actions};
use crate::wait;

/// Releases the static IP of zone a, as another principal. Returns it.
fn release(stage: &Stage) -> String {
    let ip = of_a(stage).ip;
    let harm = json!({ "action": "release_address", "public_ip": ip });
    stage.aws.post("tamper", &harm);
    ip
}

#[tokio::test]
async fn a_static_ip_that_was_released_is_had_back() {
    let stage = Stage::open("drift-released").await;
    let mut replica = kept(&stage, looking(&stage)).await;
    let ips = whole(&stage).unwrap();
    let mark = stage.aws.mark();
    release(&stage);
    let begin = Instant::now();
    let after = wait::until("whole again", || whole(&stage)).await;
    wait::measured(&format!(
        "egress of a zone without its static IP was away for {:.1} s",
        begin.elapsed().as_secs_f64()
    ));
    assert_eq!(after, ips, "the same static IPs");
    stage.routed(&EXAMPLE_CIDRS).await;
    let repaired = ["CreateChangeSet", "ExecuteChangeSet"];
    assert_eq!(actions(&stage.writes_at_rest(mark).await), repaired);
    // The zone's static IP stays lost, whatever is edited.
    stage.config_map("egress-t9", &[("dns", "9.9.9.9")]).await;
    stage
        .routed(&[&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat())
        .await;
    delete_gateway(&stage);
    wait::until("another NAT gateway", || {
        wait::check(whole(&stage).is_err(), || "the old one".to_owned())
    })
    .await;
    let after = wait::until("whole again", || whole(&stage)).await;
    assert_eq!(after, ips, "the same static IPs");
    let account = stage.aws.state()["addresses"].clone();
    assert_eq!(account.as_array().unwrap().len(), 3, "{account}");
    replica.assert_well();
}

#[tokio::test]
async fn a_static_ip_that_a_person_had_back_is_used() {
    let stage = Stage::open("drift-by-hand").await;
    let mut replica = kept(&stage, looking(&stage)).await;
    let ips = whole(&stage).unwrap();
    stage.two_more_looks().await;
    replica.terminate().await;
    let gateway = of_a(&stage).gateway;
    let ip = release(&stage);
    stage
        .aws
        .call("ec2", "DeleteNatGateway", &[("NatGatewayId", &gateway)]);
    let fields = [("Domain", "vpc"), ("Address", ip.as_str())];
    stage.aws.call("ec2", "AllocateAddress", &fields);
    let mut replica = looking(&stage).start();
    let after = wait::until("whole again", || whole(&stage)).await;
    assert_eq!(after, ips, "the same static IPs");
    stage.routed(&EXAMPLE_CIDRS).await;
    let mark = stage.aws.mark();
    assert!(stage.writes_at_rest(mark).await.is_empty());
    replica.assert_well();
}

/// The loss is reported with high severity, everything else stays, and a new static IP is allocated only if that is allowed.
#[tokio::test]
async fn a_static_ip_that_aws_gave_to_somebody_else() {
    for mode in ["works", "unsupported"] {
        let stage = Stage::open("drift-lost").await;
        stage.aws.settings(json!({ "revert_drift": mode }));
        let mut replica = kept(&stage, looking(&stage)).await;
        let ips = whole(&stage).unwrap();
        let mark = stage.aws.mark();
        let away = json!({ "action": "give_address_away", "public_ip": release(&stage) });
        stage.aws.post("tamper", &away);
        let lost = format!("{REGION}a={}", ips["a"]);
        let remedy = format!("--allow-new-eips={lost}");
        let loud = ["StaticIpLost", &ips["a"], &remedy];
        wait::until("told", || replica.said(&loud)).await;
        let one_try = ["CreateChangeSet", "ExecuteChangeSet", "DeleteChangeSet"];
        let writes = stage.writes_at_rest(mark).await;
        let writes = actions(&writes);
        assert!(one_try.starts_with(&writes), "{writes:?}");
        // New entries are served, also in that zone's tables.
        stage.config_map("egress-t9", &[("dns", "9.9.9.9")]).await;
        wait::until("the others have the route", || {
            let tables = stage.aws.routes();
            let mut others = tables.iter().filter(|((_, zone), _)| !zone.ends_with('a'));
            let all = others.all(|(_, routes)| routes.contains_key("9.9.9.9/32"));
            wait::check(all, || format!("{:?}", stage.aws.routes()))
        })
        .await;
        stage.delete_config_map("egress-t9").await;
        // Other damage is still repaired.
        let association = pieces(&stage.aws.state(), "b").unwrap().association;
        let fields = [("AssociationId", association.as_str())];
        stage.aws.call("ec2", "DisassociateRouteTable", &fields);
        let of_b = || pieces(&stage.aws.state(), "b").map(|of_b| of_b.ip);
        assert_eq!(wait::until("b is whole again", of_b).await, ips["b"]);
        assert_eq!(stage.aws.state()["addresses"].as_array().unwrap().len(), 2);
        replica.terminate().await;

        let launch = looking(&stage).flag("allow-new-eips", &lost);
        let mut replica = launch.start();
        let after = wait::until("whole again", || whole(&stage)).await;
        assert_eq!((&after["b"], &after["c"]), (&ips["b"], &ips["c"]), "{mode}");
        assert_ne!(after["a"], ips["a"], "a new one");
        stage.routed(&EXAMPLE_CIDRS).await;
        assert_eq!(stage.aws.state()["addresses"].as_array().unwrap().len(), 3);
        wait::until("told that the flag is done", || {
            replica.said(&["AllowNewEipsUnused", &lost])
        })
        .await;
        replica.assert_well();
    }
}

/// The IP was announced and in use.
#[tokio::test]
async fn an_additional_static_ip_that_was_released_is_in_use_again() {
    let stage = Stage::open("drift-more").await;
    stage.aws.settings(json!({ "eip_quota": 6 }));
    let launch = looking(&stage).flag("aws-eips-per-zone", "2");
    let mut replica = kept(&stage, launch.flag("aws-eips-in-use-per-zone", "2")).await;
    let both = all_use_two(&stage, &replica).await;
    let gateways = stage.aws.exits();
    let ip = both["eu-central-1a"].first().unwrap().clone();
    let harm = json!({ "action": "release_address", "public_ip": ip });
    stage.aws.post("tamper", &harm);
    assert_eq!(all_use_two(&stage, &replica).await, both);
    assert_eq!(stage.aws.exits(), gateways, "no NAT gateway was replaced");
    replica.assert_well();
}
