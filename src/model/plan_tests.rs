//! Every answer of the plan, on worlds made by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::model::base::ids::{ObjectId, Zone};
use crate::model::base::reason::Reason;
use crate::model::base::settings::Settings;
use crate::model::cloud::change_set_name::change_set_name;
use crate::model::cloud::live::{Change, ChangeSet, ChangeSetState, Effect};
use crate::model::cloud::network::{Network, Route, WorkerTable};
use crate::model::cloud::status::Status;
use crate::model::desired::template::Template;
use crate::model::drift::tracker::Watch;
use crate::model::input::request::{Object, Snapshot};
use crate::model::persisted::grace::{Grace, LargeRemoval};
use crate::model::persisted::ledger::Ledger;
use crate::model::persisted::recall::Recall;
use crate::model::plan::diff::Difference;

/// One world, to be bent by each test.
pub(super) struct Bench {
    pub(super) snapshot: Snapshot,
    pub(super) network: Network,
    pub(super) live: Live,
    pub(super) settings: Settings,
    pub(super) grace_left: Duration,
    pub(super) large_removal: Option<LargeRemoval>,
    pub(super) ledger: Option<Ledger>,
    pub(super) watch: Watch,
}

pub(super) fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

impl Bench {
    pub(super) fn new(entries: &[(&str, &str)]) -> Self {
        let zones: BTreeMap<Zone, ipnet::Ipv4Net> =
            [("a", "172.31.64.0/28"), ("b", "172.31.64.16/28")]
                .map(|(z, n)| (z.to_owned(), n.parse().unwrap()))
                .into();
        let table = |zone: &str| WorkerTable {
            zone: zone.to_owned(),
            routes: BTreeMap::from([(
                "0.0.0.0/0".parse().unwrap(),
                Route {
                    target: "igw-1".to_owned(),
                    blackhole: false,
                },
            )]),
            ..WorkerTable::default()
        };
        let mut bench = Self {
            snapshot: Snapshot::default(),
            network: Network {
                vpc_id: "vpc-1".to_owned(),
                vpc_cidrs: vec!["172.31.0.0/16".parse().unwrap()],
                internet_gateway_id: "igw-1".to_owned(),
                worker_tables: BTreeMap::from([
                    ("rtb-a".to_owned(), table("a")),
                    ("rtb-b".to_owned(), table("b")),
                ]),
                ..Network::default()
            },
            live: Live::Absent,
            settings: Settings {
                stack_name: "egress".to_owned(),
                tags: texts(&[("owner", "us")]),
                ownership: texts(&[("owner", "us")]),
                zones,
                ..Settings::default()
            },
            grace_left: Duration::ZERO,
            large_removal: None,
            ledger: None,
            watch: Watch::default(),
        };
        bench.ask(entries);
        bench
    }

    pub(super) fn ask(&mut self, entries: &[(&str, &str)]) {
        let id = ObjectId {
            namespace: "default".to_owned(),
            name: "one".to_owned(),
            ..ObjectId::default()
        };
        let object = Object {
            uid: String::new(),
            data: texts(entries),
            ..Object::default()
        };
        self.snapshot.objects = BTreeMap::from([(id, object)]);
    }

    pub(super) fn plan(&self) -> Plan {
        let plan = plan(&World {
            snapshot: &self.snapshot,
            network: &self.network,
            live: &self.live,
            settings: &self.settings,
            grace: Grace {
                period: self.grace_left,
                large_removal: self.large_removal,
                ..Grace::default()
            },
            ledger: self.ledger.as_ref().map_or(Recall::Nowhere, Recall::Known),
            watch: &self.watch,
        });
        let fits = |it: &Problem| it.reason.about().contains(&it.subject.about());
        assert!(plan.problems.iter().all(fits), "{plan}");
        plan
    }

    /// A world in which the stack is as asked for.
    pub(super) fn live(entries: &[(&str, &str)]) -> Self {
        let mut bench = Self::new(entries);
        let Action::Create(template) = bench.plan().action else {
            panic!("{}", bench.plan())
        };
        bench.live = Live::Ours(Box::new(stack_of(&template)));
        assert_eq!(bench.plan().action, Action::Keep);
        bench
    }

    pub(super) fn stack(&mut self) -> &mut Stack {
        match &mut self.live {
            Live::Ours(stack) => stack,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn reasons(&self) -> Vec<Reason> {
        self.plan().problems.iter().map(|it| it.reason).collect()
    }
}

pub(super) fn stack_of(template: &Template) -> Stack {
    Stack {
        name: template.stack_name.clone(),
        id: "arn:egress".to_owned(),
        status: Status::read("CREATE_COMPLETE"),
        template: template.text.clone(),
        parameters: template.parameters.clone(),
        tags: template.tags.clone(),
        ..Stack::default()
    }
}

pub(super) fn kinds(plan: &Plan) -> Vec<(diff::Kind, String)> {
    plan.differences
        .iter()
        .map(|difference| (difference.kind, difference.id.clone()))
        .collect()
}

#[test]
fn nothing_asked_and_nothing_there_is_left_alone() {
    assert_eq!(Bench::new(&[]).plan().action, Action::Keep);
}

#[test]
fn an_edit_goes_through_a_change_set_that_is_read_before_it_is_executed() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let plan = bench.plan();
    let Action::Prepare(template) = plan.action.clone() else {
        panic!("{plan}")
    };
    let added: Vec<_> = kinds(&plan);
    assert_eq!(added.len(), 2, "{plan}");
    assert!(
        added
            .iter()
            .all(|(kind, id)| *kind == diff::Kind::Add && id.starts_with("RouteToNAT"))
    );
    let set = |state, effect, kind: &str| ChangeSet {
        name: change_set_name(&template.content(), 3, 0, None),
        state,
        changes: vec![Change {
            logical_id: added[0].1.clone(),
            resource_type: kind.to_owned(),
            effect,
            dynamic_on: Vec::new(),
        }],
        lists: None,
    };
    let route = "AWS::EC2::Route";
    let cases = [
        (set(ChangeSetState::Pending, Effect::Add, route), "Wait"),
        (
            set(ChangeSetState::Ready, Effect::Add, route),
            "ExecuteChangeSet",
        ),
        (set(ChangeSetState::NoChanges, Effect::Add, route), "Keep"),
        (
            set(ChangeSetState::Dead("late".to_owned()), Effect::Add, route),
            "DeleteChangeSet",
        ),
        (
            set(ChangeSetState::Executed, Effect::Add, route),
            "DeleteChangeSet",
        ),
        (set(ChangeSetState::Ready, Effect::Remove, route), "Refuse"),
        (
            set(ChangeSetState::Ready, Effect::MayReplace, "AWS::EC2::EIP"),
            "Refuse",
        ),
        (set(ChangeSetState::Ready, Effect::Other, route), "Refuse"),
    ];
    for (set, expected) in cases {
        bench.stack().change_sets = vec![set.clone()];
        assert_eq!(bench.plan().action.name(), expected, "{set:?}");
    }
    bench.ask(&[("dns", "8.8.8.8")]);
    assert_eq!(
        bench.plan().action.name(),
        "DeleteChangeSet",
        "what is left over is tidied up"
    );
    bench.stack().change_sets[0].state = ChangeSetState::Pending;
    assert_eq!(
        bench.plan().action.name(),
        "Wait",
        "not while it is computed"
    );
}

/// The change set of a plan that prepares this template, computed.
pub(super) fn computed(plan: &Plan, template: &Template) -> ChangeSet {
    let change = |difference: &Difference| Change {
        logical_id: difference.id.clone(),
        resource_type: difference.resource_type.clone(),
        effect: match difference.kind {
            diff::Kind::Add => Effect::Add,
            diff::Kind::Modify => Effect::Modify,
            diff::Kind::Remove => Effect::Remove,
        },
        dynamic_on: Vec::new(),
    };
    ChangeSet {
        name: change_set_name(&template.content(), 3, 0, None),
        state: ChangeSetState::Ready,
        changes: plan.differences.iter().map(change).collect(),
        lists: super::list_tests::lists_of(template),
    }
}

/// The change set of a plan that prepares one, computed, with this effect on all that differs.
pub(super) fn ready(plan: &Plan, effect: Effect) -> ChangeSet {
    let Action::Prepare(template) = &plan.action else {
        panic!("{plan}")
    };
    let mut set = computed(plan, template);
    for change in &mut set.changes {
        change.effect = effect;
    }
    set
}

#[test]
fn an_earlier_change_set_serves_a_stream_of_edits() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let plan = bench.plan();
    bench.stack().change_sets = vec![ready(&plan, Effect::Add)];
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9"), ("even", "1.1.1.1")]);
    assert_eq!(
        bench.plan().action.name(),
        "ExecuteChangeSet",
        "all of it is still wanted"
    );
    bench.ask(&[("dns", "8.8.8.8"), ("even", "1.1.1.1")]);
    assert_eq!(
        bench.plan().action.name(),
        "CreateChangeSet",
        "9.9.9.9 is not wanted any more"
    );
}

#[test]
fn every_phase_of_a_stack_has_its_answer() {
    let cases = [
        ("UPDATE_COMPLETE", "Keep"),
        ("UPDATE_ROLLBACK_COMPLETE", "Keep"),
        ("UPDATE_IN_PROGRESS", "Wait"),
        ("DELETE_IN_PROGRESS", "Wait"),
        ("ROLLBACK_COMPLETE", "DeleteStack"),
        ("UPDATE_ROLLBACK_FAILED", "ContinueUpdateRollback"),
        ("DELETE_FAILED", "Refuse"),
        ("REVIEW_IN_PROGRESS", "Refuse"),
        ("DELETE_COMPLETE", "CreateStack"),
        ("SOMETHING_NEW", "Refuse"),
    ];
    for (status, expected) in cases {
        let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
        bench.stack().status = Status::read(status);
        assert_eq!(bench.plan().action.name(), expected, "{status}");
    }
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.live = Live::Several(vec!["one".to_owned(), "two".to_owned()]);
    assert_eq!(bench.plan().action, Action::Refuse);
    bench.live = Live::Foreign {
        name: "egress".to_owned(),
        why: "it has no tags".to_owned(),
    };
    assert_eq!(bench.plan().action, Action::Refuse);
}

#[test]
fn routes_of_others_are_left_alone() {
    let mut bench = Bench::new(&[
        ("half", "9.9.8.0/24"),
        ("other", "9.9.9.0/24"),
        ("dns", "8.8.8.8"),
    ]);
    let foreign = Route {
        target: "igw-1".to_owned(),
        blackhole: false,
    };
    let table = bench.network.worker_tables.get_mut("rtb-a").unwrap();
    table
        .routes
        .insert("9.9.8.0/23".parse().unwrap(), foreign.clone());
    table.routes.insert("8.8.8.8/32".parse().unwrap(), foreign);
    let plan = bench.plan();
    let routes: Vec<String> = plan
        .desired
        .routes
        .iter()
        .map(|(table, cidr)| format!("{table} {cidr}"))
        .collect();
    let expected = [
        "rtb-a 9.9.8.0/24",
        "rtb-a 9.9.9.0/24",
        "rtb-b 8.8.8.8/32",
        "rtb-b 9.9.8.0/24",
        "rtb-b 9.9.9.0/24",
    ];
    assert_eq!(
        routes, expected,
        "merging must not make the foreign 9.9.8.0/23"
    );
    assert!(bench.reasons().contains(&Reason::RouteExists));
}

#[test]
fn what_an_operation_is_making_is_not_another_s() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.ask(&[("dns", "8.8.8.8"), ("new", "9.9.9.9")]);
    let mut told = |status: &str, routes: &[(&str, &str)]| {
        bench.stack().status = Status::read(status);
        let table = bench.network.worker_tables.get_mut("rtb-a").unwrap();
        for (cidr, target) in routes {
            let route = Route {
                target: (*target).to_owned(),
                blackhole: false,
            };
            table.routes.insert(cidr.parse().unwrap(), route);
        }
        bench.reasons().contains(&Reason::RouteExists)
    };
    let (old, new) = ("8.8.8.8/32", "9.9.9.9/32");
    assert!(!told("UPDATE_IN_PROGRESS", &[(new, "nat-1")]));
    assert!(!told("UPDATE_IN_PROGRESS", &[(old, "nat-1")]));
    assert!(told("UPDATE_COMPLETE", &[]));
    assert!(told("UPDATE_IN_PROGRESS", &[(new, "nat-2")]));
    assert!(told("UPDATE_IN_PROGRESS", &[(new, "pcx-1")]));
}

#[test]
fn equal_worlds_give_equal_bytes() {
    let one = Bench::new(&[("a", "8.8.8.8"), ("b", "9.9.9.9")]).plan();
    let two = Bench::new(&[("b", "8.8.8.8"), ("a", "9.9.9.9/32")]).plan();
    assert_eq!(one.action, two.action);
}

#[test]
fn an_earlier_change_set_is_not_used_where_it_would_leave_a_gap() {
    let mut bench = Bench::live(&[
        ("dns", "8.8.8.8"),
        ("a", "64.4.0.0/18"),
        ("b", "64.4.64.0/18"),
    ]);
    bench.ask(&[("dns", "8.8.8.8")]);
    let plan = bench.plan();
    bench.stack().change_sets = vec![ready(&plan, Effect::Remove)];
    assert_eq!(bench.plan().action.name(), "ExecuteChangeSet");
    bench.ask(&[("dns", "8.8.8.8"), ("a", "64.4.0.0/18")]);
    assert_eq!(
        bench.plan().action.name(),
        "CreateChangeSet",
        "the /17 is to go, but not before there is a route for its half"
    );
}
