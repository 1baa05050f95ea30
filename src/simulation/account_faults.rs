//! Changes of EC2 by other principals. Extends the account in memory.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use super::MemoryProvider;
use super::account::{Account, Ending};
use super::changes::layout;
use super::ec2::{Ec2, State};
use super::wish::Made;
use crate::model::base::ids::{TableId, Zone};
use crate::model::cloud::change_set_name::is_revert;
use crate::model::cloud::live::{Change, Effect};
use crate::model::cloud::more_ips;
use crate::model::cloud::network::Route;
use crate::model::cloud::observed::{Gateway, Health};
use crate::model::cloud::part_names::Part;
use crate::simulation::ec2_faults::{Ec2Fault, Reverting};

const EIP: &str = "AWS::EC2::EIP";

/// A resource of the stack that differs in EC2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stray {
    /// The networks in worker tables that depend on the resource, if it is a route, a prefix list or a route to one.
    pub(crate) routes: Vec<(TableId, Ipv4Net)>,
    /// Empty for a prefix list, which serves all zones.
    pub(crate) zone: Zone,
    /// Whether the resource is a prefix list or a route to one.
    pub(crate) is_of_list: bool,
}

impl Stray {
    pub(crate) fn is_of(&self, zone: &Zone) -> bool {
        self.zone.is_empty() || self.zone == *zone
    }
}

/// The resources of one zone, by their ids.
struct Pieces {
    zone: Zone,
    ids: BTreeMap<Part, String>,
}

impl Pieces {
    fn of(account: &Account, zone: &Zone) -> Option<Self> {
        let names = layout(account.stack.as_ref()?).names();
        let zone = names.nat_cidrs.get_key_value(zone)?.0.clone();
        let mine = names.parts.iter().filter(|((of, _), _)| *of == zone);
        let id = |((_, part), logical): (&(Zone, Part), &String)| {
            Some((*part, account.made.get(logical)?.id.clone()))
        };
        let mut ids: BTreeMap<Part, String> = mine.filter_map(id).collect();
        let given = names.given.get(&zone).map(|it| it.ip.clone());
        ids.extend(given.map(|ip| (Part::Eip, ip)));
        Some(Self { zone, ids })
    }

    fn id(&self, part: Part) -> &str {
        self.ids.get(&part).map_or("", String::as_str)
    }
}

/// Changes the target of an existing route, or deletes the route.
fn lead(ec2: &mut Ec2, (table, cidr): &(TableId, Ipv4Net), target: Option<&str>) -> bool {
    let Some(routes) = ec2.routes(table) else {
        return false;
    };
    let Some(was) = routes.remove(cidr) else {
        return ec2.lead_list(table, cidr, target);
    };
    let route = target.map(|target| Route {
        target: target.to_owned(),
        blackhole: false,
    });
    routes.extend(route.clone().map(|route| (*cidr, route)));
    route != Some(was)
}

fn end(ec2: &mut Ec2, gateway: &str, health: Health) -> bool {
    let is_well = |gateway: &Gateway| gateway.health == Health::Well;
    let was_well = ec2.gateways.get(gateway).is_some_and(is_well);
    ec2.end(gateway, health);
    was_well
}

const OTHER_INTERFACE: &str = "eni-other";

fn hold(ec2: &mut Ec2, gateway: &str, ip: &str) -> bool {
    let Some(address) = ec2.addresses.get_mut(ip) else {
        return false;
    };
    let other = Some(OTHER_INTERFACE.to_owned());
    let was = std::mem::replace(&mut address.held_by, other.clone());
    if let Some(gateway) = ec2.gateways.get_mut(gateway) {
        gateway.public_ip = None;
    }
    was != other
}

/// Ends the association of addresses that no zone of the stack has: the zone is not in the stack, because its address is associated elsewhere,
/// or the change that gave it the address was rolled back.
fn free_unused(account: &mut Account) {
    let zones = account.stack.as_ref().map(|stack| layout(stack).names());
    let zones = zones.into_iter().flat_map(|names| names.nat_cidrs);
    let used = zones.filter_map(|(zone, _)| Pieces::of(account, &zone));
    let used: BTreeSet<String> = used.map(|it| it.id(Part::Eip).to_owned()).collect();
    let addresses = account.ec2.addresses.iter_mut();
    let unused = addresses.filter(|(ip, _)| !used.contains(*ip));
    for (_, address) in unused {
        address.held_by.take_if(|by| *by == OTHER_INTERFACE);
    }
}

fn take_over(ec2: &mut Ec2, subnet: &str) -> bool {
    if !ec2.subnets.contains_key(subnet) {
        return false;
    }
    let associations = &mut ec2.network.associations;
    associations.insert(subnet.to_owned(), "rtb-other".to_owned());
    let link = "rtbassoc-other".to_owned();
    ec2.links.insert(subnet.to_owned(), link.clone()) != Some(link)
}

impl MemoryProvider {
    /// Injects a fault, if EC2 has the resource. Returns whether EC2 changed. `victim`: the route that this fault affects, chosen at the
    /// first call.
    pub(crate) fn harm(
        &self,
        harm: Ec2Fault,
        zone: &Zone,
        victim: &mut Option<(TableId, Ipv4Net)>,
    ) -> bool {
        let mut account = self.account();
        let Some(pieces) = Pieces::of(&account, zone) else {
            return false;
        };
        let (gateway, subnet) = (pieces.id(Part::NatGateway), pieces.id(Part::NatSubnet));
        let (table, ip) = (pieces.id(Part::NatSubnetRouteTable), pieces.id(Part::Eip));
        if let (Ec2Fault::RouteGone(number) | Ec2Fault::RouteAstray(number), None) = (harm, &victim)
        {
            *victim = worker_route(&account, &pieces.zone, number);
        }
        let ec2 = &mut account.ec2;
        match harm {
            Ec2Fault::RouteGone(number) => victim.as_ref().is_some_and(|route| match number % 4 {
                2 => ec2.drop_entry(route) || lead(ec2, route, None),
                3 => ec2.drop_list(route) || lead(ec2, route, None),
                _ => lead(ec2, route, None),
            }),
            Ec2Fault::RouteAstray(_) => victim
                .as_ref()
                .is_some_and(|route| lead(ec2, route, Some("pcx-1"))),
            Ec2Fault::InternetRouteGone => lead(ec2, &(table.to_owned(), Ipv4Net::default()), None),
            Ec2Fault::InternetRouteAstray => {
                let route = (table.to_owned(), Ipv4Net::default());
                lead(ec2, &route, Some(OTHER_INTERFACE))
            }
            Ec2Fault::GatewayGone => end(ec2, gateway, Health::Gone),
            Ec2Fault::GatewayFailed => end(ec2, gateway, Health::Failed("no capacity".to_owned())),
            Ec2Fault::AddressReleased => {
                let ended = end(ec2, gateway, Health::Gone);
                ec2.addresses.remove(ip).is_some() || ended
            }
            Ec2Fault::AddressGivenAway => {
                let ended = end(ec2, gateway, Health::Gone);
                let was = ec2.addresses.remove(ip).is_some();
                (was && ec2.given_away.insert(ip.to_owned())) || ended
            }
            Ec2Fault::AddressHeld => hold(ec2, gateway, ip),
            Ec2Fault::SubnetGone => {
                end(ec2, gateway, Health::Gone);
                ec2.unlink(subnet);
                ec2.subnets.remove(subnet).is_some()
            }
            Ec2Fault::SubnetTags => {
                let other = Some("other".to_owned());
                let tags = ec2.subnets.get_mut(subnet).map(|subnet| &mut subnet.tags);
                tags.is_some_and(|tags| tags.insert("Name".to_owned(), "other".to_owned()) != other)
            }
            Ec2Fault::TableGone => {
                ec2.unlink(subnet);
                ec2.network.other_tables.remove(table).is_some()
            }
            Ec2Fault::TableTags => {
                let table = ec2.network.other_tables.get_mut(table);
                table.is_some_and(|table| !std::mem::take(&mut table.tags).is_empty())
            }
            Ec2Fault::AssociationGone => {
                let was = ec2.links.contains_key(subnet);
                ec2.unlink(subnet);
                was
            }
            Ec2Fault::AssociationElsewhere => take_over(ec2, subnet),
        }
    }

    /// Undoes a fault that only its principal can undo.
    pub(crate) fn undo(&self, harm: Ec2Fault, zone: &Zone) {
        let mut account = self.account();
        if harm == Ec2Fault::AddressHeld {
            free_unused(&mut account);
        }
        let Some(pieces) = Pieces::of(&account, zone) else {
            return;
        };
        let (gateway, subnet) = (pieces.id(Part::NatGateway), pieces.id(Part::NatSubnet));
        let ip = pieces.id(Part::Eip);
        let ec2 = &mut account.ec2;
        if harm == Ec2Fault::AssociationElsewhere
            && ec2.links.get(subnet).map(String::as_str) == Some("rtbassoc-other")
        {
            ec2.unlink(subnet);
        }
        let Some(address) = ec2.addresses.get_mut(ip) else {
            return;
        };
        if harm == Ec2Fault::AddressHeld && address.held_by.as_deref() == Some(OTHER_INTERFACE) {
            let gateways = &mut ec2.gateways;
            let alive = gateways
                .get_mut(gateway)
                .filter(|it| it.health == Health::Well);
            address.held_by = alive.as_ref().map(|_| format!("eni-{gateway}"));
            if let Some(gateway) = alive {
                gateway.public_ip = Some(ip.to_owned());
            }
        }
    }

    /// Returns the resources of the stack that differ in EC2, by logical id.
    pub(crate) fn astray(&self) -> BTreeMap<String, Stray> {
        let account = self.account();
        let Some(stack) = &account.stack else {
            return BTreeMap::new();
        };
        let names = layout(stack).names();
        let stray = |(logical, made): (&String, &Made)| {
            if account.ec2.state(made) == State::Well {
                return None;
            }
            let part = names.parts.iter().find(|(_, name)| *name == logical);
            if let Some(((zone, _), _)) = part {
                let stray = Stray {
                    routes: Vec::new(),
                    zone: zone.clone(),
                    is_of_list: false,
                };
                return Some((logical.clone(), stray));
            }
            let is_list = made.wish.kind == "AWS::EC2::PrefixList";
            let depends = |name: &String| {
                let to_list = |route: &Made| route.wish.field("DestinationPrefixListId") == made.id;
                name == logical || is_list && account.made.get(name).is_some_and(to_list)
            };
            let routes = names.routes.iter().filter(|(_, name)| depends(name));
            let routes: Vec<_> = routes.map(|(route, _)| route.clone()).collect();
            // Without a route, the operation under way will remove the resource.
            let zone = names.route_zones.get(routes.first()?).cloned();
            let zone = zone.filter(|_| !is_list).unwrap_or_default();
            let stray = Stray {
                routes,
                zone,
                is_of_list: is_list || made.wish.leads_to_list(),
            };
            Some((logical.clone(), stray))
        };
        account.made.iter().filter_map(stray).collect()
    }

    /// Whether the account has the address, and no other interface has it.
    pub(crate) fn is_usable(&self, ip: &str) -> bool {
        let account = self.account();
        let address = account.ec2.addresses.get(ip);
        address.is_some_and(|it| it.held_by.as_deref() != Some(OTHER_INTERFACE))
    }

    /// Whether another account has this static IP, which was released here.
    pub(crate) fn is_given_away(&self, ip: &str) -> bool {
        self.account().ec2.given_away.contains(ip)
    }

    /// Returns the static IP of an EIP of the stack if EC2 no longer has the IP.
    pub(crate) fn lost_ip(&self, logical: &str) -> Option<String> {
        let account = self.account();
        let made = account.made.get(logical)?;
        let is_lost = made.wish.kind == EIP && account.ec2.state(made) == State::Gone;
        is_lost.then(|| made.id.clone())
    }

    /// Returns the first zone of which the stack lacks a resource or a tag. Each zone needs `exist` static IPs, and uses
    /// `used` of them.
    pub(crate) fn lacks(&self, zones: &BTreeSet<Zone>, (exist, used): (u8, u8)) -> Option<String> {
        let account = self.account();
        let layout = layout(account.stack.as_ref()?);
        let names = layout.names();
        zones.iter().find_map(|zone| {
            let part = |part| names.part(zone, part);
            let parts = names.parts.keys().filter(|(of, _)| of == zone).count();
            let tagged = [Part::NatSubnet, Part::NatSubnetRouteTable]
                .into_iter()
                .all(|of| part(of).is_some_and(|id| !layout.tags(id).is_empty()));
            let has = more_ips::used(&layout, &names, zone).len() + 1;
            let lacks_ip = parts < 5 + usize::from(exist) || has < usize::from(used);
            (lacks_ip || !tagged).then(|| format!("the stack has not all of {zone}"))
        })
    }

    /// Returns the logical id of an additional static IP that the stack's template uses, and that its outputs do not show.
    pub(crate) fn used_unannounced(&self) -> Option<String> {
        let account = self.account();
        let stack = account.stack.as_ref()?;
        let layout = layout(stack);
        let names = layout.names();
        let mut zones = names.nat_cidrs.keys();
        zones.find_map(|zone| {
            let mut used = more_ips::used(&layout, &names, zone).into_iter();
            let id = used.find(|id| !stack.outputs.contains_key(*id))?;
            Some(id.to_owned())
        })
    }

    /// Returns the logical ids of the resources that a change set changes.
    pub(crate) fn about(&self, change_set: &str) -> Vec<String> {
        let account = self.account();
        let changes = account.change_sets.get(change_set);
        let changes = changes.into_iter().flat_map(|set| &set.changes);
        changes.map(|change| change.logical_id.clone()).collect()
    }

    /// Makes a change set that was just created behave like this reversion.
    pub(crate) fn spoil_reversion(&self, how: Reverting) {
        let mut account = self.account();
        let eip = account.made.iter().find(|(_, made)| made.wish.kind == EIP);
        let eip = eip.map(|(logical, _)| logical.clone());
        let sets = account.change_sets.iter_mut();
        for (_, set) in sets.filter(|(name, _)| is_revert(name)) {
            match how {
                Reverting::Blind => set.changes.clear(),
                Reverting::Fails => set.failed = Some("internal failure".to_owned()),
                Reverting::Greedy if !set.changes.iter().any(|it| it.resource_type == EIP) => {
                    set.changes.extend(eip.clone().map(|logical_id| Change {
                        logical_id,
                        resource_type: EIP.to_owned(),
                        effect: Effect::MayReplace,
                        dynamic_on: Vec::new(),
                    }));
                }
                _ => {}
            }
        }
    }

    /// Makes the reversion that has just begun have no effect, or one too many.
    pub(crate) fn bend_reversion(&self, how: Reverting) {
        let mut account = self.account();
        if let (Reverting::Vain, Some((_, Ending::Settle(settling)))) = (how, &mut account.ends) {
            settling.revert = false;
        }
        // CloudFormation changes only resources of the stack.
        let mut parts = account.made.values();
        if how == Reverting::Greedy && parts.any(|made| made.wish.kind == EIP) {
            account.ec2.addresses.pop_first();
        }
    }
}

/// Returns one of the stack's routes in the zone's worker tables.
fn worker_route(account: &Account, zone: &Zone, number: u8) -> Option<(TableId, Ipv4Net)> {
    let names = layout(account.stack.as_ref()?).names();
    let mine = names.route_zones.iter().filter(|(_, of)| *of == zone);
    let mine: Vec<_> = mine.map(|(route, _)| route.clone()).collect();
    mine.get(usize::from(number) % mine.len().max(1)).cloned()
}
