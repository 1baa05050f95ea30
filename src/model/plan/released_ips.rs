//! Former static IPs that were released, of zones that are added and of additional ones. AWS is asked for such an IP a few times, each time by
//! a change of one IP: if another account has the IP, the change fails at its first step and is rolled back. Only after that does
//! `--allow-new-eips` count.

use crate::model::base::ids::Zone;
use crate::model::base::problem::{Problem, Severity, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::network::Network;
use crate::model::cloud::released_ips::{Lost, TRIES};
use crate::model::cloud::static_ip::Choice;
use crate::model::plan::lost_eips::by_hand;
use crate::model::plan::types::{Plan, World};

/// Returns why a zone waits for a static IP that was released. None if the operator permits a new one, and AWS was asked for the old one.
/// `what` names the IP.
pub(in crate::model) fn wait(
    world: &World<'_>,
    lost: &Lost,
    what: &str,
) -> Option<(Reason, String)> {
    let asked = world.network.headroom.ip_waits.asked(lost);
    let is_allowed = world.settings.new_eips.contains(lost);
    (asked.times == 0 || !is_allowed).then(|| {
        let next = match asked.times < TRIES {
            true => ", and the controller asks AWS for it",
            false => ", and AWS did not return it",
        };
        let (zone, ip) = lost;
        let remedy = by_hand(zone, ip);
        let why = format!("it had the {what} {ip}, which is released{next}; {remedy}");
        (Reason::StaticIpLost, why)
    })
}

/// Returns the released static IP that a new zone may ask AWS for now: the one with the fewest attempts.
pub(in crate::model) fn due(world: &World<'_>) -> Option<Lost> {
    let waits = &world.network.headroom.ip_waits;
    let due = lost(world).filter(|lost| waits.asked(lost).is_due());
    due.min_by_key(|lost| waits.asked(lost).times)
}

/// Returns the released static IPs of new zones.
fn lost(world: &World<'_>) -> impl Iterator<Item = Lost> {
    let choices = world.network.headroom.choices.iter();
    let is_lost = |choice: &Choice| matches!(choice, Choice::Wait(Reason::StaticIpLost, _));
    choices
        .filter(move |(_, choice)| is_lost(choice))
        .filter_map(|(zone, _)| Some((zone.clone(), world.ledger.static_ip(zone)?.ip.clone())))
}

/// Returns the problem of the zone that asks AWS for its released static IP.
fn asking(world: &World<'_>) -> Option<Problem> {
    let lost = world.network.headroom.recovers.as_ref()?;
    let (reason, text) = wait(world, lost, "static IP")?;
    let subject = Subject::Zone(lost.0.clone());
    Some(Problem::new(Severity::Refused, subject, reason, text))
}

/// Returns why a zone gets no more static IPs, if AWS was asked for a released one of them.
pub(in crate::model) fn more_asked(world: &World<'_>, zone: &Zone) -> Option<(Reason, String)> {
    let asked = &world.network.headroom.ip_waits.asked;
    let more = world.ledger.more_of(zone).into_iter();
    let mut lost = more.map(|(_, it)| (zone.clone(), it.ip));
    let lost = lost.find(|lost| asked.contains_key(lost))?;
    wait(world, &lost, "additional static IP")
}

impl Plan {
    /// Returns the network in which a new zone asks AWS for its released static IP, if nothing else is left to do: the change may fail, and
    /// no route waits for it. A stream of edits postpones this for a limited time.
    pub(in crate::model) fn recovery(&self, world: &World<'_>) -> Option<Network> {
        let is_overdue = world.network.headroom.ip_waits.is_overdue;
        let lost = self.recoverable.as_ref();
        let lost = lost.filter(|_| is_overdue || self.is_idle(world))?;
        let mut network = world.network.clone();
        network.headroom.recovers = Some(lost.clone());
        Some(network)
    }

    /// Notes which released static IP the change asks for, and when the next one is asked for.
    pub(in crate::model) fn mark_recovered(&mut self, world: &World<'_>) {
        self.problems.extend(asking(world));
        let headroom = &world.network.headroom;
        let asks = headroom.recovers.as_ref();
        if let Some(lost) = asks.filter(|(zone, _)| self.new_zones.contains(zone)) {
            self.recovers = Some(lost.clone());
        }
        self.recoverable = due(world);
        self.postponed |= self.recoverable.is_some() && !self.differences.is_empty();
        self.look_within(lost(world).filter_map(|lost| headroom.ip_waits.asked(&lost).wait()));
    }

    /// Whether the zone still lacks the static IP, and no other one has taken its place.
    pub fn misses(&self, lost: &Lost) -> bool {
        let (zone, ip) = lost;
        let more = [&self.secondary_ips, &self.announced_ips];
        let mut more = more.iter().filter_map(|ips| ips.get(zone)).flatten();
        if self.static_ips.get(zone) == Some(ip) || more.any(|it| it == ip) {
            return false;
        }
        self.ledger.as_ref().is_none_or(|ledger| {
            let mut more = ledger.more_of(zone).into_iter();
            let first = ledger.static_ips.get(zone);
            first.is_some_and(|it| it.ip == *ip) || more.any(|(_, it)| it.ip == *ip)
        })
    }
}

#[cfg(test)]
#[path = "released_ips_tests.rs"]
mod tests;
