//! Wraps the provider of one replica: its calls are slow, lost or throttled, and end with the term.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::bugs::Bug;
use super::invariants::Invariant;
use super::network_faults::{Delivery, failed, refused};
use super::replaced_ips::Named;
use super::replica::{CLUSTER, RIVAL};
use super::script::{Endpoint, Stage};
use super::world::World;
use super::{config_maps, gaps, planted, planted_lists};
use crate::lease::Term;
use crate::lease::tests::process::Process;
use crate::model::base::ids::{ObjectId, Zone};
use crate::model::cloud::change_set_name::is_revert;
use crate::model::cloud::live::{Live, Stack};
use crate::model::cloud::network::{Headroom, Network, OtherTable};
use crate::model::cloud::observed::{Address, Observed};
use crate::model::cloud::static_ip::Account;
use crate::model::input::request::{Object, Snapshot};
use crate::model::plan::types::Action;
use crate::provider::memory::owners;
use crate::provider::{Provider, ProviderError, Retry};

/// The timeout of a call.
const PATIENCE: Duration = Duration::from_secs(20);

/// The epoch of a call, and the short form of its cluster.
type By = (u64, Option<String>);

/// The provider of one replica.
pub struct ProviderWrapper {
    courier: CallSender,
    process: Process,
    /// The snapshot that the replica had when its pass began.
    basis: Mutex<Snapshot>,
    /// Whether another cluster owned the stack when the pass read it.
    rivals: AtomicBool,
}

/// The basis of a replica's decision.
#[derive(Clone)]
pub struct Basis {
    pub shown: Snapshot,
    /// The true state at the time of the replica's last read.
    pub truth: BTreeMap<ObjectId, Object>,
    /// The zones that `--remove-zone` of its process names.
    pub removes: BTreeSet<Zone>,
    /// The address that the flags of its process name.
    pub own: Option<Named>,
}

#[derive(Clone)]
struct CallSender {
    world: Arc<World>,
    who: usize,
}

impl ProviderWrapper {
    pub fn new(world: &Arc<World>, who: usize, process: &Process) -> Self {
        Self {
            courier: CallSender {
                world: Arc::clone(world),
                who,
            },
            process: process.clone(),
            basis: Mutex::default(),
            rivals: AtomicBool::default(),
        }
    }
}

impl Provider for ProviderWrapper {
    async fn network(&self) -> Result<Network, ProviderError> {
        self.courier.read().await?;
        let mut network = self.courier.world.in_use().network().await?;
        gaps::in_network(&self.courier.world, &mut network);
        self.courier.trip(Stage::Reading, &self.process);
        if self.courier.world.bug == Bug::RepairedForEver {
            planted::other_routes(&self.courier.world, &mut network);
        }
        if self.courier.world.bug == Bug::TableDropped {
            let is_made = |table: &OtherTable| !table.tags.is_empty();
            network.other_tables.retain(|_, table| is_made(table));
        }
        if self.courier.world.bug == Bug::ListRoomUnderrated {
            planted_lists::underrate(&mut network);
        }
        self.courier.world.hide_account(&mut network);
        Ok(network)
    }

    async fn absent(&self, ids: &BTreeSet<String>) -> BTreeSet<String> {
        match self.courier.read().await {
            _ if self.courier.world.bug == Bug::AbsenceTrusted => ids.clone(),
            Ok(()) => self.courier.world.in_use().absent(ids).await,
            Err(_) => BTreeSet::new(),
        }
    }

    async fn live(&self, epoch: Option<u64>, known: Option<&str>) -> Result<Live, ProviderError> {
        // This runs once per pass.
        let basis = self.courier.world.shared().basis[self.courier.who].clone();
        *self.basis.lock().unwrap() = basis;
        self.courier.read().await?;
        let mut live = self.courier.world.in_use().live(epoch, known).await?;
        if let (Bug::NeverContent, Live::Ours(stack)) = (self.courier.world.bug, &mut live) {
            stack.tags.insert("seen".to_owned(), "wrong".to_owned());
        }
        let is_rivals = |stack: &Stack| owners::names(stack, RIVAL);
        let rivals = matches!(&live, Live::Ours(stack) if is_rivals(stack));
        self.rivals.store(rivals, Ordering::Relaxed);
        if let (Bug::OwnerNotCompared, true, Live::Ours(stack)) =
            (self.courier.world.bug, rivals, &mut live)
        {
            owners::name(stack, CLUSTER);
        }
        if let Live::Ours(stack) = &mut live {
            planted::unread(self.courier.world.bug, stack);
            if self.courier.world.bug == Bug::OrderCompared {
                planted_lists::differ(stack);
            }
            if self.courier.world.bug == Bug::EipReleased {
                planted::looks_retained(stack);
            }
        }
        Ok(live)
    }

    async fn observe(
        &self,
        stack: &Stack,
        ips: &BTreeSet<String>,
    ) -> Result<Observed, ProviderError> {
        self.courier.read().await?;
        let mut seen = self.courier.world.in_use().observe(stack, ips).await?;
        gaps::in_observed(&self.courier.world, &mut seen);
        if self.courier.world.bug == Bug::DeadEndTaken {
            seen.gateways.values_mut().for_each(planted::looks_well);
        }
        Ok(seen)
    }

    async fn addresses(
        &self,
        ips: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Address>, ProviderError> {
        self.courier.read().await?;
        self.courier.world.in_use().addresses(ips).await
    }

    async fn static_ips(&self) -> Account {
        // One read in a term. Without a message of its own, each seed keeps the messages that it had.
        self.courier.world.in_use().static_ips().await
    }

    async fn headroom(&self, zones: &BTreeSet<Zone>) -> Headroom {
        let mut headroom = match self.courier.read().await {
            Ok(()) => self.courier.world.in_use().headroom(zones).await,
            Err(error) => Headroom {
                account: Account::Unanswered(error.to_string()),
                ..Headroom::default()
            },
        };
        if self.courier.world.bug == Bug::FormerIpIgnored {
            headroom.account = Account::NotAsked;
        }
        headroom
    }

    async fn apply(
        &self,
        term: &Term,
        owner: Option<&str>,
        stack: &str,
        action: &Action,
    ) -> Result<(), ProviderError> {
        if self.rivals.load(Ordering::Relaxed) {
            let (who, call) = (self.courier.who, action.name());
            let text = format!("replica {who} decided on {call} for a stack of another cluster");
            self.courier.world.fail(Invariant::OneOwner, text);
        }
        let (bug, mut action) = (self.courier.world.bug, action.clone());
        if bug == Bug::EipReleased
            && let Action::Create(template) | Action::Prepare(template) = &mut action
        {
            planted::releases_eips(&mut template.text);
        }
        if let Action::Create(template) | Action::Prepare(template) = &mut action {
            planted_lists::in_template(&self.courier.world, template);
        }
        if let Action::Prepare(template) = &action {
            let account = &self.courier.world.account;
            let left = match bug {
                Bug::StaleExecuted => account.prepared().into_iter().next(),
                Bug::GapLeft => account.still_wanted(template),
                _ => None,
            };
            let mut template = template.clone();
            planted::in_template(bug, &mut template, account).await;
            action = Action::Prepare(template);
            if let Some(change_set) = left {
                action = Action::Execute { change_set };
            }
        }
        let (courier, shown) = (self.courier.clone(), self.basis.lock().unwrap().clone());
        let truth = courier.world.shared().truth[courier.who].clone();
        let removes = courier.world.named_to(courier.who);
        let own = courier.world.own_ip_of(courier.who);
        let basis = Basis {
            shown,
            truth,
            removes,
            own,
        };
        if let (Bug::Starved, Action::Execute { change_set }) = (bug, &action)
            && courier
                .world
                .account
                .adds_more(change_set, &config_maps::entries(&basis.shown.objects))
        {
            let change_set = change_set.clone();
            action = Action::Discard { change_set };
        }
        let by = (term.epoch(), owner.map(str::to_owned));
        let stack = stack.to_owned();
        let process = self.process.clone();
        let call = async move { courier.send(&process, by, stack, action, basis).await };
        if bug == Bug::TermUnchecked {
            let task = tokio::spawn(self.process.run(call));
            return task
                .await
                .unwrap_or_else(|_| Err(failed(Retry::Soon, "Aborted")));
        }
        let over = |_| failed(Retry::Soon, "TermOver");
        term.bound(call).await.map_err(over)?
    }
}

impl CallSender {
    fn luck(&self, most: f64) -> Delivery {
        let mut network_faults = self.world.network_faults();
        network_faults.luck(self.who, Endpoint::Account, most)
    }

    /// Stops the process if it is to freeze at this stage. The process continues no earlier than the next await.
    fn trip(&self, here: Stage, process: &Process) {
        let trip = &mut self.world.shared().trips[self.who];
        if let Some((_, lasts)) = trip.take_if(|(stage, _)| *stage == here) {
            process.stop(lasts);
        }
    }

    async fn read(&self) -> Result<(), ProviderError> {
        let luck = self.luck(8.0);
        if luck.lost || luck.unanswered {
            sleep(PATIENCE).await;
            return Err(failed(Retry::Soon, "Timeout"));
        }
        sleep(luck.before + luck.after).await;
        luck.error.map_or(Ok(()), |error| Err(refused(error)))
    }

    /// Sends a call and waits for its response.
    async fn send(
        self,
        process: &Process,
        by: By,
        stack: String,
        action: Action,
        basis: Basis,
    ) -> Result<(), ProviderError> {
        // Signing, a new connection and retries of the SDK take time. A call that is dropped by now was never sent.
        self.trip(Stage::Sending, process);
        sleep(self.luck(12.0).before).await;
        self.world.sent(self.who, by.0, action.name());
        let luck = self.luck(self.world.slowest.as_secs_f64());
        if luck.lost {
            sleep(PATIENCE).await;
            return Err(failed(Retry::Soon, "Timeout"));
        }
        if let Some(error) = luck.error {
            return Err(refused(error));
        }
        self.trip(Stage::Waiting, process);
        let (done, answer) = oneshot::channel();
        // The call arrives even if its sender no longer waits.
        tokio::spawn(async move {
            sleep(luck.before).await;
            let result = self.land(&by, &stack, &action, &basis);
            if let Some(later) = luck.again {
                let (courier, stack, action) = (self.clone(), stack.clone(), action.clone());
                tokio::spawn(async move {
                    sleep(later).await;
                    let _nobody_waits = courier.land(&by, &stack, &action, &basis);
                });
            }
            sleep(if luck.unanswered {
                PATIENCE
            } else {
                luck.after
            })
            .await;
            let _nobody_waits = done.send(result);
        });
        match timeout(PATIENCE, answer).await {
            Ok(Ok(result)) => result,
            _ => Err(failed(Retry::Soon, "Timeout")),
        }
    }

    fn land(
        &self,
        by: &By,
        stack: &str,
        action: &Action,
        basis: &Basis,
    ) -> Result<(), ProviderError> {
        let (world, call, who) = (&self.world, action.name(), self.who);
        let by = (by.0, by.1.as_deref());
        if let Some(result) = world.lands_elsewhere(by, stack, action) {
            return result;
        }
        let spoilt = world.shared().spoilt;
        if world.bug == Bug::StaleExecuted {
            world.account.forget_to_compare();
        }
        // No other action removes routes.
        let before = match action {
            Action::Execute { .. } => world.account.asked(),
            // A stack whose creation failed has no routes to lose.
            Action::Delete { .. } if world.account.has_made() => world.account.asked(),
            _ => BTreeSet::new(),
        };
        let executed = match action {
            Action::Execute { change_set } => Some(change_set),
            _ => None,
        };
        world.tries_lists(executed);
        let adds = executed.filter(|_| spoilt.is_some());
        let adds = adds.map_or_else(BTreeSet::new, |it| world.account.added_by(it));
        let repairs = world.repairs(action);
        let zones = executed.map_or_else(BTreeMap::new, |_| world.account.zone_ips());
        let reverts = executed.is_some_and(|change_set| is_revert(change_set));
        world.account.spoil(spoilt.map(|_| "a quota"));
        let result = world.account.lands(by, stack, action);
        match (&result, action) {
            (Err(_), Action::Revert(_)) => world.has_repaired(&repairs),
            (Ok(()), Action::Revert(_)) => world.account.spoil_reversion(world.reverting),
            (Ok(()), _) => world.has_repaired(&repairs),
            _ => {}
        }
        if reverts && result.is_ok() {
            world.account.bend_reversion(world.reverting);
        }
        let failed = spoilt.is_some() && !world.account.is_spoilt();
        world.account.spoil(None);
        match &result {
            Ok(()) => {
                let stuck = spoilt == Some(true) && executed.is_some();
                let end = match (failed, stuck) {
                    (false, _) => "",
                    (true, false) => ", and will be rolled back",
                    (true, true) => ", and its rollback will fail",
                };
                if failed {
                    let mut shared = world.shared();
                    (shared.spoilt, shared.failures) = (None, shared.failures + 1);
                    shared.adds = adds.into_iter().map(|(_, cidr)| cidr).collect();
                }
                if failed && stuck {
                    world.account.get_stuck();
                }
                world.note(&format!("{call} of replica {who} is accepted{end}"));
                world.judge_zones(&zones, basis);
                world.accepted(by.0, action, basis, &before);
            }
            Err(error) => world.note(&format!("{call} of replica {who}: {error}")),
        }
        result
    }
}
