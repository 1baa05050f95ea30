//! Addresses that the operator names for a zone in a rolling update, usually with `--replace-static-ip`, and removes from the flags again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;

use super::bugs::Bug;
use super::excuses::{Lost, base};
use super::invariants::Invariant;
use super::replica;
use super::script::{Event, REPLICAS};
use super::world::{Shared, World};
use crate::lease::tests::secs;
use crate::model::base::ids::Zone;
use crate::model::base::settings::Settings;
use crate::model::cloud::layout::Layout;
use crate::model::cloud::part_names::{Part, part_name};
use crate::model::cloud::static_ip::StaticIp;
use crate::model::desired::template::Template;
use crate::model::persisted::ledger::Ledger;
use crate::provider::memory::account_view::AccountView;

/// Another address for a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnIp {
    pub zone: usize,
    /// Whether `--replace-static-ip` names the zone.
    pub replaces: bool,
}

/// The address that the flags of a process name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    zone: Zone,
    ip: StaticIp,
    replaces: bool,
}

#[derive(Default)]
pub struct OwnIps {
    /// The address in the flags of the Deployment. A process that starts gets it.
    set: Option<Named>,
    /// The address in the flags of each replica's process.
    of: [Option<Named>; REPLICAS],
    started: [bool; REPLICAS],
    /// All addresses that were ever named, by the zone's output.
    named: BTreeMap<String, BTreeSet<String>>,
    /// The addresses that accepted operations give to zones instead of their static IPs, by output.
    due: BTreeMap<String, String>,
    /// Former static IPs of zones. They stay in the account.
    pub given_up: BTreeSet<String>,
}

fn output(zone: &Zone) -> String {
    part_name(zone, Part::Eip)
}

impl OwnIps {
    /// Returns the addresses in the flags of the Deployment and of the replicas, each with the output of its zone.
    pub fn in_flags(&self) -> impl Iterator<Item = (String, &str)> {
        let named = self.set.iter().chain(self.of.iter().flatten());
        named.map(|it| (output(&it.zone), it.ip.ip.as_str()))
    }
}

impl Shared {
    /// Forgets the kept addresses that flags named and the ledger has not recorded yet: they have no tags of the stack. The ledger records them
    /// with the first look at a stack at rest.
    pub fn forget_brought_ips(&mut self, ledger: Option<&Ledger>) {
        let recorded = ledger.into_iter().flat_map(|it| it.static_ips.values());
        let recorded: BTreeSet<&str> = recorded.map(|it| it.ip.as_str()).collect();
        let named = &self.own_ips.named;
        self.kept.retain(|id, ip| {
            let was_brought = named.get(base(id)).is_some_and(|it| it.contains(ip));
            !was_brought || recorded.contains(ip.as_str())
        });
    }

    /// Records the zones that got the named static IP. `forgets`: without a ledger, a zone that is created again may get an earlier static
    /// IP, which has its tags.
    pub fn note_replaced(&mut self, sight: &AccountView, forgets: bool) {
        let OwnIps {
            due,
            named,
            given_up,
            ..
        } = &mut self.own_ips;
        for (id, ip) in &sight.ips {
            if due.get(base(id)) == Some(ip) {
                let other = |it: &String, had: &String| base(it) == base(id) && had != ip;
                let former = self.ips.extract_if(.., |it, had| other(it, had));
                given_up.extend(former.map(|(_, had)| had));
            }
            let may_return = forgets && given_up.contains(ip);
            let is_named = named.get(base(id)).is_some_and(|it| it.contains(ip));
            if may_return || is_named {
                let other = |it: &String, had: &String| base(it) == base(id) && had != ip;
                let former = self.kept.extract_if(.., |it, had| other(it, had));
                let former: Vec<String> = former.map(|(_, had)| had).collect();
                if !former.is_empty() {
                    given_up.remove(ip);
                }
                given_up.extend(former);
            }
        }
    }
}

impl World {
    /// Allocates an address and names it in the flags of the Deployment, or removes the address from the flags.
    pub fn set_own_ip(&self, own: Option<OwnIp>) {
        let named = own.map(|OwnIp { zone, replaces }| Named {
            zone: replica::zone(zone),
            ip: self.account.allocate(),
            replaces,
        });
        let mut shared = self.shared();
        (shared.stamp, shared.excuses.count) = (None, shared.excuses.count + 1);
        let own_ips = &mut shared.own_ips;
        if let Some(named) = &named {
            let ips = own_ips.named.entry(output(&named.zone)).or_default();
            ips.insert(named.ip.ip.clone());
        }
        own_ips.set = named;
    }

    /// Gives a process that starts the flags of the Deployment.
    pub fn starts_with_own_ip(&self, who: usize, settings: &mut Settings) {
        let mut shared = self.shared();
        let own_ips = &mut shared.own_ips;
        let set = own_ips.set.clone();
        (own_ips.of[who], own_ips.started[who]) = (set.clone(), true);
        let Some(Named { zone, ip, replaces }) = set else {
            return;
        };
        settings.allocations.insert(zone.clone(), ip.allocation);
        if replaces || self.bug == Bug::ReplacedUnnamed {
            settings.replaced.insert(zone);
        }
    }

    /// Returns the address that the flags of this replica's process name.
    pub fn own_ip_of(&self, who: usize) -> Option<Named> {
        self.shared().own_ips.of[who].clone()
    }

    /// Fails if an operation gives a zone another static IP than its sender's flags name. `before` were the zones with their static IPs.
    pub fn judge_replaced(&self, before: &BTreeMap<Zone, String>, own: Option<&Named>) {
        let after = self.account.zone_ips();
        for (zone, ip) in before {
            let other = after.get(zone).filter(|it| *it != ip && !it.is_empty());
            let Some(other) = other.filter(|_| !ip.is_empty()) else {
                continue;
            };
            if own.is_some_and(|it| it.replaces && it.zone == *zone && it.ip.ip == *other) {
                let due = &mut self.shared().own_ips.due;
                due.insert(output(zone), other.clone());
            } else {
                let text = format!("{zone} gets {other} instead of {ip}, which no flag names");
                self.fail(Invariant::StaticIpsStay, text);
            }
        }
    }

    /// Whether the template gives a zone another static IP.
    pub fn is_replacement(&self, template: &Template) -> bool {
        let layout = Layout::read(&template.text, &template.parameters).expect("our own template");
        let given = layout.names().given;
        let mut live = self.account.zone_ips().into_iter();
        live.any(|(zone, ip)| given.get(&zone).is_some_and(|it| it.ip != ip))
    }

    /// Returns what is missing if all replicas know the address of a zone and the zone does not have it.
    pub fn lacks_own_ip(&self, lost: &Lost) -> Option<String> {
        let in_stack = self.account.zone_ips();
        let addresses = self.account.sight().addresses;
        let shared = self.shared();
        let OwnIps {
            set, of, started, ..
        } = &shared.own_ips;
        let Named { zone, ip, .. } = set.as_ref().filter(|it| it.replaces)?;
        let mut replicas = of.iter().zip(started);
        let is_everywhere = replicas.all(|(of, started)| !started || of == set);
        // The controller refuses to start with the flag and without the zone in --aws-az.
        let is_configured = !shared.zone_flags.unconfigured().contains(zone);
        let is_due = is_everywhere
            && is_configured
            && addresses.contains(&ip.ip)
            && !lost.zones.contains(zone);
        let has = in_stack.get(zone).filter(|has| is_due && **has != ip.ip)?;
        Some(format!("{zone} has {has} instead of {}", ip.ip))
    }
}

/// Draws, in one of four histories, an address, usually for a zone whose static IP is replaced, and usually removed from the flags again.
pub fn draw(rng: &mut Rng, length: f64, events: &mut Vec<(Duration, Event)>) {
    if rng.u8(0..4) > 0 {
        return;
    }
    let own = OwnIp {
        zone: rng.usize(0..2),
        replaces: rng.u8(0..3) > 0,
    };
    let mut at = rng.f64() * length;
    let mut roll = |at: &mut f64, own: Option<OwnIp>| {
        events.push((secs(*at), Event::OwnIp(own)));
        for who in 0..REPLICAS {
            *at += rng.f64() * 15.0;
            events.push((secs(*at), Event::Stop(who)));
        }
        *at += rng.f64() * 120.0;
        rng.u8(0..3) > 0
    };
    if roll(&mut at, Some(own)) {
        roll(&mut at, None);
    }
}
