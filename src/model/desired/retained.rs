//! Routes that stay although no entry requests them. Only the removal of a key, ConfigMap or label removes a route.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use crate::model::base::cidr::overlap;
use crate::model::base::ids::{TableId, Zone};
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::base::settings::Settings;
use crate::model::cloud::layout::Names;
use crate::model::cloud::network::{NatTable, Network, Route};
use crate::model::desired::admitted::Admitted;

/// Adds the live routes that no removal concerns: all of them while a missing entry proves nothing, those of a table that EC2's answer
/// lacks without proof, and those of a table that lost its tag, which is a mistake more often than intended.
pub fn keep_routes(
    kept: Kept<'_>,
    tables: &mut BTreeMap<TableId, Zone>,
    routes: &mut BTreeSet<(TableId, Ipv4Net)>,
) -> Vec<Problem> {
    let Kept {
        admitted,
        network,
        names,
        settings,
        zones,
    } = kept;
    let (mut lost, mut unproven) = (BTreeSet::new(), BTreeSet::new());
    let mut frozen = 0;
    // Merging changes no address, so the entries themselves show whether a route still serves one.
    let asked = |cidr: &Ipv4Net| {
        let mut nets = admitted.entries.values();
        nets.any(|net| overlap(net, cidr))
    };
    for (route, zone) in names
        .route_zones
        .iter()
        .filter(|(_, zone)| zones.contains_key(*zone))
    {
        if routes.contains(route) {
            continue;
        }
        let (table, cidr) = route;
        let is_lost = !network
            .worker_tables
            .get(table)
            .is_some_and(|worker| zones.contains_key(&worker.zone));
        let untagged = is_lost && may_serve(network, table) && asked(cidr);
        let held = admitted.held.iter().any(|net| overlap(net, cidr));
        let is_unproven = network.unproven.contains(table);
        if admitted.settled && !untagged && !held && !is_unproven {
            continue;
        }
        if is_unproven {
            unproven.insert(table.clone());
        } else if untagged && !network.nat_tables.contains_key(table) {
            lost.insert(table.clone());
        } else if !untagged && !held {
            frozen += 1;
        }
        tables.entry(table.clone()).or_insert_with(|| zone.clone());
        routes.insert(route.clone());
    }
    if !admitted.settled {
        drop_covered(names, network, routes);
    }
    problems(&lost, &unproven, frozen, &settings.stack_name)
}

/// Returns the problems of tables that lost their tags, of tables that EC2's answer lacks, and of frozen routes.
fn problems(
    lost: &BTreeSet<TableId>,
    unproven: &BTreeSet<TableId>,
    frozen: usize,
    stack: &str,
) -> Vec<Problem> {
    let of_table = |table: &TableId, reason, text: &str| {
        Problem::warning(Subject::RouteTable(table.clone()), reason, text.to_owned())
    };
    let lost = lost.iter().map(|table| {
        let text = "its tags no longer mark it as a worker route table, but its routes stay; restore its tag AvailabilityZone (and those \
                    of --aws-route-table-tag), or set its tag AvailabilityZone=none, then the controller removes its routes";
        of_table(table, Reason::RouteTableKept, text)
    });
    let unproven = unproven.iter().map(|table| {
        let text = "EC2's list lacks this route table, but EC2 does not report that the table does not exist: its routes stay until both \
                    answers agree";
        of_table(table, Reason::AnswersContradict, text)
    });
    let mut problems: Vec<Problem> = lost.chain(unproven).collect();
    if frozen > 0 {
        let text = format!(
            "{frozen} routes that no entry requests stay until every source is read and every refused entry is corrected or \
             removed: these may request the routes"
        );
        let subject = Subject::Stack(stack.to_owned());
        problems.push(Problem::warning(subject, Reason::RemovalsFrozen, text));
    }
    problems
}

/// Whether a former worker table may still serve workers. A table that the stack created for a NAT subnet does not.
fn may_serve(network: &Network, table: &TableId) -> bool {
    let is_own = network.nat_tables.get(table) == Some(&NatTable::OfStack);
    network.routes(table).is_some() && !network.is_released(table) && !is_own
}

/// Drops routes inside of a live route that stays, since it serves them. A live route that was deleted by hand covers nothing, because the
/// controller does not restore it.
fn drop_covered(names: &Names, network: &Network, routes: &mut BTreeSet<(TableId, Ipv4Net)>) {
    let live = |route: &(TableId, Ipv4Net)| names.routes.contains_key(route);
    let is_there = |(table, cidr): &(TableId, Ipv4Net)| {
        let there = network.routes(table).and_then(|routes| routes.get(cidr));
        there.is_some_and(Route::serves)
    };
    let stays = routes.iter().filter(|route| live(route) && is_there(route));
    let stays: Vec<(TableId, Ipv4Net)> = stays.cloned().collect();
    routes.retain(|route| {
        let (table, cidr) = route;
        let covers = |(other, wide): &(TableId, Ipv4Net)| {
            other == table && wide != cidr && wide.contains(cidr)
        };
        live(route) || !stays.iter().any(covers)
    });
}

/// The inputs of [`keep_routes`].
pub struct Kept<'a> {
    pub admitted: &'a Admitted,
    pub network: &'a Network,
    pub names: &'a Names,
    pub settings: &'a Settings,
    pub zones: &'a BTreeMap<Zone, Ipv4Net>,
}
