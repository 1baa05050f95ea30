//! EC2 as far as the stack uses it: all resources, whichever principal created them, and the requests that EC2 refuses.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use super::wish::{Made, Wish};
use crate::model::base::ids::{SubnetId, Zone};
use crate::model::cloud::more_ips::SECONDARY;
use crate::model::cloud::network::{Network, OtherTable, Route, Target};
use crate::model::cloud::observed::{Address, Gateway, Health, Subnet};
use crate::model::cloud::prefix_list::{ListId, PrefixList};

pub(super) const NO_ROOM: &str = "takes no more routes";
pub(super) const NOT_SUPPORTED: &str = "is not supported as a destination";

#[derive(Clone, Default)]
pub(super) struct Ec2 {
    pub(super) network: Network,
    pub(super) gateways: BTreeMap<String, Gateway>,
    /// The static IPs, by public IP.
    pub(super) addresses: BTreeMap<String, Address>,
    /// Released static IPs that another account has now.
    pub(super) given_away: BTreeSet<String>,
    /// The border groups of static IPs outside the region's group, by public IP.
    pub(super) groups: BTreeMap<String, String>,
    /// The tags that CloudFormation sets on the static IPs, by public IP.
    pub(super) address_tags: BTreeMap<String, BTreeMap<String, String>>,
    pub(super) subnets: BTreeMap<SubnetId, Subnet>,
    pub(super) lists: BTreeMap<ListId, PrefixList>,
    /// The quota of prefix lists; None for EC2's default.
    pub(super) list_quota: Option<usize>,
    /// The id of the explicit route table association of each subnet.
    pub(super) links: BTreeMap<SubnetId, String>,
    /// The quota of routes per table; None if unlimited.
    pub(super) route_quota: Option<usize>,
    pub(super) address_quota: Option<usize>,
    /// The quota of NAT gateways by zone; a zone without a quota is unlimited.
    pub(super) gateway_quotas: BTreeMap<Zone, usize>,
    /// Destinations whose routes EC2 refuses.
    pub(super) refused: BTreeSet<Ipv4Net>,
    /// Whether the account hides its quotas of NAT gateways.
    pub(super) hides_quotas: bool,
    /// The number of addresses allocated so far.
    pub(super) count: u32,
    /// The ids assigned so far. No id is assigned twice.
    ids: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Well,
    Changed,
    Gone,
}

impl Ec2 {
    pub(super) fn new(network: Network) -> Self {
        Self {
            network,
            ..Self::default()
        }
    }

    /// Returns the address that a NAT gateway refers to by allocation id, or by public IP if the EIP is in the same stack.
    pub(super) fn allocated(&self, id: &str) -> Option<(&String, &Address)> {
        let of_id = |(ip, address): &(&String, &Address)| *ip == id || address.allocation == id;
        self.addresses.iter().find(of_id)
    }

    /// Whether EC2, asked for this id alone, finds a resource that is not deleted.
    pub(super) fn has(&self, id: &str) -> bool {
        let gateway = self.gateways.get(id);
        gateway.is_some_and(|gateway| gateway.health != Health::Gone)
            || self.allocated(id).is_some()
            || self.subnets.contains_key(id)
            || self.lists.contains_key(id)
            || self.network.routes(id).is_some()
    }

    pub(super) fn fresh(&mut self, base: &str) -> String {
        let mut id = base.to_owned();
        let mut number = 1;
        while !self.ids.insert(id.clone()) {
            number += 1;
            id = format!("{base}-{number}");
        }
        id
    }

    pub(super) fn routes(&mut self, table: &str) -> Option<&mut BTreeMap<Ipv4Net, Route>> {
        let Network {
            worker_tables,
            other_tables,
            ..
        } = &mut self.network;
        let worker = worker_tables.get_mut(table).map(|table| &mut table.routes);
        worker.or_else(|| other_tables.get_mut(table).map(|table| &mut table.routes))
    }

    /// Returns the routes of each table, worker tables first.
    pub(super) fn all_routes(&mut self) -> impl Iterator<Item = &mut BTreeMap<Ipv4Net, Route>> {
        let Network {
            worker_tables,
            other_tables,
            ..
        } = &mut self.network;
        let workers = worker_tables.values_mut().map(|table| &mut table.routes);
        let others = other_tables.values_mut().map(|table| &mut table.routes);
        workers.chain(others)
    }

    /// Creates a resource. Returns its id, or why EC2 refuses it.
    pub(super) fn make(&mut self, wish: &Wish) -> Result<String, String> {
        match wish.kind.as_str() {
            "AWS::EC2::EIP" => self.make_address(wish),
            "AWS::EC2::Subnet" => self.make_subnet(wish),
            "AWS::EC2::RouteTable" => {
                let id = self.fresh("rtb-nat");
                let table = OtherTable {
                    tags: wish.tags.clone(),
                    ..OtherTable::default()
                };
                self.network.other_tables.insert(id.clone(), table);
                Ok(id)
            }
            "AWS::EC2::NatGateway" => self.make_gateway(wish),
            "AWS::EC2::PrefixList" => self.make_list(wish),
            "AWS::EC2::Route" if wish.leads_to_list() => {
                let route = self.route_of(wish)?;
                self.make_list_route(wish, route)
            }
            "AWS::EC2::Route" => self.make_route(wish),
            "AWS::EC2::SubnetRouteTableAssociation" => {
                let (subnet, table) = (wish.field("SubnetId"), wish.field("RouteTableId"));
                if !self.subnets.contains_key(subnet) || self.network.routes(table).is_none() {
                    return Err(format!("{subnet} or {table} does not exist"));
                }
                if self.network.associations.contains_key(subnet) {
                    return Err(format!("{subnet} is associated already"));
                }
                let associations = &mut self.network.associations;
                associations.insert(subnet.to_owned(), table.to_owned());
                let id = self.fresh("rtbassoc");
                self.links.insert(subnet.to_owned(), id.clone());
                Ok(id)
            }
            other => Err(format!("{other} is not known here")),
        }
    }

    fn make_subnet(&mut self, wish: &Wish) -> Result<String, String> {
        let cidr = wish.cidr("CidrBlock");
        if let Some((id, _)) = self.subnets.iter().find(|(_, is)| is.cidr == Some(cidr)) {
            return Err(format!("{cidr} is {id}'s"));
        }
        let zone = wish.field("AvailabilityZone").to_owned();
        let id = self.fresh(&format!("subnet-{zone}"));
        let subnet = Subnet {
            cidr: Some(cidr),
            zone,
            tags: wish.tags.clone(),
        };
        self.subnets.insert(id.clone(), subnet);
        Ok(id)
    }

    fn make_gateway(&mut self, wish: &Wish) -> Result<String, String> {
        let (subnet, allocation) = (wish.field("SubnetId"), wish.field("AllocationId"));
        let Some(zone) = self.subnets.get(subnet).map(|subnet| subnet.zone.clone()) else {
            return Err(format!("{subnet} does not exist"));
        };
        let ip = match self.allocated(allocation) {
            None => return Err(format!("{allocation} does not exist")),
            Some((_, address)) if address.held_by.is_some() => {
                return Err(format!("{allocation} is associated already"));
            }
            Some((ip, _)) => ip.clone(),
        };
        // Names of Local Zones have five parts.
        let group = self.groups.get(&ip).map(String::as_str);
        let is_local = zone.matches('-').count() >= 4;
        let wanted = is_local.then(|| zone.trim_end_matches(char::is_alphabetic));
        if group != wanted {
            return Err(format!("{ip} is of another border group than {zone}"));
        }
        let quota = self.gateway_quotas.get(&zone);
        if quota.is_some_and(|quota| self.in_zone(&zone) >= *quota) {
            return Err(format!("{zone} takes no more NAT gateways"));
        }
        let id = self.fresh(&format!("nat-{zone}"));
        let gateway = Gateway {
            health: Health::Well,
            subnet: subnet.to_owned(),
            public_ip: Some(ip.clone()),
            secondary_ips: Vec::new(),
            interface: Some(format!("eni-{id}")),
        };
        let held_by = Some(format!("eni-{id}"));
        if let Some(address) = self.addresses.get_mut(&ip) {
            address.held_by = held_by;
        }
        self.gateways.insert(id.clone(), gateway);
        self.use_addresses(&id, &wish.list(SECONDARY))?;
        Ok(id)
    }

    /// Returns the requested route. EC2 refuses a route to a NAT gateway that does not exist.
    fn route_of(&self, wish: &Wish) -> Result<Route, String> {
        let target = wish.target().to_owned();
        if !self.leads_somewhere(&target) {
            return Err(format!("{target} does not exist"));
        }
        Ok(Route {
            target,
            blackhole: false,
        })
    }

    fn leads_somewhere(&self, target: &str) -> bool {
        let gateway = self.gateways.get(target);
        Target::of(target) != Target::NatGateway
            || gateway.is_some_and(|it| it.health == Health::Well)
    }

    fn make_route(&mut self, wish: &Wish) -> Result<String, String> {
        let (table, cidr) = (
            wish.field("RouteTableId"),
            wish.cidr("DestinationCidrBlock"),
        );
        let (route, quota) = (self.route_of(wish)?, self.route_quota);
        let is_refused = self.refused.contains(&cidr);
        let taken = self.taken(table);
        let Some(routes) = self.routes(table) else {
            return Err(format!("{table} does not exist"));
        };
        if routes.contains_key(&cidr) {
            return Err(format!("a route to {cidr} already exists in {table}"));
        }
        if is_refused {
            return Err(format!("{cidr} {NOT_SUPPORTED}"));
        }
        if taken >= quota.unwrap_or(usize::MAX) {
            return Err(format!("{table} {NO_ROOM}"));
        }
        routes.insert(cidr, route);
        Ok(format!("{table}|{cidr}"))
    }

    /// Updates a resource in place, which [`Wish::becomes`] allows.
    pub(super) fn change(&mut self, made: &Made, wish: &Wish) -> Result<(), String> {
        let missing = || format!("{} was not found", made.id);
        if wish.kind == "AWS::EC2::PrefixList" {
            return self.change_list(&made.id, wish);
        }
        if wish.kind == "AWS::EC2::Route" {
            let route = self.route_of(wish)?;
            *self.route_at(wish).ok_or_else(missing)? = route;
            return Ok(());
        }
        if wish.kind == "AWS::EC2::NatGateway" {
            return self.use_addresses(&made.id, &wish.list(SECONDARY));
        }
        let tags = self.tags(&made.id).ok_or_else(missing)?;
        tags.retain(|key, _| !made.wish.tags.contains_key(key));
        tags.extend(wish.tags.clone());
        Ok(())
    }

    /// Returns the route to the destination, a network or a prefix list.
    fn route_at(&mut self, wish: &Wish) -> Option<&mut Route> {
        let table = wish.field("RouteTableId");
        if wish.leads_to_list() {
            let routes = self.list_routes(table)?;
            return routes.get_mut(wish.field("DestinationPrefixListId"));
        }
        self.routes(table)?
            .get_mut(&wish.cidr("DestinationCidrBlock"))
    }

    fn tags(&mut self, id: &str) -> Option<&mut BTreeMap<String, String>> {
        let subnet = self.subnets.get_mut(id).map(|subnet| &mut subnet.tags);
        let table = self.network.other_tables.get_mut(id);
        subnet.or(table.map(|table| &mut table.tags))
    }

    /// Deletes a resource. A missing resource is not an error, and a resource in use stays.
    pub(super) fn remove(&mut self, made: &Made) {
        let (id, wish) = (made.id.as_str(), &made.wish);
        match wish.kind.as_str() {
            "AWS::EC2::EIP" => {
                let is_free = |address: &Address| address.held_by.is_none();
                if self.addresses.get(id).is_some_and(is_free) {
                    self.addresses.remove(id);
                }
            }
            "AWS::EC2::Subnet" => {
                self.subnets.remove(id);
                self.unlink(id);
            }
            "AWS::EC2::RouteTable" => {
                self.network.other_tables.remove(id);
                let mut associations = self.network.associations.clone().into_iter();
                if let Some((subnet, _)) = associations.find(|(_, table)| table == id) {
                    self.unlink(&subnet);
                }
            }
            "AWS::EC2::NatGateway" => {
                self.end(id, Health::Gone);
                self.gateways.remove(id);
            }
            "AWS::EC2::PrefixList" => self.remove_list(id),
            "AWS::EC2::Route" if wish.leads_to_list() => {
                if let Some(routes) = self.list_routes(wish.field("RouteTableId")) {
                    routes.remove(wish.field("DestinationPrefixListId"));
                }
            }
            "AWS::EC2::Route" => {
                let cidr = wish.cidr("DestinationCidrBlock");
                if let Some(routes) = self.routes(wish.field("RouteTableId")) {
                    routes.remove(&cidr);
                }
            }
            _ if self
                .links
                .get(wish.field("SubnetId"))
                .is_some_and(|link| link == id) =>
            {
                self.unlink(wish.field("SubnetId"));
            }
            _ => {}
        }
    }

    /// Removes the association of a subnet with its route table.
    pub(super) fn unlink(&mut self, subnet: &str) {
        self.links.remove(subnet);
        self.network.associations.remove(subnet);
    }

    /// Compares the resource in EC2 with the one that the stack created.
    pub(super) fn state(&self, made: &Made) -> State {
        let (id, wish) = (made.id.as_str(), &made.wish);
        let has = |tags: &BTreeMap<String, String>| {
            let mut wanted = wish.tags.iter();
            wanted.all(|(key, value)| tags.get(key) == Some(value))
        };
        let as_made = match wish.kind.as_str() {
            "AWS::EC2::EIP" => self.addresses.get(id).map(|_| true),
            "AWS::EC2::Subnet" => self.subnets.get(id).map(|subnet| has(&subnet.tags)),
            "AWS::EC2::RouteTable" => {
                let table = self.network.other_tables.get(id);
                table.map(|table| has(&table.tags))
            }
            "AWS::EC2::NatGateway" => {
                let gateway = self.gateways.get(id);
                let gateway = gateway.filter(|gateway| gateway.health == Health::Well);
                let ip = self.allocated(wish.field("AllocationId"));
                let ip = ip.map(|(ip, _)| ip.as_str());
                gateway.map(|gateway| gateway.public_ip.as_deref() == ip)
            }
            "AWS::EC2::PrefixList" => return self.list_state(made),
            "AWS::EC2::Route" => {
                let table = wish.field("RouteTableId");
                let route = if wish.leads_to_list() {
                    let routes = self.network.list_routes(table);
                    routes.and_then(|it| it.get(wish.field("DestinationPrefixListId")))
                } else {
                    let routes = self.network.routes(table);
                    routes.and_then(|it| it.get(&wish.cidr("DestinationCidrBlock")))
                };
                route.map(|route| !route.blackhole && route.target == wish.target())
            }
            _ => {
                let link = self.links.get(wish.field("SubnetId"));
                link.map(|link| link == id)
            }
        };
        match as_made {
            Some(true) => State::Well,
            Some(false) => State::Changed,
            None => State::Gone,
        }
    }
}
