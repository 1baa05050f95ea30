//! Everything that happened, what is known from outside, and what must never be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use ipnet::Ipv4Net;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::bugs::Bug;
use super::maps::{self, Maps, covered};
use crate::lease::TermGuard;
use crate::lease::tests::fake::FakeApi;
use crate::model::network::TableId;
use crate::model::plan::Action;
use crate::model::request::{EntryId, Snapshot};
use crate::provider::memory::MemoryProvider;

pub const REPLICAS: usize = 3;
/// How long a request may be on its way to the account.
const SLOWEST: Duration = Duration::from_secs(10);
/// For how long an entry has to stand unchanged before nothing may take its route away, besides the length of an operation: as
/// long as a leader can act on what it has seen before, that is the slowest news, the longest term and the slowest call together.
pub const FIRM: Duration = Duration::from_secs(60);

pub struct World {
    pub bug: Bug,
    pub api: FakeApi,
    /// The ledger's ConfigMap.
    pub ledger: FakeApi,
    pub account: MemoryProvider,
    maps: Mutex<Maps>,
    /// Woken in the order of waiting: a watch channel wakes in an order of its own.
    pub edited: Notify,
    pub start: Instant,
    pub faults_until: Instant,
    /// How long an operation takes.
    pub pace: Duration,
    /// How long a request may be on its way to the account: less than any operation takes.
    pub slowest: Duration,
    shared: Mutex<Shared>,
}

#[derive(Default)]
pub struct Shared {
    pub history: Vec<String>,
    pub wrong: Option<String>,
    /// What each replica was last shown, as it really was.
    pub shown: [Snapshot; REPLICAS],
    /// Terms begun, calls accepted, operations failed.
    pub terms: usize,
    pub calls: usize,
    pub failures: usize,
    /// From when on no call may be sent.
    quiet: bool,
    guards: [Option<(u64, TermGuard)>; REPLICAS],
    sent_epoch: u64,
    operation_epoch: u64,
    ips: BTreeMap<String, String>,
    entries: BTreeMap<EntryId, Standing>,
}

/// An entry that asks for the same since some time.
struct Standing {
    net: Ipv4Net,
    since: Instant,
    routed: bool,
}

impl World {
    pub fn new(bug: Bug, account: MemoryProvider, faults: Duration, pace: Duration) -> Self {
        account.set_pace(pace);
        let start = Instant::now();
        let api = FakeApi::new();
        if bug == Bug::LeaseNotCompared {
            api.forget_to_compare();
        }
        Self {
            bug,
            api,
            ledger: FakeApi::new(),
            account,
            maps: Mutex::default(),
            edited: Notify::new(),
            start,
            faults_until: start + faults,
            pace,
            slowest: pace.min(SLOWEST),
            shared: Mutex::default(),
        }
    }

    pub fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    pub fn maps(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock().unwrap()
    }

    pub fn faulty(&self) -> bool {
        Instant::now() < self.faults_until
    }

    pub fn note(&self, what: &str) {
        let line = format!("{:10.3} {what}", self.start.elapsed().as_secs_f64());
        self.shared().history.push(line);
    }

    /// The first thing that goes wrong is what counts.
    pub fn fail(&self, what: String) {
        self.note(&format!("WRONG: {what}"));
        self.shared().wrong.get_or_insert(what);
    }

    pub fn edit(&self, edit: impl FnOnce(&mut Maps) -> String) {
        let what = edit(&mut self.maps());
        self.note(&what);
        self.edited.notify_waiters();
        self.judge();
    }

    /// A term that the Lease stands behind has begun.
    pub fn leads(&self, who: usize, epoch: u64, guard: TermGuard) {
        self.note(&format!("replica {who} leads in epoch {epoch}"));
        self.alone(who, &format!("its epoch {epoch} began"));
        let mut shared = self.shared();
        shared.terms += 1;
        shared.guards[who] = Some((epoch, guard));
    }

    /// Fails if somebody else's term lasts.
    fn alone(&self, who: usize, when: &str) {
        let shared = self.shared();
        let others = (0..REPLICAS).filter(|other| *other != who);
        let rival = others
            .filter_map(|other| shared.guards[other].as_ref().map(|term| (other, term)))
            .find(|(_, (_, guard))| !guard.is_over())
            .map(|(other, (epoch, _))| (other, *epoch));
        drop(shared);
        if let Some((other, epoch)) = rival {
            self.fail(format!(
                "two writers: replica {other} led in epoch {epoch} when replica {who} acted: {when}"
            ));
        }
    }

    /// A mutating call has left a replica. Nothing calls it back from here on.
    pub fn sent(&self, who: usize, epoch: u64, call: &str) {
        self.note(&format!("replica {who} sends {call} in epoch {epoch}"));
        self.alone(who, &format!("{call} was sent"));
        let mut shared = self.shared();
        let (latest, quiet) = (shared.sent_epoch, shared.quiet);
        let lasts = shared.guards[who]
            .as_ref()
            .is_some_and(|(own, guard)| *own == epoch && !guard.is_over());
        shared.sent_epoch = latest.max(epoch);
        drop(shared);
        if epoch < latest {
            self.fail(format!(
                "replica {who} sent {call} in epoch {epoch} after one of epoch {latest}"
            ));
        }
        if !lasts {
            self.fail(format!(
                "replica {who} sent {call} when its term, epoch {epoch}, was over"
            ));
        }
        if quiet {
            self.fail(format!("replica {who} sent {call} in a quiet world"));
        }
    }

    /// The account has accepted a call, made when its sender was shown `basis`; `before` were the routes until then.
    pub fn accepted(
        &self,
        epoch: u64,
        action: &Action,
        basis: &Snapshot,
        before: &BTreeSet<(TableId, Ipv4Net)>,
    ) {
        let mut shared = self.shared();
        shared.calls += 1;
        let latest = shared.operation_epoch;
        let operation = !matches!(action, Action::Prepare(_) | Action::Discard { .. });
        if operation {
            shared.operation_epoch = latest.max(epoch);
        }
        drop(shared);
        if operation && epoch < latest {
            self.fail(format!(
                "an operation of epoch {epoch} was accepted after one of epoch {latest}"
            ));
        }
        if matches!(action, Action::Execute { .. }) {
            let mut after: BTreeMap<TableId, BTreeSet<Ipv4Net>> = BTreeMap::new();
            for (table, cidr) in self.account.asked() {
                after.entry(table).or_default().insert(cidr);
            }
            let none = BTreeSet::new();
            let gone = before
                .iter()
                .find(|(table, cidr)| !covered(*cidr, after.get(table).unwrap_or(&none)));
            if let Some((table, cidr)) = gone.filter(|_| !basis.missing.is_empty()) {
                self.fail(format!(
                    "{cidr} was taken out of {table} while a source was missing"
                ));
            }
        }
        self.judge();
    }

    /// Looks at the account after a step.
    pub fn judge(&self) {
        let sight = self.account.sight();
        let (now, mut entries) = (Instant::now(), self.maps().entries());
        let unreadable = self.maps().unreadable();
        let mut wrong = Vec::new();
        let mut shared = self.shared();
        for (output, address) in &shared.ips {
            match sight.ips.get(output) {
                Some(other) if other == address => {}
                other => wrong.push(format!("static IP {address} of {output} became {other:?}")),
            }
        }
        shared.ips.extend(sight.ips);
        // One that cannot be read any more stands for what it asked for last.
        shared.entries.retain(|id, standing| match entries.get(id) {
            Some(net) => *net == standing.net,
            None => unreadable.contains(id) && standing.routed,
        });
        let kept = shared.entries.iter();
        entries.extend(kept.map(|(id, standing)| (id.clone(), standing.net)));
        for (id, net) in entries {
            let standing = shared.entries.entry(id.clone()).or_insert(Standing {
                net,
                since: now,
                routed: false,
            });
            let missing = sight
                .tables
                .iter()
                .find(|(_, routes)| !covered(net, routes));
            match missing {
                None => standing.routed |= now - standing.since > FIRM + self.pace,
                Some((table, _)) if standing.routed => {
                    wrong.push(format!("{net} of {id} has lost its route in {table}"));
                }
                Some(_) => {}
            }
        }
        drop(shared);
        for what in wrong {
            self.fail(what);
        }
    }

    /// What is still not as the ConfigMaps ask for.
    pub fn unsettled(&self) -> Option<String> {
        let sight = self.account.sight();
        let maps = self.maps();
        let asked: BTreeSet<Ipv4Net> = maps.entries().into_values().collect();
        let typos = maps
            .0
            .values()
            .flat_map(|object| object.data.values())
            .any(|value| !maps::readable(value));
        if !sight.at_rest {
            return Some(format!("the stack is {}", sight.status));
        }
        if sight.change_sets > 0 {
            return Some("a change set is left over".to_owned());
        }
        for (table, routes) in &sight.tables {
            if let Some(net) = asked.iter().find(|net| !covered(**net, routes)) {
                return Some(format!("{table} has no route for {net}"));
            }
            // With a typo about, what is routed stays.
            if let Some(route) = routes
                .iter()
                .find(|route| !typos && !covered(**route, &asked))
            {
                return Some(format!("{table} has a route {route} that nobody asks for"));
            }
        }
        None
    }

    pub fn be_quiet(&self) {
        self.note("all is as asked for: from now on nothing may be sent");
        self.shared().quiet = true;
    }
}
