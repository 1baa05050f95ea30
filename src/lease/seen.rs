//! What this replica has seen of the Lease, and what follows from it: whether the Lease is dead, and what may be written.
//!
//! Nothing here trusts a wall clock. A version of the Lease is judged by how long it has been in front of us without being
//! renewed, on the local monotonic clock. Its holder counts from before it sent the renewal, we count from after we saw it, so
//! a Lease is dead here only after its holder's term has ended there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{self, Instant};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::config::MAX_LEASE_DURATION;

/// 9000-01-01T00:00:00Z: a renewal that no wall clock takes for expired.
const ALIVE: i64 = 221_845_392_000;
/// 1970-01-01T00:00:00Z: a renewal that every wall clock takes for expired.
const DEAD: i64 = 0;
/// How many of our own claims are remembered: more than can be in flight at once.
const CLAIMS: usize = 8;

/// What this replica is to the Lease. It decides what may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// May create the Lease and take a dead one.
    Candidate,
    /// May renew its own Lease and give it up, and never take one.
    Holder,
}

/// Who has the Lease, as one version of it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// By another replica, or by our name without our having claimed it.
    Other,
    /// By a claim this very process made.
    Ours,
    /// By nobody, and its last holder gave it up: it had ended its term before it wrote this.
    Released,
    /// By nobody, but nobody gave it up: new, or emptied by hand. Its last holder may still be acting.
    Vacant,
}

/// One version of the Lease.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) version: String,
    pub(super) uid: Option<String>,
    pub(super) holder: Option<String>,
    pub(super) epoch: u64,
    hold: Hold,
    /// Counted from `since`.
    dead_after: Duration,
    since: Instant,
}

impl Seen {
    /// When an unchanged Lease may be taken.
    pub(super) fn dead_at(&self) -> Instant {
        self.since + self.dead_after
    }

    /// Why it may be taken then.
    pub(super) fn why_dead(&self) -> String {
        let holder = self.holder.as_deref().unwrap_or("nobody");
        match self.hold {
            Hold::Other => format!("{holder} did not renew the Lease for {:?}", self.dead_after),
            Hold::Ours => "the Lease was still ours".into(),
            Hold::Released => "the Lease was released".into(),
            Hold::Vacant => format!("nobody held the Lease for {:?}", self.dead_after),
        }
    }
}

/// What the crate's next PATCH may do, decided with what it was last shown. Each PATCH needs a look of its own.
#[derive(Debug)]
struct Look {
    version: String,
    allows: Option<Role>,
}

/// What a PATCH wants to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Write our name, with this `acquireTime`.
    Take(Timestamp),
    Renew,
    GiveUp,
}

struct State {
    role: Role,
    seen: Option<Seen>,
    look: Option<Look>,
    /// What our last write returned. As long as nobody else writes it is the Lease; if somebody does, compare-and-swap says so.
    own: Option<Lease>,
    claims: VecDeque<Timestamp>,
    highest_epoch: i32,
    /// How long the last holder may act after its last renewal.
    last_ttl: Duration,
}

/// Shared by the guard, which fills it, and the election, which asks it.
#[derive(Clone)]
pub(super) struct Known {
    us: Arc<str>,
    ttl: Duration,
    state: Arc<Mutex<State>>,
}

impl Known {
    pub(super) fn new(us: &str, ttl: Duration) -> Self {
        Self {
            us: us.into(),
            ttl,
            state: Arc::new(Mutex::new(State {
                role: Role::Candidate,
                seen: None,
                look: None,
                own: None,
                claims: VecDeque::new(),
                highest_epoch: 0,
                last_ttl: ttl,
            })),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is complete before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn become_a(&self, role: Role) {
        let mut state = self.state();
        state.role = role;
        state.look = None;
        if role == Role::Candidate {
            state.own = None;
        }
    }

    /// The version of the Lease in front of us; `None` if there is no Lease or nothing is known.
    pub(super) fn seen(&self) -> Option<Seen> {
        self.state().seen.clone()
    }

    /// Takes note of the Lease as somebody else's answer or event shows it.
    pub(super) fn observe(&self, lease: &Lease) {
        self.note(&mut self.state(), lease);
    }

    /// Takes note that there is no Lease.
    pub(super) fn absent(&self) {
        let mut state = self.state();
        state.seen = None;
        state.look = None;
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
        // No replica writes a longer one than it may: somebody else did, and nobody acts by it.
        let its_ttl = Some(Duration::from_secs(its_ttl)).filter(|ttl| *ttl <= MAX_LEASE_DURATION);
        let its_ttl = its_ttl.unwrap_or(self.ttl);
        let acquired = spec.acquire_time.map(|time| time.0);
        let hold = match &holder {
            Some(name)
                if **name == *self.us
                    && acquired.is_some_and(|time| state.claims.contains(&time)) =>
            {
                Hold::Ours
            }
            Some(_) => Hold::Other,
            // This is what giving up leaves behind, here and in client-go. Anything less is no proof that a term has ended.
            None if acquired.is_some()
                && acquired == spec.renew_time.map(|time| time.0)
                && spec.lease_duration_seconds == Some(1) =>
            {
                Hold::Released
            }
            None => Hold::Vacant,
        };
        let dead_after = match hold {
            Hold::Ours | Hold::Released => Duration::ZERO,
            Hold::Other => {
                state.last_ttl = its_ttl.max(self.ttl);
                state.last_ttl
            }
            Hold::Vacant => state.last_ttl.max(its_ttl).max(self.ttl),
        };
        let epoch = spec.lease_transitions.unwrap_or(0).max(0);
        state.highest_epoch = state.highest_epoch.max(epoch);
        state.seen = Some(Seen {
            version,
            uid: lease.metadata.uid.clone(),
            holder,
            epoch: u64::try_from(epoch).unwrap_or(0),
            hold,
            dead_after,
            since: clock::now(),
        });
    }

    /// The Lease as the crate shall see it: complete, and with a renewal time that makes any wall clock reach our verdict.
    pub(super) fn show(&self, mut lease: Lease) -> Lease {
        let mut state = self.state();
        self.note(&mut state, &lease);
        let Some(seen) = state.seen.clone() else {
            return lease;
        };
        let ours = seen.hold == Hold::Ours;
        let dead = state.role == Role::Candidate && seen.dead_at() <= clock::now();
        let allows = match state.role {
            Role::Candidate => dead.then_some(Role::Candidate),
            Role::Holder => ours.then_some(Role::Holder),
        };
        state.look = Some(Look {
            version: seen.version,
            allows,
        });

        // Our name is shown to a holder only. A candidate that finds it takes the Lease anew, so that each term has its own
        // epoch; and a name that we did not write ourselves proves nothing.
        let named_us = seen.holder.as_deref() == Some(&*self.us);
        let hide = named_us && !(ours && state.role == Role::Holder);
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(seen.holder.filter(|_| !hide).unwrap_or_default());
        spec.lease_duration_seconds = Some(i32::try_from(self.ttl.as_secs()).unwrap_or(i32::MAX));
        // The crate adds one: no value that was ever written may make that overflow.
        spec.lease_transitions = Some(state.highest_epoch.min(i32::MAX - 1));
        let renewed =
            Timestamp::from_second(if dead { DEAD } else { ALIVE }).unwrap_or(Timestamp::MAX);
        spec.renew_time = Some(MicroTime(renewed));
        lease
    }

    /// The answer to the holder's own read, if what it wrote last still stands as far as we know.
    pub(super) fn own(&self) -> Option<Lease> {
        let state = self.state();
        (state.role == Role::Holder)
            .then(|| state.own.clone())
            .flatten()
    }

    /// The version that the write must replace, if `act` is allowed at all. Takes the look and the remembered answer with it: until
    /// the write is answered nobody knows what the Lease is.
    pub(super) fn permit(&self, act: &Act) -> Option<String> {
        let mut state = self.state();
        let look = state.look.take()?;
        let wants = match act {
            Act::Take(_) => Role::Candidate,
            Act::Renew | Act::GiveUp => Role::Holder,
        };
        if look.allows != Some(wants) || state.role != wants {
            return None;
        }
        state.own = None;
        if let Act::Take(time) = act {
            if state.claims.len() == CLAIMS {
                state.claims.pop_front();
            }
            state.claims.push_back(*time);
        }
        Some(look.version)
    }

    /// Takes note of the answer to our own write.
    pub(super) fn wrote(&self, lease: Lease) {
        let mut state = self.state();
        self.note(&mut state, &lease);
        state.own = Some(lease);
    }

    /// What a new Lease begins with: the highest epoch seen, so that epochs go on where a deleted Lease ended, and the longest
    /// time for which the holder of that Lease may still act.
    pub(super) fn newborn(&self) -> Option<(i32, i32)> {
        let state = self.state();
        let ttl = i32::try_from(state.last_ttl.max(self.ttl).as_secs()).unwrap_or(i32::MAX);
        (state.role == Role::Candidate).then_some((state.highest_epoch, ttl))
    }
}
