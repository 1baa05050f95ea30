//! The observed state of the Lease: whether it has expired, and which writes are allowed.
//!
//! No decision here uses a wall clock. A version of the Lease expires when it has been observed without a renewal for its duration,
//! on the local monotonic clock. The holder counts from before it sent the renewal, and this replica counts from after it saw that
//! version. So a Lease expires here only after the holder's term has ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{self, Instant};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::config::MAX_LEASE_DURATION;

/// 9000-01-01T00:00:00Z, a renewal time that looks fresh on any wall clock.
const ALIVE: i64 = 221_845_392_000;
/// 1970-01-01T00:00:00Z, a renewal time that looks expired on any wall clock.
const DEAD: i64 = 0;
/// The number of our own claims that are recorded, more than can be in flight at once.
const CLAIMS: usize = 8;

/// The role of this replica, which decides what it may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// May create the Lease and take an expired one.
    Candidate,
    /// May renew and release its own Lease, and never take one.
    Holder,
}

/// Who holds the Lease, by one version of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holding {
    /// Another replica holds it, or our name is in it although this process did not claim it.
    Other,
    /// This process holds it by its own claim.
    Ours,
    /// Nobody holds it, because its last holder ended its term and then released it.
    Released,
    /// Nobody holds it, but it was not released: it is new, or was emptied by hand. Its last holder may still act.
    Vacant,
}

/// One observed version of the Lease.
#[derive(Debug, Clone)]
pub(super) struct LeaseVersion {
    pub(super) version: String,
    pub(super) uid: Option<String>,
    pub(super) holder: Option<String>,
    pub(super) epoch: u64,
    hold: Holding,
    /// Counted from `since`.
    dead_after: Duration,
    since: Instant,
}

impl LeaseVersion {
    /// Returns the time from which the Lease may be taken if it does not change.
    pub(super) fn dead_at(&self) -> Instant {
        self.since + self.dead_after
    }

    /// Returns why the Lease may be taken from then on.
    pub(super) fn why_dead(&self) -> String {
        let holder = self.holder.as_deref().unwrap_or("nobody");
        match self.hold {
            Holding::Other => format!("{holder} did not renew the Lease for {:?}", self.dead_after),
            Holding::Ours => "the Lease was still ours".into(),
            Holding::Released => "the Lease was released".into(),
            Holding::Vacant => format!("nobody held the Lease for {:?}", self.dead_after),
        }
    }
}

/// What the crate's next PATCH may do, decided when it last read the Lease. Each PATCH needs its own permission.
#[derive(Debug)]
struct Permission {
    version: String,
    allows: Option<Role>,
}

/// What a PATCH would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WriteIntent {
    /// Write our name, with this `acquireTime`.
    Take(Timestamp),
    Renew,
    GiveUp,
}

struct State {
    role: Role,
    seen: Option<LeaseVersion>,
    permission: Option<Permission>,
    /// The response to our last write. It is the current Lease unless another writer has changed it, which compare-and-swap detects.
    own: Option<Lease>,
    claims: VecDeque<Timestamp>,
    highest_epoch: i32,
    /// The longest time for which the last holder may act after its last renewal.
    last_ttl: Duration,
}

/// The observed Lease. The CAS layer updates it and the election reads it.
#[derive(Clone)]
pub(super) struct LeaseState {
    us: Arc<str>,
    ttl: Duration,
    state: Arc<Mutex<State>>,
}

impl LeaseState {
    pub(super) fn new(us: &str, ttl: Duration) -> Self {
        Self {
            us: us.into(),
            ttl,
            state: Arc::new(Mutex::new(State {
                role: Role::Candidate,
                seen: None,
                permission: None,
                own: None,
                claims: VecDeque::new(),
                highest_epoch: 0,
                last_ttl: ttl,
            })),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code under the lock panics in the middle of a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn become_a(&self, role: Role) {
        let mut state = self.state();
        state.role = role;
        state.permission = None;
        if role == Role::Candidate {
            state.own = None;
        }
    }

    /// Returns the latest observed version, or `None` if there is no Lease or nothing is known.
    pub(super) fn seen(&self) -> Option<LeaseVersion> {
        self.state().seen.clone()
    }

    /// Records the Lease from a response or watch event.
    pub(super) fn observe(&self, lease: &Lease) {
        self.note(&mut self.state(), lease);
    }

    /// Records that there is no Lease.
    pub(super) fn absent(&self) {
        let mut state = self.state();
        state.seen = None;
        state.permission = None;
        state.own = None;
    }

    fn note(&self, state: &mut State, lease: &Lease) {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        if state
            .seen
            .as_ref()
            .is_some_and(|seen| seen.version == version)
        {
            return;
        }
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
        let its_ttl = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
        // No replica writes a duration above the maximum. A longer one was written by hand, and no holder relies on it.
        let its_ttl = Some(Duration::from_secs(its_ttl)).filter(|ttl| *ttl <= MAX_LEASE_DURATION);
        let its_ttl = its_ttl.unwrap_or(self.ttl);
        let acquired = spec.acquire_time.map(|time| time.0);
        let hold = match &holder {
            Some(name)
                if **name == *self.us
                    && acquired.is_some_and(|time| state.claims.contains(&time)) =>
            {
                Holding::Ours
            }
            Some(_) => Holding::Other,
            // A release leaves these values, here and in client-go. Other values do not prove that a term has ended.
            None if acquired.is_some()
                && acquired == spec.renew_time.map(|time| time.0)
                && spec.lease_duration_seconds == Some(1) =>
            {
                Holding::Released
            }
            None => Holding::Vacant,
        };
        let dead_after = match hold {
            Holding::Ours | Holding::Released => Duration::ZERO,
            Holding::Other => {
                state.last_ttl = its_ttl.max(self.ttl);
                state.last_ttl
            }
            Holding::Vacant => state.last_ttl.max(its_ttl).max(self.ttl),
        };
        let epoch = spec.lease_transitions.unwrap_or(0).max(0);
        state.highest_epoch = state.highest_epoch.max(epoch);
        state.seen = Some(LeaseVersion {
            version,
            uid: lease.metadata.uid.clone(),
            holder,
            epoch: u64::try_from(epoch).unwrap_or(0),
            hold,
            dead_after,
            since: clock::now(),
        });
    }

    /// Returns the Lease for the crate to read: complete, and with a renewal time that gives our decision on any wall clock.
    pub(super) fn show(&self, mut lease: Lease) -> Lease {
        let mut state = self.state();
        self.note(&mut state, &lease);
        let Some(seen) = state.seen.clone() else {
            return lease;
        };
        let ours = seen.hold == Holding::Ours;
        let dead = state.role == Role::Candidate && seen.dead_at() <= clock::now();
        let allows = match state.role {
            Role::Candidate => dead.then_some(Role::Candidate),
            Role::Holder => ours.then_some(Role::Holder),
        };
        state.permission = Some(Permission {
            version: seen.version,
            allows,
        });

        // Only a holder reads our name. A candidate takes its own old Lease as a new term, so that each term has its own epoch.
        // A name that this process did not write proves nothing.
        let named_us = seen.holder.as_deref() == Some(&*self.us);
        let hide = named_us && !(ours && state.role == Role::Holder);
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(seen.holder.filter(|_| !hide).unwrap_or_default());
        spec.lease_duration_seconds = Some(i32::try_from(self.ttl.as_secs()).unwrap_or(i32::MAX));
        // The crate adds one, which must not overflow.
        spec.lease_transitions = Some(state.highest_epoch.min(i32::MAX - 1));
        let renewed =
            Timestamp::from_second(if dead { DEAD } else { ALIVE }).unwrap_or(Timestamp::MAX);
        spec.renew_time = Some(MicroTime(renewed));
        lease
    }

    /// Returns the holder's last write, if it is still current as far as this replica knows.
    pub(super) fn own(&self) -> Option<Lease> {
        let state = self.state();
        (state.role == Role::Holder)
            .then(|| state.own.clone())
            .flatten()
    }

    /// Returns the version that a write must replace, if `act` is allowed. Clears the permission and the last response, because the
    /// state of the Lease is unknown until the write is answered.
    pub(super) fn permit(&self, act: &WriteIntent) -> Option<String> {
        let mut state = self.state();
        let permission = state.permission.take()?;
        let wants = match act {
            WriteIntent::Take(_) => Role::Candidate,
            WriteIntent::Renew | WriteIntent::GiveUp => Role::Holder,
        };
        if permission.allows != Some(wants) || state.role != wants {
            return None;
        }
        state.own = None;
        if let WriteIntent::Take(time) = act {
            if state.claims.len() == CLAIMS {
                state.claims.pop_front();
            }
            state.claims.push_back(*time);
        }
        Some(permission.version)
    }

    /// Records the response to our own write.
    pub(super) fn wrote(&self, lease: Lease) {
        let mut state = self.state();
        self.note(&mut state, &lease);
        state.own = Some(lease);
    }

    /// Returns the epoch and the duration of a new Lease: the highest epoch seen, so that epochs continue after a deletion, and the
    /// longest time for which the previous holder may still act.
    pub(super) fn newborn(&self) -> Option<(i32, i32)> {
        let state = self.state();
        let ttl = i32::try_from(state.last_ttl.max(self.ttl).as_secs()).unwrap_or(i32::MAX);
        (state.role == Role::Candidate).then_some((state.highest_epoch, ttl))
    }
}
