//! Calls kube-leader-election, with a timeout, and classifies the result.

use std::time::{Duration, SystemTime};

use kube::Client;
use kube_leader_election::{Error, LeaseLock, LeaseLockParams, LeaseLockResult};

use super::config::ElectionConfig;
use crate::{clock, error_chain};

/// The result of an attempt to take or renew the Lease.
pub(super) enum Attempt {
    /// The API server's response names this replica as the holder, in this epoch.
    Ours(u64),
    /// Another replica holds the Lease, or it is too new to be taken.
    NotOurs,
    Failed(RequestError),
}

/// Why a request about the Lease failed.
pub(super) struct RequestError {
    pub(super) text: String,
    pub(super) kind: ErrorKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorKind {
    /// Another writer changed the Lease between our read and our write.
    Conflict,
    /// The Lease was deleted while this replica held it.
    Deleted,
    /// Another replica holds the Lease that was to be released.
    NotOurs,
    /// Any other error, which a retry may fix.
    Other,
}

pub(super) struct LeaseClient {
    inner: LeaseLock,
    us: String,
}

impl LeaseClient {
    /// Creates the client. `client` must have the [`CasLayer`](super::cas_layer::CasLayer) on its stack.
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

    /// Takes or renews the Lease within `limit`.
    pub(super) async fn take_or_renew(&self, limit: Duration) -> Attempt {
        if let Err(fault) = RequestError::of_clock(SystemTime::now()) {
            return Attempt::Failed(fault);
        }
        let answer = match clock::timeout(limit, self.inner.try_acquire_or_renew()).await {
            Ok(Ok(LeaseLockResult::Acquired(lease))) => lease,
            Ok(Ok(LeaseLockResult::NotAcquired(_))) => return Attempt::NotOurs,
            Ok(Err(error)) => return Attempt::Failed(error.into()),
            Err(_) => return Attempt::Failed(RequestError::no_answer(limit)),
        };
        // The crate reports a new Lease as acquired, but the CAS layer creates it without a holder.
        let spec = answer.spec.unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(self.us.as_str()) {
            return Attempt::NotOurs;
        }
        Attempt::Ours(u64::try_from(spec.lease_transitions.unwrap_or(0)).unwrap_or(0))
    }

    /// Releases the Lease within `limit`, if this replica holds it.
    pub(super) async fn give_up(&self, limit: Duration) -> Result<(), RequestError> {
        RequestError::of_clock(SystemTime::now())?;
        match clock::timeout(limit, self.inner.step_down()).await {
            Ok(done) => done.map_err(RequestError::from),
            Err(_) => Err(RequestError::no_answer(limit)),
        }
    }
}

impl RequestError {
    /// Returns an error if the wall clock shows a year that the crate cannot format, on which it would panic.
    fn of_clock(wall: SystemTime) -> Result<(), Self> {
        match clock::is_usable(wall) {
            true => Ok(()),
            false => Err(Self {
                text: "the clock of this machine is past the year 9999: set it".to_owned(),
                kind: ErrorKind::Other,
            }),
        }
    }

    fn no_answer(limit: Duration) -> Self {
        Self {
            text: format!("no answer from the API server within {limit:.1?}"),
            kind: ErrorKind::Other,
        }
    }
}

impl From<Error> for RequestError {
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
                ErrorKind::Conflict
            }
            // A candidate may create the Lease; for a holder, the CAS layer refuses it.
            Error::CreateLease(kube::Error::Service(_)) => ErrorKind::Deleted,
            Error::ReleaseLockWhenNotLeading { .. } => ErrorKind::NotOurs,
            _ => ErrorKind::Other,
        };
        let text = match &error {
            Error::CreateLease(e) if code(e) == 403 => format!(
                "the Lease does not exist and may not be created ({}): install the chart again or apply deploy/manifests.yaml, which \
                 create it",
                error_chain::text(e)
            ),
            error => error_chain::text(error),
        };
        Self { text, kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_past_the_year_9999_is_an_error_not_a_panic() {
        let year_11476 = SystemTime::UNIX_EPOCH + Duration::from_secs(300_000_000_000);
        let error = RequestError::of_clock(year_11476).expect_err("such a year");
        assert!(error.text.contains("past the year 9999"), "{}", error.text);
        assert!(RequestError::of_clock(SystemTime::now()).is_ok());
    }
}
