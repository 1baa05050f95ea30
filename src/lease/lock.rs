//! kube-leader-election's lock behind our guard: one request to it, bounded in time, and what came of it.

use std::error::Error as StdError;
use std::time::Duration;

use kube::Client;
use kube_leader_election::{Error, LeaseLock, LeaseLockParams, LeaseLockResult};

use super::config::ElectionConfig;
use crate::clock;

/// What came of an attempt to take or renew the Lease.
pub(super) enum Attempt {
    /// The API server's answer names us as the holder, in this epoch.
    Ours(u64),
    /// The Lease is another's, or too young to be taken.
    NotOurs,
    Failed(Fault),
}

/// Why a request about the Lease failed.
pub(super) struct Fault {
    pub(super) text: String,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Somebody else wrote the Lease between our read and our write.
    Conflict,
    /// A holder found no Lease.
    Deleted,
    /// The Lease that was to be given up is another's.
    NotOurs,
    /// Anything else: it may pass.
    Other,
}

pub(super) struct Lock {
    inner: LeaseLock,
    us: String,
}

impl Lock {
    /// `client` must have the guard on its stack.
    pub(super) fn new(client: Client, config: &ElectionConfig) -> Self {
        let params = LeaseLockParams {
            lease_name: config.name.clone(),
            holder_id: config.identity.clone(),
            lease_ttl: config.lease_duration,
        };
        Self {
            inner: LeaseLock::new(client, &config.namespace, params),
            us: config.identity.clone(),
        }
    }

    /// Takes the Lease or renews it, as the guard allows, within `limit`.
    pub(super) async fn take_or_renew(&self, limit: Duration) -> Attempt {
        if let Err(fault) = Fault::of_clock() {
            return Attempt::Failed(fault);
        }
        let answer = match clock::timeout(limit, self.inner.try_acquire_or_renew()).await {
            Ok(Ok(LeaseLockResult::Acquired(lease))) => lease,
            Ok(Ok(LeaseLockResult::NotAcquired(_))) => return Attempt::NotOurs,
            Ok(Err(error)) => return Attempt::Failed(error.into()),
            Err(_) => return Attempt::Failed(Fault::no_answer(limit)),
        };
        // The crate calls a Lease acquired that the guard has created without a holder.
        let spec = answer.spec.unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(self.us.as_str()) {
            return Attempt::NotOurs;
        }
        Attempt::Ours(u64::try_from(spec.lease_transitions.unwrap_or(0)).unwrap_or(0))
    }

    /// Gives the Lease up within `limit`, if it is ours.
    pub(super) async fn give_up(&self, limit: Duration) -> Result<(), Fault> {
        Fault::of_clock()?;
        match clock::timeout(limit, self.inner.step_down()).await {
            Ok(done) => done.map_err(Fault::from),
            Err(_) => Err(Fault::no_answer(limit)),
        }
    }
}

impl Fault {
    /// The crate panics where the wall clock shows a year that it cannot write.
    fn of_clock() -> Result<(), Self> {
        match clock::wall_is_usable() {
            true => Ok(()),
            false => Err(Self {
                text: "the clock of this machine is past the year 9999: set it".to_owned(),
                kind: Kind::Other,
            }),
        }
    }

    fn no_answer(limit: Duration) -> Self {
        Self {
            text: format!("no answer from the API server within {limit:.1?}"),
            kind: Kind::Other,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let code = |error: &kube::Error| match error {
            kube::Error::Api(status) => status.code,
            _ => 0,
        };
        let kind = match &error {
            Error::AcquireLease(e)
            | Error::RenewLease(e)
            | Error::ReleaseLease(e)
            | Error::CreateLease(e)
                if code(e) == 409 =>
            {
                Kind::Conflict
            }
            // A candidate may create the Lease; a holder that tries to is stopped by the guard.
            Error::CreateLease(kube::Error::Service(_)) => Kind::Deleted,
            Error::ReleaseLockWhenNotLeading { .. } => Kind::NotOurs,
            _ => Kind::Other,
        };
        let text = match &error {
            Error::CreateLease(e) if code(e) == 403 => format!(
                "the Lease is not there and may not be created ({}): install the chart again or apply deploy/manifests.yaml, which \
                 make it",
                chain(e)
            ),
            error => chain(error),
        };
        Self { text, kind }
    }
}

/// The error with its causes, leaving out those whose text an outer one repeats.
pub(super) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
