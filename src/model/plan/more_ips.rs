//! Additional static IPs of live zones: `--aws-eips-per-zone`.
//!
//! Each is a change of its own, made when there is nothing else to change: it fails nobody's routes, and no tenant's edit outdates it.
//! After a failure it waits by itself. Their number only grows: a flag that is lowered by mistake must not cost an IP that partners allow.

use std::collections::BTreeMap;

use crate::model::base::ids::Zone;
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::base::settings::OnEmpty;
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::live::Stack;
use crate::model::cloud::more_ips::{self, IpStep, MAX, of};
use crate::model::cloud::observed::Observed;
use crate::model::cloud::static_ip::Account;
use crate::model::drift::{Cure, Drift, Place};
use crate::model::plan::change_set::set_for;
use crate::model::plan::diff;
use crate::model::plan::patched_template::with_more_eip;
use crate::model::plan::types::{Action, Plan, World, discard};

/// Returns the additional static IPs from which no traffic leaves. `secondary`: those from which it does, as EC2 was last seen.
pub(in crate::model) fn announced(
    world: &World<'_>,
    layout: &Layout,
    names: &Names,
    secondary: &BTreeMap<Zone, Vec<String>>,
) -> BTreeMap<Zone, Vec<String>> {
    let mut announced = more_ips::ips(world.live, layout, names, false);
    for (zone, ips) in &mut announced {
        ips.retain(|ip| secondary.get(zone).is_none_or(|used| !used.contains(ip)));
    }
    announced.retain(|_, ips| !ips.is_empty());
    announced
}

/// Returns how many static IPs the zone has.
fn count(names: &Names, zone: &Zone) -> u8 {
    u8::try_from(of(names, zone).len()).map_or(MAX, |more| more.saturating_add(1))
}

/// Returns a warning for each zone that has more static IPs than the flag says.
pub(in crate::model) fn kept(world: &World<'_>, names: &Names) -> Vec<Problem> {
    let wanted = world.settings.eips_per_zone.max(1);
    let zones = names.nat_cidrs.keys();
    let zones = zones.filter(|zone| world.settings.zones.contains_key(*zone));
    let warning = |zone: &Zone| {
        let has = count(names, zone);
        let text = format!(
            "it has {has} static IPs, and --aws-eips-per-zone is {wanted}: the controller gives up none, since partners may allow it; set \
             --aws-eips-per-zone={has}, or remove the zone with --remove-zone={zone} and add it again, which keeps the first one"
        );
        let subject = Subject::Zone(zone.clone());
        (has > wanted).then(|| Problem::warning(subject, Reason::StaticIpKept, text))
    };
    zones.filter_map(warning).collect()
}

/// Leaves additional static IPs that are gone in the stack, unless the operator has named each of them.
pub(in crate::model) fn keep_lost(
    drifts: &mut [Drift],
    world: &World<'_>,
    observed: Option<&Observed>,
) {
    for drift in drifts {
        let (Place::Zone(zone), Cure::GiveUp) = (&drift.place, &drift.cure) else {
            continue;
        };
        let Some(ip) = observed.and_then(|seen| seen.ids.get(&drift.id)) else {
            continue;
        };
        let lost = (zone.clone(), ip.clone());
        if !world.settings.new_eips.contains(&lost) {
            let text = format!(
                "set --allow-new-eips={zone}={ip} to give the zone another one, and tell everybody who has allow-listed the old one"
            );
            drift.cure = Cure::ByHand(text.into());
        }
    }
}

impl Plan {
    /// Whether its change waits for long if it fails, so that a later leader has to know of the try.
    pub fn is_patient(&self) -> bool {
        !self.new_zones.is_empty() || self.ip_step.is_some()
    }

    /// Plans the change that gives a zone one more static IP. Returns whether it did.
    pub(in crate::model) fn add_ip(
        &mut self,
        world: &World<'_>,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
    ) -> bool {
        // The stack is about to go.
        if self.nothing_asked() && world.settings.on_empty == OnEmpty::Delete {
            return false;
        }
        let Some(step) = self.next_ip(world, names) else {
            return false;
        };
        self.undecided.insert(step.zone.clone());
        let headroom = &world.network.headroom;
        if headroom.account == Account::NotAsked {
            return false;
        }
        if headroom.addresses == Some(0) {
            let text = "it gets no more static IPs yet, since the account may have no more in this region; release one that is not needed, \
                        or have the quota \"EC2-VPC Elastic IPs\" raised";
            self.warn_of_limit(&step.zone, text);
            return false;
        }
        let mut numbers = 2..=MAX;
        let has = of(names, &step.zone);
        let free = numbers.find(|number| !has.contains_key(number));
        let template = free.and_then(|number| with_more_eip(stack, &step.zone, number));
        let Some(template) = template else {
            return false;
        };
        self.differences = diff::between(layout, &template, &self.request);
        let zone = step.zone.clone();
        self.ip_step = Some(step);
        let set = set_for(stack, &template).cloned();
        self.change(stack, template, names, None);
        // One that cannot be made is given up for a time.
        if let (Action::Refuse | Action::Keep, Some(set)) = (&self.action, set) {
            let setback = self.problems.pop().map(|problem| problem.message());
            let why = setback.clone().unwrap_or_default();
            let text = format!("{zone} gets no more static IPs now: {why}");
            self.set(discard(&set), text);
            self.setback = setback;
        }
        true
    }

    /// Returns the next step of a zone that is well, and notes those that wait.
    fn next_ip(&mut self, world: &World<'_>, names: &Names) -> Option<IpStep> {
        let wanted = world.settings.eips_per_zone.min(MAX);
        let waits = &world.network.headroom.ip_waits;
        let mut next = None;
        for zone in names.nat_cidrs.keys() {
            let has = count(names, zone);
            let place = Place::Zone(zone.clone());
            let is_sick = self.drifts.iter().any(|drift| drift.place == place);
            if has >= wanted || is_sick || !world.settings.zones.contains_key(zone) {
                continue;
            }
            let step = IpStep {
                zone: zone.clone(),
                exist: has.saturating_add(1),
            };
            let Some(wait) = waits.get(&step) else {
                next = next.or(Some(step));
                continue;
            };
            self.look_within([*wait]);
            self.ip_waits.insert(step);
            let text = "the change that was to give it one more static IP failed; it is tried again by itself, ever more seldom: see the \
                        stack's events for the cause";
            self.warn_of_limit(zone, text);
        }
        next
    }

    fn warn_of_limit(&mut self, zone: &Zone, text: &str) {
        let subject = Subject::Zone(zone.clone());
        let problem = Problem::warning(subject, Reason::LimitReached, text.to_owned());
        self.problems.push(problem);
    }
}

#[cfg(test)]
#[path = "more_ips_tests.rs"]
mod tests;
