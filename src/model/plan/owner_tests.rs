//! The owner of the stack.

use std::time::Duration;

use super::tests::Bench;
use super::*;
use crate::model::base::owner::{
    Owner, epoch_of, is_short, is_uid, lease_mark, lease_of_token, owner_of_token, token,
};
use crate::model::base::reason::Reason;
use crate::model::base::settings::{OnDrift, OnEmpty};
use crate::model::cloud::change_set_name::owner_of_change_set;
use crate::model::cloud::change_set_name::{change_set_name, is_our_change_set};
use crate::model::cloud::live::{self, Deletion};
use crate::model::cloud::set_aside::{SetAside, Waits};
use crate::model::cloud::status::Status;
use crate::model::desired::template::Template;
use crate::model::persisted::ledger::Ledger;

const STATUSES: [&str; 8] = [
    "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE",
    "UPDATE_ROLLBACK_FAILED",
    "ROLLBACK_COMPLETE",
    "DELETE_FAILED",
    "REVIEW_IN_PROGRESS",
    "UPDATE_IN_PROGRESS",
    "IMPORT_ROLLBACK_FAILED",
];

/// Checks that the plan is this refusal for every status of the stack, and shows nothing of the stack as ours.
fn is_refused(bench: &mut Bench, reason: Reason) {
    for status in STATUSES {
        let stack = bench.stack();
        stack.status = Status::read(status);
        stack.deletion = Some(Deletion {
            before: Status::read("CREATE_FAILED"),
            ..Deletion::default()
        });
        let plan = bench.plan();
        assert_eq!(plan.action, Action::Refuse, "{status}: {plan}");
        assert!(bench.reasons().contains(&reason), "{status}: {plan}");
        assert!(plan.live_routes.is_empty() && plan.static_ips.is_empty());
        assert!(plan.drifts.is_empty() && plan.differences.is_empty());
    }
}

#[test]
fn a_stack_of_another_vpc_is_refused_before_anything_else() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.settings.drift = OnDrift::Repair;
    bench.settings.on_empty = OnEmpty::Delete;
    bench.network.vpc_id = "vpc-2".to_owned();
    bench.ask(&[("dns", "9.9.9.9")]);
    is_refused(&mut bench, Reason::StackInAnotherVpc);
    bench.ask(&[]);
    is_refused(&mut bench, Reason::StackInAnotherVpc);
    // The template may name the VPC without a parameter, or be unreadable.
    let stack = bench.stack();
    stack.template = stack
        .template
        .replace(r#"{"Ref":"VPCIDParameter"}"#, r#""vpc-1""#);
    stack.parameters.remove("VPCIDParameter");
    is_refused(&mut bench, Reason::StackInAnotherVpc);
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.network.vpc_id = "vpc-2".to_owned();
    bench.stack().template = "Resources: {}".to_owned();
    is_refused(&mut bench, Reason::StackInAnotherVpc);
}

pub(super) const OURS: &str = "0a1b2c3d-aaaa-bbbb-cccc-dddddddddddd";
const THEIRS: &str = "4e5f6071-aaaa-bbbb-cccc-dddddddddddd";

pub(super) fn cluster(uid: &str) -> Owner {
    Owner {
        uid: Some(uid.to_owned()),
        ..Owner::default()
    }
}

/// Returns a stack without differences that belongs to this cluster.
pub(super) fn owned_by(uid: &str) -> Bench {
    let mut bench = Bench::new(&[("dns", "8.8.8.8")]);
    bench.settings.owner = cluster(uid);
    let Action::Create(template) = bench.plan().action else {
        panic!("{}", bench.plan())
    };
    bench.live = Live::Ours(Box::new(super::tests::stack_of(&template)));
    let shown = (template::OWNER.to_owned(), uid.to_owned());
    bench.stack().outputs.extend([shown]);
    assert_eq!(bench.plan().action, Action::Keep);
    bench
}

#[test]
fn a_stack_of_another_cluster_is_refused_whatever_its_state() {
    let mut bench = owned_by(THEIRS);
    bench.settings.drift = OnDrift::Repair;
    bench.settings.on_empty = OnEmpty::Delete;
    bench.settings.owner = cluster(OURS);
    bench.ask(&[("dns", "9.9.9.9")]);
    is_refused(&mut bench, Reason::OwnedByAnotherCluster);
    let plan = bench.plan();
    let remedy = format!("--take-over-stack-from={THEIRS}");
    assert!(
        plan.why.contains(&remedy) && plan.why.contains(OURS),
        "{plan}"
    );
    bench.ask(&[]);
    is_refused(&mut bench, Reason::OwnedByAnotherCluster);
    // The ledger gets no record of the foreign stack either.
    bench.ledger = Some(Ledger::new("egress"));
    let ledger = bench.plan().ledger.expect("it is known");
    assert_eq!(ledger.stack, None);
    // Either place is enough: an operation may be changing the other one.
    bench.stack().outputs.clear();
    is_refused(&mut bench, Reason::OwnedByAnotherCluster);
    let mut bench = owned_by(OURS);
    let shown = (template::OWNER.to_owned(), THEIRS.to_owned());
    bench.stack().outputs.extend([shown]);
    is_refused(&mut bench, Reason::OwnedByAnotherCluster);
    bench.stack().template = "Resources: {}".to_owned();
    is_refused(&mut bench, Reason::OwnedByAnotherCluster);
}

#[test]
fn a_cluster_that_is_not_known_changes_no_stack_that_has_an_owner() {
    let mut bench = owned_by(OURS);
    bench.settings.owner = Owner {
        unknown: Some("the namespace kube-system may not be read".to_owned()),
        takes_over: Some(OURS.to_owned()),
        ..Owner::default()
    };
    bench.ask(&[("dns", "9.9.9.9")]);
    is_refused(&mut bench, Reason::OwnerUnknown);
    // A stack without an owner is served, with a warning.
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.settings.owner.unknown = Some("the namespace kube-system may not be read".to_owned());
    bench.ask(&[("dns", "9.9.9.9")]);
    assert!(matches!(bench.plan().action, Action::Prepare(_)));
    assert_eq!(bench.reasons(), [Reason::OwnerUnknown]);
}

#[test]
fn an_adopted_stack_is_claimed_by_its_next_change_and_not_by_itself() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.settings.owner = cluster(OURS);
    let plan = bench.plan();
    assert_eq!((plan.action.name(), plan.differences.len()), ("Keep", 0));
    bench.ask(&[("dns", "9.9.9.9")]);
    let plan = bench.plan();
    let Action::Prepare(template) = &plan.action else {
        panic!("{plan}")
    };
    assert!(template.text.contains(OURS), "{}", template.text);
    let claim = (diff::Kind::Add, template::OWNER.to_owned());
    assert!(kinds_of(&plan).contains(&claim), "{plan}");
    // A stack that names an owner always keeps an owner.
    assert!(owned_by(OURS).plan().differences.is_empty());
}

fn kinds_of(plan: &Plan) -> Vec<(diff::Kind, String)> {
    super::tests::kinds(plan)
}

#[test]
fn a_stack_moves_to_the_cluster_that_takes_it_over_and_keeps_its_resources() {
    let mut bench = owned_by(THEIRS);
    bench.settings.owner = cluster(OURS);
    bench.settings.owner.takes_over = Some(OURS.to_owned());
    is_refused(&mut bench, Reason::OwnedByAnotherCluster);
    bench.settings.owner.takes_over = Some(THEIRS.to_owned());
    bench.stack().status = Status::read("UPDATE_COMPLETE");
    let plan = bench.plan();
    let renamed = (diff::Kind::Modify, template::OWNER.to_owned());
    assert_eq!(kinds_of(&plan), [renamed], "{plan}");
    let Action::Prepare(template) = plan.action else {
        panic!("{plan}")
    };
    // After the takeover, the flag has no effect.
    bench.live = Live::Ours(Box::new(super::tests::stack_of(&template)));
    assert_eq!(bench.plan().action, Action::Keep);
    bench.settings.owner.takes_over = None;
    assert_eq!(bench.plan().action, Action::Keep);
    bench.settings.owner = cluster(THEIRS);
    is_refused(&mut bench, Reason::OwnedByAnotherCluster);
}

#[test]
fn a_move_that_cloudformation_does_not_see_holds_up_no_route() {
    let mut bench = owned_by(THEIRS);
    bench.settings.owner = cluster(OURS);
    bench.settings.owner.takes_over = Some(THEIRS.to_owned());
    let mut unseen = super::tests::ready(&bench.plan(), live::Effect::Add);
    unseen.state = live::ChangeSetState::NoChanges;
    unseen.changes.clear();
    bench.stack().change_sets = vec![unseen];
    assert_eq!(bench.plan().action, Action::Keep);
    assert_eq!(bench.reasons(), [Reason::NotSeenByCloudFormation]);
    // Routes that AWS refused are still tried again.
    let refused = bench.network.worker_tables.keys().cloned();
    let refused = refused.map(|table| ((table, "9.9.9.9/32".parse().ok()), Waits::default()));
    bench.network.headroom.refused.routes = refused.collect();
    bench.ask(&[("dns", "8.8.8.8"), ("web", "9.9.9.9")]);
    assert!(matches!(bench.plan().action, Action::Prepare(_)));
    bench.network.headroom.refused = SetAside::default();
    // The next change also changes the owner.
    bench.ask(&[("dns", "9.9.9.9")]);
    let Action::Prepare(template) = bench.plan().action else {
        panic!("{}", bench.plan())
    };
    assert!(template.text.contains(OURS) && !template.text.contains(THEIRS));
    assert_eq!(bench.reasons(), Vec::<Reason>::new());
}

#[test]
fn a_removal_does_not_wait_for_a_claim_that_changes_nothing_else() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8"), ("web", "9.9.9.9")]);
    bench.settings.owner = cluster(OURS);
    bench.ask(&[("dns", "8.8.8.8")]);
    let mut called_off = super::tests::ready(&bench.plan(), live::Effect::Remove);
    called_off
        .changes
        .retain(|change| change.logical_id != template::OWNER);
    bench.stack().change_sets = vec![called_off];
    bench.ask(&[("web", "9.9.9.9")]);
    let plan = bench.plan();
    assert!(matches!(plan.action, Action::Prepare(_)), "{plan}");
    let removed = |it: &diff::Difference| it.kind == diff::Kind::Remove;
    assert!(plan.differences.iter().any(removed), "{plan}");
}

#[test]
fn who_acts_is_told_by_tokens_and_names() {
    let short = cluster(OURS).short().expect("a UID");
    let by = Some(short.as_str());
    let template = Template {
        fingerprint: "0123456789abcdef01".to_owned(),
        zones: "fedcba9876543210ff".to_owned(),
        ..Template::default()
    };
    let again = change_set_name(&template.content(), 7, 2, by);
    assert_eq!(
        again,
        "egress-0123456789abcdef-zfedcba9876543210-e7-n2-c0a1b2c3d"
    );
    assert_eq!(owner_of_change_set(&again), by);
    let name = change_set_name(&template.content(), 7, 0, by);
    assert_eq!(
        name,
        "egress-0123456789abcdef-zfedcba9876543210-e7-c0a1b2c3d"
    );
    assert_eq!(owner_of_change_set(&name), by);
    assert_eq!(owner_of_change_set("egress-0123456789abcdef-e7"), None);
    let ours = is_our_change_set;
    assert!(ours(&name) && ours(&again) && ours("egress-0123456789abcdef-e7"));
    for other in [
        "egress-0-e7-c",
        "egress-0-e7-c0a1b2c3",
        "egress-0-e-c0a1b2c3d",
        "egress-0-e7-x",
        "egress-0-e7-n",
        "egress-0-e7-nx-c0a1b2c3d",
    ] {
        assert!(!ours(other), "{other}");
    }
    let cases = [
        (
            token(7, (by, None), &name, 0),
            "e7-c0a1b2c3d-0123456789abcdef-e7-c0a1b2c3d-0",
            by,
        ),
        (
            token(7, (None, None), "egress-0123456789abcdef-e7", 0),
            "e7-0123456789abcdef-e7-0",
            None,
        ),
        (token(7, (None, None), "delete", 1), "e7-delete-1", None),
        (
            token(7, (None, None), &"ab".repeat(32), 3),
            "e7-abababababababab-3",
            None,
        ),
        (
            token(u64::MAX, (by, None), "rollback", u64::MAX),
            "e18446744073709551615-c0a1b2c3d-rollback-18446744073709551615",
            by,
        ),
    ];
    for (token, expected, owner) in cases {
        assert_eq!(lease_of_token(&token), None, "{token}");
        assert_eq!(token, expected);
        assert!(token.len() <= 128);
        assert_eq!(owner_of_token(&token), owner, "{token}");
        assert!(epoch_of(&token).is_some());
    }
    assert_eq!(owner_of_token("Console-UpdateStack-c0a1b2c3d"), None);
    assert_eq!(epoch_of("egress-7"), None);
    assert!(!is_uid("") && !is_uid("a\nb") && !is_uid(&"a".repeat(65)));
}

#[test]
fn tokens_tell_the_lease() {
    let short = cluster(OURS).short().expect("a UID");
    let by = Some(short.as_str());
    let name = |n| change_set_name("0123456789abcdef-zfedcba9876543210", n, n, by);
    let mark = lease_mark("static-egress", "kube-static-egress-controller");
    assert!(is_short(&mark));
    let of_lease = token(7, (by, Some(&mark)), &name(2), 12);
    let expected = format!("e7-c0a1b2c3d-0123456789abcdef-e2-n2-c0a1b2c3d-12-l{mark}");
    assert_eq!(of_lease, expected);
    assert_eq!(owner_of_token(&of_lease), by);
    assert_eq!(epoch_of(&of_lease), Some(7));
    assert_eq!(lease_of_token(&of_lease), Some(mark.as_str()));
    let longest = u32::MAX.into();
    assert!(token(longest, (by, Some(&mark)), &name(longest), longest).len() <= 128);
}

#[test]
fn operations_of_others_on_our_stack_are_reported_for_a_day() {
    let mut bench = owned_by(OURS);
    let last = |token: Option<&str>| live::LastOperation {
        token: token.map(str::to_owned),
        status: "UPDATE_COMPLETE".to_owned(),
        at: Duration::ZERO,
        time: "2026-11-28T03:00:00Z".to_owned(),
    };
    let told = |bench: &mut Bench, token: Option<&str>| {
        bench.stack().last_operation = Some(last(token));
        let problems = bench.plan().problems.into_iter();
        let mut foreign = problems.filter(|problem| problem.reason == Reason::ForeignOperation);
        foreign.next().map(|problem| problem.message())
    };
    assert_eq!(told(&mut bench, Some("e7-c0a1b2c3d-delete-0")), None);
    let cases = [
        (None, "without a token"),
        (Some("Console-UpdateStack-1"), "in the AWS console"),
        (
            Some("e7-c4e5f6071-0123456789abcdef-e7-c4e5f6071-0"),
            "another cluster (its UID begins with 4e5f6071)",
        ),
        (Some("e7-delete-1"), "names no cluster"),
        (Some("x\u{7}\u{202e}"), r"token x\u{7}\u{202e}"),
    ];
    for (token, expected) in cases {
        let text = told(&mut bench, token).expect("it is reported");
        assert!(
            text.contains(expected) && text.contains("2026-11-28T03:00:00Z"),
            "{text}"
        );
    }
    // Before the stack names this cluster, no operation counts as foreign.
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.settings.owner = cluster(OURS);
    assert_eq!(told(&mut bench, None), None);
}

#[test]
fn change_sets_of_another_cluster_are_neither_used_nor_deleted() {
    let set = |name: &str| live::ChangeSet {
        name: name.to_owned(),
        state: live::ChangeSetState::Pending,
        changes: Vec::new(),
        lists: None,
    };
    let names = [
        "egress-1-e1",
        "egress-2-e1-c0a1b2c3d",
        "egress-3-e1-c4e5f6071",
    ];
    let kept = |owner: &Owner| {
        let mut stack = Stack {
            change_sets: names.map(set).to_vec(),
            ..Stack::default()
        };
        owner::set_aside_others(&mut stack, owner);
        stack.change_sets.len()
    };
    assert_eq!((kept(&cluster(OURS)), kept(&Owner::default())), (2, 1));
}
