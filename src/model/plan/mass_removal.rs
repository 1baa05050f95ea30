//! Delays a change that removes many networks at once, since that is usually a mistake: a misspelt label, another cluster, a faulty script.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::model::base::cidr;
use crate::model::base::ids::{EntryId, TableId, Zone};
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::network::Network;
use crate::model::cloud::resource_type::ResourceType;
use crate::model::desired::Desired;
use crate::model::plan::capacity::{self, Unasked};
use crate::model::plan::diff::Kind;
use crate::model::plan::types::{Action, Plan, World};

impl Plan {
    /// Whether the step removes resources that cannot be restored, or many networks at once, since users request them no more. Then the
    /// sources are listed again immediately before the step: a watch may have stopped without notice.
    pub fn needs_proof(&self) -> bool {
        let removes = |kind: ResourceType| {
            let mut differences = self.differences.iter();
            differences.any(|difference| {
                difference.kind == Kind::Remove
                    && ResourceType::of(&difference.resource_type) == kind
                    && !self.renewed.contains(&difference.id)
            })
        };
        match self.action {
            Action::Delete { .. } | Action::Protect(false) => {
                self.nothing_asked() || !self.static_ips.is_empty()
            }
            Action::Execute { .. } => {
                let large = self.grace.large_removal.is_some() || self.nothing_asked();
                large && (removes(ResourceType::Route) || self.alters_list())
                    || removes(ResourceType::Eip)
            }
            _ => false,
        }
    }

    /// Returns the problem for a step that is not made, since the sources do not confirm the plan.
    pub fn not_confirmed(&self, source: String, why: &str) -> Problem {
        let text = format!(
            "the controller listed all sources again before {} and does not make this call now: {why}; it makes a new plan",
            self.action.name()
        );
        Problem::warning(Subject::Source(source), Reason::NotConfirmed, text)
    }

    /// Keeps the routes of networks for the grace period if more than `--max-removal` percent of the networks would lose theirs, even if
    /// some are requested again meanwhile. Additions continue. Routes that go with their table or zone do not count. An empty request has
    /// its own rule, but later requests count it as a large removal.
    pub(in crate::model) fn hold_large_removal(
        &mut self,
        world: &World<'_>,
        layout: &Layout,
        names: &Names,
    ) {
        let settings = world.settings;
        if !self.request.settled {
            return;
        }
        let gone = gone_without(&self.desired, names);
        let networks = networks_of(&self.desired, names);
        let removed = gone
            .keys()
            .map(|(_, cidr)| cidr)
            .collect::<BTreeSet<_>>()
            .len();
        let share = u128::from(settings.max_removal);
        let of = self
            .grace
            .large_removal
            .map_or(networks, |large| large.of.min(networks));
        // The replacement of a single network is an edit.
        let large = of > 1 && removed as u128 * 100 > of as u128 * share;
        let waits = share < 100 && removed > 0 && (large || self.grace.large_removal.is_some());
        if !waits {
            self.grace.large_removal = None;
            return;
        }
        if self.nothing_asked() {
            return self.grace.large_from_empty(removed, of);
        }
        let (left, until) = self.grace.large_left(removed, of);
        if left.is_zero() {
            return;
        }
        let mut all = self.desired.clone();
        capacity::keep(&mut all, &gone);
        let is_short = self.admitted.entries.len() < self.request.entries.len();
        let kept = if is_short || capacity::overflows(world, &all, names, layout) {
            self.make_room(world, layout, names, &gone)
        } else {
            self.desired = all;
            removed
        };
        self.again = Some(self.grace.look(left));
        let gave_way = match removed - kept {
            0 => String::new(),
            some => {
                format!("; {some} more lose theirs, since requested networks need the room")
            }
        };
        let text = format!(
            "{kept} of {of} networks keep their routes until {}, though no entry requests them: more than --max-removal={share} \
             percent would lose theirs at once{gave_way}",
            instant(until)
        );
        self.problems.push(Problem::warning(
            Subject::Stack(settings.stack_name.clone()),
            Reason::LargeRemovalWaits,
            text,
        ));
    }

    /// Keeps as many networks that nobody requests as fit beside the requested ones, and returns their number. A full route table loses the
    /// others first, which makes room.
    fn make_room(
        &mut self,
        world: &World<'_>,
        layout: &Layout,
        names: &Names,
        gone: &Unasked,
    ) -> usize {
        let live = names.routes.keys().map(|(_, cidr)| cidr);
        let trusted = world.ledger.trusted(live);
        let number = |entry: &EntryId| trusted?.number(entry);
        let fit = |network: &Network, kept: &Unasked| {
            let world = World { network, ..*world };
            capacity::fit(&world, &self.request, names, layout, number, kept)
        };
        let networks: BTreeSet<Ipv4Net> = gone.keys().map(|(_, cidr)| *cidr).collect();
        let networks: Vec<Ipv4Net> = networks.into_iter().collect();
        // The first `count` networks stay.
        let split = |count: usize| -> (Unasked, Unasked) {
            let first = networks.get(..count).unwrap_or(&networks);
            let stays = |((_, cidr), _): &(_, _)| first.binary_search(cidr).is_ok();
            gone.clone().into_iter().partition(stays)
        };
        let requested = fit(&without(world.network, gone), &Unasked::new()).desired;
        let fits = |count: usize| {
            let (stay, leave) = split(count);
            let mut desired = requested.clone();
            capacity::keep(&mut desired, &stay);
            let network = &without(world.network, &leave);
            let world = World { network, ..*world };
            !capacity::overflows(&world, &desired, names, layout)
        };
        let count = capacity::most(0, networks.len() + 1, fits);
        let (stay, leave) = split(count);
        let mut fitted = fit(world.network, &stay);
        let lost = gone_without(&fitted.desired, names);
        if lost.keys().any(|route| !leave.contains_key(route)) {
            // If a route that is to cover live routes waits, these live routes stay as well.
            let mut kept = stay;
            kept.extend(
                lost.into_iter()
                    .filter(|(route, _)| !leave.contains_key(route)),
            );
            fitted = fit(world.network, &kept);
        }
        (self.admitted, self.desired) = (fitted.admitted, fitted.desired);
        self.problems.extend(fitted.problems);
        count
    }
}

/// Returns the live routes, in tables that stay, which no desired route covers.
fn gone_without(desired: &Desired, names: &Names) -> Unasked {
    let stays = |((table, _), _): &(&(TableId, Ipv4Net), &Zone)| desired.tables.contains_key(table);
    let covered = |(table, cidr): &(TableId, Ipv4Net)| {
        cidr::supernets(*cidr).any(|net| desired.routes.contains(&(table.clone(), net)))
    };
    let live = names.route_zones.iter().filter(stays);
    let gone = live.filter(|(route, _)| !covered(route));
    gone.map(|(route, zone)| (route.clone(), zone.clone()))
        .collect()
}

/// Returns how many networks are routed from the tables that stay.
fn networks_of(desired: &Desired, names: &Names) -> usize {
    let live = names.route_zones.keys();
    let stay = live.filter(|(table, _)| desired.tables.contains_key(table));
    stay.map(|(_, cidr)| cidr).collect::<BTreeSet<_>>().len()
}

/// Returns the network without these routes of ours.
fn without(network: &Network, routes: &Unasked) -> Network {
    let mut network = network.clone();
    for (table, cidr) in routes.keys() {
        if let Some(worker) = network.worker_tables.get_mut(table) {
            worker.routes.remove(cidr);
        }
    }
    network
}

/// Returns the time in UTC, as in RFC 3339.
fn instant(since_1970: Duration) -> String {
    let seconds = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "later".to_owned(), |at| at.to_string())
}
