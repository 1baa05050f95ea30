//! Deletions that failed halfway.

use std::collections::BTreeSet;

use super::super::tests::Bench;
use super::super::*;
use crate::model::base::problem::Problem;
use crate::model::base::reason::Reason;
use crate::model::base::settings::OnEmpty;
use crate::model::cloud::live::Deletion;
use crate::model::cloud::status::Status;

#[test]
fn a_stack_that_is_deleted_halfway_goes_only_when_nothing_can_be_lost_with_it() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.stack().status = Status::read("DELETE_FAILED");
    let mut deletion = Deletion {
        before: Status::read("UPDATE_COMPLETE"),
        failures: 1,
        stuck: ["NATSubneta".to_owned()].into(),
        ..Deletion::default()
    };
    bench.stack().deletion = Some(deletion.clone());
    assert_eq!(
        bench.plan().action,
        Action::Refuse,
        "it has served somebody"
    );
    deletion.before = Status::read("ROLLBACK_COMPLETE");
    bench.stack().deletion = Some(deletion.clone());
    let retain = BTreeSet::new();
    assert_eq!(bench.plan().action, Action::Delete { retain });
    deletion.failures = 2;
    bench.stack().deletion = Some(deletion.clone());
    let retain = deletion.stuck;
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Delete { retain });
    assert!(plan.why.contains("by hand: NATSubneta"), "{plan}");
}

/// A stack of an earlier form cannot get a DeletionPolicy any more, so its EIPs would go with the next deletion.
#[test]
fn a_stack_that_is_deleted_halfway_stays_while_its_deletion_would_release_a_static_ip() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.settings.on_empty = OnEmpty::Delete;
    let stack = bench.stack();
    stack.status = Status::read("DELETE_FAILED");
    stack.deletion = Some(Deletion {
        before: Status::read("UPDATE_COMPLETE"),
        failures: 1,
        stuck: ["NATSubneta".to_owned()].into(),
        ..Deletion::default()
    });
    let retained = stack.template.clone();
    let attribute = r#""DeletionPolicy":"RetainExceptOnCreate","#;
    stack.template = retained.replace(attribute, "");
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Refuse);
    let mut problems = plan.problems.iter();
    let problem = problems.find(|it| it.reason == Reason::DeleteFailed);
    let text = problem.map(Problem::message).unwrap_or_default();
    assert!(text.contains("--retain-resources EIPa EIPb"), "{text}");
    bench.ask(&[]);
    assert_eq!(bench.plan().action, Action::Refuse, "nobody asks");
    // The deletion before has released them.
    for (gone, is_refused) in [("EIPa", true), ("EIPb", false)] {
        let deletion = bench.stack().deletion.as_mut().unwrap();
        deletion.gone.insert(gone.to_owned());
        let plan = bench.plan();
        assert_eq!(plan.action == Action::Refuse, is_refused, "{plan}");
    }
    bench.stack().deletion.as_mut().unwrap().gone.clear();
    bench.stack().template = retained;
    assert!(matches!(bench.plan().action, Action::Delete { .. }));
    // A creation that failed halfway has shown its IPs to nobody.
    let stack = bench.stack();
    stack.template = stack.template.replace(attribute, "");
    if let Some(deletion) = &mut stack.deletion {
        deletion.before = Status::read("ROLLBACK_COMPLETE");
    }
    stack.outputs.clear();
    stack.updated = false;
    assert!(matches!(bench.plan().action, Action::Delete { .. }));
}
