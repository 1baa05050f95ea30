use super::*;
use crate::model::plan::types::{Action, Plan};
use crate::model::status::RouteState;

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

fn failure() -> Result<Pass, ProviderError> {
    Err(ProviderError::after_fix(
        "AccessDenied",
        "allow it".to_owned(),
    ))
}

async fn next(issues: &mut watch::Receiver<Option<Arc<Issue>>>) -> Arc<Issue> {
    issues.changed().await.expect("the chronicle is there");
    issues
        .borrow_and_update()
        .clone()
        .expect("this replica leads")
}

#[tokio::test]
async fn a_failure_keeps_what_was_seen_before_it() {
    let chronicle = Chronicle::new(false);
    let keeper = tokio::spawn(chronicle.clone().keep());
    let mut issues = chronicle.issues();
    tokio::task::yield_now().await;
    chronicle.leads();
    let tell = |result| chronicle.passed(result, Snapshot::default(), Duration::from_secs(5));

    tell(pass(Action::ContinueRollback, "a rollback failed", true));
    let first = next(&mut issues).await;
    assert_eq!(
        first
            .status
            .operation
            .as_ref()
            .map(|step| step.action.as_str()),
        Some("ContinueUpdateRollback")
    );

    tell(pass(Action::Keep, "all is well", false));
    let well = next(&mut issues).await;
    assert_eq!(well.status.routes[0].state, RouteState::Leaving);

    tell(failure());
    let failed = next(&mut issues).await;
    let told = failed.status.failure.as_ref().expect("told");
    assert_eq!(
        (told.reason.as_str(), told.message.as_str()),
        ("AccessDenied", "allow it")
    );
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
    let again = next(&mut issues).await;
    assert_eq!(again.status.timeline, failed.status.timeline, "no news");
    assert_eq!(again.mark, failed.mark);

    tell(pass(Action::Keep, "all is well", false));
    let last = next(&mut issues).await;
    assert_eq!(last.status.failure, None);
    let steps: Vec<&str> = last
        .status
        .timeline
        .iter()
        .map(|step| step.action.as_str())
        .collect();
    assert_eq!(steps, ["ContinueUpdateRollback", "Keep", "Failed", "Keep"]);

    chronicle.follows();
    issues.changed().await.expect("the chronicle is there");
    assert!(
        chronicle.issue().is_none(),
        "what it knew is another's to tell"
    );
    keeper.abort();
}

#[tokio::test]
async fn the_timeline_is_bounded() {
    let chronicle = Chronicle::new(false);
    chronicle.leads();
    for number in 0..2 * MAX_STEPS {
        let why = format!("step {number}");
        chronicle.passed(
            pass(Action::Wait, &why, false),
            Snapshot::default(),
            Duration::ZERO,
        );
    }
    let past = lock(&chronicle.inner.past);
    assert_eq!(past.steps.len(), MAX_STEPS);
    assert_eq!(
        past.steps[MAX_STEPS - 1].why,
        format!("step {}", 2 * MAX_STEPS - 1)
    );
}
