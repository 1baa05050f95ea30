//! Reads EC2 for drift of a stack at rest, and for static IPs that no stack contains.

use std::collections::BTreeSet;

use tracing::Instrument as _;

use super::{PlanInput, unproven};
use crate::error_chain;
use crate::model::cloud::live::{Live, Stack, uses};
use crate::model::cloud::status::Phase;
use crate::model::drift::tracker::Watch;
use crate::provider::{Provider, Retry};
use crate::spans;

/// Reads EC2 for a stack at rest, or for the static IPs that a deleted stack left in the account.
pub(super) async fn look<P: Provider>(
    provider: &P,
    live: &mut Live,
    view: &PlanInput<'_>,
    watch: &mut Watch,
) {
    let mut unused = view.ledger.unused_ips(live);
    let phase = match live {
        Live::Ours(stack) => Some(stack.status.phase()),
        Live::Absent => Some(Phase::Gone),
        Live::Foreign { .. } | Live::Several(_) => None,
    };
    watch.begin(view.grace.now, phase == Some(Phase::Settled));
    if matches!(phase, Some(Phase::Settled | Phase::Gone)) && watch.asks_for_tags() {
        let ask = provider.static_ips();
        let account = ask
            .instrument(spans::step("ask for tagged static IPs"))
            .await;
        watch.has_tagged(&account, &view.settings.stack_name);
    }
    unused.extend(watch.tagged().keys().filter(|ip| !uses(live, ip)).cloned());
    match (live, phase) {
        (Live::Ours(stack), Some(Phase::Settled)) => {
            for_drift(provider, stack, unused, watch).await
        }
        (_, Some(Phase::Gone)) => for_ips(provider, unused, watch).await,
        _ => {}
    }
}

/// Detects drift if a look is due. A failure is logged and does not fail the pass.
async fn for_drift<P: Provider>(
    provider: &P,
    stack: &mut Stack,
    unused: BTreeSet<String>,
    watch: &mut Watch,
) {
    if watch.is_due(&stack.version) {
        let look = provider.observe(stack, &unused);
        let mut seen = look.instrument(spans::step("look for drift")).await;
        if let Ok(seen) = &mut seen {
            stack.policy = seen.policy.take().or(stack.policy.take());
            seen.unproven = unproven(provider, &seen.missing()).await;
        }
        watch.looked(
            &stack.version,
            seen.map_err(|error| error_chain::text(&error)),
        );
    }
    if let Some(new) = watch.asks() {
        let ask = provider.detect(stack, new);
        let answer = ask.instrument(spans::step("confirm drift")).await;
        watch.answered(match answer {
            Err(error) if error.retry != Retry::AfterFix => None,
            answer => Some(answer.map_err(|error| error_chain::text(&error))),
        });
    }
}

/// Asks EC2 which of these static IPs the account still has, if a request is due. A failure keeps the known answers.
async fn for_ips<P: Provider>(provider: &P, ips: BTreeSet<String>, watch: &mut Watch) {
    if watch.asks_for(&ips) {
        let seen = provider
            .addresses(&ips)
            .instrument(spans::step("ask for static IPs"));
        let seen = seen.await;
        watch.has_shown(ips, seen.ok());
    }
}
