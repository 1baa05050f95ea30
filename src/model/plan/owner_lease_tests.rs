//! Two controllers of one cluster, each with its own Lease.

use std::time::Duration;

use super::owner_tests::{OURS, cluster, owned_by};
use super::tests::Bench;
use super::*;
use crate::model::base::owner::{lease_mark, token};
use crate::model::base::reason::Reason;
use crate::model::cloud::live;
use crate::model::persisted::ledger::Ledger;

/// Of two installations in one cluster, the second one takes over, and the first one notices and leaves the stack alone.
#[test]
fn of_two_controllers_of_one_cluster_the_later_one_acts() {
    let [first, second] = ["static-egress", "kube-system"].map(|it| lease_mark(it, "egress"));
    let mut bench = owned_by(OURS);
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let short = cluster(OURS).short().expect("a UID");
    let acted = |bench: &mut Bench, by: &str| {
        bench.stack().last_operation = Some(live::LastOperation {
            token: Some(token(7, (Some(&short), Some(by)), "delete", 0)),
            status: "UPDATE_COMPLETE".to_owned(),
            at: Duration::ZERO,
            time: "2026-11-28T03:00:00Z".to_owned(),
        });
    };
    let lead = |bench: &mut Bench, lease: &str, ledger: Option<Ledger>| {
        bench.settings.owner.lease = Some(lease.to_owned());
        bench.ledger = ledger;
        let plan = bench.plan();
        let refused = plan
            .problems
            .iter()
            .any(|it| it.reason == Reason::AnotherController);
        assert_eq!(refused, plan.action == Action::Refuse, "{plan}");
        assert!(
            !plan
                .problems
                .iter()
                .any(|it| it.reason == Reason::ForeignOperation)
        );
        (refused, plan.ledger)
    };
    let new = || Some(Ledger::new("egress"));
    acted(&mut bench, &first);
    let (_, of_first) = lead(&mut bench, &first, new());
    assert_eq!(of_first.as_ref().unwrap().lease.as_ref(), Some(&first));
    let text = of_first.as_ref().unwrap().text();
    let read = Ledger::read(&text, "egress", &[String::new()].into());
    assert_eq!(read.ok(), of_first);
    // A move: the ledger is new, a copy of the first one's, or cannot be read.
    for ledger in [new(), of_first.clone(), None] {
        assert!(!lead(&mut bench, &second, ledger).0);
    }
    acted(&mut bench, &second);
    let (refused, of_second) = lead(&mut bench, &second, of_first.clone());
    assert!(!refused);
    let (refused, still) = lead(&mut bench, &first, of_first.clone());
    assert!(refused, "the first one is still there");
    assert!(lead(&mut bench, &first, still).0, "and stays so");
    assert!(!lead(&mut bench, &second, of_second).0);
    // Without its ledger, the first controller counts as newly installed.
    assert!(!lead(&mut bench, &first, new()).0);
    // An earlier version, a user, or a controller of another cluster has acted since.
    for other in [
        "e7-c0a1b2c3d-delete-0",
        "Console-UpdateStack-1",
        "e7-c4e5f6071-delete-0-l0a1b2c3d",
    ] {
        bench.stack().last_operation.as_mut().unwrap().token = Some(other.to_owned());
        bench.settings.owner.lease = Some(first.clone());
        bench.ledger = of_first.clone();
        assert_ne!(bench.plan().action, Action::Refuse);
    }
}
