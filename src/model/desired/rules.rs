//! The rules that entries are judged by, derived from the network, the settings and the live stack.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use crate::model::base::cidr::{self, Elsewhere, Rules};
use crate::model::base::ids::{TableId, Zone};
use crate::model::base::settings::Settings;
use crate::model::cloud::layout::Names;
use crate::model::cloud::network::{Network, Route, Target};

/// Returns the rules. No entry may be inside of the VPC's networks or of a NAT subnet, configured or live. A new entry may also not divert
/// traffic from a working route.
pub fn rules(network: &Network, settings: &Settings, names: &Names) -> Rules {
    let nat_subnets: BTreeSet<Ipv4Net> = settings
        .zones
        .values()
        .chain(names.nat_cidrs.values())
        .copied()
        .collect();
    let live = names.routes.keys().map(|(_, cidr)| *cidr);
    Rules {
        vpc: network.vpc_cidrs.clone(),
        nat_subnets: nat_subnets.into_iter().collect(),
        allow_private: settings.allow_private_ranges,
        max_networks: settings.max_networks_per_namespace,
        elsewhere: elsewhere(network, settings, names),
        routed: cidr::minimal(live, &BTreeSet::new()),
    }
}

/// Returns the working routes of worker tables that are outside of the stack and lead neither to the internet gateway nor to a NAT gateway
/// of the stack. A route wider than any entry may be is a default route, over which every entry takes precedence.
fn elsewhere(
    network: &Network,
    settings: &Settings,
    names: &Names,
) -> BTreeMap<Ipv4Net, Elsewhere> {
    let ours =
        |(table, cidr): (&TableId, &Ipv4Net)| names.routes.contains_key(&(table.clone(), *cidr));
    let tables = network.worker_tables.iter();
    let routes = tables.clone().flat_map(|(id, table)| {
        let of_ours = table
            .routes
            .iter()
            .filter(move |(cidr, _)| ours((id, cidr)));
        of_ours.map(|(_, route)| route.target.as_str())
    });
    let is_gateway = |target: &&str| Target::of(target) == Target::NatGateway;
    let gateways: BTreeSet<&str> = routes.filter(is_gateway).collect();
    let served =
        |zone: &Zone| settings.zones.contains_key(zone) || names.nat_cidrs.contains_key(zone);
    let mut elsewhere = BTreeMap::new();
    for (id, table) in tables.filter(|(_, table)| served(&table.zone)) {
        for (cidr, Route { target, blackhole }) in table.routes.iter().chain(&table.propagated) {
            let leads_out = match Target::of(target) {
                Target::Local | Target::InternetGateway => true,
                Target::NatGateway => gateways.contains(target.as_str()),
                Target::Other => false,
            };
            let is_default = cidr.prefix_len() < cidr::WIDEST_PREFIX;
            if !*blackhole && !leads_out && !is_default && !ours((id, cidr)) {
                let way = || Elsewhere {
                    table: id.clone(),
                    cidr: *cidr,
                    target: target.clone(),
                };
                elsewhere.entry(*cidr).or_insert_with(way);
            }
        }
    }
    elsewhere
}
