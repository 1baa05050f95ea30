//! Whose stack it is.

use super::tests::Bench;
use super::*;
use crate::model::desired;
use crate::model::live::{Deletion, Status};

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

/// Whatever the stack's status, its plan is this refusal, and nothing of it is shown as ours.
fn is_refused(bench: &mut Bench, reason: &str) {
    for status in STATUSES {
        let stack = bench.stack();
        stack.status = Status(status.to_owned());
        stack.deletion = Some(Deletion {
            before: Status("CREATE_FAILED".to_owned()),
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
    bench.settings.drift = desired::OnDrift::Repair;
    bench.settings.on_empty = desired::OnEmpty::Delete;
    bench.network.vpc_id = "vpc-2".to_owned();
    bench.ask(&[("dns", "9.9.9.9")]);
    is_refused(&mut bench, "StackInAnotherVpc");
    bench.ask(&[]);
    is_refused(&mut bench, "StackInAnotherVpc");
    // Its template may say so without a parameter, or be unreadable.
    let stack = bench.stack();
    stack.template = stack
        .template
        .replace(r#"{"Ref":"VPCIDParameter"}"#, r#""vpc-1""#);
    stack.parameters.remove("VPCIDParameter");
    is_refused(&mut bench, "StackInAnotherVpc");
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.network.vpc_id = "vpc-2".to_owned();
    bench.stack().template = "Resources: {}".to_owned();
    is_refused(&mut bench, "StackInAnotherVpc");
}
