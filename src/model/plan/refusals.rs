//! Keeps the routes that AWS refused from pass to pass: since when, how often, and when each is tried again. Time is an argument: the
//! duration since the term began.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::model::base::ids::TableId;
use crate::model::cloud::set_aside::{Key, SetAside, Waits};
use crate::model::persisted::grace::whole_seconds;
use crate::model::persisted::refusal_record::{Kept, Kepts};
use crate::model::plan::types::Failure;

/// The first wait of a refused route. Each failed attempt fails the whole change, for all tenants.
const FIRST: Duration = Duration::from_secs(120);
const LAST: Duration = Duration::from_secs(1_800);
/// The maximum number of characters of AWS's text that are kept.
const MAX_WHY: usize = 300;
/// The maximum number of refusals that are kept.
const MAX: usize = 100;

#[derive(Clone, Debug)]
struct Refusal {
    /// The time of the last refusal. Tables that one failure concerns wait equally long.
    at: Duration,
    times: u32,
    not_before: Duration,
    why: String,
    gateway: Option<String>,
    room: usize,
    /// Whether the route failed only in another table.
    beside: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Refusals {
    known: BTreeMap<Key, Refusal>,
    /// The operation that was counted last, and (`failed`) the last one that failed.
    seen: Option<String>,
    failed: Option<String>,
    /// The number of consecutive changes that failed, without retries.
    streak: u32,
    additions: Option<usize>,
    /// The new routes of the change that was executed last. None if another leader executed it.
    attempt: Option<BTreeSet<(TableId, Ipv4Net)>>,
}

impl Refusals {
    /// Returns the routes that plans leave out now, and the limit of additions.
    pub fn set_aside(&self, now: Duration) -> SetAside {
        let waits = |(key, refusal): (&Key, &Refusal)| {
            let waits = Waits {
                why: refusal.why.clone(),
                left: refusal.not_before.saturating_sub(now),
                gateway: refusal.gateway.clone(),
                room: refusal.room,
            };
            (key.clone(), waits)
        };
        SetAside {
            routes: self.known.iter().map(waits).collect(),
            additions: self.additions,
            ..SetAside::default()
        }
    }

    /// Notes the routes that a change is about to add.
    pub fn tries(&mut self, attempt: &BTreeSet<(TableId, Ipv4Net)>) {
        self.attempt = Some(attempt.clone());
    }

    /// Notes the result of the last operation. Returns true if it failed and the failure is new.
    pub fn note(&mut self, failure: &Failure, now: Duration, jitter: f64) -> bool {
        let is_known = failure.operation == self.seen || failure.operation == self.failed;
        if failure.operation.is_none() || is_known {
            return false;
        }
        self.seen.clone_from(&failure.operation);
        let no_routes = self.attempt.as_ref().is_some_and(BTreeSet::is_empty);
        let adds_nothing = no_routes && !failure.is_creation;
        let tried = self.attempt.take().unwrap_or_default();
        let nets: BTreeSet<Ipv4Net> = tried.iter().map(|(_, net)| *net).collect();
        if !failure.failed {
            self.streak = 0;
            self.additions = self.additions.map(|most| most.max(2 * nets.len()));
            let tables: BTreeSet<&TableId> = tried.iter().map(|(table, _)| table).collect();
            for table in tables {
                // The table takes routes again, so it may take more.
                if let Some(full) = self.known.get_mut(&(table.clone(), None)) {
                    full.room = full.room.saturating_mul(2);
                }
            }
            return false;
        }
        self.failed.clone_from(&failure.operation);
        let is_retry = !tried.is_empty() && tried.iter().all(|route| self.knows(route));
        self.streak += u32::from(!is_retry);
        for (key, why) in &failure.routes {
            let gateway = failure.gateways.get(key);
            if gateway.is_none() {
                self.refuse_beside(key, why, &tried, (now, jitter));
            }
            self.refuse(key.clone(), why, &tried, (now, jitter));
            if let Some(refusal) = self.known.get_mut(key) {
                refusal.gateway = gateway.cloned();
            }
        }
        if failure.unexplained && (is_retry || nets.len() == 1) {
            // If several networks were tried, the next attempt tries one half without the other.
            let half: BTreeSet<Ipv4Net> =
                nets.iter().copied().take(nets.len().div_ceil(2)).collect();
            for (table, net) in tried.iter().filter(|(_, net)| half.contains(net)) {
                let key = (table.clone(), Some(*net));
                self.refuse(key, &failure.cause, &tried, (now, jitter));
            }
        } else if adds_nothing {
            // The change added no route, so additions are not the cause.
            self.additions = None;
        } else if !is_retry && (failure.unexplained || self.streak > 1) {
            self.additions = match self.additions {
                None if failure.unexplained => Some(0),
                _ => Some((nets.len() / 2).max(1)),
            };
        }
        // After a failure, no refused route is tried again for a while.
        let pause = now + FIRST.mul_f64(0.5 + jitter);
        for refusal in self.known.values_mut() {
            refusal.not_before = refusal.not_before.max(pause);
        }
        true
    }

    /// Refuses a network in the other tables as well, since they would refuse it, too: one failure is enough. If it fails in the same table
    /// again, the other tables go ahead without that one.
    fn refuse_beside(
        &mut self,
        key: &Key,
        why: &str,
        tried: &BTreeSet<(TableId, Ipv4Net)>,
        time: (Duration, f64),
    ) {
        let (table, Some(net)) = (&key.0, key.1) else {
            return;
        };
        if self.known.contains_key(key) {
            let is_beside = |(of, it): (&Key, &Refusal)| it.beside && of.1 == Some(net);
            self.known
                .retain(|of, it| !is_beside((of, it)) || of == key);
            return;
        }
        for (other, _) in tried.iter().filter(|(of, it)| of != table && *it == net) {
            let other = (other.clone(), Some(net));
            self.refuse(other.clone(), why, tried, time);
            if let Some(refusal) = self.known.get_mut(&other) {
                refusal.beside = true;
            }
        }
    }

    fn knows(&self, (table, net): &(TableId, Ipv4Net)) -> bool {
        let is_known = |net| self.known.contains_key(&(table.clone(), net));
        is_known(Some(*net)) || is_known(None)
    }

    fn refuse(
        &mut self,
        key: Key,
        why: &str,
        tried: &BTreeSet<(TableId, Ipv4Net)>,
        (now, jitter): (Duration, f64),
    ) {
        let in_table = tried.iter().filter(|(table, _)| *table == key.0).count();
        // Refusals of a network by several tables add up, so that not each of them costs an attempt.
        let same = self.known.iter().filter(|((table, net), refusal)| {
            let is_older = !refusal.beside && refusal.at < now;
            *net == key.1 && (*table == key.0 || (net.is_some() && is_older))
        });
        let times = same
            .clone()
            .map(|(_, refusal)| refusal.times.saturating_add(1))
            .max();
        let times = times.unwrap_or(0);
        let most = LAST.saturating_mul(u32::try_from(same.count()).unwrap_or(u32::MAX).max(1));
        let wait = doubled(times).min(most);
        let refusal = Refusal {
            at: now,
            times,
            not_before: now + wait.mul_f64(0.5 + jitter),
            why: why.chars().take(MAX_WHY).collect(),
            gateway: None,
            room: (in_table / 2).max(1),
            beside: false,
        };
        if self.known.len() >= MAX && !self.known.contains_key(&key) {
            let soonest = self.known.iter().min_by_key(|(_, it)| it.not_before);
            if let Some(soonest) = soonest.map(|(key, _)| key.clone()) {
                self.known.remove(&soonest);
            }
        }
        self.known.insert(key, refusal);
    }

    /// Forgets the refusals that are due, since nothing is left to do: the routes exist, or nobody requests them.
    pub fn succeeded(&mut self, now: Duration) {
        self.known.retain(|_, refusal| refusal.not_before > now);
        self.additions = None;
    }

    /// Returns the refusals that a later leader must know. `began`: the beginning of the term, since 1970.
    pub fn kept(&self, began: Duration) -> Kepts {
        let kept = |(key, refusal): (&Key, &Refusal)| {
            let kept = Kept {
                times: refusal.times,
                not_before: whole_seconds(began + refusal.not_before),
                why: refusal.why.clone(),
                gateway: refusal.gateway.clone(),
            };
            (text(key), kept)
        };
        Kepts {
            routes: self.known.iter().map(kept).collect(),
            operation: self.failed.clone(),
        }
    }

    /// Takes over an earlier leader's refusals. Whatever its clock showed, no route waits longer than after an attempt made now.
    pub fn recall(&mut self, kept: &Kepts, began: Duration, now: Duration) {
        self.failed = self.failed.take().or_else(|| kept.operation.clone());
        for (key, kept) in kept.routes.iter().take(MAX) {
            let Some(key) = key_of(key) else { continue };
            let longest = doubled(kept.times).min(LAST);
            let at = Duration::from_secs(kept.not_before).saturating_sub(began);
            let refusal = Refusal {
                at: Duration::ZERO,
                times: kept.times,
                not_before: at.min(now + longest.mul_f64(1.5)),
                why: kept.why.chars().take(MAX_WHY).collect(),
                gateway: kept.gateway.clone(),
                room: 1,
                beside: false,
            };
            self.known.entry(key).or_insert(refusal);
        }
    }
}

/// Returns the wait after a failure, with the number of failures before it.
fn doubled(times: u32) -> Duration {
    FIRST.saturating_mul(1 << times.min(10))
}

fn text((table, net): &Key) -> String {
    match net {
        Some(net) => format!("{table} {net}"),
        None => table.clone(),
    }
}

/// Parses the key of a refusal. None if it is malformed.
fn key_of(text: &str) -> Option<Key> {
    match text.split_once(' ') {
        Some((table, net)) => Some((table.to_owned(), Some(net.parse().ok()?))),
        None => Some((text.to_owned(), None)),
    }
}

#[cfg(test)]
#[path = "refusals_tests.rs"]
mod tests;
