//! The stack policy is closed, except for a change set that may remove a protected resource.

use super::tests::{Bench, computed};
use super::*;
use crate::model::plan::stack_policy;

/// Returns a stack without differences, with this policy.
fn bench(policy: Option<String>) -> Bench {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.settings.stack_policy = true;
    bench.stack().policy = policy;
    bench
}

/// Adds the change set for the template that the plan prepares.
fn prepared(bench: &mut Bench) {
    let plan = bench.plan();
    let Action::Prepare(template) = &plan.action else {
        panic!("{plan}");
    };
    let mut set = computed(&plan, template);
    set.changes
        .retain(|change| change.resource_type.starts_with("AWS::"));
    bench.stack().change_sets = vec![set];
}

#[test]
fn it_is_set_when_nothing_else_is_to_be_done() {
    let close = Action::SetPolicy { open: false };
    let (open, closed) = (stack_policy::text(true), stack_policy::text(false));
    for (has, expected) in [
        (None, close.clone()),
        (Some("{}".to_owned()), close.clone()),
        (Some(open), close),
        (
            Some(closed.replace(':', " : ")),
            Action::SetPolicy { open: false },
        ),
        (Some(closed.replace(",", ", ")), Action::Keep),
    ] {
        let mut bench = bench(has.clone());
        assert_eq!(bench.plan().action, expected, "{has:?}");
        bench.settings.stack_policy = false;
        assert_eq!(bench.plan().action, Action::Keep, "left alone");
        bench.settings.stack_policy = true;
        bench.ask(&[("other", "9.9.9.9")]);
        assert!(matches!(bench.plan().action, Action::Prepare(_)), "later");
        prepared(&mut bench);
        assert!(
            matches!(bench.plan().action, Action::Execute { .. }),
            "later"
        );
    }
}

#[test]
fn it_is_opened_for_a_zone_that_may_go() {
    let mut bench = bench(Some(stack_policy::text(false)));
    bench.settings.zones.remove("b");
    bench.settings.remove_zones = ["b".to_owned()].into();
    prepared(&mut bench);
    assert_eq!(bench.plan().action, Action::SetPolicy { open: true });
    bench.stack().policy = Some(stack_policy::text(true));
    assert!(matches!(bench.plan().action, Action::Execute { .. }));
}
