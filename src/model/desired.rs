//! The desired stack: zones with a NAT gateway each, and a route for each destination CIDR and worker route table.

pub mod admitted;
pub(crate) mod fingerprint;
pub mod list_damage;
pub mod lists;
pub(crate) mod more_ips;
pub mod movable;
pub mod new_lists;
pub mod parse;
pub(crate) mod reading;
pub mod refused_routes;
pub(crate) mod retained;
pub(crate) mod rules;
pub mod shift;
pub mod template;
mod template_quotas;
mod template_routes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::model::base::cidr;
use crate::model::base::ids::{TableId, Zone};
use crate::model::base::problem::{Problem, Severity, Subject};
use crate::model::base::reason::Reason;
use crate::model::base::settings::{NAMELESS, Settings};
use crate::model::cloud::layout::Names;
use crate::model::cloud::network::{Network, RELEASED};
use crate::model::cloud::released_ips::Lost;
use crate::model::cloud::static_ip::{Choice as IpChoice, StaticIp};
use crate::model::desired::admitted::Admitted;
use crate::model::desired::list_damage::ListDamage;
use crate::model::desired::new_lists::NewLists;
use crate::model::desired::refused_routes::Choice;
use crate::model::desired::retained::{Kept, keep_routes};
use crate::model::desired::shift::Shift;
use crate::model::input::request::Request;

/// The desired content of the stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    pub stack_name: String,
    pub tags: BTreeMap<String, String>,
    pub termination_protection: bool,
    pub stack_policy: bool,
    pub owner: Option<String>,
    pub vpc_id: String,
    pub internet_gateway_id: String,
    pub zones: BTreeMap<Zone, Ipv4Net>,
    /// The static IPs that are not resources of the stack.
    pub given: BTreeMap<Zone, StaticIp>,
    /// The new zone that asks AWS for its released static IP.
    pub recovers: Option<Lost>,
    /// Worker route tables whose zone has a NAT gateway.
    pub tables: BTreeMap<TableId, Zone>,
    pub routes: BTreeSet<(TableId, Ipv4Net)>,
    /// Zones whose parts stay unchanged in the stack.
    pub frozen: BTreeSet<Zone>,
    /// Routes that stay on the NAT gateway of another zone than their table's, because AWS refused the change.
    pub unturned: BTreeMap<(TableId, Ipv4Net), Zone>,
    /// The lists that may be added for new networks; None if new networks get direct routes.
    pub into_lists: Option<NewLists>,
    pub damage: ListDamage,
    /// The step of the migration that the next change makes.
    pub shift: Shift,
}

/// Returns the desired stack. `names` are those of the live stack, and empty if there is none.
pub fn build(
    request: &Admitted,
    network: &Network,
    names: &Names,
    settings: &Settings,
) -> (Desired, Vec<Problem>) {
    let mut problems = Vec::new();
    if settings.nameless {
        let subject = Subject::Stack(settings.stack_name.clone());
        problems.push(Problem::warning(
            subject,
            Reason::NoClusterId,
            NAMELESS.to_owned(),
        ));
    }
    let zones = zones(network, names, settings, &mut problems);
    let mut tables = tables(network, settings, &zones, &mut problems);
    let mut routes = routes(request, network, names, (&tables, &zones), &mut problems);
    let aside = &network.headroom.refused;
    let unturned = refused_routes::unturned(aside, names, &tables, &zones, &mut problems);
    let kept = Kept {
        admitted: request,
        network,
        names,
        settings,
        zones: &zones,
    };
    problems.extend(keep_routes(kept, &mut tables, &mut routes));
    let desired = Desired {
        stack_name: settings.stack_name.clone(),
        tags: settings.tags.clone(),
        termination_protection: settings.termination_protection,
        stack_policy: settings.stack_policy,
        owner: settings.owner.uid.clone(),
        vpc_id: network.vpc_id.clone(),
        internet_gateway_id: network.internet_gateway_id.clone(),
        given: given(&zones, network, names),
        recovers: recovers(&zones, network, names),
        zones,
        tables,
        routes,
        frozen: BTreeSet::new(),
        unturned,
        into_lists: None,
        damage: ListDamage::default(),
        shift: Shift::default(),
    };
    (desired, problems)
}

/// Returns the zones of the stack. Live zones take precedence over configured ones: no live NAT subnet, and so no static IP, is replaced.
fn zones(
    network: &Network,
    names: &Names,
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> BTreeMap<Zone, Ipv4Net> {
    let mut zones = BTreeMap::new();
    let goes =
        |zone: &Zone| settings.remove_zones.contains(zone) && !settings.zones.contains_key(zone);
    let one_stays = names.nat_cidrs.keys().any(|zone| !goes(zone));
    for (zone, live) in &names.nat_cidrs {
        match settings.zones.get(zone) {
            Some(configured) if configured != live => problems.push(Problem::warning(
                Subject::Zone(zone.clone()),
                Reason::NatCidrKept,
                format!(
                    "its NAT subnet stays {live}, not {configured}: changing it would replace the NAT gateway; set \
                     --aws-nat-cidr-block back to {live}, or remove the zone with --remove-zone={zone} and add it again"
                ),
            )),
            None if goes(zone) && one_stays => continue,
            // Without any zone, no network would have a route.
            None if goes(zone) => problems.push(Problem::warning(
                Subject::Zone(zone.clone()),
                Reason::ZoneKept,
                format!(
                    "--remove-zone names it, but no other zone has a NAT gateway: it stays until a zone of --aws-az has one; see the \
                     problems of those zones, or remove {zone} from --remove-zone and add it back to --aws-az"
                ),
            )),
            None => problems.push(Problem::warning(
                Subject::Zone(zone.clone()),
                Reason::ZoneKept,
                format!(
                    "--aws-az no longer names it, and it stays, because its static IP would go out of use; add it back to \
                     --aws-az, or set --remove-zone={zone}, which keeps the IP in the account"
                ),
            )),
            Some(_) => {}
        }
        zones.insert(zone.clone(), *live);
    }
    let mut addresses = network.headroom.addresses;
    // A stack without any zone routes nothing, so its zones do not wait after a failure.
    let later = &network.headroom.later;
    let is_later = |(zone, cidr): (&Zone, &Ipv4Net)| later.contains_key(&(zone.clone(), *cidr));
    let goes_without = !names.nat_cidrs.is_empty() || !settings.zones.iter().all(is_later);
    for (zone, cidr) in
        (settings.zones.iter()).filter(|(zone, _)| !names.nat_cidrs.contains_key(*zone))
    {
        let waits =
            unusable(*cidr, network, &zones).or_else(|| waits(zone, *cidr, network, addresses));
        let waits = waits.filter(|(reason, _)| *reason != Reason::ZoneWaits || goes_without);
        if let Some((reason, text)) = waits {
            let severity = match reason {
                Reason::LimitReached => Severity::Warning,
                _ => Severity::Refused,
            };
            let subject = Subject::Zone(zone.clone());
            problems.push(Problem::new(severity, subject, reason, text));
        } else {
            if network.headroom.needs_eip(zone) {
                addresses = addresses.map(|free| free.saturating_sub(1));
            }
            zones.insert(zone.clone(), *cidr);
        }
    }
    zones
}

/// Returns the static IPs that are not resources of the stack, by zone: the live ones, and the chosen ones of new zones.
fn given(
    zones: &BTreeMap<Zone, Ipv4Net>,
    network: &Network,
    names: &Names,
) -> BTreeMap<Zone, StaticIp> {
    let given = |zone: &Zone| match network.headroom.choices.get(zone) {
        _ if names.nat_cidrs.contains_key(zone) => names.given.get(zone),
        Some(IpChoice::Use(ip)) => Some(ip),
        Some(IpChoice::Recover(_) | IpChoice::Wait(..)) | None => None,
    };
    let of = |zone: &Zone| Some((zone.clone(), given(zone)?.clone()));
    zones.keys().filter_map(of).collect()
}

/// Returns the new zone that asks AWS for its released static IP.
fn recovers(zones: &BTreeMap<Zone, Ipv4Net>, network: &Network, names: &Names) -> Option<Lost> {
    let mut new = zones.keys().filter(|it| !names.nat_cidrs.contains_key(*it));
    new.find_map(|zone| match network.headroom.choices.get(zone) {
        Some(IpChoice::Recover(ip)) => Some((zone.clone(), ip.clone())),
        Some(IpChoice::Use(_) | IpChoice::Wait(..)) | None => None,
    })
}

/// Returns why a zone is not added now. A zone that cannot be created fails the whole change, with all other routes in it.
fn waits(
    zone: &Zone,
    cidr: Ipv4Net,
    network: &Network,
    addresses: Option<usize>,
) -> Option<(Reason, String)> {
    let headroom = &network.headroom;
    let choice = headroom.choices.get(zone);
    if let Some(IpChoice::Wait(reason, why)) = choice {
        return Some((*reason, why.clone()));
    }
    if addresses == Some(0) && headroom.needs_eip(zone) {
        let text = "it gets no NAT gateway yet, since the account has no room for more static IPs in this region; release one \
                    that is not needed, or have the quota \"EC2-VPC Elastic IPs\" raised";
        return Some((Reason::LimitReached, text.to_owned()));
    }
    if headroom.nat_gateways.get(zone) == Some(&0) {
        let text = "it gets no NAT gateway yet, since the account has no room for more in this zone; delete one that is \
                    not needed, or have the quota \"NAT gateways per Availability Zone\" raised";
        return Some((Reason::LimitReached, text.to_owned()));
    }
    headroom.later.get(&(zone.clone(), cidr))?;
    // The text leaves out the remaining time, so that it stays the same from pass to pass.
    let text = "the change that adds the zone failed, and all other changes proceed; the controller tries again after \
                longer and longer waits: see the stack's events for the cause; if the range of the NAT subnet is taken, choose \
                another with --aws-nat-cidr-block";
    Some((Reason::ZoneWaits, text.to_owned()))
}

/// Returns why a new NAT subnet cannot be created.
fn unusable(
    cidr: Ipv4Net,
    network: &Network,
    zones: &BTreeMap<Zone, Ipv4Net>,
) -> Option<(Reason, String)> {
    if !network.vpc_cidrs.iter().any(|vpc| vpc.contains(&cidr)) {
        let text = format!(
            "its NAT subnet {cidr} is outside the CIDRs of {}, so the zone gets no NAT gateway; choose a free range \
             inside them with --aws-nat-cidr-block",
            network.vpc_id
        );
        return Some((Reason::NatCidrUnusable, text));
    }
    let (other, range) = zones
        .iter()
        .find(|(_, other)| other.contains(&cidr) || cidr.contains(*other))?;
    let text = format!(
        "its NAT subnet {cidr} overlaps {range} of zone {other}, so the zone gets no NAT gateway; choose a free range with \
         --aws-nat-cidr-block"
    );
    Some((Reason::NatCidrUnusable, text))
}

fn tables(
    network: &Network,
    settings: &Settings,
    zones: &BTreeMap<Zone, Ipv4Net>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<TableId, Zone> {
    let mut tables = BTreeMap::new();
    for (id, table) in &network.worker_tables {
        if zones.contains_key(&table.zone) {
            tables.insert(id.clone(), table.zone.clone());
        } else if table.zone != RELEASED {
            let remedy = match settings.zones.contains_key(&table.zone) {
                true => "see the problem of that zone",
                false => "add the zone to --aws-az and --aws-nat-cidr-block, or correct the tag",
            };
            problems.push(Problem::warning(
                Subject::RouteTable(id.clone()),
                Reason::NoNatInZone,
                format!(
                    "its tag AvailabilityZone names {:?}, where there is no NAT gateway: nothing is routed from there; {remedy}",
                    table.zone
                ),
            ));
        }
    }
    for zone in zones
        .keys()
        .filter(|zone| !tables.values().any(|of| of == *zone))
    {
        problems.push(Problem::warning(
            Subject::Zone(zone.clone()),
            Reason::NoRouteTableInZone,
            "no worker route table has the tag AvailabilityZone with this zone, so its static IP is not used; tag the \
             workers' route table, or check --aws-route-table-tag"
                .to_owned(),
        ));
    }
    tables
}

fn routes(
    request: &Admitted,
    network: &Network,
    names: &Names,
    (tables, zones): (&BTreeMap<TableId, Zone>, &BTreeMap<Zone, Ipv4Net>),
    problems: &mut Vec<Problem>,
) -> BTreeSet<(TableId, Ipv4Net)> {
    let asked: BTreeSet<Ipv4Net> = request.entries.values().copied().collect();
    let foreign = foreign(tables.keys(), network, names);
    for (entry, cidr) in &request.entries {
        for table in foreign.get(cidr).into_iter().flatten() {
            let target = &network.worker_tables[*table].routes[cidr].target;
            problems.push(Problem::warning(
                Subject::Entry(entry.clone()),
                Reason::RouteExists,
                format!(
                    "route table {table} has a route to {cidr} by way of {target} that this controller did not make: \
                     it is left alone and traffic from there gets no static IP; delete that route to have it replaced"
                ),
            ));
        }
    }
    let never: BTreeSet<Ipv4Net> = foreign
        .keys()
        .copied()
        .filter(|cidr| !asked.contains(cidr))
        .collect();
    let mut routes = BTreeSet::new();
    let all = cidr::minimal(asked.iter().copied(), &never);
    for table in tables.keys() {
        let refused = network.headroom.refused.refused_in(table, names, &all);
        let fewer =
            (!refused.is_empty()).then(|| refused_routes::without(&asked, &never, &refused));
        for cidr in fewer.as_ref().unwrap_or(&all) {
            let taken = foreign.get(cidr);
            if !taken.is_some_and(|tables| tables.contains(&table)) {
                routes.insert((table.clone(), *cidr));
            }
        }
    }
    let choice = Choice {
        request,
        network,
        names,
        tables,
        zones,
        foreign: &foreign,
    };
    choice.leave_out(&mut routes, problems);
    routes
}

/// Returns the routes outside of the stack, with their tables. Merging must not produce one of them, since CloudFormation would fail on it.
fn foreign<'a>(
    tables: impl Iterator<Item = &'a TableId>,
    network: &Network,
    names: &Names,
) -> BTreeMap<Ipv4Net, Vec<&'a TableId>> {
    let mut foreign: BTreeMap<Ipv4Net, Vec<&TableId>> = BTreeMap::new();
    for table in tables {
        for cidr in network.worker_tables[table].routes.keys() {
            if !names.is_direct(&(table.clone(), *cidr)) {
                foreign.entry(*cidr).or_default().push(table);
            }
        }
    }
    foreign
}

/// Returns the networks that merging the requested ones must not produce.
pub(super) fn never(request: &Request, network: &Network, names: &Names) -> BTreeSet<Ipv4Net> {
    let asked: BTreeSet<&Ipv4Net> = request.entries.values().collect();
    let mut foreign = foreign(network.worker_tables.keys(), network, names);
    foreign.retain(|cidr, _| !asked.contains(cidr));
    foreign.into_keys().collect()
}

/// Returns three zones for a trial without an account.
pub fn example_zones() -> BTreeMap<Zone, Ipv4Net> {
    let net = |last| Ipv4Net::new_assert(Ipv4Addr::new(172, 31, 64, last), 28);
    let zones = [
        ("eu-west-1a", net(0)),
        ("eu-west-1b", net(16)),
        ("eu-west-1c", net(32)),
    ];
    zones
        .into_iter()
        .map(|(zone, cidr)| (zone.to_owned(), cidr))
        .collect()
}
