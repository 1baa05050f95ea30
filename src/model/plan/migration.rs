//! Moves networks from direct routes into lists, and back, list by list and without a gap.
//!
//! A list and its routes are added beside the direct routes, which win over a list's route of equal length. Once EC2 shows that the list
//! serves, the direct routes go. Where a list stands is read from the stack and from EC2 alone, so a new leader continues where the last one
//! stopped. A step is made only if the stack is otherwise as requested: edits of users go first.

mod back;

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use crate::model::base::ids::{TableId, Zone};
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::base::settings::{OnDrift, PrefixLists};
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::live::Stack;
use crate::model::cloud::network::Route;
use crate::model::cloud::network_lists::SIZE;
use crate::model::cloud::observed::Observed;
use crate::model::cloud::part_names::Part;
use crate::model::desired::movable::movable;
use crate::model::desired::new_lists::NewLists;
use crate::model::desired::shift::Shift;
use crate::model::desired::{Desired, template};
use crate::model::plan::capacity::{most, overflows};
use crate::model::plan::change_set::Proposal;
use crate::model::plan::decision::{Decision, Notes};
use crate::model::plan::diff;
use crate::model::plan::patched_template::next_change;
use crate::model::plan::table_room::room_for_lists;
use crate::model::plan::types::{Plan, World};

/// Fewer networks than this may stay direct without a warning: the last list of a table leaves that many routes unused.
const FEW: usize = 10;

impl Plan {
    /// Returns the next step of the migration. `taken`: the zones that [`Plan::taken`] returned.
    pub(in crate::model) fn migrate(
        &self,
        notes: &mut Notes,
        world: &World<'_>,
        stack: &Stack,
        (layout, names): (&Layout, &Names),
        taken: &BTreeSet<Zone>,
    ) -> Option<Decision> {
        // A route to a NAT gateway that does not exist cannot be created.
        let is_sick = !taken.is_empty() || !self.dead_zones(world, stack, names).is_empty();
        if !self.request.settled || self.desired.routes.is_empty() || is_sick {
            return None;
        }
        // Refused routes that are due are tried first.
        if world.network.headroom.refused.goes_first() {
            return None;
        }
        let subject = Subject::Stack(stack.name.clone());
        let Some(observed) = world.watch.observed(&stack.version) else {
            if self.moves(world, names) && world.settings.drift == OnDrift::Off {
                let problem = Problem::warning(subject, Reason::DriftNotSeen, BLIND.to_owned());
                notes.report([problem]);
            }
            return None;
        };
        let migration = Migration {
            world,
            layout,
            names,
            observed,
            desired: &self.desired,
        };
        let (desired, why) = match migration.next() {
            Ok(next) => next?,
            Err(limit) => {
                notes.report([Problem::warning(subject, Reason::LimitReached, limit)]);
                return None;
            }
        };
        let bucket = world.settings.template_bucket;
        let template = template::render(&desired, names, layout, bucket).ok()?;
        let (template, differences) = next_change(stack, layout, template, &self.request);
        let allowed = |id: &str| self.may_go(names, id);
        if differences.is_empty()
            || diff::refusal(&differences, &names.strangers, allowed).is_some()
        {
            return None;
        }
        let proposal = Proposal::step(template, differences);
        let mut decision = self.change(stack, names, proposal);
        if decision.setback.is_none() && stack.status.is_rollback() {
            decision.setback.clone_from(&stack.cause);
        }
        decision.why = format!("{}; {why}", decision.why);
        Some(decision)
    }

    /// Whether networks are to move.
    fn moves(&self, world: &World<'_>, names: &Names) -> bool {
        match world.settings.prefix_lists {
            PrefixLists::Never => !names.lists.is_empty(),
            PrefixLists::WhenFull => false,
            PrefixLists::Always => !movable(&self.desired, names).is_empty(),
        }
    }
}

const BLIND: &str = "networks do not move between prefix lists and routes of their own, since EC2 has to show before each step that they \
                     keep a route; set --drift-detection to repair or report";

/// What the next step is decided from.
struct Migration<'a> {
    world: &'a World<'a>,
    layout: &'a Layout,
    names: &'a Names,
    /// What EC2 showed of this version of the stack.
    observed: &'a Observed,
    desired: &'a Desired,
}

/// The desired stack of the next change, and what the change is for.
type Next = (Desired, String);

impl Migration<'_> {
    /// Returns the next step, if there is one now, or the limit that prevents a step.
    fn next(&self) -> Result<Option<Next>, String> {
        let mode = self.world.settings.prefix_lists;
        if mode == PrefixLists::Never {
            return self.back();
        }
        let lists = self.names.lists.keys();
        let doubled = lists.map(|id| (id, self.doubled(id)));
        let doubled: Vec<_> = doubled.filter(|(_, nets)| !nets.is_empty()).collect();
        if let Some((id, nets)) = doubled.iter().find(|(id, _)| self.serves(id)) {
            let text = format!(
                "{} networks leave their own routes, since EC2 shows that {id} serves them",
                nets.len()
            );
            let leave_routes = nets.clone();
            let shift = Shift {
                leave_routes,
                ..Shift::default()
            };
            return Ok(Some((self.shifted(shift, Some(NewLists::default())), text)));
        }
        // A change that a table refuses fails for all tables.
        let mut refused = self.world.network.headroom.refused.routes.keys();
        let is_refused = refused.any(|(_, net)| net.is_none());
        let begins = mode == PrefixLists::Always && doubled.is_empty() && !self.left_behind();
        match begins && !is_refused {
            true => self.enter(),
            false => Ok(None),
        }
    }

    /// Returns the networks of a list that have direct routes as well.
    fn doubled(&self, id: &str) -> BTreeSet<Ipv4Net> {
        let list = self.names.lists.get(id);
        let is_doubled = |net: &&Ipv4Net| {
            let mut tables = self.desired.tables.keys();
            tables.any(|table| self.names.is_direct(&(table.clone(), **net)))
        };
        let nets = list.into_iter().flat_map(|list| &list.entries);
        nets.filter(is_doubled).copied().collect()
    }

    /// Whether EC2 shows the list complete, with its entries, and an active route to it in each table, to the NAT gateway of the zone.
    fn serves(&self, id: &str) -> bool {
        let (Some(list), Some(physical)) = (self.names.lists.get(id), self.observed.ids.get(id))
        else {
            return false;
        };
        let seen = self.observed.lists.get(physical);
        let is_whole = seen.is_some_and(|seen| seen.state.is_settled() && list.is_shown_by(seen));
        let leads = |(table, zone): (&TableId, &Zone)| {
            let routes = self.world.network.list_routes(table);
            let route = routes.and_then(|routes| routes.get(physical));
            route.is_some_and(|route| self.is_active(route, zone))
        };
        is_whole && self.desired.tables.iter().all(leads)
    }

    /// Whether a route leads to the NAT gateway of the zone, which exists.
    fn is_active(&self, route: &Route, zone: &Zone) -> bool {
        let gateway = self.names.part(zone, Part::NatGateway);
        let gateway = gateway.and_then(|id| self.observed.ids.get(id));
        !route.blackhole && gateway == Some(&route.target)
    }

    /// Whether EC2 has a route to a network of a list, to a NAT gateway of the stack, that the stack has given up. CloudFormation ignores
    /// that it could not delete a resource.
    fn left_behind(&self) -> bool {
        let gateways: BTreeSet<&String> = self.observed.ids.values().collect();
        let entries = self.names.lists.values().flat_map(|list| &list.entries);
        let tables = self.desired.tables.keys();
        let mut routes = entries.flat_map(|net| tables.clone().map(move |table| (table, *net)));
        routes.any(|(table, net)| {
            let routes = self.world.network.routes(table);
            let route = routes.and_then(|routes| routes.get(&net));
            route.is_some_and(|route| gateways.contains(&route.target))
                && !self.names.is_direct(&(table.clone(), net))
        })
    }

    /// Returns the step after which networks with direct routes are in a list as well: in the free places of a list, or in a new one. Where
    /// the stack has no room for the list beside the routes, as few networks as possible give up their direct routes in the same change:
    /// CloudFormation makes a list and its routes before it deletes other routes.
    fn enter(&self) -> Result<Option<Next>, String> {
        let nets = movable(self.desired, self.names);
        if nets.is_empty() {
            return Ok(None);
        }
        let damage = &self.desired.damage;
        let lists = self.names.lists.iter();
        let mut open = lists.filter(|(id, _)| !damage.closes(id));
        let free = open.find_map(|(_, list)| {
            let free = list.size.checked_sub(list.entries.len());
            free.filter(|free| *free > 0)
        });
        let (places, room) = match free {
            Some(places) => (places, NewLists::default()),
            None => match self.new_list(nets.len()) {
                Some(list) => list,
                None if self.names.lists.is_empty() || nets.len() >= FEW => {
                    return Err(no_list(nets.len()));
                }
                None => return Ok(None),
            },
        };
        let enter: BTreeSet<Ipv4Net> = nets.into_iter().take(places).collect();
        let step = |beside: usize| {
            let leave_routes = enter.iter().skip(beside).copied().collect();
            let enter = enter.clone();
            let shift = Shift {
                enter,
                leave_routes,
                ..Shift::default()
            };
            self.shifted(shift, Some(room))
        };
        let fits = |beside: usize| self.fits(&step(beside));
        let beside = match enter.len() {
            all if fits(all) => all,
            _ if !fits(0) => return Err(no_list(enter.len())),
            all => most(0, all, fits),
        };
        let text = format!(
            "{} networks enter a prefix list beside their own routes",
            enter.len()
        );
        Ok(Some((step(beside), text)))
    }

    /// Returns the number of places of a new list, with the room for it. None if there is no room for a list of the usual size, nor for one
    /// with all these networks.
    fn new_list(&self, nets: usize) -> Option<(usize, NewLists)> {
        let (network, settings) = (self.world.network, self.world.settings);
        let room = room_for_lists(self.desired, self.names, network, settings);
        let one = |usual, last| NewLists {
            usual,
            last,
            ..NewLists::default()
        };
        match room {
            NewLists { usual: 1.., .. } => Some((SIZE, one(1, 0))),
            NewLists { last, .. } if last >= nets => Some((last, one(0, last))),
            _ => None,
        }
    }

    fn shifted(&self, shift: Shift, into_lists: Option<NewLists>) -> Desired {
        Desired {
            shift,
            into_lists,
            ..self.desired.clone()
        }
    }

    fn fits(&self, desired: &Desired) -> bool {
        !overflows(self.world, desired, self.names, self.layout)
    }
}

fn no_list(nets: usize) -> String {
    format!(
        "{nets} networks keep routes of their own, although --prefix-lists is always: a prefix list counts as {SIZE} routes in each table \
         and stands beside the routes for a while, and there is no room for one; have the quotas \"Routes per route table\" (L-93826ACB) \
         and \"Prefix lists per Region\" raised"
    )
}

#[cfg(test)]
#[path = "migration_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "migration_back_tests.rs"]
mod back_tests;
