//! Finds the network lists that others have damaged in EC2, before it is decided which networks go into which list.

use crate::model::base::ids::TableId;
use crate::model::cloud::layout::Names;
use crate::model::cloud::network_lists::NetworkList;
use crate::model::cloud::observed::Observed;
use crate::model::cloud::part_names::Part;
use crate::model::desired::list_damage::ListDamage;
use crate::model::plan::types::World;

/// Returns the damage to the live lists, as far as EC2 was read. A list that EC2 no longer has never comes back under its id, so an earlier
/// observation proves that as well.
pub(in crate::model::plan) fn list_damage(world: &World<'_>, names: &Names) -> ListDamage {
    let mut damage = ListDamage::default();
    let Some(seen) = world.watch.last_seen() else {
        return damage;
    };
    let quota = usize::from(world.network.limits.routes_per_table(world.settings));
    for (list, NetworkList { size, .. }) in &names.lists {
        let routes = || names.routes_to(list);
        let mut parts = routes().map(|(route, _)| route).chain([list]);
        let is_spent = parts.any(|id| world.watch.has_given_up(id));
        let physical = seen.ids.get(list);
        let physical = physical.filter(|id| !seen.unproven.contains(*id));
        if is_spent && physical.is_none_or(|id| !serves(world, names, seen, (list, id))) {
            damage.given_up.insert(list.clone());
        }
        let Some(physical) = physical else {
            continue;
        };
        if !seen.lists.contains_key(physical) {
            damage.gone.insert(list.clone());
            let workers = routes().filter_map(|(_, table)| world.network.worker_tables.get(table));
            let mut taken = workers.map(|worker| worker.routes.len() + worker.listed);
            if taken.any(|taken| taken + size > quota) {
                damage.without_room.insert(list.clone());
            }
        }
        if damage.given_up.contains(list) {
            continue;
        }
        let lacks = |table| {
            let there = world.network.list_routes(table);
            there.is_some_and(|there| !there.contains_key(physical))
        };
        let lost = routes().filter(|(_, table)| lacks(table));
        damage
            .lost_routes
            .extend(lost.map(|(_, table)| (table.clone(), list.clone())));
    }
    damage
}

/// Whether EC2 has the list and all routes to it as the stack defines them. `physical`: the id of the list.
fn serves(
    world: &World<'_>,
    names: &Names,
    seen: &Observed,
    (list, physical): (&String, &String),
) -> bool {
    let Some(live) = names.lists.get(list) else {
        return false;
    };
    let gateway = |table: &TableId| {
        let route = (table.clone(), *live.entries.first()?);
        let zone = names.route_zones.get(&route)?;
        seen.ids.get(names.part(zone, Part::NatGateway)?)
    };
    let leads = |table: &TableId| {
        let Some(routes) = world.network.list_routes(table) else {
            return true;
        };
        let route = routes.get(physical).filter(|route| !route.blackhole);
        route.is_some_and(|route| gateway(table).is_none_or(|id| *id == route.target))
    };
    let there = seen.lists.get(physical);
    there.is_some_and(|there| live.is_shown_by(there))
        && names.routes_to(list).all(|(_, table)| leads(table))
}
