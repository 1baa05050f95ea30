//! One pass: read, plan, update the ledger, apply at most one step. A pass depends on the observed state only, and waits for nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::Instrument as _;

use self::record::Note;
use crate::cluster::Cluster;
use crate::error_chain;
use crate::lease::term::Term;
use crate::ledger_store::LedgerStore;
use crate::model::base::cidr::Rules;
use crate::model::base::ids::Zone;
use crate::model::base::problem::Problem;
use crate::model::base::settings::{OnDrift, Settings};
use crate::model::cloud::live::Live;
use crate::model::cloud::more_ips::IpWaits;
use crate::model::cloud::network::{Headroom, Later, Network};
use crate::model::cloud::set_aside::SetAside;
use crate::model::cloud::static_ip::Account;
use crate::model::drift::tracker::Watch;
use crate::model::input::request::Snapshot;
use crate::model::persisted::grace::Grace;
use crate::model::persisted::ledger::Ledger;
use crate::model::persisted::recall::Recall;
use crate::model::plan::types::{Action, Plan, World};
use crate::model::plan::{self, owner};
use crate::model::schedule::{Outcome, Schedule};
use crate::provider::{Provider, ProviderError, Retry};
use crate::source::Source;
use crate::spans;

mod ec2_look;
mod record;

/// The time until the next pass repairs drift by another method, after AWS refused a repair.
const NEXT_WAY: Duration = Duration::from_secs(1);

/// The result of a pass.
#[derive(Debug)]
pub struct Pass {
    pub plan: Plan,
    /// Whether the plan's step was sent to the provider.
    pub applied: bool,
    pub outcome: Outcome,
    /// The number of attempts of the plan's step since the stack was last as planned, and the time until the next attempt.
    pub tried: (u32, Duration),
}

impl Pass {
    /// Returns the outcome's label in the metrics.
    pub fn outcome_name(&self) -> &'static str {
        match (&self.plan.action, self.applied) {
            (Action::Refuse, _) => "refused",
            (Action::Keep, _) => "settled",
            (_, true) => "applied",
            (_, false) => "waiting",
        }
    }
}

/// The input of a pass.
pub struct PassInput<'a> {
    pub snapshot: &'a Snapshot,
    /// The source of the snapshot.
    pub source: &'a Source,
    pub settings: &'a Settings,
    pub dry_run: bool,
    /// The start of the term, as time since 1970.
    pub began: Duration,
    /// The time since the start of the term.
    pub now: Duration,
    /// A random number from 0 to 1.
    pub jitter: f64,
}

/// The state that a leader keeps from pass to pass. The next leader restores it from the ledger.
pub struct LeaderState {
    pub schedule: Schedule,
    pub grace: Grace,
    pub ledger: LedgerStore,
    pub cluster: Cluster,
    /// The same as [`Plan::rules`] of this term's last plan.
    pub rules: Option<Rules>,
}

/// The input of a plan apart from the provider's answers.
pub struct PlanInput<'a> {
    pub snapshot: &'a Snapshot,
    pub settings: &'a Settings,
    pub grace: Grace,
    pub ledger: Recall<'a>,
    /// The ARN of our stack from the ledger, if it is known.
    pub stack: Option<&'a str>,
    pub epoch: Option<u64>,
    pub later: Later,
    pub ip_waits: IpWaits,
    pub refused: SetAside,
}

impl PlanInput<'_> {
    /// Returns the same input with another content of the ledger.
    fn with<'b>(&'b self, ledger: &'b Ledger) -> PlanInput<'b> {
        PlanInput {
            ledger: self.ledger.with(ledger),
            later: self.later.clone(),
            ip_waits: self.ip_waits.clone(),
            refused: self.refused.clone(),
            ..*self
        }
    }
}

/// Reads network, stack and drift, and makes the plan. Changes nothing.
pub async fn look<P: Provider>(
    provider: &P,
    view: &PlanInput<'_>,
    watch: &mut Watch,
) -> Result<Plan, ProviderError> {
    let read_network = || async {
        let read = provider.network().instrument(spans::step("read network"));
        let mut network = read.await?;
        network.headroom.later.clone_from(&view.later);
        network.headroom.ip_waits.clone_from(&view.ip_waits);
        network.headroom.refused.clone_from(&view.refused);
        Ok::<_, ProviderError>(network)
    };
    let read_stack = provider.live(view.epoch, view.stack);
    let (network, live) = futures::join!(
        read_network(),
        read_stack.instrument(spans::step("read stack"))
    );
    let (mut network, mut live) = (network?, live?);
    let account = network.account.clone();
    let others = view.ledger.in_other_account(account.as_deref());
    let here = others.as_ref().map(|ledger| view.with(ledger));
    let (all, view) = (view.ledger, here.as_ref().unwrap_or(view));
    if let Live::Ours(stack) = &mut live {
        owner::set_aside_others(stack, &view.settings.owner);
    }
    watch.follow(&live);
    ec2_look::look(provider, &mut live, view, watch).await;
    let made = |network: &Network, watch: &Watch| {
        let world = World {
            snapshot: view.snapshot,
            network,
            live: &live,
            settings: view.settings,
            grace: view.grace,
            ledger: view.ledger,
            watch,
        };
        spans::step("plan").in_scope(|| plan::plan(&world))
    };
    let mut plan = made(&network, watch);
    if plan.is_doubtful() {
        // Network and stack were read at the same time, so the network may be older than the end of the last operation.
        network = read_network().await?;
        plan = made(&network, watch);
    }
    network.unproven = unproven(provider, &plan.missing_tables).await;
    if !network.unproven.is_empty() {
        plan = made(&network, watch);
    }
    let zones = plan.surveyed();
    if !zones.is_empty() {
        // While CloudFormation computes the change set, quotas do not matter, so the last known answer about the account is sufficient.
        if let Some(known) = watch.headroom(&zones) {
            network.headroom.account.clone_from(&known.account);
            plan = made(&network, watch);
        }
        if !matches!(plan.action, Action::Wait) || watch.headroom(&zones).is_none() {
            survey(provider, &zones, view, (&mut network.headroom, watch)).await;
            plan = made(&network, watch);
        }
    }
    let idle = matches!(plan.action, Action::Keep | Action::Refuse);
    watch.note(&plan.drifts, view.settings.drift == OnDrift::Repair, idle);
    Ok(match &others {
        Some(_) => plan.beside_other_account(all, account.as_deref()),
        None => plan,
    })
}

/// Returns the ids whose absence EC2 has not confirmed.
async fn unproven<P: Provider>(provider: &P, missing: &BTreeSet<String>) -> BTreeSet<String> {
    if missing.is_empty() {
        return BTreeSet::new();
    }
    let ask = provider.absent(missing);
    let absent = ask.instrument(spans::step("ask for each id")).await;
    missing.difference(&absent).cloned().collect()
}

/// Reads the account's quotas and usage, as far as these new zones need them.
async fn survey<P: Provider>(
    provider: &P,
    zones: &BTreeSet<Zone>,
    view: &PlanInput<'_>,
    (headroom, watch): (&mut Headroom, &mut Watch),
) {
    let ask = provider.headroom(zones);
    let mut answer = ask.instrument(spans::step("ask for quotas")).await;
    let missing = answer.account.lacks(view.ledger.allocations(zones));
    if let Account::Listed { gone, .. } = &mut answer.account
        && !missing.is_empty()
    {
        *gone = provider.absent(&missing).await;
    }
    headroom.account.clone_from(&answer.account);
    if watch.is_full(answer.is_enough_for(zones)) {
        headroom.addresses = answer.addresses;
        headroom.nat_gateways.clone_from(&answer.nat_gateways);
    }
    watch.has_room(zones.clone(), answer);
}

/// Runs one pass.
pub async fn pass<P: Provider>(
    provider: &P,
    term: &Term,
    memory: &mut LeaderState,
    input: &PassInput<'_>,
) -> Result<Pass, ProviderError> {
    loop {
        memory.read(input).await;
        let settings = memory.settings(input.settings).await;
        let mut plan = memory.plan(provider, term, input, &settings).await?;
        if memory.schedule.failed(&plan, input.now, input.jitter) {
            continue;
        }
        if matches!(plan.action, Action::Keep) {
            memory.schedule.succeeded(&plan, input.now);
        }
        let patience = memory.schedule.clone();
        let held = memory.schedule.held(&plan, input.now);
        let applies = plan.action.mutates() && !input.dry_run && held.is_none();
        if applies {
            memory.schedule.tries(&plan, input.now, input.jitter);
        }
        // A later leader could revert a step that is not in the ledger. A change set's contents were recorded when it was created.
        let is_noted = matches!(plan.action, Action::Execute { .. })
            && !plan.is_patient()
            && memory.schedule.tried(&plan, input.now).0 <= 1;
        let note = Note {
            began: input.began,
            before: &patience,
            depends: applies && !is_noted,
        };
        if !input.dry_run && !memory.note(term, &mut plan, note).await {
            memory.schedule = patience;
            continue;
        }
        plan.unrecorded.clone_from(memory.ledger.unrecorded());
        if applies && let Some(doubt) = doubt(&plan, input).await {
            memory.schedule = patience;
            let plan = plan.with_problem(doubt);
            return Ok(memory.unapplied(plan, Outcome::Failed, input.now));
        }
        if applies {
            let owner = settings.owner.short();
            let apply = provider.apply(term, owner.as_deref(), &plan.stack, &plan.action);
            if let Err(error) = apply.instrument(spans::step("apply")).await {
                // Only a call that AWS accepted counts as an attempt. A call that failed is retried with its own backoff.
                memory.schedule = patience;
                return memory.not_sent(plan, error, input.now);
            }
        }
        return Ok(Pass {
            applied: applies,
            outcome: outcome(&plan, applies, held.filter(|_| !input.dry_run)),
            tried: memory.schedule.tried(&plan, input.now),
            plan,
        });
    }
}

/// Returns why the plan's step must not be applied: the sources have changed since the plan, or cannot be read again. The check lists all
/// sources, so it covers only steps that cannot be undone or that remove many networks.
async fn doubt(plan: &Plan, input: &PassInput<'_>) -> Option<Problem> {
    if !plan.needs_proof() {
        return None;
    }
    let confirm = input.source.confirm(input.snapshot);
    let doubt = confirm
        .instrument(spans::step("read sources again"))
        .await
        .err()?;
    let problem = plan.not_confirmed(doubt.source_name, &doubt.why);
    tracing::warn!("{problem}");
    Some(problem)
}

impl LeaderState {
    /// Returns the result of a pass whose step was not applied.
    fn unapplied(&self, plan: Plan, outcome: Outcome, now: Duration) -> Pass {
        Pass {
            applied: false,
            outcome,
            tried: self.schedule.tried(&plan, now),
            plan,
        }
    }

    /// Returns the result of a pass whose call failed. If AWS cannot revert drift here, the next pass repairs it in another way.
    fn not_sent(
        &mut self,
        plan: Plan,
        error: ProviderError,
        now: Duration,
    ) -> Result<Pass, ProviderError> {
        if !not_reverted(&mut self.schedule.watch, &plan, &error) {
            return Err(error);
        }
        tracing::info!(
            "the drift is repaired by another method, because AWS does not revert it: {}",
            error_chain::text(&error)
        );
        Ok(self.unapplied(plan, Outcome::Settled(Some(NEXT_WAY)), now))
    }

    /// Returns the settings from the flags, with the cluster as the owner of the stack.
    async fn settings(&mut self, flags: &Settings) -> Settings {
        Settings {
            owner: self.cluster.owner(&flags.owner).await,
            ..flags.clone()
        }
    }

    /// Makes the plan. If AWS does not answer, records what users request nevertheless.
    async fn plan<P: Provider>(
        &mut self,
        provider: &P,
        term: &Term,
        input: &PassInput<'_>,
        settings: &Settings,
    ) -> Result<Plan, ProviderError> {
        let view = PlanInput {
            snapshot: input.snapshot,
            settings,
            grace: self.grace,
            ledger: self.ledger.recall(),
            stack: self.ledger.stack(),
            epoch: Some(term.epoch()),
            later: self.schedule.later(input.now),
            ip_waits: self.schedule.ip_waits(input.now),
            refused: self.schedule.refusals.set_aside(input.now),
        };
        let plan = look(provider, &view, &mut self.schedule.watch).await;
        if plan.is_err() {
            self.note_unanswered(term, input).await;
        }
        let mut plan = plan?;
        self.rules = plan.rules.take();
        self.grace = plan.grace;
        Ok(plan)
    }

    async fn read(&mut self, input: &PassInput<'_>) {
        self.grace.now = input.began + input.now;
        if let Some(ledger) = self.ledger.read().await {
            self.schedule.recall(&ledger.tries, input.began, input.now);
            self.schedule.watch.recall(&ledger.repairs, self.grace.now);
            let refusals = &mut self.schedule.refusals;
            refusals.recall(&ledger.refused, input.began, input.now);
            self.grace.recall(&ledger.grace);
        }
        self.grace.observe(input.snapshot);
    }
}

/// Records that AWS cannot revert drift here, so that the next repair uses the other method. Returns whether this error says so.
fn not_reverted(watch: &mut Watch, plan: &Plan, error: &ProviderError) -> bool {
    let is_refused = matches!(plan.action, Action::Revert(_)) && error.retry == Retry::AfterFix;
    if is_refused {
        let keys = plan.not_reverted(watch);
        watch.tried(&keys);
    }
    is_refused
}

/// Returns the outcome of a pass that sent nothing, or whose call AWS accepted. `held` is the remaining wait of the step.
fn outcome(plan: &Plan, applied: bool, held: Option<Duration>) -> Outcome {
    if applied {
        return Outcome::Started;
    }
    if let Some(wait) = held {
        return Outcome::Held(wait);
    }
    match plan.action {
        Action::Refuse => Outcome::Failed,
        Action::Wait => Outcome::UnderWay,
        _ => Outcome::Settled(plan.again),
    }
}
