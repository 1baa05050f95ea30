//! Tags of the stack, which change after all other differences.

use super::tests::{Bench, texts};
use super::*;
use crate::model::plan::diff::Difference;

#[test]
fn no_route_waits_for_a_change_of_tags() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    let before = bench.stack().tags.clone();
    let after = texts(&[("owner", "us"), ("cost", "centre")]);
    assert_ne!(before, after);
    bench.settings.tags = after.clone();
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let is_tag = |it: &Difference| it.resource_type == "tag";
    let plan = bench.plan();
    let Action::Prepare(routes) = &plan.action else {
        panic!("{plan}")
    };
    assert_eq!(routes.tags, before);
    assert!(!plan.differences.iter().any(is_tag), "{plan}");
    let stack = bench.stack();
    stack.template.clone_from(&routes.text);
    stack.parameters.clone_from(&routes.parameters);
    let plan = bench.plan();
    let Action::Prepare(tags) = &plan.action else {
        panic!("{plan}")
    };
    assert_eq!(tags.tags, after);
    assert!(plan.differences.iter().all(is_tag), "{plan}");
    assert_ne!(tags.fingerprint, routes.fingerprint);
}
