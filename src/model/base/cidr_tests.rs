//! The rules of entries, and the merge compared with oracles.

use crate::model::base::reason::Reason;
use proptest::prelude::*;

use super::*;

fn nets(texts: &[&str]) -> Vec<Ipv4Net> {
    texts.iter().map(|text| parse(text).unwrap().0).collect()
}

fn rules() -> Rules {
    Rules {
        vpc: nets(&["172.31.0.0/16"]),
        nat_subnets: nets(&["172.31.64.0/28"]),
        ..Rules::default()
    }
}

#[test]
fn a_network_is_covered_by_one_of_a_minimal_set_or_by_none() {
    let net = |text: &str| text.parse::<Ipv4Net>().unwrap();
    let set = [net("8.8.8.0/24"), net("9.9.9.9/32"), net("20.0.0.0/8")];
    for inside in ["8.8.8.8/32", "8.8.8.0/24", "9.9.9.9/32", "20.255.0.0/16"] {
        assert!(covers(&set, &net(inside)), "{inside}");
    }
    for outside in [
        "8.8.7.0/24",
        "8.8.8.0/23",
        "9.9.9.8/31",
        "1.1.1.1/32",
        "21.0.0.0/8",
    ] {
        assert!(!covers(&set, &net(outside)), "{outside}");
    }
}

#[test]
fn values_are_read_as_people_write_them() {
    assert_eq!(parse(" 8.8.8.8 \n"), Ok((net(8, 8, 8, 8, 32), false)));
    assert_eq!(parse("192.112.1.0/21"), Ok((net(192, 112, 0, 0, 21), true)));
    assert_eq!(parse("8.8.8.0 / 24"), Ok((net(8, 8, 8, 0, 24), false)));
    for bad in [
        "",
        "example.org",
        "8.8.8.8/33",
        "8.8.8.8/+8",
        "8.8.8.8/",
        "8.8.8",
        "8.8.8.8,9.9.9.9",
        "08.8.8.8",
    ] {
        assert_eq!(parse(bad), Err(Refusal::NotCidr(bad.to_owned())));
    }
    assert_eq!(
        parse("2001:db8::/32").unwrap_err().reason(),
        Reason::Ipv6NotSupported
    );
    assert!(parse(&"9".repeat(5_000)).unwrap_err().to_string().len() < 250);
}

#[test]
fn every_refusal_and_caution_has_its_reason() {
    let cases = [
        ("0.0.0.0/0", Reason::TooWide),
        ("8.0.0.0/7", Reason::TooWide),
        ("127.0.0.1", Reason::ReservedRange),
        ("169.254.168.0/22", Reason::ReservedRange),
        ("224.0.0.5", Reason::ReservedRange),
        ("255.255.255.255", Reason::ReservedRange),
        ("0.1.2.3", Reason::ReservedRange),
        ("172.31.0.0/16", Reason::InsideVpc),
        ("172.31.5.0/24", Reason::InsideVpc),
        ("172.31.64.0/29", Reason::InsideNatSubnet),
    ];
    for (text, reason) in cases {
        assert_eq!(refused(&rules(), text), Some(reason), "{text}");
    }
    let wide = Rules {
        allow_private: true,
        ..rules()
    };
    let caution = |text| {
        let caution = wide.check(parse(text).unwrap().0, false).unwrap();
        caution.map(|caution| caution.reason())
    };
    assert_eq!(caution("172.16.0.0/12"), Some(Reason::ContainsLocalNetwork));
    assert_eq!(caution("169.0.0.0/8"), Some(Reason::ContainsLocalNetwork));
    assert_eq!(caution("10.1.0.0/16"), None);
    assert_eq!(caution("8.8.8.8"), None);
}

fn refused(rules: &Rules, text: &str) -> Option<Reason> {
    let judged = rules.check(parse(text).unwrap().0, false);
    judged.err().map(|refusal| refusal.reason())
}

#[test]
fn private_ranges_are_refused_from_inside_and_from_around() {
    for text in [
        "10.0.0.0/8",
        "10.20.0.0/16",
        "172.16.0.0/12",
        "172.0.0.0/8",
        "192.168.1.1",
        "192.0.0.0/8",
        "100.64.0.0/10",
        "100.0.0.0/9",
    ] {
        assert_eq!(
            refused(&rules(), text),
            Some(Reason::PrivateRange),
            "{text}"
        );
    }
    for text in [
        "9.0.0.0/8",
        "11.0.0.0/8",
        "172.15.0.0/16",
        "192.169.0.0/16",
        "100.128.0.0/9",
    ] {
        assert_eq!(refused(&rules(), text), None, "{text}");
    }
}

#[test]
fn what_is_routed_or_known_stays_with_a_warning() {
    let rules = Rules {
        routed: nets(&["10.20.0.0/16"]),
        ..rules()
    };
    let kept = |text: &str, known| {
        let judged = rules.check(parse(text).unwrap().0, known);
        judged.map(|caution| caution.map(|caution| caution.reason()))
    };
    assert_eq!(kept("10.20.0.0/16", false), Ok(Some(Reason::PrivateRange)));
    assert_eq!(kept("10.20.3.0/24", false), Ok(Some(Reason::PrivateRange)));
    assert_eq!(kept("10.30.0.0/16", true), Ok(Some(Reason::PrivateRange)));
    assert!(
        kept("10.0.0.0/8", false).is_err(),
        "only a part of it is routed"
    );
    assert!(
        kept("172.31.5.0/24", true).is_err(),
        "the VPC's own never stays"
    );
}

#[test]
fn a_network_inside_of_a_route_to_elsewhere_is_refused() {
    let cidr = net(20, 0, 0, 0, 8);
    let way = Elsewhere {
        table: "rtb-a".to_owned(),
        cidr,
        target: "tgw-1".to_owned(),
    };
    let rules = Rules {
        elsewhere: BTreeMap::from([(cidr, way)]),
        ..rules()
    };
    let text = rules
        .check(net(20, 1, 0, 0, 16), false)
        .unwrap_err()
        .to_string();
    for part in ["20.1.0.0/16", "20.0.0.0/8", "rtb-a", "tgw-1"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(
        refused(&rules, "20.0.0.0/8"),
        None,
        "one of the same CIDR is left alone"
    );
    assert_eq!(refused(&rules, "21.0.0.0/8"), None);
}

#[test]
fn contained_and_adjacent_networks_become_one() {
    let merged = minimal(
        nets(&[
            "10.0.1.0/24",
            "10.0.0.0/24",
            "10.0.0.7",
            "10.0.2.0/23",
            "10.0.5.0/24",
        ]),
        &BTreeSet::new(),
    );
    assert_eq!(merged, nets(&["10.0.0.0/22", "10.0.5.0/24"]));
    assert_eq!(
        minimal(nets(&["8.0.0.0/8", "9.0.0.0/8"]), &BTreeSet::new()).len(),
        2,
        "nothing wider than /8"
    );
    let never = BTreeSet::from([net(10, 0, 0, 0, 23)]);
    assert_eq!(
        minimal(nets(&["10.0.0.0/24", "10.0.1.0/24"]), &never),
        nets(&["10.0.0.0/24", "10.0.1.0/24"])
    );
    assert_eq!(
        minimal(nets(&["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/23"]), &never),
        nets(&["10.0.0.0/22"])
    );
}

/// Uses 256 addresses, so that a bitmap is an oracle of coverage, and a recursion one of minimality.
fn bitmap(nets: &[Ipv4Net]) -> Vec<bool> {
    (0..=255u8)
        .map(|last| {
            nets.iter()
                .any(|net| net.contains(&Ipv4Addr::new(8, 8, 8, last)))
        })
        .collect()
}

fn fewest(bits: &[bool]) -> usize {
    if bits.iter().all(|bit| *bit) {
        1
    } else if bits.len() == 1 {
        0
    } else {
        let (left, right) = bits.split_at(bits.len() / 2);
        fewest(left) + fewest(right)
    }
}

proptest! {
    #[test]
    fn merging_is_exact_minimal_idempotent_and_order_free(
        mut given in prop::collection::vec((0u8..=255, 24u8..=32), 0..60)
    ) {
        let read = |pairs: &[(u8, u8)]| -> Vec<Ipv4Net> {
            pairs.iter().map(|(last, prefix)| net(8, 8, 8, *last, *prefix).trunc()).collect()
        };
        let merged = minimal(read(&given), &BTreeSet::new());
        prop_assert_eq!(bitmap(&merged), bitmap(&read(&given)));
        prop_assert_eq!(merged.len(), fewest(&bitmap(&merged)));
        prop_assert_eq!(&minimal(merged.clone(), &BTreeSet::new()), &merged);
        given.reverse();
        prop_assert_eq!(&minimal(read(&given), &BTreeSet::new()), &merged);
    }

    #[test]
    fn merging_never_makes_what_would_have_been_refused(
        given in prop::collection::vec((any::<u32>(), 8u8..=16), 0..200)
    ) {
        let accepted: Vec<Ipv4Net> = given.iter()
            .map(|(address, prefix)| Ipv4Net::new_assert(Ipv4Addr::from(*address), *prefix).trunc())
            .filter(|net| rules().check(*net, false).is_ok())
            .collect();
        for net in minimal(accepted, &BTreeSet::new()) {
            prop_assert!(rules().check(net, false).is_ok(), "{} came out", net);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,80}") {
        let _ = parse(&text);
    }
}
