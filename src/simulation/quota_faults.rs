//! Quotas that other principals use up, and their edits of the stack. Extends the account in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::MemoryProvider;
use super::changes::layout;
use super::ec2::NO_ROOM;
use crate::model::base::ids::{TableId, Zone};
use crate::model::cloud::live::Stack;
use crate::model::cloud::network::{Route, Target};
use crate::model::cloud::part_names::Part;
use crate::model::cloud::static_ip::StaticIp;
use crate::model::cloud::status::Phase;
use crate::model::plan::stack_policy;
use crate::simulation::script::StackEdit;

/// The route quota of a table.
pub(crate) const ROUTES: usize = 12;

/// The networks that AWS may refuse: requested networks, and networks that they merge into.
pub(crate) const REFUSED: [&str; 8] = [
    "8.8.8.8/32",
    "8.8.8.8/31",
    "9.9.9.0/24",
    "9.9.9.128/25",
    "20.0.0.0/16",
    "20.0.0.0/15",
    "20.1.0.0/16",
    "20.0.7.0/24",
];

/// Returns a network that no entry requests.
fn foreign(number: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(10, 77, number, 0), 24)
}

pub(crate) fn refusable(number: usize) -> Ipv4Net {
    REFUSED[number].parse().expect("a network")
}

impl MemoryProvider {
    pub(crate) fn set_route_quota(&self, quota: usize) {
        self.account().ec2.route_quota = Some(quota);
    }

    /// Adds this many foreign routes to a worker table, as far as they fit.
    pub(crate) fn crowd(&self, table: usize, count: u8) {
        let mut account = self.account();
        let quota = account.ec2.route_quota.unwrap_or(usize::MAX);
        let mut tables = account.ec2.network.worker_tables.keys();
        let Some(table) = tables.nth(table).cloned() else {
            return;
        };
        for number in 0..count {
            if account.ec2.taken(&table) < quota {
                let route = Route {
                    target: "pcx-1".to_owned(),
                    blackhole: false,
                };
                let routes = account.ec2.routes(&table).into_iter();
                routes.for_each(|it| _ = it.insert(foreign(number), route.clone()));
            }
        }
    }

    /// Returns why the operation that has just begun is rolled back, if there is no room for its routes.
    pub(crate) fn fails_of_room(&self) -> Option<String> {
        let account = self.account();
        let stack = account.stack.as_ref()?;
        let is_it = |cause: &String| cause.ends_with(NO_ROOM);
        let rolls_back = stack.status.is_rollback() && stack.status.phase() == Phase::Busy;
        stack
            .cause
            .clone()
            .filter(|cause| rolls_back && is_it(cause))
    }

    /// Whether some worker table has no room until the stack has removed routes: a change adds routes before it removes others.
    pub(crate) fn is_packed(&self, asked: &BTreeSet<(TableId, Ipv4Net)>) -> bool {
        if self.is_full_of_lists() {
            return true;
        }
        let account = self.account();
        let mut tables = account.ec2.network.worker_tables.iter();
        tables.any(|(id, table)| {
            let there = table
                .routes
                .values()
                .filter(|it| it.leads_to() != Target::Local);
            let is_new =
                |(of, cidr): &&(TableId, Ipv4Net)| of == id && !table.routes.contains_key(cidr);
            there.count() + asked.iter().filter(is_new).count() >= ROUTES
        })
    }

    /// Whether some worker table has no room for one more route, and a route to a prefix list takes most of it.
    pub(crate) fn is_full_of_lists(&self) -> bool {
        let ec2 = &self.account().ec2;
        let mut tables = ec2.network.worker_tables.keys();
        tables.any(|table| ec2.listed(table) > 0 && ec2.taken(table) >= ROUTES)
    }

    /// Whether AWS refuses a table's route to a list, because of an entry.
    pub(crate) fn refuses_list_of(&self, table: &TableId) -> bool {
        let ec2 = &self.account().ec2;
        let routes = ec2.network.list_routes(table);
        let lacks = |id: &String| routes.is_none_or(|routes| !routes.contains_key(id));
        let mut lists = ec2.lists.iter().filter(|(id, _)| lacks(id));
        lists.any(|(_, list)| !list.entries.is_disjoint(&ec2.refused))
    }

    /// Makes AWS refuse routes to this network.
    pub(crate) fn refuse(&self, net: usize) {
        self.account().ec2.refused.insert(refusable(net));
    }

    pub(crate) fn take(&self, net: usize) {
        self.account().ec2.refused.remove(&refusable(net));
    }

    /// Makes AWS accept every route. Returns false if it already did.
    pub(crate) fn take_all(&self) -> bool {
        let refused = std::mem::take(&mut self.account().ec2.refused);
        !refused.is_empty()
    }

    /// Whether AWS refuses a route that could serve this network.
    pub(crate) fn refuses(&self, net: &Ipv4Net) -> bool {
        let account = self.account();
        let mut refused = account.ec2.refused.iter();
        refused.any(|other| other.contains(net) || net.contains(other))
    }

    /// Returns why the last operation failed or is rolled back, and the full table, if that is the cause.
    pub(crate) fn failure(&self) -> Option<(String, Option<TableId>)> {
        let account = self.account();
        let stack = account.stack.as_ref()?;
        let cause = stack.cause.clone()?;
        let table = cause
            .strip_suffix(NO_ROOM)
            .map(|table| table.trim().to_owned());
        stack.status.is_rollback().then_some((cause, table))
    }

    /// Removes all foreign routes.
    pub(crate) fn disperse(&self) {
        let theirs: Vec<Ipv4Net> = (0..u8::MAX).map(foreign).collect();
        for routes in self.account().ec2.all_routes() {
            routes.retain(|cidr, _| !theirs.contains(cidr));
        }
    }

    /// Edits the stack by hand, as in CloudFormation's console.
    pub(crate) fn edit_by_hand(&self, hand: StackEdit) {
        let mut account = self.account();
        let Ok(stack) = account.idle_stack() else {
            return;
        };
        match hand {
            StackEdit::Unprotects => stack.termination_protection = false,
            StackEdit::Repolicies => stack.policy = Some(stack_policy::text(true)),
            StackEdit::Deletes => {
                account.clear();
                account.stack = None;
                account.change_sets.clear();
                account.generation += 1;
            }
        }
    }

    /// Whether the stack has the protection that it should have.
    pub(crate) fn is_protected(&self) -> bool {
        let account = self.account();
        let is = |stack: &Stack| stack.termination_protection && stack_policy::is(stack, false);
        account.stack.as_ref().is_none_or(is)
    }

    /// Limits a zone to the NAT gateways that it has. The account shows the limit or hides it.
    pub(crate) fn leave_gateways(&self, zone: usize, told: bool) {
        let mut account = self.account();
        let tables = account.ec2.network.worker_tables.values();
        let zones: BTreeSet<Zone> = tables.map(|table| table.zone.clone()).collect();
        if let Some(zone) = zones.into_iter().nth(zone) {
            let taken = account.ec2.in_zone(&zone);
            account.ec2.gateway_quotas.insert(zone, taken);
            account.ec2.hides_quotas = !told;
        }
    }

    /// Removes the limits of NAT gateways.
    pub(crate) fn raise_gateways(&self) {
        self.account().ec2.gateway_quotas.clear();
    }

    /// Returns the zones of the stack's template, each with its static IP, or an empty text before it has one.
    pub(crate) fn zone_ips(&self) -> BTreeMap<Zone, String> {
        let account = self.account();
        let Some(stack) = &account.stack else {
            return BTreeMap::new();
        };
        let names = layout(stack).names();
        let ip = |zone: &Zone| {
            let logical = names.part(zone, Part::Eip);
            let made = logical.and_then(|logical| account.made.get(logical));
            let given = names.given.get(zone).map(|it| it.ip.clone());
            let ip = given.or_else(|| made.map(|made| made.id.clone()));
            (zone.clone(), ip.unwrap_or_default())
        };
        names.nat_cidrs.keys().map(ip).collect()
    }

    /// Allocates an address, as the operator would.
    pub(crate) fn allocate(&self) -> StaticIp {
        let (ip, allocation) = self.account().ec2.allocate();
        StaticIp { ip, allocation }
    }

    /// Whether the zone has a NAT gateway.
    pub(crate) fn has_gateway(&self, zone: &Zone) -> bool {
        self.account().ec2.in_zone(zone) > 0
    }

    /// Limits the number of further static IPs; None removes the limit.
    pub(crate) fn leave_addresses(&self, free: Option<usize>) {
        let mut account = self.account();
        let taken = account.ec2.addresses.len();
        account.ec2.address_quota = free.map(|free| taken + free);
    }
}
