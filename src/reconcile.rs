//! One pass: read, plan, apply at most one step. It takes no input but the world, and never waits for an operation.

use std::time::Duration;

use crate::lease::term::Term;
use crate::model::desired::Settings;
use crate::model::network::Network;
use crate::model::plan::{self, Plan, World};
use crate::model::request::Snapshot;
use crate::model::schedule::{Outcome, Schedule};
use crate::provider::{Provider, ProviderError};

/// What a pass found and did.
#[derive(Debug)]
pub struct Pass {
    pub plan: Plan,
    /// Whether the plan's step was sent to the provider.
    pub applied: bool,
    pub outcome: Outcome,
}

/// What a pass works with besides the provider.
pub struct Frame<'a> {
    pub snapshot: &'a Snapshot,
    pub settings: &'a Settings,
    /// How much longer an empty set must stay empty before it is believed.
    pub grace_left: Duration,
    pub dry_run: bool,
    /// Since the controller started.
    pub now: Duration,
    /// From 0 to 1.
    pub jitter: f64,
}

/// Reads the world and makes the plan; writes nothing.
pub async fn look<P: Provider>(
    provider: &P,
    snapshot: &Snapshot,
    settings: &Settings,
    grace_left: Duration,
    epoch: Option<u64>,
) -> Result<Plan, ProviderError> {
    let (network, live) = futures::join!(provider.network(), provider.live(epoch));
    let (network, live) = (network?, live?);
    let made = |network: &Network| {
        plan::plan(&World {
            snapshot,
            network,
            live: &live,
            settings,
            grace_left,
        })
    };
    let plan = made(&network);
    if !plan.is_doubtful() {
        return Ok(plan);
    }
    // Both were read at once: the network may be from the moment before the stack came to rest.
    Ok(made(&provider.network().await?))
}

/// One pass under a term.
pub async fn pass<P: Provider>(
    provider: &P,
    term: &Term,
    schedule: &mut Schedule,
    frame: &Frame<'_>,
) -> Result<Pass, ProviderError> {
    let plan = look(
        provider,
        frame.snapshot,
        frame.settings,
        frame.grace_left,
        Some(term.epoch()),
    )
    .await?;
    if !plan.action.mutates() || frame.dry_run {
        let outcome = resting(&plan);
        return Ok(Pass {
            plan,
            applied: false,
            outcome,
        });
    }
    if let Some(wait) = schedule.held(&plan, frame.now) {
        return Ok(Pass {
            plan,
            applied: false,
            outcome: Outcome::Held(wait),
        });
    }
    provider.apply(term, &plan.stack, &plan.action).await?;
    // Only what AWS has accepted counts: a call that failed is repeated by the backoff of failures.
    schedule.tries(&plan, frame.now, frame.jitter);
    Ok(Pass {
        plan,
        applied: true,
        outcome: Outcome::Started,
    })
}

/// How a pass that sends nothing ends.
fn resting(plan: &Plan) -> Outcome {
    match plan.action {
        plan::Action::Refuse => Outcome::Failed,
        plan::Action::Wait => Outcome::UnderWay,
        _ => Outcome::Settled(plan.again),
    }
}
