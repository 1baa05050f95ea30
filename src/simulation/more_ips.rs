//! `--aws-eips-per-zone` and `--aws-eips-in-use-per-zone`, and the fate of additional static IPs: one that a zone gave up stays in the
//! account, until the zone gets it back.

use std::time::Duration;

use fastrand::Rng;

use super::bugs::Bug;
use super::invariants::Invariant;
use super::script::{Event, Script};
use super::world::{Shared, World};
use crate::model::base::ids::Zone;
use crate::model::base::settings::Settings;
use crate::model::cloud::part_names::{Part, part_name};
use crate::provider::memory::account_view::AccountView;

/// Whether an output shows an additional static IP.
pub fn is_more(output: &str) -> bool {
    (2..=8).any(|number| output.ends_with(&part_name("", Part::MoreEip(number))[3..]))
}

impl Script {
    /// Returns how many static IPs each zone is to have, and how many of them carry traffic, by the flags of all replicas. Histories with
    /// a bug in their use have two.
    pub fn eips(&self, bug: Bug) -> (u8, u8) {
        if matches!(bug, Bug::SecondIpUnused | Bug::UsedUnannounced) {
            return (2, 2);
        }
        let eips = self.events.iter().find_map(|(_, event)| match event {
            Event::Eips { exist, used } => Some((*exist, *used)),
            _ => None,
        });
        eips.unwrap_or((1, 1))
    }
}

impl Shared {
    /// Records the additional static IPs that are back in the stack at rest.
    pub fn are_back(&mut self, sight: &AccountView) {
        let shown = sight.ips.iter().filter(|(output, _)| is_more(output));
        for (_, ip) in shown {
            self.own_ips.given_up.remove(ip);
        }
    }

    /// Whether the output shows a static IP of a zone or stack that an operation removes or has removed.
    pub fn has_left(&self, output: &str, ip: &String) -> bool {
        let is_kept = self.kept.values().any(|it| it == ip);
        is_kept || is_more(output) && self.own_ips.given_up.contains(ip)
    }

    /// Notes that a zone is gone, and that its additional static IPs stay in the account.
    pub fn keep_more_ips(&mut self, zone: &Zone) {
        for number in 2..=8 {
            let output = part_name(zone, Part::MoreEip(number));
            let ip = self.ips.remove(&output);
            self.own_ips.given_up.extend(ip);
        }
    }
}

impl World {
    /// A process starts with the flags as they are set.
    pub fn starts_with_eips(&self, settings: &mut Settings) {
        (settings.eips_per_zone, settings.eips_in_use) = self.eips;
        if self.bug == Bug::SecondIpUnused {
            settings.eips_in_use = 1;
        }
    }

    /// Fails if an operation brings a static IP into use that no settled stack has shown. The outputs are those of before while it runs.
    pub fn judge_use(&self) {
        if let Some(id) = self.account.used_unannounced() {
            let text = format!("{id} is used before the stack has shown it");
            self.fail(Invariant::StaticIpsStay, text);
        }
    }
}

/// In one of three histories each zone has two or three static IPs, and mostly uses more than one. Only with `EIPS=1`: fewer than 1,000
/// histories with them have run to their end so far.
pub fn draw(rng: &mut Rng, events: &mut Vec<(Duration, Event)>) {
    if std::env::var_os("EIPS").is_none() {
        return;
    }
    let (exist, used) = match rng.u8(0..12) {
        0 => (3, 3),
        1 => (3, 2),
        2 => (2, 1),
        3 => (2, 2),
        _ => return,
    };
    events.push((Duration::ZERO, Event::Eips { exist, used }));
}
