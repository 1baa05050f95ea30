//! Kept IPs are the unused ones, and a change of a static IP is reported for a day.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::tests::{Bench, texts};
use super::*;
use crate::model::cloud::observed::Address;
use crate::model::cloud::static_ip::{Account, AccountAddress, StaticIp};
use crate::model::cloud::tagged_ips::{LOGICAL_ID, STACK_NAME};
use crate::model::drift::tracker::Watch;
use crate::model::persisted::recall::Recall;

fn ip(last: &str) -> String {
    format!("198.51.100.{last}")
}

fn had(last: &str) -> StaticIp {
    StaticIp {
        ip: ip(last),
        allocation: format!("eipalloc-{last}"),
    }
}

/// Returns the live stack of zones a and b, and a ledger that also knows zone c, which was removed.
fn bench() -> Bench {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    let Live::Ours(stack) = &mut bench.live else {
        unreachable!()
    };
    stack.outputs = texts(&[("EIPa", &ip("1")), ("EIPb", &ip("2"))]);
    let mut ledger = Ledger::new("egress");
    for (zone, last) in [("a", "1"), ("b", "2"), ("c", "3")] {
        ledger.static_ips.insert(zone.to_owned(), had(last));
    }
    bench.ledger = Some(ledger);
    shows(
        &mut bench,
        &[("1", Some("eni-1")), ("2", Some("eni-2")), ("3", None)],
    );
    bench
}

fn shows(bench: &mut Bench, shown: &[(&str, Option<&str>)]) {
    let address = |(last, held_by): &(&str, Option<&str>)| {
        let address = Address {
            held_by: held_by.map(str::to_owned),
            allocation: format!("eipalloc-{last}"),
        };
        (ip(last), address)
    };
    let shown = shown.iter().map(address).collect();
    bench.watch.has_shown(BTreeSet::new(), Some(shown));
}

/// Returns the zone and IP of each kept IP, and the command that releases it.
fn listed(bench: &Bench) -> Vec<(String, String, Option<String>)> {
    let kept = bench.plan().kept_ips.into_iter();
    kept.map(|it| (it.zone.clone(), it.ip.clone(), it.release()))
        .collect()
}

#[test]
fn what_no_zone_uses_is_listed_with_the_command_that_releases_it() {
    let mut bench = bench();
    let command = "aws ec2 release-address --allocation-id eipalloc-3".to_owned();
    let kept = ("c".to_owned(), ip("3"), Some(command));
    assert_eq!(listed(&bench), std::slice::from_ref(&kept));
    // Another resource has the IP.
    shows(&mut bench, &[("3", Some("i-9"))]);
    assert_eq!(listed(&bench), [("c".to_owned(), ip("3"), None)]);
    // The IP was released.
    shows(&mut bench, &[("1", Some("eni-1"))]);
    assert_eq!(listed(&bench), []);
    // The stack was deleted.
    bench.live = Live::Absent;
    shows(&mut bench, &[("1", None), ("2", None), ("3", None)]);
    assert_eq!(listed(&bench).len(), 3);
    bench.ledger = None;
    assert_eq!(listed(&bench), []);
}

#[test]
fn nothing_is_listed_that_may_be_in_use() {
    let all = [("1", None), ("2", None), ("3", None)];
    let mut bench = bench();
    shows(&mut bench, &all);
    assert_eq!(listed(&bench).len(), 1);
    // An unreadable template, or a foreign stack, shows nothing about static IPs.
    let Live::Ours(stack) = &mut bench.live else {
        unreachable!()
    };
    stack.template = "no template".to_owned();
    assert_eq!(listed(&bench).len(), 1);
    bench.live = Live::Several(vec!["one".to_owned(), "two".to_owned()]);
    assert_eq!(listed(&bench), []);
    // The stack is being created with the zones' former addresses.
    let mut bench = self::bench();
    shows(&mut bench, &all);
    let Live::Ours(stack) = &mut bench.live else {
        unreachable!()
    };
    stack.outputs = BTreeMap::new();
    stack.status = crate::model::cloud::status::Status::read("CREATE_IN_PROGRESS");
    let zones: Vec<_> = listed(&bench).into_iter().map(|it| it.0).collect();
    assert_eq!(zones, ["c"]);
}

/// Returns the changes that are reported at this time, in hours since the first change.
fn told(bench: &Bench, hours: u64) -> Vec<(String, String)> {
    let world = World {
        snapshot: &bench.snapshot,
        network: &bench.network,
        live: &bench.live,
        settings: &bench.settings,
        grace: crate::model::persisted::grace::Grace {
            now: Duration::from_hours(1_000 + hours),
            ..Default::default()
        },
        ledger: bench.ledger.as_ref().map_or(Recall::Nowhere, Recall::Known),
        watch: &bench.watch,
    };
    let plan = crate::model::plan::plan(&world);
    let problems = plan.problems.iter();
    let warnings = problems.filter(|it| it.reason == Reason::StaticIpChanged);
    assert_eq!(warnings.count(), plan.ip_changes.len(), "{plan}");
    let changes = plan.ip_changes.into_iter();
    changes.map(|it| (it.from, it.to)).collect()
}

#[test]
fn a_change_is_told_for_a_day_and_a_first_ip_is_none() {
    let mut bench = bench();
    assert_eq!(told(&bench, 0), []);
    let mut ledger = bench.ledger.clone().unwrap();
    ledger.note_ip("a".to_owned(), had("0"), 1);
    ledger.former_ips.clear();
    ledger.static_ips.remove("b");
    bench.ledger = Some(ledger);
    // The new address is not seen yet, so the ledger keeps the old one.
    shows(&mut bench, &[]);
    assert_eq!(told(&bench, 0), []);
    let seen = crate::model::cloud::observed::Observed {
        addresses: [("1", "1"), ("2", "2")]
            .map(|(last, id)| {
                let allocation = format!("eipalloc-{id}");
                (
                    ip(last),
                    Address {
                        held_by: None,
                        allocation,
                    },
                )
            })
            .into(),
        ..Default::default()
    };
    bench.watch.looked("", Ok(seen));
    assert_eq!(told(&bench, 0), [(ip("0"), ip("1"))]);
    // The next leader also reports the ledger's changes, for a day, and not while the zone is unknown.
    let mut ledger = bench.ledger.clone().unwrap();
    ledger.note_ip("a".to_owned(), had("1"), 1_000 * 3_600);
    ledger.note_ip("b".to_owned(), had("2"), 1_000 * 3_600);
    bench.ledger = Some(ledger);
    assert_eq!(told(&bench, 23), [(ip("0"), ip("1"))]);
    assert_eq!(told(&bench, 25), []);
    let Live::Ours(stack) = &mut bench.live else {
        unreachable!()
    };
    stack.outputs.remove("EIPa");
    assert_eq!(told(&bench, 23), []);
}

/// The ledger was lost: CloudFormation's tags show the IPs.
#[test]
fn without_the_ledger_the_tags_show_what_is_kept() {
    let mut bench = bench();
    bench.ledger = Some(Ledger::new("egress"));
    let address = |(last, id): (&str, &str)| {
        let address = AccountAddress {
            ip: ip(last),
            tags: texts(&[(STACK_NAME, "egress"), (LOGICAL_ID, id)]),
            ..AccountAddress::default()
        };
        (format!("eipalloc-{last}"), address)
    };
    let tagged = [
        ("1", "EIPa"),
        ("3", "EIPbNo2"),
        ("4", "EIPz"),
        ("5", "EIPa"),
        ("6", "EIPa"),
    ];
    let account = Account::Listed {
        addresses: tagged.into_iter().map(address).collect(),
        gone: BTreeSet::new(),
    };
    assert!(!bench.watch.asks_for_tags(), "drift detection is off");
    bench.watch = Watch::new(Some(Duration::from_secs(60)));
    assert!(bench.watch.asks_for_tags());
    bench.watch.has_tagged(&account, "egress");
    assert!(!bench.watch.asks_for_tags(), "once");
    shows(
        &mut bench,
        &[
            ("1", Some("eni-1")),
            ("3", None),
            ("4", None),
            ("6", Some("i-9")),
        ],
    );
    let zones: Vec<_> = listed(&bench)
        .into_iter()
        .map(|(zone, ip, _)| (zone, ip))
        .collect();
    // Two of them are in use, and one was released since.
    let expected = [("b".to_owned(), ip("3")), ("EIPz".to_owned(), ip("4"))];
    assert_eq!(zones, expected);
    assert!(
        listed(&bench)[0]
            .2
            .as_ref()
            .unwrap()
            .ends_with("eipalloc-3")
    );
    bench.watch.has_tagged(&account, "other");
    assert_eq!(listed(&bench), []);
}
