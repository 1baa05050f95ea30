//! Chooses the part of a request that fits into the quotas of CloudFormation and EC2. Existing routes stay, and the newest entries wait.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use crate::model::base::cidr;
use crate::model::base::ids::{EntryId, TableId, Zone};
use crate::model::base::problem::{Problem, Subject, split};
use crate::model::base::reason::Reason;
use crate::model::base::settings::PrefixLists;
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::limits::MOST_ROUTES;
use crate::model::cloud::network::Network;
use crate::model::cloud::resource_type::ResourceType;
use crate::model::desired::admitted::{Admitted, Choice};
use crate::model::desired::list_damage::ListDamage;
use crate::model::desired::template::{MAX_RESOURCES, TemplateError};
use crate::model::desired::{self, Desired, template};
use crate::model::input::request::Request;
use crate::model::plan::diff::{Difference, Kind};
use crate::model::plan::list_damage::list_damage;
use crate::model::plan::table_room::{full_tables, list_choices};
use crate::model::plan::types::{Plan, World};
use crate::model::plan::waiting::{set_aside_for, unrequested, waiting};

/// The part of a request that fits, and the desired stack for this part.
pub struct Fitted {
    pub admitted: Admitted,
    pub desired: Desired,
    pub problems: Vec<Problem>,
}

/// Builds the desired stack. `names` and `live` belong to the live stack, and are empty without one. `number` returns the order in which
/// entries were first accepted.
///
/// The routes in `kept` stay, requested or not. The order is fair: served entries come first, then older entries. An entry passes an older
/// one only if it takes no room, since it is inside of the same route as an admitted entry.
///
/// If the routes for all served entries do not fit, wide live routes that nobody requests any more stay, and serve the networks inside of
/// them. Only if that is not enough, new route tables wait.
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
        damage: list_damage(world, names),
    };
    let never = desired::never(request, world.network, names);
    let units = cidr::minimal(request.entries.values().copied(), &never);
    if let Some(whole) = room.whole(request, units.len()) {
        return whole;
    }
    let choice = Choice::new(request, &units, names, number);
    let Part {
        network,
        count,
        stay,
    } = room.choose(&choice);
    let admitted = choice.part(count, stay);
    let (mut desired, mut problems) = room.build(&admitted, &network);
    room.choose_lists(&mut desired, &network);
    // The limit to report is the one that the next larger choice would break.
    let breaks = |count, stay, network| {
        let limit = room.limit(&choice.part(count, stay), network);
        limit.unwrap_or_else(|| "not everything fits".to_owned())
    };
    if network != *world.network {
        // `set_aside_for` reports the tables that wait.
        problems.retain(|problem| problem.reason != Reason::NoRouteTableInZone);
        let limit = breaks(count, stay, world.network);
        problems.extend(set_aside_for(world.network, &network, &limit));
    }
    let more = match stay.checked_sub(1) {
        _ if count < choice.len() => Some((count + 1, stay)),
        Some(fewer) => Some((count, fewer)),
        None => None,
    };
    if let Some((count, stay)) = more {
        let limit = breaks(count, stay, &network);
        let fits = (&admitted, &desired);
        problems.extend(waiting(world, request, &choice, fits, &limit));
        problems.extend(unrequested(world, &choice, &desired, &limit));
    }
    problems.extend(no_more(&room, request, &admitted, &network));
    Fitted {
        admitted,
        desired,
        problems,
    }
}

impl Plan {
    /// Notes which zones the plan adds, and which zones wait.
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
        let waits: Vec<_> = self.later.values().copied().collect();
        self.look_within(waits);
        self.mark_recovered(world);
    }
}

/// Routes that nobody requests, with the zones that they lead to.
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

/// Whether the desired stack exceeds a limit.
pub fn overflows(world: &World<'_>, desired: &Desired, names: &Names, live: &Layout) -> bool {
    let kept = &Unasked::new();
    let room = Room {
        world,
        names,
        live,
        kept,
        damage: desired.damage.clone(),
    };
    room.broken(desired, world.network).is_some()
}

/// The choice of route tables, units and wide routes.
struct Part {
    /// The network without the route tables that wait.
    network: Network,
    /// The number of units that get routes.
    count: usize,
    /// The number of wide routes that stay.
    stay: usize,
}

/// The input of the checks against limits.
struct Room<'a> {
    world: &'a World<'a>,
    names: &'a Names,
    live: &'a Layout,
    kept: &'a Unasked,
    damage: ListDamage,
}

impl Room<'_> {
    fn build(&self, admitted: &Admitted, network: &Network) -> (Desired, Vec<Problem>) {
        let (mut desired, problems) =
            desired::build(admitted, network, self.names, self.world.settings);
        keep(&mut desired, self.kept);
        desired.damage.clone_from(&self.damage);
        (desired, problems)
    }

    /// Returns the whole request, if it fits. `units`: the number of routes in each table for the request.
    fn whole(&self, request: &Request, units: usize) -> Option<Fitted> {
        let network = self.world.network;
        if units > self.most_units() {
            // A request that cannot fit is not built: it may take 20,000 routes in each of a hundred tables.
            let (base, _) = self.build(&Admitted::default(), network);
            if !base.tables.is_empty() {
                return None;
            }
        }
        let admitted = Admitted::all(request);
        let (mut desired, problems) = self.build(&admitted, network);
        let fits = self.choose_lists(&mut desired, network).is_none();
        fits.then_some(Fitted {
            admitted,
            desired,
            problems,
        })
    }

    /// Chooses the units that get routes, and the route tables. Served units come before the removal of wide routes that nobody requests,
    /// and both come before new tables.
    fn choose(&self, choice: &Choice<'_>) -> Part {
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
                // Each further unit takes a route in at least one table.
                let breaks = choice.len().min(served + self.most_units()) + 1;
                let count = most(served, breaks, |count| fits(count, stay));
                return Part {
                    network,
                    count,
                    stay,
                };
            }
        }
        // The routes that would replace live ones do not fit beside them: the live routes stay.
        let count = most(0, served.max(1), |count| {
            self.fits(&choice.part(count, wide), &network)
        });
        Part {
            network,
            count,
            stay: wide,
        }
    }

    fn fits(&self, admitted: &Admitted, network: &Network) -> bool {
        self.limit(admitted, network).is_none()
    }

    /// Returns the limit that the admitted part breaks, with the remedy.
    fn limit(&self, admitted: &Admitted, network: &Network) -> Option<String> {
        let (mut desired, _) = self.build(admitted, network);
        self.choose_lists(&mut desired, network)
    }

    /// Chooses whether new networks go into lists. Returns a broken limit if no choice fits.
    fn choose_lists(&self, desired: &mut Desired, network: &Network) -> Option<String> {
        let mut broken = None;
        for lists in list_choices(desired, self.names, network, self.world.settings) {
            desired.into_lists = lists;
            broken = Some(self.broken(desired, network)?);
        }
        broken
    }

    /// Returns the maximum number of units that fit into an empty stack.
    fn most_units(&self) -> usize {
        match self.world.settings.prefix_lists {
            PrefixLists::Never => MAX_RESOURCES,
            PrefixLists::WhenFull | PrefixLists::Always => usize::from(MOST_ROUTES),
        }
    }

    /// Returns the limit that the desired stack breaks, with the remedy.
    fn broken(&self, desired: &Desired, network: &Network) -> Option<String> {
        let (settings, limits) = (self.world.settings, &self.world.network.limits);
        let bucket = limits.allow_long_templates(settings, self.world.live);
        if let Err(error) = template::render(desired, self.names, self.live, bucket) {
            let text = error.to_string();
            return Some(match (split(&text), settings.template_bucket) {
                ((what, Some(_)), true) if matches!(error, TemplateError::NeedsBucket(_)) => {
                    format!("{what}; correct --cf-template-bucket: see the problem of the stack")
                }
                ((what, Some(remedy)), false)
                    if matches!(error, TemplateError::NeedsBucket(_))
                        && settings.prefix_lists == PrefixLists::Never =>
                {
                    format!("{what}; {remedy}, or set --prefix-lists=when-full")
                }
                _ => text,
            });
        }
        let mut full = full_tables(desired, self.names, network, self.world.settings);
        full.next().map(|(_, why)| why)
    }
}

/// Removes the route tables without a route of ours from the worker tables.
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

/// Returns the largest number that fits, from `fits` on and less than `breaks`. Each unit takes one more route in every table, so if a
/// number does not fit, no larger number fits.
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

/// Reports each route table in which the entries that wait would not fit. An entry gets its routes in all tables or in none: otherwise the
/// node would decide whether its traffic leaves from a static IP.
fn no_more(
    room: &Room<'_>,
    request: &Request,
    admitted: &Admitted,
    network: &Network,
) -> Vec<Problem> {
    // One further network shows which tables are full.
    let mut more = admitted.clone();
    let waits = |(entry, _): &(&EntryId, &Ipv4Net)| !admitted.entries.contains_key(*entry);
    let Some((entry, net)) = request.entries.iter().find(waits) else {
        return Vec::new();
    };
    more.entries.insert(entry.clone(), *net);
    let (mut desired, _) = room.build(&more, network);
    room.choose_lists(&mut desired, network);
    let problem = |(table, full): (&TableId, String)| {
        let text = format!("it is full, so new entries wait in all route tables: {full}");
        Problem::warning(
            Subject::RouteTable(table.clone()),
            Reason::LimitReached,
            text,
        )
    };
    let full = full_tables(&desired, room.names, network, room.world.settings);
    full.map(problem).collect()
}
