//! Compares the leader's published status with the truth. An entry without a route that is not reported is the second worst fault, after a
//! lost route.

use std::collections::BTreeMap;

use super::bugs::Bug;
use super::config_maps::{covered, entries, unreadable};
use super::invariants::Invariant;
use super::oversized::oversized;
use super::recording::id;
use super::world::World;
use crate::model::base::ids::{EntryId, ObjectId};
use crate::model::base::reason::Reason;
use crate::model::status::{Entry, State, Status};

impl World {
    /// Fails if the leader's status is wrong about an entry. Nothing may have changed for a while.
    pub fn judge_status(&self) {
        let published = self.published();
        let ips = published.and_then(|it| self.misreported_ips(&it.status));
        if let Some(text) = self.misreported().or(ips) {
            self.fail(Invariant::Reported, text);
        }
    }

    /// Records what the leader reports, which may explain a failure.
    pub fn note_problems(&self) {
        if self.may_have_lists() {
            self.note(&format!("the stack has {}", self.account.carriers_text()));
        }
        let Some(published) = self.published() else {
            return self.note("no leader reports anything");
        };
        let unused = Reason::AllowNewEipsUnused.to_string();
        let told = published.status.problems.iter();
        for told in told.filter(|told| told.reason != unused) {
            self.note(&format!("the leader reports {told:?}"));
        }
        let ledger = self.stored_ledger();
        self.note(&format!("the ledger is {ledger:?}"));
    }

    /// Records what a leader has planned, and its problems, if the environment has `WHY`.
    pub fn note_plan(&self, who: usize, status: &Status) {
        if std::env::var_os("WHY").is_none() {
            return;
        }
        let problems: Vec<_> = status
            .problems
            .iter()
            .map(|it| (&it.reason, &it.message))
            .collect();
        let (plan, changes) = (&status.plan, &status.differences);
        self.note(&format!(
            "replica {who} plans {plan:?}, changes {changes:?}, problems {problems:?}"
        ));
    }

    fn published_status(&self) -> Option<Status> {
        let published = self.published()?;
        // Only the JSON contains the entries.
        std::str::from_utf8(&published.json)
            .ok()
            .and_then(Status::read)
    }

    fn misreported(&self) -> Option<String> {
        let Some(status) = self.published_status() else {
            return Some("no leader publishes a status that can be parsed".to_owned());
        };
        if let Some(failure) = &status.failure {
            return Some(format!("the leader reports a failure: {failure:?}"));
        }
        let id = |entry: &Entry| {
            (
                entry.namespace.clone(),
                entry.name.clone(),
                entry.key.clone(),
            )
        };
        let told: BTreeMap<_, &Entry> = status
            .entries
            .iter()
            .filter(|entry| self.bug != Bug::SilentWait || entry.state != State::Waiting)
            .map(|entry| ((entry.cluster.clone(), id(entry)), entry))
            .collect();
        let of = |id: &EntryId| {
            let EntryId { object, key } = id;
            let name = (object.namespace.clone(), object.name.clone(), key.clone());
            told.get(&(object.cluster.clone(), name)).copied()
        };
        let objects = self.maps().objects.clone();
        for id in unreadable(&objects) {
            match of(&id) {
                Some(entry)
                    if matches!(entry.state, State::Refused | State::Kept) && is_told(entry) => {}
                other => return Some(format!("{id} has a typo, but the status says {other:?}")),
            }
        }
        let mut large = oversized(&objects);
        if let Some(object) = large.find(|object| !tells_of(&status, object)) {
            return Some(format!(
                "{object} is too large, but the status does not report it"
            ));
        }
        let sight = self.sight();
        // If a zone waits for its static IP, its tables have no routes, and every entry has to say so.
        let waits = self.is_zone_without_ip();
        for (id, net) in entries(&objects) {
            let without = sight
                .tables
                .iter()
                .find(|(_, routes)| !covered(net, routes));
            match (of(&id), without) {
                (Some(entry), None) if waits != Some(true) && entry.state == State::Routed => {}
                (Some(entry), None)
                    if waits != Some(false) && entry.state == State::Waiting && is_told(entry) => {}
                (Some(entry), Some(_)) if entry.state != State::Routed && is_told(entry) => {}
                (other, None) => {
                    return Some(format!("{id} is routed, but the status says {other:?}"));
                }
                (other, Some((table, _))) => {
                    return Some(format!(
                        "{net} of {id} has no route in {table}, but the status says {other:?}"
                    ));
                }
            }
        }
        None
    }

    /// Returns what the status says wrong about static IPs that cost money without being used. Operators release the listed IPs.
    fn misreported_ips(&self, status: &Status) -> Option<String> {
        let sight = self.sight();
        let listed: Vec<&String> = match self.bug {
            Bug::LiveIpListed => sight.ips.values().take(1).collect(),
            Bug::KeptIpHidden => Vec::new(),
            _ => status.kept_ips.iter().map(|kept| &kept.ip).collect(),
        };
        for ip in &listed {
            if sight.ips.values().any(|used| used == *ip) || !sight.addresses.contains(*ip) {
                return Some(format!(
                    "{ip} is in use or released, but the status lists it as kept"
                ));
            }
        }
        // Without a ledger, the controller does not know former static IPs.
        let kept = self.shared().kept.clone();
        let mut kept = kept.values().filter(|_| !self.forgets_ips());
        let hidden = kept.find(|ip| sight.addresses.contains(*ip) && !listed.contains(ip));
        hidden.map(|ip| {
            format!("{ip} is kept without a NAT gateway, but the status does not list it")
        })
    }
}

fn is_told(entry: &Entry) -> bool {
    entry.reason.is_some() && entry.message.is_some()
}

/// Whether the status says why an object is not read.
fn tells_of(status: &Status, object: &ObjectId) -> bool {
    let is_of = |entry: &&Entry| id(entry).object == *object && entry.key.starts_with('(');
    let mut entries = status.entries.iter();
    entries.any(|entry| is_of(&entry) && is_told(entry))
}
