//! One pass: read, plan, note, apply at most one step. It takes no input but the world, and never waits for an operation.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::Instrument as _;

use crate::cluster::Cluster;
use crate::lease::term::Term;
use crate::ledger::Book;
use crate::model::base::ids::Zone;
use crate::model::base::problem::Problem;
use crate::model::base::settings::{OnDrift, Settings};
use crate::model::cloud::live::{Live, Phase, Stack};
use crate::model::cloud::network::{Headroom, Later, Network};
use crate::model::cloud::set_aside::SetAside;
use crate::model::drift::Drift;
use crate::model::drift::tracker::{Stage, Watch};
use crate::model::input::request::Snapshot;
use crate::model::persisted::grace::Grace;
use crate::model::persisted::recall::Recall;
use crate::model::plan;
use crate::model::plan::owner;
use crate::model::plan::types::{Action, Plan, World};
use crate::model::schedule::{Outcome, Schedule};
use crate::provider::{Provider, ProviderError, Retry};
use crate::source::Source;
use crate::spans;

/// What a pass found and did.
#[derive(Debug)]
pub struct Pass {
    pub plan: Plan,
    /// Whether the plan's step was sent to the provider.
    pub applied: bool,
    pub outcome: Outcome,
    /// How often the plan's step has been tried since all was well, and how much longer it waits.
    pub tried: (u32, Duration),
}

impl Pass {
    /// How it ended, in one word.
    pub fn outcome_name(&self) -> &'static str {
        match (&self.plan.action, self.applied) {
            (Action::Refuse, _) => "refused",
            (Action::Keep, _) => "settled",
            (_, true) => "applied",
            (_, false) => "waiting",
        }
    }
}

/// What a pass works with besides the provider.
pub struct Frame<'a> {
    pub snapshot: &'a Snapshot,
    /// Where the snapshot is from.
    pub source: &'a Source,
    pub settings: &'a Settings,
    pub dry_run: bool,
    /// The beginning of the term, since 1970.
    pub began: Duration,
    /// Since then.
    pub now: Duration,
    /// From 0 to 1.
    pub jitter: f64,
}

/// What a leader remembers from pass to pass, and the next one takes over.
pub struct Memory {
    pub schedule: Schedule,
    pub grace: Grace,
    pub book: Book,
    pub cluster: Cluster,
}

/// What is looked at.
pub struct View<'a> {
    pub snapshot: &'a Snapshot,
    pub settings: &'a Settings,
    pub grace: Grace,
    pub ledger: Recall<'a>,
    /// ARN of our stack, as far as the ledger knows it.
    pub stack: Option<&'a str>,
    pub epoch: Option<u64>,
    pub later: Later,
    pub refused: SetAside,
}

/// Reads the world and makes the plan; writes nothing.
pub async fn look<P: Provider>(
    provider: &P,
    view: &View<'_>,
    watch: &mut Watch,
) -> Result<Plan, ProviderError> {
    let read_network = || async {
        let read = provider.network().instrument(spans::step("read network"));
        let mut network = read.await?;
        network.headroom.later.clone_from(&view.later);
        network.headroom.refused.clone_from(&view.refused);
        Ok::<_, ProviderError>(network)
    };
    let read_stack = provider.live(view.epoch, view.stack);
    let (network, live) = futures::join!(
        read_network(),
        read_stack.instrument(spans::step("read stack"))
    );
    let (mut network, mut live) = (network?, live?);
    if let Live::Ours(stack) = &mut live {
        owner::set_aside_others(stack, &view.settings.owner);
    }
    watch.follow(&live);
    let at_rest = match &mut live {
        Live::Ours(stack) if stack.status.phase() == Phase::Settled => Some(stack),
        _ => None,
    };
    watch.begin(view.grace.now, at_rest.is_some());
    if let Some(stack) = at_rest {
        look_for_drift(provider, stack, watch).await;
    }
    let made = |network: &Network| {
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
    let mut plan = made(&network);
    if plan.is_doubtful() {
        // Both were read at once: the network may be from the moment before the stack came to rest.
        network = read_network().await?;
        plan = made(&network);
    }
    let zones = plan.new_zones.clone();
    if !zones.is_empty() {
        let waits = matches!(plan.action, Action::Wait);
        let headroom = headroom(provider, &zones, watch.headroom(&zones), waits).await;
        if !headroom.is_enough_for(&zones) {
            network.headroom = Headroom {
                later: network.headroom.later,
                refused: network.headroom.refused,
                ..headroom.clone()
            };
            plan = made(&network);
        }
        watch.has_room(zones, headroom);
    }
    let idle = matches!(plan.action, Action::Keep | Action::Refuse);
    watch.note(&plan.drifts, view.settings.drift == OnDrift::Repair, idle);
    Ok(plan)
}

/// Returns what the account may still have. While CloudFormation computes the change set, the answer changes nothing, so a `known` one
/// is good enough.
async fn headroom<P: Provider>(
    provider: &P,
    zones: &BTreeSet<Zone>,
    known: Option<&Headroom>,
    waits: bool,
) -> Headroom {
    match known.filter(|_| waits) {
        Some(known) => known.clone(),
        None => {
            let ask = provider.headroom(zones);
            ask.instrument(spans::step("ask for quotas")).await
        }
    }
}

/// Where it is time for it. What fails is told, and keeps nothing else from being done.
async fn look_for_drift<P: Provider>(provider: &P, stack: &mut Stack, watch: &mut Watch) {
    if watch.is_due(&stack.version) {
        let look = provider.observe(stack);
        let mut seen = look.instrument(spans::step("look for drift")).await;
        if let Ok(seen) = &mut seen {
            stack.policy = seen.policy.take().or(stack.policy.take());
        }
        watch.looked(&stack.version, seen.map_err(|error| error.to_string()));
    }
    if let Some(new) = watch.asks() {
        let ask = provider.detect(stack, new);
        let answer = ask.instrument(spans::step("confirm drift")).await;
        watch.answered(match answer {
            Err(error) if error.retry != Retry::AfterFix => None,
            answer => Some(answer.map_err(|error| error.to_string())),
        });
    }
}

/// One pass under a term.
pub async fn pass<P: Provider>(
    provider: &P,
    term: &Term,
    memory: &mut Memory,
    frame: &Frame<'_>,
) -> Result<Pass, ProviderError> {
    loop {
        memory.read(frame).await;
        let settings = memory.settings(frame.settings).await;
        let view = View {
            snapshot: frame.snapshot,
            settings: &settings,
            grace: memory.grace,
            ledger: memory.book.recall(),
            stack: memory.book.stack(),
            epoch: Some(term.epoch()),
            later: memory.schedule.later(frame.now),
            refused: memory.schedule.refusals.set_aside(frame.now),
        };
        let mut plan = look(provider, &view, &mut memory.schedule.watch).await?;
        memory.grace = plan.grace;
        if memory.schedule.failed(&plan, frame.now, frame.jitter) {
            continue;
        }
        if matches!(plan.action, Action::Keep) {
            memory.schedule.succeeded(&plan, frame.now);
        }
        let patience = memory.schedule.clone();
        let held = memory.schedule.held(&plan, frame.now);
        let applies = plan.action.mutates() && !frame.dry_run && held.is_none();
        if applies {
            memory.schedule.tries(&plan, frame.now, frame.jitter);
        }
        // Before anything is done: what is done without being noted, a later leader could take back. What a change set makes was
        // noted when it was prepared, and a later leader does not count its first execution.
        let is_noted = matches!(plan.action, Action::Execute { .. })
            && plan.new_zones.is_empty()
            && memory.schedule.tried(&plan, frame.now).0 <= 1;
        let note = Note {
            began: frame.began,
            before: &patience,
            depends: applies && !is_noted,
        };
        if !frame.dry_run && !memory.note(term, &mut plan, note).await {
            memory.schedule = patience;
            continue;
        }
        if applies && let Some(doubt) = doubt(&plan, frame).await {
            memory.schedule = patience;
            return Ok(memory.dropped(plan, doubt, frame.now));
        }
        if applies {
            let owner = settings.owner.short();
            let apply = provider.apply(term, owner.as_deref(), &plan.stack, &plan.action);
            let sent = apply.instrument(spans::step("apply")).await;
            if let Err(error) = &sent {
                // Only what AWS has accepted counts: a call that failed is repeated by the backoff of failures.
                memory.schedule = patience;
                not_reverted(&mut memory.schedule.watch, &plan, error);
            }
            sent?;
        }
        return Ok(Pass {
            applied: applies,
            outcome: outcome(&plan, applies, held.filter(|_| !frame.dry_run)),
            tried: memory.schedule.tried(&plan, frame.now),
            plan,
        });
    }
}

/// Why the plan's step is not made now: what users request is not what it was, or cannot be read again. Only what cannot be undone, or
/// takes much away, is worth the lists.
async fn doubt(plan: &Plan, frame: &Frame<'_>) -> Option<Problem> {
    if !plan.needs_proof() {
        return None;
    }
    let confirm = frame.source.confirm(frame.snapshot);
    let doubt = confirm
        .instrument(spans::step("read sources again"))
        .await
        .err()?;
    let problem = plan.not_confirmed(doubt.source_name, &doubt.why);
    tracing::warn!("{problem}");
    Some(problem)
}

impl Memory {
    /// Ends a pass whose step is not made.
    fn dropped(&self, mut plan: Plan, doubt: Problem, now: Duration) -> Pass {
        plan.problems.push(doubt);
        plan.problems.sort();
        Pass {
            applied: false,
            outcome: Outcome::Failed,
            tried: self.schedule.tried(&plan, now),
            plan,
        }
    }

    /// The flags, with the cluster that the stack belongs to.
    async fn settings(&mut self, flags: &Settings) -> Settings {
        Settings {
            owner: self.cluster.owner(&flags.owner).await,
            ..flags.clone()
        }
    }

    async fn read(&mut self, frame: &Frame<'_>) {
        self.grace.now = frame.began + frame.now;
        if let Some(ledger) = self.book.read().await {
            self.schedule.recall(&ledger.tries, frame.began, frame.now);
            self.schedule.watch.recall(&ledger.repairs, self.grace.now);
            let refusals = &mut self.schedule.refusals;
            refusals.recall(&ledger.refused, frame.began, frame.now);
            self.grace.recall(&ledger.grace);
        }
        self.grace.observe(frame.snapshot);
    }

    /// Writes into the ledger what the plan has found, and what is about to be tried. False if the plan has to be made again.
    async fn note(&mut self, term: &Term, plan: &mut Plan, note: Note<'_>) -> bool {
        let next = plan.ledger.take().map(|mut ledger| {
            ledger.tries = self.schedule.tries_made(note.began);
            ledger.refused = self.schedule.refusals.kept(note.began);
            // A repair counts when it was made: one more is better than giving up too soon.
            ledger.repairs = note.before.watch.repairs_made();
            ledger.grace = self.grace.kept();
            ledger
        });
        self.book.write(term, next, note.depends).await
    }
}

/// How what a pass has found goes into the ledger.
struct Note<'a> {
    /// The beginning of the term, since 1970.
    began: Duration,
    /// What was known before the step that is about to be tried.
    before: &'a Schedule,
    /// Whether that step depends on it.
    depends: bool,
}

/// Where AWS does not revert drift, there is another way.
fn not_reverted(watch: &mut Watch, plan: &Plan, error: &ProviderError) {
    if matches!(plan.action, Action::Revert(_)) && error.retry == Retry::AfterFix {
        let new = |drift: &&Drift| watch.stage(drift) == Stage::New;
        let keys: Vec<String> = plan.drifts.iter().filter(new).map(Drift::key).collect();
        watch.tried(&keys);
    }
}

/// How a pass ends that has sent nothing, or what AWS has accepted. `held`: how long the step waits.
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
