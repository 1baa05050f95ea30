//! The invariants, checked when a call is accepted, when an operation ends and when ConfigMaps are edited.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::Ipv4Net;

use super::config_maps::{self, covered};
use super::excuses::base;
use super::oversized::oversized;
use super::provider_wrapper::Basis;
use super::standing::Standing;
use super::world::{Shared, World};
use crate::model::base::ids::{ObjectId, TableId, Zone};
use crate::model::desired::template::Template;
use crate::model::input::request::Object;
use crate::model::plan::types::Action;
use crate::provider::memory::account_view::{self, AccountView, Stamp};

/// How long an entry must stand unchanged before no operation may remove its route, apart from the length of an operation. In this time a
/// leader can act on an earlier observation: the slowest event, the longest term and the slowest call together.
pub const FIRM: Duration = Duration::from_secs(60);

/// The invariants; see the list in [`super`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    OneWriter,
    TermCovers,
    EpochsGrow,
    StaticIpsStay,
    RoutesStay,
    NothingForgotten,
    Reported,
    Recorded,
    NoBlindRemoval,
    NobodyAsks,
    WithinLimits,
    Settles,
    StaysQuiet,
    NoPanic,
    OneOwner,
    Progress,
    Paced,
    ListsStay,
}

/// A broken invariant, and how it was broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    pub law: Invariant,
    pub text: String,
}

impl World {
    /// Checks a call that the account has accepted. Its sender had read `basis`; `before` were the routes until then.
    pub fn accepted(
        &self,
        epoch: u64,
        action: &Action,
        basis: &Basis,
        before: &BTreeSet<(TableId, Ipv4Net)>,
    ) {
        let mut shared = self.shared();
        shared.calls += 1;
        let latest = shared.operation_epoch;
        // Termination protection and stack policy may be set at any time, because the next pass observes a late call.
        let operation = matches!(
            action,
            Action::Create(_)
                | Action::Execute { .. }
                | Action::Delete { .. }
                | Action::ContinueRollback { .. }
        );
        if operation {
            shared.operation_epoch = latest.max(epoch);
        }
        drop(shared);
        if operation && epoch < latest && !self.epochs_lost {
            let text =
                format!("an operation of epoch {epoch} was accepted after one of epoch {latest}");
            self.fail(Invariant::EpochsGrow, text);
        }
        if let Some(cause) = self.account.fails_of_room()
            && operation
            && self.knows_room()
        {
            let text =
                format!("an operation fails because {cause}, which the plan could have known");
            self.fail(Invariant::WithinLimits, text);
        }
        self.judge_lists(action);
        match action {
            Action::Create(template) | Action::Prepare(template) => {
                self.judge_template(template, basis);
            }
            Action::Delete { .. } if self.account.has_made() => {
                self.judge_removal(action, basis, before);
            }
            _ if !before.is_empty() => self.judge_removal(action, basis, before),
            _ => {}
        }
        self.judge();
    }

    /// Checks that the whole stack, or its last route, may be removed: no entry requested a route when its sender last read everything.
    fn judge_end(
        &self,
        deletes: bool,
        truth: &BTreeMap<ObjectId, Object>,
        before: &BTreeSet<(TableId, Ipv4Net)>,
    ) {
        // A route that another principal broke is removed to be created again, and one of a deleted table carries no traffic.
        let tables = self.zones_of_tables();
        let shared = self.shared();
        let is_whole = |(table, cidr): &&(TableId, Ipv4Net)| {
            let is_there = tables.contains_key(table);
            deletes || is_there && shared.excuses.excused(table).all(|it| it != *cidr)
        };
        let whole = before.iter().filter(is_whole);
        let routes: BTreeSet<Ipv4Net> = whole.map(|(_, cidr)| *cidr).collect();
        drop(shared);
        if let Some(id) = oversized(truth).next().filter(|_| deletes) {
            let text = format!("the stack is deleted although the requests of {id} are unknown");
            return self.fail(Invariant::NobodyAsks, text);
        }
        let mut asked = config_maps::entries(truth).into_iter();
        if let Some((id, net)) = asked.find(|(_, net)| deletes || covered(*net, &routes)) {
            let text = format!("all routes are removed although {id} requests {net}");
            return self.fail(Invariant::NobodyAsks, text);
        }
        if deletes {
            self.shared().keep_ips();
        }
    }

    /// Checks that a template contains every requested route. No foreign routes prevent that here. A repair or the replacement of a static
    /// IP starts from the live stack, without the resources to be created again. A route to a deleted NAT gateway cannot be created.
    fn judge_template(&self, template: &Template, basis: &Basis) {
        let (asked, before) = (account_view::routes_of(template), self.account.asked());
        let astray = self.account.astray();
        self.excuse_lists(&astray);
        let is_tight = self.is_tight() || self.account.is_packed(&asked);
        let is_step = !astray.is_empty() || self.is_replacement(template);
        let repairs = asked.is_subset(&before) && is_step;
        let zones = self.account.zones();
        let in_table = |routes: &BTreeSet<(TableId, Ipv4Net)>, table: &TableId| {
            let mine = routes.iter().filter(|(of, _)| of == table);
            mine.map(|(_, cidr)| *cidr).collect::<BTreeSet<_>>()
        };
        let out = self.tables_out();
        let is_named = |zone: &Zone| basis.removes.contains(zone);
        for (table, zone) in zones
            .iter()
            .filter(|(id, of)| !out.contains(*id) && !is_named(of))
        {
            let mut routes = in_table(&asked, table);
            routes.extend(self.shared().excuses.excused(table));
            // A zone that could not be added is left out for a while. The end of the history checks that it is added.
            let is_out = !self.account.has_gateway(zone);
            let is_astray = astray.values().any(|stray| stray.is_of(zone));
            let is_tight = is_tight || self.was_full(table);
            let stays = repairs || is_out || is_tight || is_astray;
            let had = in_table(&before, table);
            let mut entries = config_maps::entries(&basis.shown.objects).into_iter();
            // Networks that AWS refuses may wait, as may others of the same failed change.
            let may_wait = |net: &Ipv4Net| stays || self.was_refused(net);
            let without = entries.find(|(_, net)| {
                !covered(*net, &routes) && (!may_wait(net) || covered(*net, &had))
            });
            if let Some((id, net)) = without {
                let text = format!(
                    "a template without a route for {net} of {id} in {table}, where the stack has {had:?}"
                );
                self.fail(Invariant::NothingForgotten, text);
            }
        }
    }

    /// Checks that the routes which an operation removes may be removed.
    fn judge_removal(
        &self,
        action: &Action,
        Basis {
            shown: basis,
            truth,
            removes,
            ..
        }: &Basis,
        before: &BTreeSet<(TableId, Ipv4Net)>,
    ) {
        let mut tables: BTreeMap<&TableId, [BTreeSet<Ipv4Net>; 2]> = BTreeMap::new();
        for (table, cidr) in before {
            tables.entry(table).or_default()[0].insert(*cidr);
        }
        let (zones, out) = (self.zones_of_tables(), self.tables_out());
        let is_named = |table: &TableId| zones.get(table).is_some_and(|it| removes.contains(it));
        let deletes = matches!(action, Action::Delete { .. });
        let after = self.account.asked();
        // The tables of the remaining zones may be full: the operator wants the routes of the other zones to be removed anyway.
        let is_wanted = || before.iter().all(|(table, _)| is_named(table));
        if deletes || after.is_empty() && !is_wanted() {
            self.judge_end(deletes, truth, before);
        }
        for (table, cidr) in after.iter().filter(|_| !deletes) {
            tables.entry(table).or_default()[1].insert(*cidr);
        }
        let known = config_maps::entries(&basis.objects);
        tables.retain(|table, _| {
            self.account.has_table(table) && !out.contains(*table) && !is_named(table)
        });
        for (table, [before, after]) in &mut tables {
            after.extend(self.shared().excuses.excused(table));
            let mut gone = before.iter().filter(|cidr| !covered(**cidr, after));
            if let Some(cidr) = gone.next().filter(|_| !basis.is_certain()) {
                let text = format!("{cidr} was removed from {table} while a source was in doubt");
                self.fail(Invariant::NoBlindRemoval, text);
            }
            let mut lost = known
                .iter()
                .filter(|(_, net)| covered(**net, before) && !covered(**net, after));
            if let Some((id, net)) = lost.next() {
                let text = format!(
                    "{net} was removed from {table} by a replica that had read {id}, which requests it"
                );
                self.fail(Invariant::RoutesStay, text);
            }
        }
    }

    /// Records the routes that the controller owes by now. Until an edit or the next change of the account, the last observation is valid.
    pub fn note_owed(&self) {
        for standing in self.shared().entries.values_mut() {
            standing.owed |= standing.is_firm(FIRM + self.pace);
        }
    }

    /// Checks the account after a step. Does nothing if the step changed nothing.
    pub fn judge(&self) {
        let stamp = Some(self.account.stamp());
        if self.shared().stamp == stamp {
            return;
        }
        self.excuse_failure();
        self.note_zones();
        let mut sight = self.sight();
        let mut entries = config_maps::entries(&self.maps().objects);
        let unread = self.unread();
        let (mut wrong, forgets) = (Vec::new(), self.forgets_ips());
        let mut shared = self.shared();
        shared.stamp = stamp;
        shared.note_replaced(&sight, forgets);
        let is_gone = |address: &String| {
            !sight.addresses.contains(address) && !shared.excuses.released.contains(address)
        };
        for (output, address) in &shared.ips {
            match sight.ips.get(output) {
                Some(other) if other == address => {}
                _ if shared.excuses.released.contains(address) => {}
                other => wrong.push((
                    Invariant::StaticIpsStay,
                    format!("static IP {address} of {output} became {other:?}"),
                )),
            }
            if is_gone(address) {
                let text = format!("static IP {address} of {output} is no longer in EC2");
                wrong.push((Invariant::StaticIpsStay, text));
            }
        }
        let mut left = shared.kept.values().chain(&shared.own_ips.given_up);
        if let Some(address) = left.find(|it| is_gone(it)) {
            let text = format!("static IP {address} was released");
            wrong.push((Invariant::StaticIpsStay, text));
        }
        wrong.extend(another_ip(&shared.kept, &sight));
        note_ips(&mut shared, &mut sight);
        shared.excuses.excuse(&mut sight, FIRM + self.pace);
        for (id, net) in &entries {
            shared.ever.entry(id.clone()).or_default().insert(*net);
        }
        // An entry that can no longer be parsed stands for the network that it requested last.
        shared.entries.retain(|id, standing| match entries.get(id) {
            Some(net) => *net == standing.net,
            None => unread.contains(id) && standing.owed,
        });
        let kept = shared.entries.iter();
        entries.extend(kept.map(|(id, standing)| (id.clone(), standing.net)));
        for (id, net) in entries {
            let standing = shared.entries.entry(id.clone());
            let standing = standing.or_insert_with(|| Standing::new(net));
            standing.owed |= standing.is_firm(FIRM + self.pace);
            let mut tables = sight.tables.iter();
            let without = tables.find(|(_, routes)| !covered(net, routes));
            standing.routed = without.is_none();
            if let Some((table, _)) = without.filter(|_| standing.owed) {
                let text = format!("{net} of {id} has lost its route in {table}");
                wrong.push((Invariant::RoutesStay, text));
            }
        }
        drop(shared);
        for (law, text) in wrong {
            self.fail(law, text);
        }
    }

    /// Whether a network has its route in every table.
    pub fn serves(&self, net: &str) -> bool {
        let net: Ipv4Net = format!("{net}/32").parse().expect("an address");
        let sight = self.sight();
        let mut tables = sight.tables.values();
        tables.all(|routes| covered(net, routes))
    }

    /// Returns a value that changes whenever the account may have settled or become unsettled, apart from edits of ConfigMaps: operations,
    /// calls and faults.
    pub fn reason_to_look(&self) -> (Stamp, usize, usize) {
        let shared = self.shared();
        (self.account.stamp(), shared.calls, shared.excuses.count)
    }

    /// Returns a difference between the account and the requests of the ConfigMaps.
    pub fn unsettled(&self) -> Option<String> {
        let sight = self.sight();
        let asked = config_maps::entries(&self.maps().objects).into_values();
        let asked: BTreeSet<Ipv4Net> = asked.collect();
        // A typo keeps its last network. Without a ledger that network is unknown.
        let (typos, mut may_stay) = (self.unread(), asked.clone());
        let ever = self.shared().ever.clone();
        may_stay.extend(typos.iter().filter_map(|id| ever.get(id)).flatten());
        may_stay.extend(self.without_line(&typos));
        let all_may_stay = self.is_unknown_what_stays(&typos);
        if !sight.at_rest {
            return Some(format!("the stack is {}", sight.status));
        }
        let deletes = self.flags.deletes && asked.is_empty() && typos.is_empty();
        if deletes && !sight.status.is_empty() {
            return Some("the stack exists although no entry requests a route".to_owned());
        }
        if sight.change_sets > 0 {
            return Some("a change set is left over".to_owned());
        }
        if !self.account.is_protected() {
            return Some("the stack is not protected".to_owned());
        }
        let lost = self.lost();
        if let Some(what) = self.astray(&lost) {
            return Some(what);
        }
        let gone = |(table, _): &(TableId, Ipv4Net)| !self.account.has_table(table);
        let mut in_stack = self.account.asked().into_iter();
        if let Some((table, _)) = in_stack.find(gone).filter(|_| !all_may_stay) {
            return Some(format!("the stack has routes in the deleted table {table}"));
        }
        let zones = self.account.zones();
        let is_full = self.has_no_room(&typos, &lost);
        for (table, routes) in &sight.tables {
            let mut there = routes.clone();
            let mine = lost.routes.iter().filter(|(of, _)| of == table);
            there.extend(mine.map(|(_, cidr)| *cidr));
            let is_lost = is_full || self.takes_nothing(table, &zones[table], &lost);
            let is_owed = |net: &&Ipv4Net| !is_lost && !self.account.refuses(net);
            let mut asked_here = asked.iter().filter(is_owed);
            if let Some(net) = asked_here.find(|net| !covered(**net, &there)) {
                return Some(format!("{table} has no route for {net}"));
            }
            let serves = |net: &Ipv4Net| is_full && asked.iter().any(|it| net.contains(it));
            let is_kept = |net: &&Ipv4Net| all_may_stay || self.account.refuses(net) || serves(net);
            let mut stay = routes.iter().filter(|net| !is_kept(net));
            if let Some(route) = stay.find(|route| !covered(**route, &may_stay)) {
                let text = format!("{table} has a route {route} that no entry requests");
                return Some(text);
            }
        }
        None
    }
}

/// Records the static IPs of the stack, and removes those of former zones that are back.
fn note_ips(shared: &mut Shared, sight: &mut AccountView) {
    if sight.at_rest {
        let is_back = |ip: &String| sight.ips.values().any(|it| it == ip);
        shared.kept.retain(|_, ip| !is_back(ip));
    }
    sight.ips.retain(|_, ip| !shared.has_left(ip));
    shared.ips.append(&mut sight.ips);
}

/// Returns the zones that got another static IP although the account has their former one.
fn another_ip(kept: &BTreeMap<String, String>, sight: &AccountView) -> Vec<(Invariant, String)> {
    let wrong = |(output, address): (&String, &String)| {
        let mut shown = sight.ips.iter();
        let (_, other) = shown.find(|(it, _)| base(it) == base(output))?;
        let text =
            format!("{output} got {other} although its static IP {address} is in the account");
        (other != address && sight.addresses.contains(address))
            .then_some((Invariant::StaticIpsStay, text))
    };
    kept.iter().filter_map(wrong).collect()
}
