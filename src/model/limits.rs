//! What fits. CloudFormation and EC2 have quotas; where not everything fits, what is routed stays, and the newest entries wait.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use super::cidr;
use super::desired::{self, Desired};
use super::difference::{Difference, Kind};
use super::network::{Network, TableId, Zone};
use super::plan::{Plan, World};
use super::problem::{Problem, Subject};
use super::request::{EntryId, Request};
use super::resolved::{Layout, Names};
use super::template;

/// Of whatever waits for room.
pub(super) const REASON: &str = "LimitReached";

/// What is asked for, as far as it fits.
pub struct Fitted {
    /// Entries that wait are held: what is routed of them stays, and nothing is added.
    pub request: Request,
    pub desired: Desired,
    pub problems: Vec<Problem>,
}

/// Builds what should be. `names` and `live` are those of the live stack, empty when there is none; `number` tells when an entry
/// was first accepted, in comparison with others.
///
/// `kept` are there whatever is asked for. The order is fair: entries that are served come first, then the older ones. None is taken
/// before another that has waited longer, unless it takes no room since an accepted network contains it.
pub fn fit(
    world: &World<'_>,
    request: Request,
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
    let whole = room.build(&request, world.network);
    let Some(limit) = room.broken(&whole.0, world.network) else {
        return Fitted::new(request, whole);
    };
    let routed: BTreeSet<Ipv4Net> = names.routes.keys().map(|(_, cidr)| *cidr).collect();
    let is_routed = |net: &Ipv4Net| routed.iter().any(|cidr| cidr.contains(net));
    let mut queue: Vec<(bool, u64, &EntryId)> = request
        .entries
        .iter()
        .map(|(entry, net)| (!is_routed(net), number(entry).unwrap_or(u64::MAX), entry))
        .collect();
    queue.sort_unstable();
    let served = queue.partition_point(|(is_new, ..)| !is_new);
    let queue: Vec<&EntryId> = queue.into_iter().map(|(.., entry)| entry).collect();
    let fits = |count: usize, network: &Network| {
        let (part, _) = part(&request, &queue, count);
        let (desired, _) = room.build(&part, network);
        room.broken(&desired, network).is_none()
    };
    let mut problems = Vec::new();
    let mut network = world.network.clone();
    let mut stay = fits(served, &network);
    if !stay {
        // Only new route tables or zones can be why: the former can wait.
        problems.extend(set_aside(&mut network, names, &limit));
        stay = fits(served, &network);
    }
    let count = if stay {
        most(served, queue.len() + 1, |count| fits(count, &network))
    } else if fits(0, &network) {
        // What is routed serves them until there is room for routes of their own.
        0
    } else {
        return Fitted::new(request, whole);
    };
    let (request, mut waiting) = part(&request, &queue, count);
    waiting.retain(|(_, net)| !is_routed(net));
    problems.extend(waiting.into_iter().map(|(entry, _)| {
        let text =
            format!("it waits, since not everything fits, and older entries come first: {limit}");
        Problem::refused(Subject::Entry(entry), REASON, text)
    }));
    let (desired, mut more) = room.build(&request, &network);
    // Where a table waits, it is told of that.
    more.retain(|problem| problem.reason != "NoRouteTableInZone" || network == *world.network);
    problems.append(&mut more);
    Fitted {
        request,
        desired,
        problems,
    }
}

impl Fitted {
    fn new(request: Request, (desired, problems): (Desired, Vec<Problem>)) -> Self {
        Self {
            request,
            desired,
            problems,
        }
    }
}

impl Plan {
    /// Notes which zones it adds, and which are left out for a time.
    pub(super) fn mark_zones(&mut self, world: &World<'_>, names: &Names) {
        let is_new = |zone: &&Zone| !names.nat_cidrs.contains_key(*zone);
        let adds = |difference: &Difference| {
            difference.kind == Kind::Add && difference.resource_type == "AWS::EC2::NatGateway"
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
    fn build(&self, request: &Request, network: &Network) -> (Desired, Vec<Problem>) {
        let (mut desired, problems) =
            desired::build(request, network, self.names, self.world.settings);
        keep(&mut desired, self.kept);
        (desired, problems)
    }

    /// The limit that would be broken, with the remedy.
    fn broken(&self, desired: &Desired, network: &Network) -> Option<String> {
        let bucket = self.world.settings.template_bucket;
        if let Err(error) = template::render(desired, self.names, self.live, bucket) {
            return Some(error.to_string());
        }
        let quota = usize::from(self.world.settings.route_table_quota);
        desired.tables.keys().find_map(|table| {
            let there = &network.worker_tables.get(table)?.routes;
            // Until the stack has removed the old ones, there are both.
            let new = (desired.routes.iter())
                .filter(|(of, cidr)| of == table && !there.contains_key(cidr))
                .count();
            let counted = there.values().filter(|route| route.target != "local").count();
            (new > 0 && counted + new > quota).then(|| {
                format!(
                    "route table {table} has {counted} routes and would need {new} more, and it takes {quota}: remove routes, ask \
                     for wider networks, or have the quota \"Routes per route table\" raised and say so with \
                     --aws-route-table-quota"
                )
            })
        })
    }
}

/// Takes the route tables that have no route of ours yet out of the workers'.
fn set_aside(network: &mut Network, names: &Names, limit: &str) -> Vec<Problem> {
    let routed: BTreeSet<&TableId> = names.route_zones.keys().map(|(table, _)| table).collect();
    let tables = network.worker_tables.keys();
    let new: Vec<TableId> = tables
        .filter(|table| !routed.contains(table))
        .cloned()
        .collect();
    let mut problems = Vec::new();
    for table in new {
        network.set_aside(&table);
        let text = format!("nothing is routed from it yet, since not everything fits: {limit}");
        let subject = Subject::RouteTable(table);
        problems.push(Problem::warning(subject, REASON, text));
    }
    problems
}

/// The greatest number from `fits` on, and less than `breaks`, that fits.
fn most(mut fits: usize, mut breaks: usize, judge: impl Fn(usize) -> bool) -> usize {
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

/// The request without what comes after the first entries of the queue, and which entries wait because of that. One inside of an
/// accepted network takes no room.
fn part(request: &Request, queue: &[&EntryId], count: usize) -> (Request, Vec<(EntryId, Ipv4Net)>) {
    let (taken, rest) = queue.split_at(count);
    let mut part = Request {
        entries: BTreeMap::new(),
        held: request.held.clone(),
        refused: request.refused,
        settled: request.settled,
    };
    let entry = |id: &&EntryId| request.entries.get_key_value(*id);
    part.entries.extend(
        taken
            .iter()
            .filter_map(entry)
            .map(|(id, net)| (id.clone(), *net)),
    );
    let accepted = cidr::minimal(part.entries.values().copied(), &BTreeSet::new());
    let mut waiting = Vec::new();
    for (id, net) in rest.iter().filter_map(entry) {
        if cidr::covers(&accepted, net) {
            part.entries.insert(id.clone(), *net);
        } else {
            part.held.insert(*net);
            waiting.push((id.clone(), *net));
        }
    }
    (part, waiting)
}
