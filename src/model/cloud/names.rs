//! [`Names`]: what each resource of a template stands for.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use crate::model::base::ids::{TableId, Zone};
use crate::model::cloud::network_lists::NetworkList;
use crate::model::cloud::part_names::Part;
use crate::model::cloud::static_ip::StaticIp;

/// The logical ids that live resources have, by what they stand for. They keep their ids, also those that an earlier version chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// A static IP that is no resource of the stack has the name of the output that shows it.
    pub parts: BTreeMap<(Zone, Part), String>,
    /// The static IPs that are no resources of the stack.
    pub given: BTreeMap<Zone, StaticIp>,
    pub nat_cidrs: BTreeMap<Zone, Ipv4Net>,
    /// The routes, also those that networks have by a list: these have the logical id of the list's route.
    pub routes: BTreeMap<(TableId, Ipv4Net), String>,
    /// The zone of the NAT gateway that each route leads to.
    pub route_zones: BTreeMap<(TableId, Ipv4Net), Zone>,
    /// The network lists by logical id, and by logical id the table and the list of each route to one.
    pub lists: BTreeMap<String, NetworkList>,
    pub list_routes: BTreeMap<String, (TableId, String)>,
    pub table_parameters: BTreeMap<TableId, String>,
    /// Resources that are none of the above.
    pub strangers: Vec<String>,
}

impl Names {
    /// The logical id of a piece of the zone.
    pub fn part(&self, zone: &Zone, part: Part) -> Option<&String> {
        self.parts.get(&(zone.clone(), part))
    }
}

impl Names {
    /// Whether the template has a route of its own to this network in this table.
    pub fn is_direct(&self, route: &(TableId, Ipv4Net)) -> bool {
        let id = self.routes.get(route);
        id.is_some_and(|id| !self.list_routes.contains_key(id))
    }

    /// Adds the routes that entries of lists have. `zone`: the zone whose NAT gateway a route leads to.
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
