//! The part of a request that gets routes if not all of it fits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use crate::model::base::cidr;
use crate::model::base::ids::EntryId;
use crate::model::cloud::layout::Names;
use crate::model::input::admission::{self, Tenant};
use crate::model::input::request::Request;

/// The part of a [`Request`] that gets routes. Only the [`Request`], which no limit shrinks, shows whether users request nothing, or less
/// than before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    pub entries: BTreeMap<EntryId, Ipv4Net>,
    /// Networks that get no new routes and keep their live ones.
    pub held: BTreeSet<Ipv4Net>,
    /// The same as [`Request::settled`].
    pub settled: bool,
}

impl Admitted {
    /// Returns the whole request.
    pub fn all(request: &Request) -> Self {
        Self {
            entries: request.entries.clone(),
            held: request.held.clone(),
            settled: request.settled,
        }
    }
}

/// A route in every table, and the entries that it serves. One of the entries takes as much room as all of them, so they are admitted
/// together.
struct Unit<'a> {
    entries: Vec<(&'a EntryId, Ipv4Net)>,
    /// The live route that would otherwise have to stay for the unit, by its index in [`Choice::wide`].
    inside: Option<usize>,
}

impl<'a> Unit<'a> {
    /// Returns the namespaces that request the unit.
    fn tenants(&self) -> BTreeSet<Tenant<'a>> {
        let objects = self.entries.iter().map(|(entry, _)| &entry.object);
        objects.map(Tenant::of).collect()
    }
}

/// The units to choose from.
pub(in crate::model) struct Choice<'a> {
    request: &'a Request,
    /// The units in the order of admission.
    units: Vec<Unit<'a>>,
    /// The number of units that live routes serve.
    pub(in crate::model) served: usize,
    /// Live routes that contain units but are wider than the requests; those with the most units come first.
    pub(in crate::model) wide: Vec<Ipv4Net>,
    /// The requested networks that overlap live routes.
    touching: BTreeSet<Ipv4Net>,
}

/// The position of a unit in the order: its class (live, served, new), then the number and the id of its oldest entry.
type Rank<'a> = (u8, u64, &'a EntryId);

impl<'a> Choice<'a> {
    /// Returns the units of the request. `nets` are the routes for the whole request, sorted and disjoint. Live units come first, then
    /// served ones, both ordered by their oldest entry. New units follow, namespace by namespace.
    pub(in crate::model) fn new(
        request: &'a Request,
        nets: &[Ipv4Net],
        names: &Names,
        number: impl Fn(&EntryId) -> Option<u64>,
    ) -> Self {
        let live: BTreeSet<Ipv4Net> = names.routes.keys().map(|(_, cidr)| *cidr).collect();
        let routed = cidr::minimal(live.iter().copied(), &BTreeSet::new());
        let wide = wide(nets, &live);
        let mut units: Vec<Option<(Rank<'_>, Unit<'_>)>> = Vec::new();
        units.resize_with(nets.len(), || None);
        for (entry, net) in &request.entries {
            let after = nets.partition_point(|unit| unit.network() <= net.network());
            let Some(index) = after.checked_sub(1) else {
                continue;
            };
            let (Some(unit), Some(place)) = (nets.get(index), units.get_mut(index)) else {
                continue;
            };
            let class = match live.contains(unit) {
                true => 0,
                false if cidr::covers(&routed, net) => 1,
                false => 2,
            };
            let rank = (class, number(entry).unwrap_or(u64::MAX), entry);
            let (first, unit) = place.get_or_insert_with(|| {
                let inside = wide.iter().position(|route| route.contains(unit));
                let entries = Vec::new();
                (rank, Unit { entries, inside })
            });
            *first = rank.min(*first);
            unit.entries.push((entry, *net));
        }
        let mut units: Vec<_> = units.into_iter().flatten().collect();
        units.sort_unstable_by_key(|(rank, _)| *rank);
        let served = units.partition_point(|((class, ..), _)| *class < 2);
        let mut units: Vec<Unit<'_>> = units.into_iter().map(|(_, unit)| unit).collect();
        let new = units.split_off(served);
        let new = in_turn(&units, new, number);
        units.extend(new);
        let requested = request.entries.values().copied();
        let touching = requested.filter(|net| touches(&live, net)).collect();
        Self {
            request,
            served,
            units,
            wide,
            touching,
        }
    }

    pub(in crate::model) fn len(&self) -> usize {
        self.units.len()
    }

    /// Names the namespaces with the most routes among those that fit.
    pub(in crate::model) fn largest(&self, admitted: &Admitted) -> String {
        let fits = |unit: &&Unit<'_>| {
            let mut entries = unit.entries.iter();
            entries.any(|(entry, _)| admitted.entries.contains_key(*entry))
        };
        let tenants = self.units.iter().filter(fits).flat_map(Unit::tenants);
        admission::largest(tenants, "routes in each table")
    }

    /// Returns the request with routes for the first `count` units only. Units inside the first `stay` wide routes get none: these routes
    /// stay and serve them.
    pub(in crate::model) fn part(&self, count: usize, stay: usize) -> Admitted {
        let mut part = Admitted {
            entries: BTreeMap::new(),
            held: self.request.held.clone(),
            settled: self.request.settled,
        };
        for (index, unit) in self.units.iter().enumerate() {
            let covered = unit.inside.is_some_and(|wide| wide < stay);
            for (entry, net) in &unit.entries {
                if index < count && !covered {
                    part.entries.insert((*entry).clone(), *net);
                } else if self.touching.contains(net) {
                    part.held.insert(*net);
                }
            }
        }
        part
    }
}

/// Returns the new units in the order of admission. The namespace with the fewest units, including served ones, has the next turn. A unit
/// that several namespaces request is admitted at the first turn of any of them.
fn in_turn<'a>(
    served: &[Unit<'a>],
    new: Vec<Unit<'a>>,
    number: impl Fn(&EntryId) -> Option<u64>,
) -> Vec<Unit<'a>> {
    let mut has: BTreeMap<Tenant<'_>, usize> = BTreeMap::new();
    for tenant in served.iter().flat_map(Unit::tenants) {
        *has.entry(tenant).or_default() += 1;
    }
    let mut waiting = Vec::new();
    for (index, unit) in new.iter().enumerate() {
        for tenant in unit.tenants() {
            let of_it = unit.entries.iter().map(|(entry, _)| *entry);
            let numbers = of_it.filter(|entry| Tenant::of(&entry.object) == tenant);
            let oldest = numbers.filter_map(&number).min();
            waiting.push((tenant, oldest, index));
        }
    }
    let order = admission::in_turn(waiting, &has);
    let mut new: Vec<Option<Unit<'_>>> = new.into_iter().map(Some).collect();
    let mut take = |index: usize| new.get_mut(index).and_then(Option::take);
    order.into_iter().filter_map(&mut take).collect()
}

/// Returns the live routes that are wider than the requests inside them.
fn wide(units: &[Ipv4Net], live: &BTreeSet<Ipv4Net>) -> Vec<Ipv4Net> {
    let inside = |route: &Ipv4Net| {
        let first = units.partition_point(|unit| unit.network() < route.network());
        let rest = units.get(first..).unwrap_or_default();
        rest.partition_point(|unit| unit.network() <= route.broadcast())
    };
    let counted = live.iter().map(|route| (inside(route), *route));
    let mut wide: Vec<(usize, Ipv4Net)> = counted
        .filter(|(count, route)| *count > 0 && !cidr::covers(units, route))
        .collect();
    wide.sort_unstable_by_key(|(count, route)| (Reverse(*count), *route));
    wide.into_iter().map(|(_, route)| route).collect()
}

/// Whether a live route overlaps the network.
fn touches(live: &BTreeSet<Ipv4Net>, net: &Ipv4Net) -> bool {
    let inside = live.range(*net..).next();
    inside.is_some_and(|route| net.contains(route))
        || cidr::supernets(*net).any(|wide| live.contains(&wide))
}
