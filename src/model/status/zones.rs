//! The path of the traffic in each zone: route tables, NAT gateway and static IPs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::base::ids::Zone;
use crate::model::drift::Place;
use crate::model::plan::types::Plan;

/// The maximum number of route tables that a zone shows.
const MAX_TABLES: usize = 100;

/// The state of a zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ZoneState {
    /// The NAT gateway does not exist yet.
    #[default]
    Pending,
    Live,
    /// EC2 differs from the stack: the zone's NAT gateway, its static IP or one of its routes.
    Drifted,
    /// The zone is in the stack, and is to be removed.
    Leaving,
}

/// One zone with its NAT gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ZoneStatus {
    pub zone: String,
    pub state: ZoneState,
    /// The NAT gateway's id; None until the first read for drift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nat_gateway: Option<String>,
    /// The static IP, followed by the others from which traffic leaves, and by those that are announced.
    pub static_ips: Vec<String>,
    /// The route tables whose traffic should leave through the zone.
    pub route_tables: Vec<String>,
    /// The number of omitted route tables.
    #[serde(skip_serializing_if = "is_zero")]
    pub omitted_tables: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Returns every zone that the stack has or should have.
pub fn zones(plan: &Plan) -> Vec<ZoneStatus> {
    let mut drifted: BTreeSet<&Zone> = BTreeSet::new();
    for drift in &plan.drifts {
        drifted.extend(match &drift.place {
            Place::Zone(zone) => Some(zone),
            Place::Route(table, _) | Place::List(table, _) => plan.desired.tables.get(table),
        });
    }
    let desired = plan.desired.zones.keys();
    let all: BTreeSet<&Zone> = desired.chain(plan.static_ips.keys()).collect();
    let status = |zone: &Zone| {
        let first = plan.static_ips.get(zone);
        let more = [&plan.secondary_ips, &plan.announced_ips];
        let more = more.into_iter().filter_map(|ips| ips.get(zone));
        let tables = plan.desired.tables.iter().filter(|(_, of)| *of == zone);
        let mut route_tables: Vec<String> = tables.map(|(table, _)| table.clone()).collect();
        let omitted_tables = route_tables.len().saturating_sub(MAX_TABLES);
        route_tables.truncate(MAX_TABLES);
        ZoneStatus {
            zone: zone.clone(),
            state: match first {
                None => ZoneState::Pending,
                Some(_) if !plan.desired.zones.contains_key(zone) => ZoneState::Leaving,
                Some(_) if drifted.contains(zone) => ZoneState::Drifted,
                Some(_) => ZoneState::Live,
            },
            nat_gateway: plan.gateways.get(zone).cloned(),
            static_ips: first.into_iter().chain(more.flatten()).cloned().collect(),
            route_tables,
            omitted_tables,
        }
    };
    all.into_iter().map(status).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drift::kind::DriftKind;
    use crate::model::drift::{Cure, Drift};

    fn drift(place: Place) -> Drift {
        Drift {
            id: "X".to_owned(),
            place,
            kind: DriftKind::RouteMissing,
            expected: String::new(),
            seen: String::new(),
            cure: Cure::Retake,
        }
    }

    fn plan(desired: &[&str], live: &[&str]) -> Plan {
        let mut plan = Plan::default();
        let net = "172.31.64.0/28".parse().expect("a network");
        for zone in desired {
            plan.desired.zones.insert((*zone).to_owned(), net);
            plan.desired
                .tables
                .insert(format!("rtb-{zone}"), (*zone).to_owned());
        }
        for zone in live {
            plan.static_ips
                .insert((*zone).to_owned(), format!("198.51.100.{zone}"));
            plan.gateways
                .insert((*zone).to_owned(), format!("nat-{zone}"));
        }
        plan
    }

    #[test]
    fn each_zone_has_a_state() {
        let mut plan = plan(&["a", "b", "c"], &["a", "b", "d"]);
        plan.secondary_ips
            .insert("a".to_owned(), vec!["203.0.113.9".to_owned()]);
        let net = "8.8.8.8/32".parse().expect("a network");
        plan.drifts
            .push(drift(Place::Route("rtb-b".to_owned(), net)));
        let found = zones(&plan);
        let states: Vec<(&str, ZoneState)> = found
            .iter()
            .map(|zone| (zone.zone.as_str(), zone.state))
            .collect();
        let expected = [
            ("a", ZoneState::Live),
            ("b", ZoneState::Drifted),
            ("c", ZoneState::Pending),
            ("d", ZoneState::Leaving),
        ];
        assert_eq!(states, expected);
        assert_eq!(found[0].static_ips, ["198.51.100.a", "203.0.113.9"]);
        assert_eq!(
            (
                found[0].nat_gateway.as_deref(),
                found[2].nat_gateway.as_deref()
            ),
            (Some("nat-a"), None)
        );
        assert_eq!(
            (&found[1].route_tables, &found[3].route_tables),
            (&vec!["rtb-b".to_owned()], &vec![])
        );
        plan.drifts = vec![drift(Place::Zone("a".to_owned()))];
        assert_eq!(zones(&plan)[0].state, ZoneState::Drifted);
    }

    #[test]
    fn a_zone_of_many_route_tables_shows_some_and_counts_the_rest() {
        let mut plan = plan(&["a"], &["a"]);
        for number in 0..250 {
            plan.desired
                .tables
                .insert(format!("rtb-{number}"), "a".to_owned());
        }
        let zone = &zones(&plan)[0];
        assert_eq!((zone.route_tables.len(), zone.omitted_tables), (100, 151));
    }
}
