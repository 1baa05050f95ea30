//! Reasons that need a world of their own, each with its remedy.

use super::tests::{Bench, ready};
use crate::model::base::reason::Reason;
use crate::model::base::settings::OnDrift;
use crate::model::cloud::live::{ChangeSet, ChangeSetState, Deletion, Effect};
use crate::model::cloud::network::Route;
use crate::model::cloud::status::Status;
use crate::model::persisted::ledger::Ledger;

#[path = "ranges_tests.rs"]
mod ranges;

const DNS: [(&str, &str); 1] = [("dns", "8.8.8.8")];

/// Returns a stack that lacks a route, and its change set as CloudFormation shows it.
fn changing(effect: Effect, state: ChangeSetState) -> Bench {
    let mut bench = Bench::live(&DNS);
    bench.ask(&[DNS[0], ("web", "9.9.9.9")]);
    let set = ready(&bench.plan(), effect);
    bench.stack().change_sets = vec![ChangeSet { state, ..set }];
    bench
}

fn in_status(status: &str) -> Bench {
    let mut bench = Bench::live(&DNS);
    bench.stack().status = Status::read(status);
    bench
}

fn full() -> Bench {
    let mut bench = Bench::live(&DNS);
    let (id, object) = bench.snapshot.objects.pop_first().unwrap();
    for number in 0..3 {
        let mut id = id.clone();
        id.name = number.to_string();
        let mut object = object.clone();
        let keys = (0..1000).map(|key| format!("{key:0>253}"));
        object.data = keys.map(|key| (key, "8.8.8.8".to_owned())).collect();
        bench.snapshot.objects.insert(id, object);
    }
    bench.ledger = Some(Ledger::new("egress"));
    bench
}

#[test]
fn each_has_its_world_and_its_answer() {
    let stale = || {
        let mut bench = Bench::live(&DNS);
        let why = "https://one has not answered for 60 s".to_owned();
        bench.snapshot.stale.insert("https://one".to_owned(), why);
        bench
    };
    let nowhere = |mut bench: Bench| {
        bench.settings.zones.clear();
        bench
    };
    let unreadable = || {
        let mut bench = Bench::live(&DNS);
        bench.stack().template = "Resources: {}".to_owned();
        bench
    };
    let half_deleted = || {
        let mut bench = in_status("DELETE_FAILED");
        let before = Status::read("UPDATE_COMPLETE");
        bench.stack().deletion = Some(Deletion {
            before,
            ..Deletion::default()
        });
        bench
    };
    let blackhole = || {
        let mut bench = Bench::live(&DNS);
        bench.settings.drift = OnDrift::Report;
        for table in bench.network.worker_tables.values_mut() {
            let route = Route {
                target: "nat-1".to_owned(),
                blackhole: true,
            };
            table.routes.insert("8.8.8.8/32".parse().unwrap(), route);
        }
        bench
    };
    let cases = [
        (Reason::SourceStale, stale(), "Keep"),
        (Reason::LedgerFull, full(), "Keep"),
        (
            Reason::NotSeenByCloudFormation,
            changing(Effect::Add, ChangeSetState::NoChanges),
            "Keep",
        ),
        (
            Reason::UnplannedChange,
            changing(Effect::Remove, ChangeSetState::Ready),
            "Refuse",
        ),
        (Reason::NothingToRoute, nowhere(Bench::new(&DNS)), "Refuse"),
        (Reason::TemplateUnreadable, unreadable(), "Refuse"),
        (Reason::InReview, in_status("REVIEW_IN_PROGRESS"), "Refuse"),
        (Reason::DeleteFailed, half_deleted(), "Refuse"),
        (Reason::RouteBlackhole, blackhole(), "Keep"),
    ];
    for (reason, bench, action) in cases {
        let plan = bench.plan();
        assert_eq!(plan.action.name(), action, "{reason}: {plan}");
        assert!(bench.reasons().contains(&reason), "{reason}: {plan}");
        assert!(!Bench::live(&DNS).reasons().contains(&reason), "{reason}");
    }
}
