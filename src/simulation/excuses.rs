//! Faults in EC2 that excuse the controller.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::Ipv4Net;
use tokio::time::Instant;

use super::config_maps::covered;
use super::ec2_faults::Ec2Fault;
use super::invariants::FIRM;
use super::replica;
use super::script::StackEdit;
use super::world::World;
use crate::model::base::ids::{TableId, Zone};
use crate::model::base::settings::PrefixLists;
use crate::model::cloud::change_set_name::is_revert;
use crate::model::cloud::logical_id::renewal;
use crate::model::drift::tracker::MAX_REPAIRS;
use crate::model::plan::types::Action;
use crate::provider::memory::account_faults::Stray;
use crate::provider::memory::account_view::{AccountView, Stamp};

/// A fault that is injected again whenever it is repaired.
struct RepeatedFault {
    harm: Ec2Fault,
    zone: Zone,
    /// The end of the fault; None if it is permanent.
    until: Option<Instant>,
    victim: Option<(TableId, Ipv4Net)>,
}

#[derive(Default)]
pub struct Excuses {
    /// Worker routes that other principals removed, and the time at which each came back.
    routes: BTreeMap<(TableId, Ipv4Net), Option<Instant>>,
    /// Static IPs that other principals released.
    pub released: BTreeSet<String>,
    faults: Vec<RepeatedFault>,
    /// Logical ids of permanently damaged resources.
    beyond_repair: BTreeSet<String>,
    /// The number of repairs of each drifted resource, by logical id.
    tries: BTreeMap<String, u32>,
    /// The number of faults so far, and the state of the account at the last injection.
    pub count: usize,
    looked: Option<Stamp>,
}

pub fn base(id: &str) -> &str {
    renewal(id).0
}

impl Excuses {
    /// Counts removed routes as present, and for a while after they are back, because a replica may still act on an earlier observation.
    pub fn excuse(&mut self, sight: &mut AccountView, while_firm: Duration) {
        let now = Instant::now();
        self.routes.retain(|(table, cidr), since| {
            let routes = sight.tables.get(table);
            let is_there = routes.is_some_and(|routes| covered(*cidr, routes));
            *since = is_there.then(|| since.unwrap_or(now));
            since.is_none_or(|since| now - since < while_firm)
        });
        for (table, cidr) in self.routes.keys() {
            if let Some(routes) = sight.tables.get_mut(table) {
                routes.insert(*cidr);
            }
        }
    }

    /// Records the routes and static IPs that other principals removed.
    fn takes_away(&mut self, before: &AccountView, after: &AccountView) {
        self.count += 1;
        for (table, routes) in &before.tables {
            let gone = routes.difference(&after.tables[table]);
            let gone = gone.map(|cidr| ((table.clone(), *cidr), None));
            self.routes.extend(gone);
        }
        let released = before.addresses.difference(&after.addresses);
        self.released.extend(released.cloned());
    }

    /// Records routes that were removed while the account was not observed.
    pub fn took(&mut self, routes: impl Iterator<Item = (TableId, Ipv4Net)>) {
        self.routes.extend(routes.map(|route| (route, None)));
    }

    /// Returns the routes of a table that other principals removed recently.
    pub fn excused(&self, table: &TableId) -> impl Iterator<Item = Ipv4Net> {
        let mine = self.routes.keys().filter(move |(of, _)| of == table);
        mine.map(|(_, cidr)| *cidr)
    }

    fn is_given_up(&self, id: &str) -> bool {
        let id = base(id);
        self.beyond_repair.contains(id) || self.tries(id) >= MAX_REPAIRS
    }

    fn tries(&self, id: &str) -> u32 {
        self.tries.get(base(id)).copied().unwrap_or_default()
    }
}

/// The number of early attempts to recover a static IP. Later attempts come at least ten minutes after them.
const RECOVERIES: u32 = 2;

/// Damage that the controller does not have to repair.
#[derive(Debug, Default)]
pub struct Lost {
    pub zones: BTreeSet<Zone>,
    pub routes: BTreeSet<(TableId, Ipv4Net)>,
}

impl World {
    pub fn harm(&self, harm: Ec2Fault, zone: usize, lasts: Option<Duration>) {
        let until = lasts.map(|lasts| Instant::now() + lasts);
        let fault = RepeatedFault {
            harm,
            zone: replica::zone(zone),
            until,
            victim: None,
        };
        let mut shared = self.shared();
        shared.excuses.faults.push(fault);
        shared.excuses.looked = None;
        drop(shared);
        self.harm_again();
    }

    /// Injects repeated faults again, until they end.
    pub fn harm_again(&self) {
        let (now, stamp) = (Instant::now(), Some(self.account.stamp()));
        let mut shared = self.shared();
        let excuses = &mut shared.excuses;
        let ended = |fault: &RepeatedFault| fault.until.is_some_and(|until| until <= now);
        if excuses.looked == stamp && !excuses.faults.iter().any(ended) {
            return;
        }
        excuses.looked = stamp;
        let faults = std::mem::take(&mut excuses.faults);
        drop(shared);
        for mut fault in faults {
            self.inject(&mut fault);
            if fault.until.is_none_or(|until| until > Instant::now()) {
                self.shared().excuses.faults.push(fault);
            } else if fault.harm.is_theirs() {
                self.account.undo(fault.harm, &fault.zone);
                let mut shared = self.shared();
                shared.stamp = None;
                shared.excuses.count += 1;
            }
        }
    }

    fn inject(&self, fault: &mut RepeatedFault) {
        let (sight, well) = (self.account.sight(), self.account.astray());
        let RepeatedFault {
            harm, zone, victim, ..
        } = fault;
        if !self.account.harm(*harm, zone, victim) {
            return;
        }
        self.note(&format!("zone {zone}: {harm}"));
        let after = self.account.sight();
        let mut shared = self.shared();
        shared.stamp = None;
        let excuses = &mut shared.excuses;
        excuses.takes_away(&sight, &after);
        if fault.until.is_none() {
            // Resources of the zone that had drifted before may depend on the damaged one.
            let hangs_on_it = |stray: &Stray| stray.routes.is_empty() && stray.zone == *zone;
            let astray = self.account.astray().into_iter();
            let new = astray.filter(|(id, stray)| !well.contains_key(id) || hangs_on_it(stray));
            excuses
                .beyond_repair
                .extend(new.map(|(id, _)| base(&id).to_owned()));
        }
    }

    pub fn edit_stack(&self, hand: StackEdit) {
        let before = self.account.sight();
        self.account.edit_by_hand(hand);
        let (after, ledger) = (self.account.sight(), self.stored_ledger());
        let mut shared = self.shared();
        shared.stamp = None;
        shared.excuses.takes_away(&before, &after);
        if after.status.is_empty() {
            shared.keep_ips();
            shared.forget_brought_ips(ledger.as_ref());
        }
    }

    /// Returns the drifted resources that a call repairs. Called before the call takes effect.
    pub fn repairs(&self, action: &Action) -> Vec<String> {
        let astray = self.account.astray();
        let is_astray = |id: &String| astray.keys().any(|other| base(other) == base(id));
        match action {
            Action::Revert(_) => astray.into_keys().collect(),
            Action::Discard { change_set } if is_revert(change_set) => astray.into_keys().collect(),
            Action::Discard { change_set } | Action::Execute { change_set } => {
                let about = self.account.about(change_set).into_iter();
                about.filter(is_astray).collect()
            }
            _ => Vec::new(),
        }
    }

    pub fn has_repaired(&self, ids: &[String]) {
        if !ids.is_empty() && self.is_tight() {
            // The repair comes before the rest of a change that has failed and is made in parts.
            self.expects_parts();
        }
        let ids: BTreeSet<&str> = ids.iter().map(|id| base(id)).collect();
        for id in ids {
            let tries = &mut self.shared().excuses.tries;
            *tries.entry(id.to_owned()).or_default() += 1;
        }
    }

    /// Returns the damage that cannot be repaired, was repaired without success, or is repeated.
    pub fn lost(&self) -> Lost {
        let (astray, zones) = (self.account.astray(), self.zones_without_ip());
        let shared = self.shared();
        let excuses = &shared.excuses;
        let mut lost = Lost {
            zones,
            ..Lost::default()
        };
        for (id, stray) in astray {
            let is_gone = match self.account.lost_ip(&id) {
                // The third attempt comes after the history.
                Some(ip) => self.account.is_given_away(&ip) || excuses.tries(&id) >= RECOVERIES,
                None => false,
            };
            if !is_gone && !excuses.is_given_up(&id) {
                continue;
            }
            match stray.routes.is_empty() {
                true => _ = lost.zones.insert(stray.zone),
                false => lost.routes.extend(stray.routes),
            }
        }
        lost
    }

    /// Excuses the networks of damaged lists. A network that came into a list after other principals had deleted a table's route to the list
    /// was never served there.
    pub fn excuse_lists(&self, astray: &BTreeMap<String, Stray>) {
        let by_lists = astray.values().filter(|stray| stray.is_of_list);
        let routes = by_lists.flat_map(|stray| stray.routes.iter().cloned());
        self.shared().excuses.took(routes);
    }

    /// Whether all replicas that act now have observed the room in the tables.
    pub fn knows_room(&self) -> bool {
        let shared = self.shared();
        let is_fair = self.flags.lists != PrefixLists::Never && shared.excuses.count == 0;
        let at = shared.crowded_at;
        at.map_or(is_fair, |at| at.elapsed() > FIRM)
    }

    /// Whether the controller may still try to recover a static IP.
    pub fn may_recover(&self) -> bool {
        let mut astray = self.account.astray().into_keys();
        astray.any(|id| self.account.lost_ip(&id).is_some())
    }

    /// Returns a zone that got another static IP although AWS would give back the released one.
    pub fn another_ip(&self) -> Option<String> {
        let (sight, shared) = (self.account.sight(), self.shared());
        let mut lost = shared.ips.iter().filter(|(_, ip)| {
            shared.excuses.released.contains(*ip) && !self.account.is_given_away(ip)
        });
        lost.find_map(|(output, ip)| {
            let mut now = sight.ips.iter();
            let (_, other) = now.find(|(it, _)| base(it) == base(output))?;
            (other != ip && !self.flags.new_eips)
                .then(|| format!("{output} got {other}, though AWS gives {ip} back"))
        })
    }

    /// Returns a resource that has to be in EC2 as the stack defines it, and is not.
    pub fn astray(&self, lost: &Lost) -> Option<String> {
        let mut zones = match self.zones_due() {
            Ok(zones) => zones,
            Err(what) => return Some(what),
        };
        zones.retain(|zone| !lost.zones.contains(zone));
        let mut astray = self.account.astray().into_iter();
        // Routes are checked by the addresses that they cover, because a route that is only retained is not restored.
        let stray =
            astray.find(|(_, stray)| stray.routes.is_empty() && !lost.zones.contains(&stray.zone));
        let text = stray.map(|(id, _)| format!("{id} is not in EC2 as the stack defines it"));
        text.or_else(|| self.account.lacks(&zones, self.eips))
            .or_else(|| self.lacks_own_ip(lost))
    }
}

/// The longest time after a failed change in which the controller retries no refused route.
const PAUSE: Duration = Duration::from_secs(180);

/// Extends waits that have not ended: none ends before the pause after a failure that was found at `found`.
pub fn put_off<'a>(waiting: impl Iterator<Item = &'a mut Instant>, found: Instant) {
    for until in waiting.filter(|until| **until > Instant::now()) {
        *until = (*until).max(found + PAUSE);
    }
}
