//! Zones whose static IP is lost. A zone gets a new IP only if `--allow-new-eips` names the zone and the lost IP, so the flag has no effect
//! on a later loss. One change gives one zone a new IP.

use std::collections::BTreeMap;

use crate::model::base::ids::Zone;
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::layout::Names;
use crate::model::cloud::more_ips;
use crate::model::cloud::observed::Observed;
use crate::model::cloud::part_names::Part;
use crate::model::drift::{Cure, Drift, Place};
use crate::model::plan::lost_eips::recover_lost_zones;
use crate::model::plan::types::World;

/// Leaves zones unchanged whose static IP is lost and must not be replaced now. One change serves only the first of the zones that may get
/// a new IP, so a wrong answer about many zones never costs more.
pub(in crate::model) fn keep_lost_zones(
    drifts: &mut [Drift],
    names: &Names,
    world: &World<'_>,
    observed: Option<&Observed>,
    is_spent: impl Fn(&Drift) -> bool,
) {
    let ip = |zone: &Zone| observed?.ids.get(names.part(zone, Part::Eip)?);
    let is_allowed = |zone: &Zone| {
        let lost = ip(zone).map(|ip| (zone.clone(), ip.clone()));
        lost.is_some_and(|lost| world.settings.new_eips.contains(&lost))
    };
    let lost: Vec<Zone> = drifts.iter().filter_map(lost_zone).cloned().collect();
    recover_lost_zones(drifts, world, |zone| ip(zone).cloned(), is_allowed);
    let is_recovery = |drift: &&Drift| matches!(drift.cure, Cure::Recover(..));
    let recovered: Vec<Place> = drifts
        .iter()
        .filter(is_recovery)
        .map(|drift| drift.place.clone())
        .collect();
    let mut next = drifts.iter().filter(|drift| !is_spent(drift));
    let next = next.find_map(lost_zone).cloned();
    for drift in drifts {
        let Place::Zone(zone) = &drift.place else {
            continue;
        };
        let is_served = Some(zone) == next.as_ref() || recovered.contains(&drift.place);
        if !lost.contains(zone) || is_served {
            continue;
        }
        let gateway = names.part(zone, Part::NatGateway);
        match &drift.cure {
            Cure::NewIp(_) => drift.cure = Cure::Passes,
            Cure::Renew(ids) if gateway.is_some_and(|gateway| ids.contains(gateway)) => {
                drift.cure = Cure::Follows;
            }
            _ => {}
        }
    }
}

/// Returns the zone that a new static IP would repair, if the drift is a lost static IP.
fn lost_zone(drift: &Drift) -> Option<&Zone> {
    match (&drift.place, &drift.cure) {
        (Place::Zone(zone), Cure::NewIp(_)) => Some(zone),
        _ => None,
    }
}

/// Returns a warning for each permission that has no effect, since its zone has another static IP or none in the stack.
pub(in crate::model) fn unused(
    world: &World<'_>,
    names: &Names,
    static_ips: &BTreeMap<Zone, String>,
) -> Vec<Problem> {
    // The zone is to get this static IP back.
    let awaits = |zone: &Zone, lost: &String| {
        let more = world.ledger.more_of(zone);
        let more = more.iter().any(|(_, it)| it.ip == *lost);
        let is_new = !static_ips.contains_key(zone) && world.settings.zones.contains_key(zone);
        let first = world.ledger.static_ip(zone);
        more || is_new && first.is_some_and(|it| it.ip == *lost)
    };
    let warning = |(zone, lost): &(Zone, String)| {
        let mut more = more_ips::outputs(world.live, names);
        let why = match static_ips.get(zone) {
            Some(_) if more.any(|(of, _, ip)| (of, ip) == (zone, lost)) => return None,
            _ if awaits(zone, lost) => return None,
            Some(ip) if ip == lost => return None,
            Some(ip) => format!("the zone has the static IP {ip}"),
            None if names.nat_cidrs.contains_key(zone) => return None,
            None => "the stack has no static IP in this zone".to_owned(),
        };
        let text = format!("--allow-new-eips={zone}={lost} has no effect, since {why}; remove it");
        let subject = Subject::Zone(zone.clone());
        Some(Problem::warning(subject, Reason::AllowNewEipsUnused, text))
    };
    let allowed = world.settings.new_eips.iter();
    allowed.filter_map(warning).collect()
}
