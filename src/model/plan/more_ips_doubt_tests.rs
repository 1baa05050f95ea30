//! What is in doubt, taken or refused gives no zone another static IP than its own, and holds up nobody else.

use serde_json::Value;

use super::super::repair_tests::{Scene, lose_gateway, text, told};
use super::tests::{done, eips, read, scene, settled, template, used};
use crate::model::base::problem::Subject;
use crate::model::base::reason::Reason;
use crate::model::cloud::observed::Address;
use crate::model::cloud::static_ip::{Account, AccountAddress, StaticIp};
use crate::model::plan::former_ips::{LOGICAL_ID, STACK_NAME};
use crate::model::plan::types::Action;

#[test]
fn what_is_in_doubt_is_not_given_to_a_gateway() {
    type Case<'a> = (&'a str, fn(&mut Scene), &'a [Reason]);
    let cases: [Case<'_>; 5] = [
        ("held", |scene| hold(scene), &[Reason::StaticIpUndecided]),
        ("released", |scene| release(scene), &[Reason::StaticIpLost]),
        (
            "by hand",
            |scene| {
                let gateway = scene.seen.gateways.get_mut("nat-a").unwrap();
                gateway.secondary_ips = vec![text("203.0.113.9")];
            },
            &[Reason::StaticIpUndecided],
        ),
        (
            "gone",
            |scene| lose_gateway(scene),
            &[Reason::NatGatewayGone],
        ),
        (
            "unproven",
            |scene| {
                scene.seen.addresses.remove("ip-EIP2a");
                scene.seen.unproven.insert(text("ip-EIP2a"));
            },
            &[],
        ),
    ];
    for (what, spoil, reasons) in cases {
        let mut scene = settled(1);
        scene.bench.settings.eips = eips(2, 2);
        spoil(&mut scene);
        let plan = scene.plan();
        if let Action::Prepare(template) = &plan.action {
            assert_eq!(
                used(&template.text, "NATGatewaya"),
                Value::Null,
                "{what}: {plan}"
            );
        }
        let of_a = plan.problems.iter();
        let of_a = of_a.filter(|it| it.subject == Subject::Zone(text("a")));
        let mut of_a: Vec<Reason> = of_a.map(|it| it.reason).collect();
        of_a.dedup();
        assert_eq!(of_a, reasons, "{what}: {plan}");
    }
}

fn hold(scene: &mut Scene) {
    let address = scene.seen.addresses.get_mut("ip-EIP2a").unwrap();
    address.held_by = Some(text("eni-other"));
}

fn release(scene: &mut Scene) {
    scene.seen.addresses.remove("ip-EIP2a");
}

#[test]
fn a_zone_that_comes_back_has_the_same_second_ip() {
    let address = |held_by: Option<&str>, tags: &[(&str, &str)]| AccountAddress {
        ip: text("203.0.113.7"),
        held_by: held_by.map(text),
        tags: super::super::tests::texts(tags),
        ..AccountAddress::default()
    };
    let tags = [(STACK_NAME, "egress"), (LOGICAL_ID, "EIP2a")];
    let noted = |scene: &mut Scene| {
        let known = StaticIp {
            ip: text("203.0.113.7"),
            allocation: text("eipalloc-7"),
        };
        let ledger = scene.bench.ledger.as_mut().unwrap();
        ledger.note_further(&text("a"), 2, (known, false), 1);
    };
    for by_ledger in [true, false] {
        let free = match by_ledger {
            true => address(None, &[]),
            false => address(None, &tags),
        };
        let mut scene = scene(eips(2, 1), &[("eipalloc-7", free)]);
        if by_ledger {
            noted(&mut scene);
        }
        let plan = scene.plan();
        let made = read(&template(&plan).text);
        assert!(made["Resources"]["EIP2a"].is_null(), "{plan}");
        assert_eq!(made["Outputs"]["EIP2a"]["Value"], "203.0.113.7");
        let address = Address {
            allocation: text("eipalloc-7"),
            ..Address::default()
        };
        scene.seen.addresses.insert(text("203.0.113.7"), address);
        done(&mut scene, &plan);
        let plan = scene.plan();
        done(&mut scene, &plan);
        scene.bench.settings.eips = eips(2, 2);
        let plan = scene.plan();
        assert_eq!(plan.announced_ips["a"], ["203.0.113.7"], "{plan}");
        assert_eq!(used(&template(&plan).text, "NATGatewaya")[0], "eipalloc-7");
    }
    // Somebody else has it, or it is released, or EC2 does not say: no other one is taken.
    let mut held = scene(eips(2, 1), &[("eipalloc-7", address(Some("eni-9"), &[]))]);
    let mut absent = scene(eips(2, 1), &[]);
    let mut gone = scene(eips(2, 1), &[]);
    if let Account::Listed { gone, .. } = &mut gone.bench.network.headroom.account {
        gone.insert(text("eipalloc-7"));
    }
    for (scene, reason) in [
        (&mut held, Reason::StaticIpUndecided),
        (&mut absent, Reason::StaticIpUndecided),
        (&mut gone, Reason::StaticIpLost),
    ] {
        noted(scene);
        let plan = scene.plan();
        assert_eq!(told(&plan), [reason], "{plan}");
        assert!(!template(&plan).text.contains("EIP2a"));
    }
    let lost = (text("a"), text("203.0.113.7"));
    gone.bench.settings.new_eips.insert(lost);
    assert!(template(&gone.plan()).text.contains("EIP2a"));
}

#[test]
fn an_address_that_the_flags_name_becomes_the_second_ip() {
    let address = AccountAddress {
        ip: text("203.0.113.7"),
        ..AccountAddress::default()
    };
    let mut scene = scene(eips(2, 1), &[("eipalloc-7", address)]);
    let named = &mut scene.bench.settings.more_allocations;
    named.insert(text("a"), vec![text("eipalloc-7")]);
    named.insert(text("b"), vec![text("eipalloc-8")]);
    let plan = scene.plan();
    assert_eq!(told(&plan), [Reason::StaticIpUndecided], "{plan}");
    let made = read(&template(&plan).text);
    assert!(made["Resources"]["EIP2a"].is_null(), "{plan}");
    assert_eq!(made["Outputs"]["EIP2a"]["Value"], "203.0.113.7");
    let address = Address {
        allocation: text("eipalloc-7"),
        ..Address::default()
    };
    scene.seen.addresses.insert(text("203.0.113.7"), address);
    done(&mut scene, &plan);
    let plan = scene.plan();
    assert_eq!(plan.action, Action::Keep, "b waits: {plan}");
    scene.bench.ledger = plan.ledger;
    // Another flag changes nothing.
    let named = &mut scene.bench.settings.more_allocations;
    named.insert(text("a"), vec![text("eipalloc-9")]);
    let plan = scene.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    let kept = [Reason::StaticIpKept, Reason::StaticIpUndecided];
    assert_eq!(told(&plan), kept, "{plan}");
}

#[test]
fn the_quota_is_counted_before() {
    let mut scene = scene(eips(3, 1), &[]);
    scene.bench.network.headroom.addresses = Some(1);
    let plan = scene.plan();
    let made = template(&plan).text;
    assert!(made.contains("EIP2a") && !made.contains("EIP3a"), "{plan}");
    scene.bench.network.headroom.addresses = Some(0);
    let plan = scene.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert_eq!(told(&plan), vec![Reason::LimitReached; 4]);
    let headroom = &scene.bench.network.headroom;
    assert!(!headroom.is_enough_for(&plan.surveyed(), plan.more_eips()));
}

/// What AWS refuses of it keeps nothing else from being done.
#[test]
fn a_change_that_cannot_be_made_waits_and_others_go_on() {
    let mut scene = scene(eips(2, 1), &[]);
    let key = (text("a"), "172.31.64.0/28".parse().unwrap());
    let wait = std::time::Duration::from_secs(60);
    scene.bench.network.headroom.later.insert(key.clone(), wait);
    let plan = scene.plan();
    assert!(template(&plan).text.contains("EIP2b"), "{plan}");
    scene.bench.network.headroom.account = Account::NotAsked;
    let plan = scene.plan();
    assert_eq!(told(&plan), [Reason::ZoneWaits], "{plan}");
    assert_eq!(plan.again, Some(wait));
    assert!(plan.later.contains_key(&key));
}
