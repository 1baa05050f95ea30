//! [`Names`]: the purpose of each resource of a template.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use crate::model::base::ids::{TableId, Zone};
use crate::model::cloud::network_lists::NetworkList;
use crate::model::cloud::part_names::Part;
use crate::model::cloud::static_ip::StaticIp;

/// The logical ids of live resources, by purpose. Resources keep their ids, also those that an earlier version chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The parts of zones. A static IP that is not a resource of the stack has the name of its output.
    pub parts: BTreeMap<(Zone, Part), String>,
    /// The first static IPs that are not resources of the stack.
    pub given: BTreeMap<Zone, StaticIp>,
    /// The additional static IPs that are not resources of the stack, by the names of their outputs. An allocation id may be missing.
    pub given_more: BTreeMap<String, StaticIp>,
    pub nat_cidrs: BTreeMap<Zone, Ipv4Net>,
    /// The routes by network. A network in a list has the logical id of the table's route to the list.
    pub routes: BTreeMap<(TableId, Ipv4Net), String>,
    /// The zone of the NAT gateway that each route leads to.
    pub route_zones: BTreeMap<(TableId, Ipv4Net), Zone>,
    /// The network lists, by logical id.
    pub lists: BTreeMap<String, NetworkList>,
    /// The table and the list of each route to a list, by logical id.
    pub list_routes: BTreeMap<String, (TableId, String)>,
    /// The template parameter with the id of each route table.
    pub table_parameters: BTreeMap<TableId, String>,
    /// The other resources.
    pub strangers: Vec<String>,
}

impl Names {
    /// Returns the logical id of a part of the zone.
    pub fn part(&self, zone: &Zone, part: Part) -> Option<&String> {
        self.parts.get(&(zone.clone(), part))
    }

    /// Returns the routes to a list, by logical id, with their tables.
    pub fn routes_to<'a>(&'a self, list: &str) -> impl Iterator<Item = (&'a String, &'a TableId)> {
        let routes = self
            .list_routes
            .iter()
            .filter(move |(_, (_, to))| to == list);
        routes.map(|(id, (table, _))| (id, table))
    }

    /// Whether the table has a route to this network itself, not by a list.
    pub fn is_direct(&self, route: &(TableId, Ipv4Net)) -> bool {
        let id = self.routes.get(route);
        id.is_some_and(|id| !self.list_routes.contains_key(id))
    }

    /// Adds a route for each entry of the lists. `zone` returns the zone whose NAT gateway a route leads to.
    pub(super) fn serve_lists(&mut self, zone: impl Fn(&str) -> Option<Zone>) {
        for (id, (table, list)) in &self.list_routes {
            let zone = zone(id);
            for net in self.lists.get(list).iter().flat_map(|list| &list.entries) {
                let route = (table.clone(), *net);
                if self.routes.contains_key(&route) {
                    continue;
                }
                self.routes.insert(route.clone(), id.clone());
                if let Some(zone) = &zone {
                    self.route_zones.insert(route, zone.clone());
                }
            }
        }
    }
}
