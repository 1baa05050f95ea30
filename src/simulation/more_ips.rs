//! Static IPs of zones besides their first: the operator lets more of them exist, then more of them be in use, in rolling updates, and
//! takes that back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;

use super::bugs::Bug;
use super::excuses::{Lost, base};
use super::invariants::Invariant;
use super::script::{Event, REPLICAS};
use super::world::{Shared, World};
use crate::lease::tests::secs;
use crate::model::base::ids::Zone;
use crate::model::base::settings::{Eips, Settings};
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::part_names::{Part, number_of_eip, part_name};
use crate::model::desired::template::Template;
use crate::provider::memory::account_view::AccountView;

#[derive(Default)]
pub struct MoreIps {
    /// As the operator has set it last: a process that starts takes it.
    set: Eips,
    /// As each replica was started last.
    of: [Eips; REPLICAS],
    started: [bool; REPLICAS],
    /// How many static IPs the NAT gateway of each zone has ever used, as long as the stack has the zone.
    pub used: BTreeMap<Zone, usize>,
}

/// What a template says of these static IPs: of each zone the numbers, and how many are in use.
type Says = BTreeMap<Zone, (BTreeSet<u8>, usize)>;

fn says(names: &Names) -> Says {
    let of = |zone: &Zone| {
        let numbers = names.more_eips(zone).map(|(number, _)| number);
        (zone.clone(), (numbers.collect(), names.eips_in_use(zone)))
    };
    names.nat_cidrs.keys().map(of).collect()
}

impl Shared {
    /// Notes that these static IPs are no resources of a live zone any more. They stay in the account.
    fn give_up(&mut self, outputs: impl Fn(&str) -> bool, is_removed: bool) {
        let gone = self.ips.extract_if(.., |output, _| outputs(base(output)));
        for (output, ip) in gone.collect::<Vec<_>>() {
            match is_removed {
                true => _ = self.kept.insert(base(&output).to_owned(), ip),
                false => _ = self.own_ips.given_up.insert(ip),
            }
        }
    }

    /// Takes those out of view that the operation under way takes out of the stack. One that is there at rest is the zone's again.
    pub fn forget_those_that_leave(&mut self, sight: &mut AccountView) {
        let given_up = &mut self.own_ips.given_up;
        sight.ips.retain(|output, ip| {
            let leaves = number_of_eip(base(output)).is_some() && given_up.contains(ip);
            if leaves && sight.at_rest {
                given_up.remove(ip);
            }
            !leaves || sight.at_rest
        });
    }

    /// Notes that a zone is gone.
    pub fn zone_is_gone(&mut self, zone: &Zone) {
        self.more_ips.used.remove(zone);
        let is_of_zone = |output: &str| {
            let number = number_of_eip(output).map(|(number, _)| number);
            number.is_some_and(|number| output == part_name(zone, Part::MoreEip(number)))
        };
        self.give_up(is_of_zone, true);
    }
}

impl World {
    /// The operator edits the flags of the Deployment.
    pub fn set_eips(&self, set: Eips) {
        let mut shared = self.shared();
        shared.more_ips.set = set;
        (shared.stamp, shared.excuses.count) = (None, shared.excuses.count + 1);
    }

    /// A process starts with the flags as they are set.
    pub fn starts_with_eips(&self, who: usize, settings: &mut Settings) {
        let mut shared = self.shared();
        let more = &mut shared.more_ips;
        (more.of[who], more.started[who]) = (more.set, true);
        settings.eips = more.set;
        if self.bug == Bug::UsedUnannounced {
            settings.eips.in_use = settings.eips.per_zone.min(2);
        }
    }

    /// Returns the flags of this replica's process.
    pub fn eips_of(&self, who: usize) -> Eips {
        self.shared().more_ips.of[who]
    }

    /// Whether the template changes which static IPs zones have besides their first, or use.
    pub fn changes_more_ips(&self, template: &Template) -> bool {
        let layout = Layout::read(&template.text, &template.parameters).expect("our own template");
        let (mut new, live) = (says(&layout.names()), says(&self.account.names()));
        new.retain(|zone, _| live.contains_key(zone));
        new.iter().any(|(zone, says)| live[zone] != *says)
    }

    /// Fails if an operation lets a NAT gateway use more static IPs than its sender's flags say, or gives one up that is in use.
    pub fn judge_more_ips(&self, flags: Eips) {
        let live = says(&self.account.names());
        let mut shared = self.shared();
        let before = shared.more_ips.used.clone();
        let mut wrong = Vec::new();
        for (zone, (numbers, used)) in &live {
            let was = before.get(zone).copied().unwrap_or(1);
            if *used > was.max(usize::from(flags.in_use)) {
                wrong.push(format!(
                    "{zone} uses {used} static IPs, which nobody asked for"
                ));
            }
            let lacks =
                (2..=was).find(|number| !numbers.iter().any(|it| usize::from(*it) == *number));
            if let Some(number) = lacks {
                wrong.push(format!(
                    "{zone} gives up its static IP {number}, which was in use"
                ));
            }
            shared.more_ips.used.insert(zone.clone(), was.max(*used));
            let is_surplus = |output: &str| {
                let number = number_of_eip(output).map(|(number, _)| number);
                number.is_some_and(|number| {
                    output == part_name(zone, Part::MoreEip(number)) && !numbers.contains(&number)
                })
            };
            shared.give_up(is_surplus, false);
        }
        drop(shared);
        for text in wrong {
            self.fail(Invariant::StaticIpsStay, text);
        }
    }

    /// Returns what is missing where zones are to have more static IPs, or used them before.
    pub fn lacks_more_ips(&self, lost: &Lost) -> Option<String> {
        let live = says(&self.account.names());
        let in_use = self.account.secondary_ips();
        let shared = self.shared();
        let MoreIps {
            set,
            of,
            started,
            used,
        } = &shared.more_ips;
        let mut replicas = of.iter().zip(started);
        let is_everywhere = replicas.all(|(of, started)| !started || of == set);
        // Nobody gets back what another account has, and the controller only reports that.
        let is_lost = |zone: &Zone| {
            let released = |(output, ip): (&String, &String)| {
                let number = number_of_eip(base(output)).map(|(number, _)| number);
                number.is_some_and(|it| base(output) == part_name(zone, Part::MoreEip(it)))
                    && shared.excuses.released.contains(ip)
            };
            lost.zones.contains(zone)
                || shared.ips.iter().any(released)
                || shared.kept.iter().any(released)
        };
        // A live zone that the flags do not have keeps what it has, and gets no more.
        let unconfigured = shared.zone_flags.unconfigured();
        let is_due = |zone: &Zone| !is_lost(zone) && !unconfigured.contains(zone);
        for (zone, (numbers, _)) in live.iter().filter(|(zone, _)| is_due(zone)) {
            let most = used.get(zone).copied().unwrap_or(1);
            let (all, due) = match is_everywhere {
                true => (usize::from(set.per_zone), most.max(usize::from(set.in_use))),
                false => (1, 1),
            };
            let has = 1 + in_use.get(zone).map_or(0, Vec::len);
            let again = if self.ledger_lost || shared.own_ips.names(zone) {
                due.min(usize::from(set.in_use))
            } else {
                due
            };
            if numbers.len() + 1 < all || has < again {
                return Some(format!(
                    "{zone} has the static IPs {numbers:?} besides its first and uses {has}; it is to have {all} and to use {again}"
                ));
            }
        }
        None
    }
}

/// In one of three histories there are more static IPs, and mostly they are used later, in one of two of these not any more at last.
pub fn draw(rng: &mut Rng, length: f64, events: &mut Vec<(Duration, Event)>) {
    if rng.u8(0..3) > 0 {
        return;
    }
    let mut at = rng.f64() * length / 2.0;
    let all = rng.u8(2..=3);
    let mut roll = |at: &mut f64, per_zone, in_use| {
        let eips = Eips { per_zone, in_use };
        events.push((secs(*at), Event::Eips(eips)));
        for who in 0..REPLICAS {
            *at += rng.f64() * 15.0;
            events.push((secs(*at), Event::Stop(who)));
        }
        *at += rng.f64() * 120.0;
        rng.u8(0..4) > 0
    };
    // A NAT gateway takes two.
    if roll(&mut at, all, 1) && roll(&mut at, all, 2) {
        roll(&mut at, 1, 1);
    }
}
