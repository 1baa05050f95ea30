//! A status alone does not prove that a stack was never created.

use std::collections::BTreeSet;

use super::tests::Bench;
use super::*;
use crate::model::base::reason::Reason;
use crate::model::cloud::live::{Deletion, Stack};
use crate::model::cloud::status::Status;
use crate::model::drift::tracker::Watch;
use crate::model::persisted::ledger::Ledger;

#[test]
fn a_status_alone_is_no_proof_that_a_stack_was_never_created() {
    let shows_an_ip: fn(&mut Stack) = |stack| {
        let output = ("EIPa".to_owned(), "192.0.2.1".to_owned());
        stack.outputs.extend([output]);
    };
    let was_updated: fn(&mut Stack) = |stack| stack.updated = true;
    for served in [shows_an_ip, was_updated] {
        for status in ["CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"] {
            let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
            bench.stack().status = Status::read(status);
            assert_eq!(bench.plan().action.name(), "DeleteStack");
            served(bench.stack());
            assert_eq!(bench.plan().action, Action::Refuse, "{status}");
            assert_eq!(bench.reasons(), [Reason::StatusContradicted]);
            bench.stack().termination_protection = true;
            assert_eq!(bench.plan().action, Action::Refuse, "stays protected");
            bench.stack().deletion = Some(Deletion {
                before: Status::read(status),
                ..Deletion::default()
            });
            bench.stack().status = Status::read("DELETE_FAILED");
            assert_eq!(
                bench.plan().action,
                Action::Refuse,
                "{status}, half deleted"
            );
        }
    }
}

#[test]
fn an_end_that_is_not_certain_is_told_as_such() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.stack().status = Status::CreateInProgress;
    let plan = bench.plan();
    assert_eq!(plan.why, "the stack is CREATE_IN_PROGRESS");
    assert_eq!(plan.shown_status(), Some(&Status::CreateInProgress));
    bench.stack().unconfirmed = Some(Status::CreateComplete);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Wait);
    assert_eq!(plan.shown_status(), Some(&Status::CreateComplete));
    let says = [
        "CloudFormation shows CREATE_COMPLETE",
        "(CREATE_IN_PROGRESS)",
        "two minutes",
    ];
    assert!(says.iter().all(|part| plan.why.contains(part)), "{plan}");
}

#[test]
fn a_stack_that_was_seen_at_rest_is_not_deleted_as_never_created() {
    for status in ["CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"] {
        let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
        bench.stack().id = "arn:1".to_owned();
        bench.ledger = Some(Ledger::new("egress"));
        let at_rest = bench.plan();
        bench.watch.follow(&bench.live);
        bench.stack().status = Status::read(status);
        bench.watch.follow(&bench.live);
        assert_eq!(bench.plan().action, Action::Refuse, "{status}");
        // A new leader has no memory of the stack.
        bench.watch = Watch::default();
        assert_eq!(bench.plan().action.name(), "DeleteStack");
        bench.ledger = at_rest.ledger;
        let text = bench.ledger.as_ref().unwrap().text();
        let read = Ledger::read(&text, "egress", &BTreeSet::new());
        assert_eq!(read.unwrap().settled.as_deref(), Some("arn:1"));
        let plan = bench.plan();
        assert_eq!(plan.action, Action::Refuse, "{status}");
        assert!(plan.why.contains("seen at rest"), "{plan}");
        assert_eq!(plan.ledger, bench.ledger, "it stays known");
        bench.stack().status = Status::read("DELETE_FAILED");
        bench.stack().deletion = Some(Deletion {
            before: Status::read(status),
            ..Deletion::default()
        });
        assert_eq!(bench.plan().action, Action::Refuse, "{status}, halfway");
        // Another stack has the same name.
        bench.stack().id = "arn:2".to_owned();
        bench.stack().deletion = None;
        bench.stack().status = Status::read(status);
        assert_eq!(bench.plan().action.name(), "DeleteStack");
    }
}
