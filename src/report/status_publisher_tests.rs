use std::collections::BTreeMap;

use super::*;
use crate::model::base::ids::{EntryId, ObjectId};
use crate::model::input::object::Object;
use crate::model::plan::types::{Action, Plan};
use crate::model::status::routes::RouteState;

fn pass(action: Action, why: &str, applied: bool) -> Result<Pass, ProviderError> {
    let mut plan = Plan::default();
    (plan.action, plan.why) = (action, why.to_owned());
    let route = ("rtb-1".to_owned(), "8.8.8.8/32".parse().expect("a network"));
    plan.live_routes.insert(route, true);
    Ok(Pass {
        plan,
        applied,
        outcome: Outcome::UnderWay,
        tried: (0, Duration::ZERO),
    })
}

fn continued() -> Action {
    Action::ContinueRollback {
        skip: Default::default(),
    }
}

fn failure() -> Result<Pass, ProviderError> {
    let root = std::io::Error::other("certificate expired");
    let middle = kube::Error::Service(Box::new(std::io::Error::other(root)));
    let mut error = ProviderError::after_fix("AccessDenied", "allow it".to_owned());
    error.source = Some(Box::new(middle));
    Err(error)
}

async fn next(snapshots: &mut watch::Receiver<Option<Arc<StatusSnapshot>>>) -> Arc<StatusSnapshot> {
    snapshots.changed().await.expect("the publisher is there");
    snapshots
        .borrow_and_update()
        .clone()
        .expect("this replica leads")
}

#[tokio::test]
async fn a_failure_keeps_what_was_seen_before_it() {
    let publisher = StatusPublisher::new(false);
    let keeper = tokio::spawn(publisher.clone().run());
    let mut snapshots = publisher.subscribe();
    tokio::task::yield_now().await;
    publisher.begin_term();
    let tell = |result| publisher.record_pass(result, Snapshot::default(), Duration::from_secs(5));

    tell(pass(continued(), "a rollback failed", true));
    let first = next(&mut snapshots).await;
    assert_eq!(
        first
            .status
            .operation
            .as_ref()
            .map(|step| step.action.as_str()),
        Some("ContinueUpdateRollback")
    );

    tell(pass(Action::Keep, "all is well", false));
    let well = next(&mut snapshots).await;
    assert_eq!(well.status.routes[0].state, RouteState::Leaving);

    tell(failure());
    let failed = next(&mut snapshots).await;
    let told = failed.status.failure.as_ref().expect("told");
    assert_eq!(
        (told.reason.as_str(), told.message.as_str()),
        ("AccessDenied", "allow it")
    );
    assert_eq!(told.cause, "ServiceError: certificate expired");
    assert_eq!(
        failed.status.plan, well.status.plan,
        "the last that was seen"
    );
    assert_eq!(
        (&failed.status.routes, &failed.status.time),
        (&well.status.routes, &well.status.time)
    );
    assert_ne!(failed.mark, well.mark);

    tell(failure());
    let again = next(&mut snapshots).await;
    assert_eq!(again.status.timeline, failed.status.timeline, "no news");
    assert_eq!(again.mark, failed.mark);

    tell(pass(Action::Keep, "all is well", false));
    let last = next(&mut snapshots).await;
    assert_eq!(last.status.failure, None);
    let steps: Vec<&str> = last
        .status
        .timeline
        .iter()
        .map(|step| step.action.as_str())
        .collect();
    assert_eq!(steps, ["ContinueUpdateRollback", "Keep", "Failed", "Keep"]);

    publisher.end_term();
    snapshots.changed().await.expect("the publisher is there");
    assert!(
        publisher.latest().is_none(),
        "what it knew is another's to tell"
    );
    keeper.abort();
}

#[tokio::test]
async fn an_entry_that_only_a_dry_run_keeps_from_its_route_says_so() {
    let (object, key) = (ObjectId::default(), "dns".to_owned());
    let (id, data) = (EntryId { object, key }, "8.8.8.8/32".to_owned());
    let net = "8.8.8.8/32".parse().expect("a network");
    let entries = BTreeMap::from([(id.clone(), net)]);
    let found = || {
        let mut pass = pass(continued(), "a rollback failed", false).expect("a pass");
        pass.plan.live_routes.clear();
        pass.plan.desired.routes = [("rtb-1".to_owned(), net)].into();
        pass.plan.request.entries.clone_from(&entries);
        pass
    };
    let object = Object {
        data: [(id.key, data)].into(),
        ..Object::default()
    };
    let snapshot = Snapshot {
        objects: [(id.object, object)].into(),
        ..Snapshot::default()
    };
    for (dry_run, reason) in [(true, Some("DryRun")), (false, None)] {
        let publisher = StatusPublisher::new(dry_run);
        let keeper = tokio::spawn(publisher.clone().run());
        let mut snapshots = publisher.subscribe();
        tokio::task::yield_now().await;
        publisher.begin_term();
        publisher.record_pass(Ok(found()), snapshot.clone(), Duration::ZERO);
        let told = next(&mut snapshots).await.read().expect("a status");
        assert_eq!(told.entries[0].reason.as_deref(), reason);
        publisher.record_pass(failure(), snapshot.clone(), Duration::ZERO);
        let failed = next(&mut snapshots).await.read().expect("a status");
        assert!(failed.failure.is_some());
        assert_eq!(failed.entries, told.entries, "the last that was seen");
        keeper.abort();
    }
}

#[tokio::test]
async fn the_timeline_is_bounded() {
    let publisher = StatusPublisher::new(false);
    publisher.begin_term();
    for number in 0..2 * MAX_STEPS {
        let why = format!("step {number}");
        publisher.record_pass(
            pass(Action::Wait, &why, false),
            Snapshot::default(),
            Duration::ZERO,
        );
    }
    let history = lock(&publisher.inner.history);
    assert_eq!(history.steps.len(), MAX_STEPS);
    assert_eq!(
        history.steps[MAX_STEPS - 1].why,
        format!("step {}", 2 * MAX_STEPS - 1)
    );
}
