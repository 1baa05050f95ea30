//! What becomes of routes: an operation makes and removes those that it is about, and no others, as CloudFormation does. What
//! others do to them shows as drift.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use super::account::{Account, layout};
use crate::model::live::{Change, Effect, Stack};
use crate::model::network::{Route, TableId};
use crate::model::observed::{Address, Gateway, Health, Observed};
use crate::model::resolved::Part;
use crate::model::template::Template;

/// What the operation under way does to routes when it ends.
#[derive(Default)]
pub(super) struct Moves {
    leaving: BTreeSet<(TableId, Ipv4Net)>,
    coming: BTreeSet<(TableId, Ipv4Net)>,
}

fn routes(stack: &Stack) -> BTreeSet<(TableId, Ipv4Net)> {
    layout(stack).names().routes.into_keys().collect()
}

impl Account {
    /// From the stack as it is to the template.
    pub(super) fn plan_moves(&mut self, template: &Template) {
        let has = self.stack.as_ref().map(routes).unwrap_or_default();
        let wants = routes(&Stack {
            template: template.text.clone(),
            parameters: template.parameters.clone(),
            ..Stack::default()
        });
        self.moves = Moves {
            leaving: has.difference(&wants).cloned().collect(),
            coming: wants.difference(&has).cloned().collect(),
        };
    }

    pub(super) fn plan_removal(&mut self) {
        self.moves = Moves {
            leaving: self.stack.as_ref().map(routes).unwrap_or_default(),
            coming: BTreeSet::new(),
        };
    }

    pub(super) fn plan_reversion(&mut self) {
        let astray = self.astray().into_iter().map(|(route, _)| route);
        self.moves = Moves {
            leaving: BTreeSet::new(),
            coming: astray.collect(),
        };
    }

    /// At the end of an operation.
    pub(super) fn settle_routes(&mut self) {
        let moves = std::mem::take(&mut self.moves);
        for (table, cidr) in moves.leaving {
            if let Some(table) = self.network.worker_tables.get_mut(&table) {
                table.routes.remove(&cidr);
            }
        }
        for (table, cidr) in moves.coming {
            if let Some(table) = self.network.worker_tables.get_mut(&table) {
                let target = format!("nat-{}", table.zone);
                table.routes.insert(
                    cidr,
                    Route {
                        target,
                        blackhole: false,
                    },
                );
            }
        }
    }

    /// A route of the stack's that is going to be made where there is another one, which EC2 would refuse.
    pub(super) fn in_the_way(&self, template: &Template) -> Option<(TableId, Ipv4Net)> {
        let has = self.stack.as_ref().map(routes).unwrap_or_default();
        let wants = routes(&Stack {
            template: template.text.clone(),
            parameters: template.parameters.clone(),
            ..Stack::default()
        });
        let taken = |(table, cidr): &(TableId, Ipv4Net)| {
            let table = self.network.worker_tables.get(table);
            table.is_some_and(|table| table.routes.contains_key(cidr))
        };
        wants
            .into_iter()
            .find(|route| !has.contains(route) && taken(route))
    }

    /// The stack's routes that are not in the tables as it says, with their logical ids.
    fn astray(&self) -> Vec<((TableId, Ipv4Net), String)> {
        let Some(stack) = &self.stack else {
            return Vec::new();
        };
        let is_astray = |(table, cidr): &(TableId, Ipv4Net)| {
            let table = self.network.worker_tables.get(table);
            table.is_some_and(|table| {
                let target = format!("nat-{}", table.zone);
                let there = table.routes.get(cidr);
                there.is_none_or(|route| route.blackhole || route.target != target)
            })
        };
        let routes = layout(stack).names().routes.into_iter();
        routes.filter(|(route, _)| is_astray(route)).collect()
    }

    /// What a change set that reverts drift announces.
    pub(super) fn reversions(&self) -> Vec<Change> {
        let change = |((table, cidr), id): ((TableId, Ipv4Net), String)| {
            let table = self.network.worker_tables.get(&table);
            let there = table.is_some_and(|table| table.routes.contains_key(&cidr));
            Change {
                logical_id: id,
                resource_type: "AWS::EC2::Route".to_owned(),
                effect: if there { Effect::Modify } else { Effect::Add },
                dynamic_on: Vec::new(),
            }
        };
        self.astray().into_iter().map(change).collect()
    }

    /// Gateways and static IPs as EC2 would show them. They never drift here.
    pub(super) fn observed(&self, stack: &Stack) -> Observed {
        let mut observed = Observed::default();
        let names = layout(stack).names();
        for ((zone, part), id) in &names.parts {
            let ip = self.addresses.get(id).map(ToString::to_string);
            match (part, ip) {
                (Part::NatGateway, _) => {
                    let eip = names.parts.get(&(zone.clone(), Part::Eip));
                    let ip = eip.and_then(|eip| self.addresses.get(eip));
                    let gateway = Gateway {
                        health: Health::Well,
                        subnet: String::new(),
                        public_ip: ip.map(ToString::to_string),
                    };
                    observed.ids.insert(id.clone(), format!("nat-{zone}"));
                    observed.gateways.insert(format!("nat-{zone}"), gateway);
                }
                (Part::Eip, Some(ip)) => {
                    observed.ids.insert(id.clone(), ip.clone());
                    let held_by = Some(format!("eni-{zone}"));
                    observed.addresses.insert(ip, Address { held_by });
                }
                _ => {}
            }
        }
        observed
    }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
