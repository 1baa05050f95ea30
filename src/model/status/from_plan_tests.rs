use super::*;
use crate::model::base::ids::ObjectId;
use crate::model::base::reason::Reason;
use crate::model::cloud::network_lists::{LiveList, NetworkList};
use crate::model::drift::{Cure, Drift, Place};
use crate::model::input::request::Object;
use crate::model::plan::decision::{Decision, Notes};

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a network")
}

/// Returns two tables with a gateway each, and these entries accepted, routes desired in both tables, and routes live in both.
fn world(entries: &[(&str, &str)], wanted: &[&str], live: &[(&str, bool)]) -> (Plan, Snapshot) {
    let object = ObjectId {
        namespace: "default".to_owned(),
        name: "one".to_owned(),
        ..ObjectId::default()
    };
    let mut plan = Plan::default();
    let mut data = BTreeMap::new();
    for (key, value) in entries {
        data.insert((*key).to_owned(), (*value).to_owned());
        let entry = EntryId {
            object: object.clone(),
            key: (*key).to_owned(),
        };
        match value.parse() {
            Ok(net) => drop(plan.request.entries.insert(entry, net)),
            Err(_) => plan.problems.push(Problem::refused(
                Subject::Entry(entry),
                Reason::NotACidr,
                format!("{value:?} is none; write one"),
            )),
        }
    }
    for (table, zone) in [("rtb-a", "a"), ("rtb-b", "b")] {
        plan.desired
            .tables
            .insert(table.to_owned(), zone.to_owned());
        plan.static_ips
            .insert(zone.to_owned(), format!("198.51.100.{zone}"));
        let route = |cidr: &str| (table.to_owned(), net(cidr));
        plan.desired
            .routes
            .extend(wanted.iter().map(|cidr| route(cidr)));
        let live = live.iter().map(|(cidr, shown)| (route(cidr), *shown));
        plan.live_routes.extend(live);
    }
    let object = (
        object,
        Object {
            uid: String::new(),
            data,
            ..Object::default()
        },
    );
    let snapshot = Snapshot {
        objects: BTreeMap::from([object]),
        ..Snapshot::default()
    };
    (plan, snapshot)
}

fn only((plan, snapshot): &(Plan, Snapshot), held: Option<Hold>) -> Entry {
    let mut status = survey(plan, snapshot, held);
    assert_eq!(status.entries.len(), 1);
    status.entries.remove(0)
}

const BOTH: [&str; 2] = ["198.51.100.a", "198.51.100.b"];

/// Partners have to allow each address from which traffic may leave.
#[test]
fn secondary_addresses_are_among_the_static_ips_wherever_these_are_shown() {
    let (mut plan, snapshot) = world(
        &[("dns", "8.8.8.8/32")],
        &["8.8.8.8/32"],
        &[("8.8.8.8/32", true)],
    );
    let more = vec!["203.0.113.1".to_owned(), "203.0.113.2".to_owned()];
    plan.secondary_ips = [("b".to_owned(), more)].into();
    let status = survey(&plan, &snapshot, None);
    let all = [&BOTH[..], &["203.0.113.1", "203.0.113.2"]].concat();
    assert_eq!(status.entries[0].static_ips, all);
    assert_eq!(
        status.exits().map(|(_, ip)| ip).collect::<Vec<_>>(),
        all.iter().collect::<Vec<_>>()
    );
    assert_eq!(status.check([8, 8, 8, 8].into()).static_ips, all);
    for shown in [status.table(), plan.to_string(), plan.to_json().to_string()] {
        assert!(
            shown.contains("203.0.113.1") && shown.contains("203.0.113.2"),
            "{shown}"
        );
    }
}

#[test]
fn an_entry_is_routed_by_the_route_that_contains_it() {
    let world = world(
        &[("dns", "8.8.8.8/32")],
        &["8.8.8.8/31"],
        &[("8.8.8.8/31", true), ("8.0.0.0/8", true)],
    );
    let entry = only(&world, None);
    assert_eq!(entry.state, State::Routed);
    assert_eq!(entry.route.as_deref(), Some("8.8.8.8/31"));
    assert_eq!(entry.static_ips, BOTH);
    assert_eq!((entry.cidr, entry.reason), (None, None));
}

/// AWS refuses the merged route, so each table has its halves. One half is not enough.
#[test]
fn an_entry_is_routed_by_parts_that_cover_it() {
    let asked = [("dns", "8.8.8.0/24")];
    let parts = ["8.8.8.0/25", "8.8.8.128/25"];
    let both = parts.map(|part| (part, true));
    let whole = world(&asked, &parts, &both);
    let entry = only(&whole, None);
    assert_eq!((entry.state, entry.reason), (State::Routed, None));
    assert_eq!(entry.static_ips, BOTH);
    let mut half = world(&asked, &parts, &both[..1]);
    half.0.action = Action::Wait;
    assert_eq!(only(&half, None).state, State::Pending);
    let half = world(&asked, &parts[..1], &both[..1]);
    assert_eq!(only(&half, None).reason.as_deref(), Some("NoRouteTable"));
}

#[test]
fn an_entry_without_its_route_says_what_it_waits_for() {
    let mut world = world(&[("dns", "8.8.8.8/32")], &["8.8.8.8/32"], &[]);
    world.0.action = Action::Wait;
    let entry = only(&world, None);
    assert_eq!((entry.state, entry.reason), (State::Pending, None));
    assert_eq!(entry.route.as_deref(), Some("8.8.8.8/32"));
    assert_eq!(entry.static_ips, BOTH, "it will leave from there");
    assert_eq!(
        only(&world, Some(failed("no capacity"))).reason.as_deref(),
        Some("OperationFailed")
    );

    world.0.action = Action::Keep;
    world.0.why = "CloudFormation sees no difference".to_owned();
    let entry = only(&world, None);
    assert_eq!(entry.state, State::Waiting);
    assert_eq!(entry.reason.as_deref(), Some("NoRoute"));

    world.0.setback = Some("EIP: the quota is reached".to_owned());
    let entry = only(&world, None);
    assert_eq!(entry.state, State::Waiting);
    assert_eq!(entry.message.as_deref(), Some("EIP: the quota is reached"));
    assert!(entry.remedy.is_some());

    let text = "501 resources; merge networks".to_owned();
    let refusal = Decision::refuse("egress", Reason::TemplateTooLarge, text);
    world.0.complete(refusal, Notes::default());
    let entry = only(&world, None);
    assert_eq!(entry.state, State::Waiting);
    assert_eq!(entry.reason.as_deref(), Some("TemplateTooLarge"));
    assert_eq!(entry.remedy.as_deref(), Some("merge networks"));
}

#[test]
fn a_route_in_one_table_only_is_not_enough_and_one_that_was_taken_is_told() {
    let mut world = world(
        &[("dns", "8.8.8.8/32")],
        &["8.8.8.8/32"],
        &[("8.8.8.8/32", true)],
    );
    let taken = world.0.live_routes.values_mut().next().expect("a route");
    *taken = false;
    let entry = only(&world, None);
    assert_eq!(
        entry.state,
        State::Waiting,
        "an operation may just be making it"
    );
    world.0.drifts.push(Drift {
        id: "Route1".to_owned(),
        place: Place::Route("rtb-a".to_owned(), net("8.8.8.8/32")),
        kind: crate::model::drift::kind::DriftKind::RouteMissing,
        expected: "a route".to_owned(),
        seen: "is gone".to_owned(),
        cure: Cure::Retake,
    });
    world
        .0
        .problems
        .push(world.0.drifts[0].problem("it is repaired"));
    let status = survey(&world.0, &world.1, None);
    assert_eq!(status.entries[0].state, State::Drifted);
    assert_eq!(status.entries[0].reason.as_deref(), Some("Drifted"));
    assert_eq!(
        status.entries[0].static_ips,
        [BOTH[1]],
        "only that zone's is used now"
    );
    assert_eq!(status.routes[0].state, RouteState::Drifted);
    assert_eq!(status.counts.drifted, 1);
    assert_eq!((status.drift.len(), status.problems.len()), (1, 0));
}

#[test]
fn a_refused_entry_is_told_with_its_remedy_and_kept_if_something_stays_for_it() {
    let mut world = world(&[("typo", "8.8.8.8/33")], &[], &[]);
    let entry = only(&world, None);
    assert_eq!(entry.state, State::Refused);
    assert_eq!(entry.asked, "8.8.8.8/33");
    assert_eq!(entry.reason.as_deref(), Some("NotACidr"));
    assert_eq!(entry.message.as_deref(), Some("\"8.8.8.8/33\" is none"));
    assert_eq!(entry.remedy.as_deref(), Some("write one"));
    assert!(entry.route.is_none() && entry.static_ips.is_empty());

    let Subject::Entry(id) = world.0.problems[0].subject.clone() else {
        panic!("{:?}", world.0.problems);
    };
    world.0.request.entries.insert(id, net("8.8.8.8/32"));
    world
        .0
        .live_routes
        .insert(("rtb-a".to_owned(), net("8.8.8.8/32")), true);
    let entry = only(&world, None);
    assert_eq!(entry.state, State::Kept);
    assert_eq!(entry.route.as_deref(), Some("8.8.8.8/32"));
}

#[test]
fn an_entry_without_room_waits_unless_a_wider_route_serves_it() {
    let mut world = world(&[("dns", "8.8.8.8/32")], &[], &[]);
    let (id, _) = world
        .0
        .request
        .entries
        .pop_first()
        .expect("it was accepted");
    let text = "it waits; merge networks".to_owned();
    // A warning about the spelling comes first, in the order of reasons.
    let warning = |reason, text| Problem::warning(Subject::Entry(id.clone()), reason, text);
    world.0.problems = vec![
        warning(Reason::HostBitsMasked, "it is masked".to_owned()),
        warning(Reason::LimitReached, text),
    ];
    let entry = only(&world, None);
    assert_eq!((entry.state, entry.route), (State::Waiting, None));
    assert_eq!(entry.remedy.as_deref(), Some("merge networks"));

    world.0.problems.clear();
    for table in world.0.desired.tables.keys() {
        let route = (table.clone(), net("8.0.0.0/8"));
        world.0.desired.routes.insert(route.clone());
        world.0.live_routes.insert(route, true);
    }
    let entry = only(&world, None);
    assert_eq!(
        (entry.state, entry.route.as_deref()),
        (State::Routed, Some("8.0.0.0/8"))
    );
}

#[test]
fn an_entry_that_no_table_can_have_waits() {
    let world = world(&[("dns", "8.8.8.8/32")], &[], &[]);
    let entry = only(&world, None);
    assert_eq!((entry.state, entry.route), (State::Waiting, None));
    assert_eq!(entry.reason.as_deref(), Some("NoRouteTable"));
}

#[test]
fn routes_are_told_by_what_becomes_of_them() {
    let (plan, snapshot) = world(
        &[("wide", "9.0.0.0/16"), ("new", "1.1.1.1/32")],
        &["9.0.0.0/16", "1.1.1.1/32", "7.7.7.7/32", "9.0.1.0/24"],
        &[
            ("9.0.0.0/16", true),
            ("9.0.1.0/24", true),
            ("7.7.7.7/32", true),
            ("6.6.6.6/32", true),
        ],
    );
    let status = survey(&plan, &snapshot, None);
    let told: Vec<(&str, RouteState)> = status
        .routes
        .iter()
        .map(|route| (route.cidr.as_str(), route.state))
        .collect();
    let expected = [
        ("1.1.1.1/32", RouteState::Pending),
        ("6.6.6.6/32", RouteState::Leaving),
        ("7.7.7.7/32", RouteState::Kept),
        ("9.0.0.0/16", RouteState::Live),
        ("9.0.1.0/24", RouteState::Live),
    ];
    assert_eq!(told, expected);
    assert_eq!(status.routes[0].route_tables, ["rtb-a", "rtb-b"]);
    let counts = &status.counts;
    assert_eq!(
        (
            counts.config_maps,
            counts.entries,
            counts.routes,
            counts.route_tables
        ),
        (1, 2, 4, 2)
    );
}

#[test]
fn a_stack_that_was_taken_over_keeps_its_name() {
    let arn = "arn:aws-cn:cloudformation:cn-north-1:123456789012:stack/egress-static-nat/5f0c";
    assert_eq!(name_of(arn), "egress-static-nat");
    assert_eq!(name_of("egress-static-nat-x"), "egress-static-nat-x");
}

/// Pods of a zone whose NAT gateway waits use other IPs, so the entry does not count as routed.
#[test]
fn an_entry_that_a_zone_does_not_route_waits() {
    let live = [("9.9.9.0/24", true)];
    let (mut plan, snapshot) = world(&[("dns", "9.9.9.0/24")], &["9.9.9.0/24"], &live);
    assert!(plan.serves_all());
    let tables = ["rtb-c", "rtb-d", "rtb-e", "rtb-f", "rtb-g", "rtb-h"];
    for table in tables {
        let zone = table.replace("rtb-", "");
        plan.tables_without_nat.insert(table.to_owned(), zone);
    }
    let status = survey(&plan, &snapshot, None);
    let entry = &status.entries[0];
    assert_eq!(entry.state, State::Waiting);
    assert_eq!(entry.reason.as_deref(), Some("NoNatInZone"));
    let text = entry.message.as_deref().unwrap_or_default();
    assert!(text.contains("rtb-c of zone c") && text.contains("and 2 more"));
    assert_eq!(
        entry.remedy.as_deref(),
        Some("see the problem of that zone")
    );
    assert_eq!(entry.static_ips, ["198.51.100.a", "198.51.100.b"]);
    assert_eq!((status.counts.routed, status.counts.waiting), (0, 1));
    assert!(!plan.serves_all());
    // The route exists anyway, as after an older stack routed the zone.
    for table in tables {
        let route = (table.to_owned(), net("9.9.9.0/24"));
        plan.live_routes.insert(route, true);
    }
    let status = survey(&plan, &snapshot, None);
    assert_eq!(status.entries[0].state, State::Routed);
}

/// The entry's previous network waits as well, but its owner has to see the refusal first.
#[test]
fn an_entry_that_is_refused_says_so_though_its_former_network_waits() {
    let (mut plan, snapshot) = world(&[("dns", "0.0.0.0/0")], &[], &[]);
    let entry = plan.request.entries.keys().next().unwrap().clone();
    plan.request
        .entries
        .insert(entry.clone(), net("20.0.0.0/16"));
    let problem =
        |reason| Problem::refused(Subject::Entry(entry.clone()), reason, "why".to_owned());
    let two = [Reason::RouteRefused, Reason::TooWide].map(problem);
    for problems in [two.clone().to_vec(), two.into_iter().rev().collect()] {
        plan.problems = problems;
        let entry = only(&(plan.clone(), snapshot.clone()), None);
        assert_eq!(entry.reason.as_deref(), Some("TooWide"));
        assert_eq!(entry.state, State::Kept);
    }
}

#[test]
fn the_prefix_lists_and_the_list_of_each_route_are_shown() {
    let nets = ["8.8.8.8/32", "9.9.9.9/32"];
    let live = nets.map(|cidr| (cidr, true));
    let (mut plan, snapshot) = world(&[("dns", "8.8.8.8/32")], &nets, &live);
    let list = NetworkList {
        entries: [net("8.8.8.8/32")].into(),
        size: 100,
    };
    let id = Some("pl-1".to_owned());
    let name = "NetworkList01".to_owned();
    plan.lists.insert(name.clone(), LiveList { id, list });
    let status = survey(&plan, &snapshot, None);
    let shown: Vec<String> = status
        .prefix_lists
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        shown,
        ["NetworkList01 (pl-1) has 1 of at most 100 networks"]
    );
    let lists: Vec<_> = status.routes.into_iter().map(|it| it.prefix_list).collect();
    assert_eq!(lists, [Some(name), None]);
}
