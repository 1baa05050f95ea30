//! A replica's way to the account: slow, lossy, throttled, and it ends with the term.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::bugs::Bug;
use super::world::World;
use crate::lease::Term;
use crate::lease::tests::process::Process;
use crate::lease::tests::secs;
use crate::model::live::{Live, Stack};
use crate::model::network::Network;
use crate::model::observed::Observed;
use crate::model::plan::Action;
use crate::model::request::Snapshot;
use crate::provider::{Provider, ProviderError, Retry};

/// How long a replica waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The account's end of the line for one replica.
pub struct Link {
    courier: Courier,
    process: Process,
    /// What the replica was shown when its pass began.
    basis: Mutex<Snapshot>,
}

#[derive(Clone)]
struct Courier {
    world: Arc<World>,
    who: usize,
    /// Until when no request arrives.
    cut: Arc<Mutex<Instant>>,
}

impl Link {
    pub fn new(world: &Arc<World>, who: usize, process: &Process) -> Self {
        Self {
            courier: Courier {
                world: Arc::clone(world),
                who,
                cut: Arc::new(Mutex::new(Instant::now())),
            },
            process: process.clone(),
            basis: Mutex::default(),
        }
    }
}

impl Provider for Link {
    async fn network(&self) -> Result<Network, ProviderError> {
        self.courier.read().await?;
        self.courier.world.account.network().await
    }

    async fn live(&self, epoch: Option<u64>, known: Option<&str>) -> Result<Live, ProviderError> {
        // Asked for once a pass, in the moment in which the pass takes its snapshot.
        let shown = self.courier.world.shared().shown[self.courier.who].clone();
        *self.basis.lock().unwrap() = shown;
        self.courier.read().await?;
        let mut live = self.courier.world.account.live(epoch, known).await?;
        if let (Bug::NeverContent, Live::Ours(stack)) = (self.courier.world.bug, &mut live) {
            stack.tags.insert("seen".to_owned(), "wrong".to_owned());
        }
        Ok(live)
    }

    async fn observe(&self, stack: &Stack) -> Result<Observed, ProviderError> {
        self.courier.read().await?;
        self.courier.world.account.observe(stack).await
    }

    async fn apply(&self, term: &Term, stack: &str, action: &Action) -> Result<(), ProviderError> {
        let (bug, mut action) = (self.courier.world.bug, action.clone());
        if let (Bug::StaleExecuted, Action::Prepare(_)) = (bug, &action) {
            let left = self.courier.world.account.prepared();
            if let Some(change_set) = left.into_iter().next() {
                action = Action::Execute { change_set };
            }
        }
        let (courier, basis) = (self.courier.clone(), self.basis.lock().unwrap().clone());
        let (epoch, stack) = (term.epoch(), stack.to_owned());
        let call = async move { courier.send(epoch, stack, action, basis).await };
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

impl Courier {
    /// Mostly short, sometimes long.
    fn delay(&self, most: Duration) -> Duration {
        let long = self.world.faulty() && fastrand::u8(0..12) == 0;
        let most = if long { most } else { most.min(secs(0.1)) };
        most.mul_f64(fastrand::f64())
    }

    /// An answer that is no answer.
    fn fault(&self) -> Result<(), ProviderError> {
        if !self.world.faulty() {
            return Ok(());
        }
        match fastrand::u8(0..40) {
            0 => Err(failed(Retry::Slowly, "Throttling")),
            1 => Err(failed(Retry::Soon, "InternalFailure")),
            _ => Ok(()),
        }
    }

    /// Whether requests get lost on their way now.
    fn is_cut(&self) -> bool {
        let (now, mut cut) = (Instant::now(), self.cut.lock().unwrap());
        if self.world.faulty() && fastrand::u8(0..60) == 0 {
            let (who, pause) = (self.who, secs(fastrand::f64() * 60.0));
            self.world.note(&format!(
                "replica {who} is cut off from the account for {pause:.1?}"
            ));
            *cut = now + pause;
        }
        now < *cut
    }

    async fn read(&self) -> Result<(), ProviderError> {
        if self.is_cut() {
            sleep(PATIENCE).await;
            return Err(failed(Retry::Soon, "Timeout"));
        }
        sleep(self.delay(secs(8.0))).await;
        self.fault()
    }

    /// Sends a call and waits for its answer.
    async fn send(
        self,
        epoch: u64,
        stack: String,
        action: Action,
        basis: Snapshot,
    ) -> Result<(), ProviderError> {
        // Signing, a new connection, a retry of the SDK: a call that is dropped by now was never made.
        sleep(self.delay(secs(12.0))).await;
        self.world.sent(self.who, epoch, named(&action));
        if self.is_cut() {
            sleep(PATIENCE).await;
            return Err(failed(Retry::Soon, "Timeout"));
        }
        self.fault()?;
        let (done, answer) = oneshot::channel();
        let back = self.delay(secs(8.0));
        let lost = self.world.faulty() && fastrand::u8(0..25) == 0;
        // It lands whether or not somebody waits for its answer.
        tokio::spawn(async move {
            sleep(self.delay(self.world.slowest)).await;
            let result = self.land(epoch, &stack, &action, &basis);
            sleep(if lost { PATIENCE * 2 } else { back }).await;
            let _nobody_waits = done.send(result);
        });
        match timeout(PATIENCE, answer).await {
            Ok(Ok(result)) => result,
            _ => Err(failed(Retry::Soon, "Timeout")),
        }
    }

    fn land(
        &self,
        epoch: u64,
        stack: &str,
        action: &Action,
        basis: &Snapshot,
    ) -> Result<(), ProviderError> {
        let (world, call, who) = (&self.world, named(action), self.who);
        let spoilt = world.faulty() && fastrand::u8(0..8) == 0;
        world.account.spoil(spoilt.then_some("a quota"));
        if world.bug == Bug::StaleExecuted {
            world.account.forget_to_compare();
        }
        let before = world.account.asked();
        let result = world.account.lands(epoch, stack, action);
        let failed = spoilt && !world.account.is_spoilt();
        world.account.spoil(None);
        match &result {
            Ok(()) => {
                let stuck =
                    failed && matches!(action, Action::Execute { .. }) && fastrand::u8(0..3) == 0;
                let end = match (failed, stuck) {
                    (false, _) => "",
                    (true, false) => ", and will be rolled back",
                    (true, true) => ", and its rollback will fail",
                };
                if stuck {
                    world.account.get_stuck();
                }
                world.note(&format!("{call} of replica {who} is accepted{end}"));
                world.shared().failures += usize::from(failed);
                world.accepted(epoch, action, basis, &before);
            }
            Err(error) => world.note(&format!("{call} of replica {who}: {error}")),
        }
        result
    }
}

fn named(action: &Action) -> &'static str {
    match action {
        Action::Keep | Action::Wait | Action::Refuse => "nothing",
        Action::Create(_) => "CreateStack",
        Action::Prepare(_) => "CreateChangeSet",
        Action::Revert(_) => "RevertDrift",
        Action::Execute { .. } => "ExecuteChangeSet",
        Action::Discard { .. } => "DeleteChangeSet",
        Action::Protect(_) => "UpdateTerminationProtection",
        Action::ContinueRollback => "ContinueUpdateRollback",
        Action::Delete { .. } => "DeleteStack",
    }
}

fn failed(retry: Retry, reason: &'static str) -> ProviderError {
    ProviderError {
        retry,
        reason,
        message: format!("the simulated network: {reason}"),
        source: None,
    }
}
