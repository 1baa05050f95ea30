//! `--aws-eips-per-zone` and `--aws-eips-in-use-per-zone`, and the fate of additional static IPs: one that a zone gave up stays in the
//! account, and the zone gets it back under the same name before any other one.

use std::time::Duration;

use fastrand::Rng;

use super::bugs::Bug;
use super::invariants::Invariant;
use super::replica::settings;
use super::script::{Event, Script};
use super::world::{Shared, World};
use crate::model::base::ids::Zone;
use crate::model::base::settings::Settings;
use crate::model::cloud::part_names::{Part, part_name};

impl Script {
    /// Returns how many static IPs each zone is to have, and how many of them carry traffic, by the flags of all replicas. Histories with
    /// a bug in their use have two.
    pub fn eips(&self, bug: Bug) -> (u8, u8) {
        let with_two = [
            Bug::MoreIpMadeAnew,
            Bug::SecondIpUnused,
            Bug::UsedUnannounced,
        ];
        if with_two.contains(&bug) {
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
    /// Whether an operation removes or has removed the static IP with its zone or stack.
    pub fn has_left(&self, ip: &String) -> bool {
        self.kept.values().any(|it| it == ip)
    }

    /// Notes that a zone is gone, and that its additional static IPs stay in the account until they are back under the same names.
    pub fn keep_more_ips(&mut self, zone: &Zone) {
        for number in 2..=8 {
            let output = part_name(zone, Part::MoreEip(number));
            let ip = self.ips.remove(&output);
            self.kept.extend(ip.map(|ip| (output, ip)));
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

    /// Returns how many changes, one IP and zone each, announce and use the additional static IPs of all zones.
    pub fn changes_of_ips(&self) -> u32 {
        let (exist, used) = self.eips;
        let of_zone = (exist.max(1) - 1) + (used.max(1) - 1);
        let zones = u32::try_from(settings().zones.len()).unwrap_or(u32::MAX);
        zones * u32::from(of_zone)
    }

    /// Fails if an operation brings a static IP into use that no settled stack has shown. The outputs are those of before while it runs.
    pub fn judge_use(&self) {
        if let Some(id) = self.account.used_unannounced() {
            let text = format!("{id} is used before the stack has shown it");
            self.fail(Invariant::StaticIpsStay, text);
        }
    }
}

/// In one of three histories each zone has two or three static IPs, and mostly uses more than one.
pub fn draw(rng: &mut Rng, events: &mut Vec<(Duration, Event)>) {
    let (exist, used) = match rng.u8(0..12) {
        0 => (3, 3),
        1 => (3, 2),
        2 => (2, 1),
        3 => (2, 2),
        _ => return,
    };
    events.push((Duration::ZERO, Event::Eips { exist, used }));
}
