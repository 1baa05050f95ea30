//! What fits. CloudFormation and EC2 have quotas; where not everything fits, what is routed stays, and the newest entries wait.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use crate::model::base::cidr;
use crate::model::base::ids::{EntryId, TableId, Zone};
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::network::{Network, Target};
use crate::model::cloud::part_names::PARTS;
use crate::model::cloud::resource_type::ResourceType;
use crate::model::desired::admitted::{Admitted, Choice};
use crate::model::desired::template::{MAX_RESOURCES, TemplateError};
use crate::model::desired::{self, Desired, template};
use crate::model::input::request::Request;
use crate::model::plan::diff::{Difference, Kind};
use crate::model::plan::types::{Plan, World};

/// How many routes a message names.
const NAMED: usize = 3;

/// The part of a request that fits, and the stack for it.
pub struct Fitted {
    pub admitted: Admitted,
    pub desired: Desired,
    pub problems: Vec<Problem>,
}

/// Builds what should be. `names` and `live` are those of the live stack, empty when there is none; `number` tells when an entry
/// was first accepted, in comparison with others.
///
/// `kept` are there whatever is requested. The order is fair: what is served comes first, then the older entries. None is admitted
/// before another that has waited longer, unless it takes no room since it is inside of the same route as one that is admitted.
///
/// Where not even the routes for all that is served fit, a wide live route that nobody requests any more stays, and serves what is
/// inside of it. Only where that is not enough, new route tables wait.
pub fn fit(
    world: &World<'_>,
    request: &Request,
    names: &Names,
    live: &Layout,
    number: impl Fn(&EntryId) -> Option<u64>,
    kept: &Unasked,
) -> Fitted {
    let room = Room {
        world,
        names,
        live,
        kept,
    };
    let never = desired::never(request, world.network, names);
    let units = cidr::minimal(request.entries.values().copied(), &never);
    let limit = match room.whole(request, units.len()) {
        Ok(whole) => return whole,
        Err(limit) => limit,
    };
    let choice = Choice::new(request, &units, names, number);
    let (network, admitted) = room.choose(&choice);
    let limit = format!("{limit}; {}", choice.largest(&admitted));
    let (desired, mut problems) = room.build(&admitted, &network);
    if network != *world.network {
        // A table that waits is reported as such.
        problems.retain(|problem| problem.reason != Reason::NoRouteTableInZone);
        problems.extend(set_aside_for(world.network, &network, &limit));
    }
    problems.extend(waiting(request, &admitted, &desired, &limit));
    problems.extend(unrequested(world, &choice, &desired, &limit));
    problems.extend(full_tables(&room, request, &admitted, &network));
    Fitted {
        admitted,
        desired,
        problems,
    }
}

impl Plan {
    /// Notes which zones it adds, and which are left out for a time.
    pub(in crate::model) fn mark_zones(&mut self, world: &World<'_>, names: &Names) {
        let is_new = |zone: &&Zone| !names.nat_cidrs.contains_key(*zone);
        let adds = |difference: &Difference| {
            let what = ResourceType::of(&difference.resource_type);
            difference.kind == Kind::Add && what == ResourceType::NatGateway
        };
        if self.differences.iter().any(adds) {
            self.new_zones = self.desired.zones.keys().filter(is_new).cloned().collect();
        }
        let later = world.network.headroom.later.iter();
        let left_out = later.filter(|((zone, cidr), _)| {
            is_new(&zone) && world.settings.zones.get(zone) == Some(cidr)
        });
        self.later = left_out.map(|(of, wait)| (of.clone(), *wait)).collect();
        let waits = self.later.values().copied();
        self.again = self.again.into_iter().chain(waits).min();
    }
}

/// Routes that nobody asks for, and the zones that they lead to.
pub type Unasked = BTreeMap<(TableId, Ipv4Net), Zone>;

pub fn keep(desired: &mut Desired, kept: &Unasked) {
    for ((table, cidr), zone) in kept {
        desired
            .tables
            .entry(table.clone())
            .or_insert_with(|| zone.clone());
        desired.routes.insert((table.clone(), *cidr));
    }
}

/// Whether this passes a limit.
pub fn overflows(world: &World<'_>, desired: &Desired, names: &Names, live: &Layout) -> bool {
    let kept = &Unasked::new();
    let room = Room {
        world,
        names,
        live,
        kept,
    };
    room.broken(desired, world.network).is_some()
}

/// What is judged by.
struct Room<'a> {
    world: &'a World<'a>,
    names: &'a Names,
    live: &'a Layout,
    kept: &'a Unasked,
}

impl Room<'_> {
    fn build(&self, admitted: &Admitted, network: &Network) -> (Desired, Vec<Problem>) {
        let (mut desired, problems) =
            desired::build(admitted, network, self.names, self.world.settings);
        keep(&mut desired, self.kept);
        (desired, problems)
    }

    /// Returns all that is requested, or the limit that it breaks. `units`: the number of routes for it in each table.
    fn whole(&self, request: &Request, units: usize) -> Result<Fitted, String> {
        let network = self.world.network;
        if units > MAX_RESOURCES {
            // Without building what cannot fit: that may be 20,000 routes in each of a hundred tables.
            let (base, _) = self.build(&Admitted::default(), network);
            let routes = units.saturating_mul(base.tables.len());
            if routes > 0 {
                let zones = base.zones.len() * PARTS.len() - base.given.len();
                return Err(TemplateError::TooManyResources(zones + routes, routes).to_string());
            }
        }
        let admitted = Admitted::all(request);
        let (desired, problems) = self.build(&admitted, network);
        match self.broken(&desired, network) {
            Some(limit) => Err(limit),
            None => Ok(Fitted {
                admitted,
                desired,
                problems,
            }),
        }
    }

    /// Chooses what gets routes, and from which tables. What is requested and served comes before the removal of what nobody requests,
    /// and both come before a new table.
    fn choose(&self, choice: &Choice<'_>) -> (Network, Admitted) {
        let (served, wide) = (choice.served, choice.wide.len());
        let mut network = self.world.network.clone();
        for with_new_tables in [true, false] {
            if !with_new_tables {
                set_aside(&mut network, self.names);
            }
            let fits = |count, stay| self.fits(&choice.part(count, stay), &network);
            if fits(served, wide) {
                let stay = most(0, wide + 1, |gone| fits(served, wide - gone));
                let stay = wide - stay;
                // Each takes a route in some table.
                let breaks = choice.len().min(served + MAX_RESOURCES) + 1;
                let count = most(served, breaks, |count| fits(count, stay));
                return (network, choice.part(count, stay));
            }
        }
        // Routes that are to take the place of live ones do not fit beside these: the live ones stay.
        let count = most(0, served.max(1), |count| {
            self.fits(&choice.part(count, wide), &network)
        });
        let admitted = choice.part(count, wide);
        (network, admitted)
    }

    fn fits(&self, admitted: &Admitted, network: &Network) -> bool {
        let (desired, _) = self.build(admitted, network);
        self.broken(&desired, network).is_none()
    }

    /// The limit that would be broken, with the remedy.
    fn broken(&self, desired: &Desired, network: &Network) -> Option<String> {
        let bucket = self.world.settings.template_bucket;
        if let Err(error) = template::render(desired, self.names, self.live, bucket) {
            return Some(error.to_string());
        }
        let mut tables = desired.tables.keys();
        tables.find_map(|table| self.why_full(table, desired, network))
    }

    /// Why the routes do not fit into the table.
    fn why_full(&self, table: &TableId, desired: &Desired, network: &Network) -> Option<String> {
        let quota = usize::from(self.world.settings.route_table_quota);
        let worker = network.worker_tables.get(table)?;
        let (there, listed) = (&worker.routes, worker.listed);
        // Until the stack has removed the old ones, there are both.
        let new = (desired.routes.iter())
            .filter(|(of, cidr)| of == table && !there.contains_key(cidr))
            .count();
        let counted = there
            .values()
            .filter(|route| route.leads_to() != Target::Local)
            .count();
        let counted = counted + listed;
        let of_lists = match listed {
            0 => String::new(),
            _ => format!(
                " ({listed} of them for prefix lists, which count with all entries that they may have)"
            ),
        };
        (new > 0 && counted + new > quota).then(|| {
            format!(
                "route table {table} has {counted} routes{of_lists} and would need {new} more, and it takes {quota}: remove routes, ask \
                 for wider networks, or have the quota \"Routes per route table\" raised and say so with \
                 --aws-route-table-quota"
            )
        })
    }
}

/// Takes the route tables that have no route of ours yet out of the workers'.
fn set_aside(network: &mut Network, names: &Names) {
    let routed: BTreeSet<&TableId> = names.route_zones.keys().map(|(table, _)| table).collect();
    let tables = network.worker_tables.keys();
    let new: Vec<TableId> = tables
        .filter(|table| !routed.contains(table))
        .cloned()
        .collect();
    for table in new {
        network.set_aside(&table);
    }
}

/// Returns the greatest number from `fits` on, and less than `breaks`, that fits. Each unit takes one more route in every table, so
/// what does not fit does not fit with more of them either.
pub fn most(mut fits: usize, mut breaks: usize, judge: impl Fn(usize) -> bool) -> usize {
    while breaks - fits > 1 {
        let middle = fits + (breaks - fits) / 2;
        if judge(middle) {
            fits = middle;
        } else {
            breaks = middle;
        }
    }
    fits
}

/// Reports the route tables that are set aside.
fn set_aside_for(all: &Network, rest: &Network, limit: &str) -> Vec<Problem> {
    let mut tables: Vec<&TableId> = all.worker_tables.keys().collect();
    tables.retain(|table| !rest.worker_tables.contains_key(*table));
    let text = format!("nothing is routed from it yet, since not everything fits: {limit}");
    let problem = |table: &TableId| {
        Problem::warning(
            Subject::RouteTable(table.clone()),
            Reason::LimitReached,
            text.clone(),
        )
    };
    tables.into_iter().map(problem).collect()
}

/// Reports each route table in which the entries that wait would not fit. An entry gets its routes in all tables or in none: else it would
/// depend on the node whether its traffic leaves from a static IP.
fn full_tables(
    room: &Room<'_>,
    request: &Request,
    admitted: &Admitted,
    network: &Network,
) -> Vec<Problem> {
    // One more network is enough to tell.
    let mut more = admitted.clone();
    let waits = |(entry, _): &(&EntryId, &Ipv4Net)| !admitted.entries.contains_key(*entry);
    let Some((entry, net)) = request.entries.iter().find(waits) else {
        return Vec::new();
    };
    more.entries.insert(entry.clone(), *net);
    let (desired, _) = room.build(&more, network);
    let problem = |table: &TableId| {
        let full = room.why_full(table, &desired, network)?;
        let text = format!("it is full, so new entries wait in all route tables: {full}");
        Some(Problem::warning(
            Subject::RouteTable(table.clone()),
            Reason::LimitReached,
            text,
        ))
    };
    desired.tables.keys().filter_map(problem).collect()
}

/// Reports the entries that get no routes of their own: those that wait, and those that only a route serves which nobody requests.
fn waiting(request: &Request, admitted: &Admitted, desired: &Desired, limit: &str) -> Vec<Problem> {
    let requested = cidr::minimal(request.entries.values().copied(), &BTreeSet::new());
    let own = desired
        .routes
        .iter()
        .filter(|(_, cidr)| cidr::covers(&requested, cidr));
    let own = by_table(desired, own);
    let all = by_table(desired, desired.routes.iter());
    let nobody = || Subject::Stack(String::new());
    let waits = format!(
        "it waits, since not everything fits, and older entries come first, of each namespace in turn: {limit}"
    );
    let waits = Problem::refused(nobody(), Reason::LimitReached, waits);
    let wide = format!(
        "it is served by a wider route that nobody requests any more, and gets one of its own when there is room: {limit}"
    );
    let wide = Problem::warning(nobody(), Reason::LimitReached, wide);
    let mut problems = Vec::new();
    for (entry, net) in &request.entries {
        if admitted.entries.contains_key(entry) {
            continue;
        }
        let same = if !in_all(&all, net) {
            &waits
        } else if !in_all(&own, net) {
            &wide
        } else {
            continue;
        };
        problems.push(same.with_subject(Subject::Entry(entry.clone())));
    }
    problems
}

/// Returns those of the routes that each table should have, merged.
pub(in crate::model) fn by_table<'a>(
    desired: &'a Desired,
    routes: impl Iterator<Item = &'a (TableId, Ipv4Net)>,
) -> Vec<Vec<Ipv4Net>> {
    let tables = desired.tables.keys().map(|table| (table, Vec::new()));
    let mut tables: BTreeMap<&TableId, Vec<Ipv4Net>> = tables.collect();
    for (table, cidr) in routes {
        if let Some(routes) = tables.get_mut(table) {
            routes.push(*cidr);
        }
    }
    let merged = |nets| cidr::minimal(nets, &BTreeSet::new());
    tables.into_values().map(merged).collect()
}

/// Whether each of these tables routes the whole network.
pub(in crate::model) fn in_all(tables: &[Vec<Ipv4Net>], net: &Ipv4Net) -> bool {
    !tables.is_empty() && tables.iter().all(|routes| cidr::covers(routes, net))
}

/// Reports the routes that nobody requests, and that stay since what is inside of them does not fit.
fn unrequested(
    world: &World<'_>,
    choice: &Choice<'_>,
    desired: &Desired,
    limit: &str,
) -> Option<Problem> {
    let stays = |wide: &&Ipv4Net| desired.routes.iter().any(|(_, cidr)| cidr == *wide);
    let wide: Vec<String> = choice
        .wide
        .iter()
        .filter(stays)
        .map(ToString::to_string)
        .collect();
    let named = wide.get(..wide.len().min(NAMED))?.join(", ");
    (!wide.is_empty()).then(|| {
        let text = format!(
            "{} routes that nobody requests stay ({named}), since they serve entries inside of them whose own routes do not fit: {limit}",
            wide.len()
        );
        Problem::warning(Subject::Stack(world.settings.stack_name.clone()), Reason::LimitReached, text)
    })
}
