//! Credentials of another account, in which the stack does not exist, for a while. The stack and its static IPs do not change meanwhile.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::bugs::Bug;
use super::rare::Rare;
use super::script::{Script, StackEdit};
use super::world::World;
use crate::model::base::reason::Reason;
use crate::model::cloud::network::Network;
use crate::model::plan::types::Action;
use crate::model::status::Told;
use crate::provider::ProviderError;
use crate::provider::memory::MemoryProvider;
use crate::provider::memory::quota_faults::ROUTES;

const NAME: &str = "111111111111";
const OTHER: &str = "222222222222";

/// The other account.
pub struct OtherAccount {
    account: MemoryProvider,
    until: Mutex<Option<Instant>>,
}

impl OtherAccount {
    /// Creates the other account. If the history has a time with its credentials, `account` gets a name as well.
    pub fn new(account: &MemoryProvider, script: &Script) -> Self {
        let other = MemoryProvider::other(OTHER);
        other.set_pace(script.pace());
        other.set_route_quota(ROUTES);
        if (script.rare()).any(|rare| matches!(rare, Rare::OtherAccount { .. })) {
            account.set_account(NAME);
        }
        Self {
            account: other,
            until: Mutex::default(),
        }
    }
}

impl World {
    /// Returns the account that the credentials belong to now.
    pub fn in_use(&self) -> &MemoryProvider {
        match self.is_elsewhere() {
            true => &self.other.account,
            false => &self.account,
        }
    }

    /// Delivers a call to the other account. None if the credentials are right.
    pub fn lands_elsewhere(
        &self,
        by: (u64, Option<&str>),
        stack: &str,
        action: &Action,
    ) -> Option<Result<(), ProviderError>> {
        if !self.is_elsewhere() {
            return None;
        }
        let result = self.other.account.lands(by, stack, action);
        let call = action.name();
        self.note(&format!("{call} reaches the other account: {result:?}"));
        Some(result)
    }

    /// Whether the ledger may lack static IPs: it was damaged, or has those of the other account since a stack was created there.
    pub fn forgets_ips(&self) -> bool {
        self.ledger_lost || !self.other.account.sight().ips.is_empty()
    }

    /// Plants the bug that nobody knows which account this is.
    pub fn hide_account(&self, network: &mut Network) {
        if self.bug == Bug::AccountHidden {
            network.account = None;
        }
    }

    /// Deletes a stack that a leader created for the other account's VPC, because the credentials changed during its pass. The controller leaves
    /// such a stack alone, and the runbook tells who reads `StackInAnotherVpc` to delete it.
    pub fn delete_stray_stack(&self) {
        let reason = Reason::StackInAnotherVpc.to_string();
        let is_it = |told: &Told| told.reason == reason;
        let is_told = || {
            let published = self.published();
            published.is_some_and(|it| it.status.problems.iter().any(is_it))
        };
        if self.account.has_stray_stack() && is_told() {
            self.note("an operator deletes the stack, which is for another VPC");
            self.edit_stack(StackEdit::Deletes);
        }
    }

    pub fn is_elsewhere(&self) -> bool {
        let until = *self.other.until.lock().unwrap();
        until.is_some_and(|until| until > Instant::now())
    }
}

/// Gives all replicas the credentials of the other account.
pub fn switch(world: &Arc<World>, lasts: Duration) {
    let until = Instant::now() + lasts;
    *world.other.until.lock().unwrap() = Some(until);
    // A leader may act on an earlier observation, and a change of a while ago may not have been seen.
    world.is_tight_for(lasts);
    let world = Arc::clone(world);
    tokio::spawn(async move {
        sleep_until(until).await;
        world.note("the credentials are right again");
        world.edited.notify_waiters();
    });
}
