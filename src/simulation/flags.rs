//! The flags of the replicas that differ between histories.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;

use super::bugs::Bug;
use super::config_maps::Edit;
use super::draw::{moments, one};
use super::ec2_faults::Reverting;
use super::script::{Event, Script};
use super::world::World;
use crate::lease::tests::secs;
use crate::model::base::ids::Zone;
use crate::model::base::settings::{OnEmpty, PrefixLists, Settings};

/// The flags that can cost a static IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    /// `--on-empty=delete`.
    pub deletes: bool,
    /// `--empty-grace-period`, in seconds.
    pub grace: u16,
    /// `--allow-new-eips`.
    pub new_eips: bool,
    /// `--prefix-lists`. A history with a planted bug has direct routes only, unless the bug is about lists.
    pub lists: PrefixLists,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            deletes: false,
            grace: 60,
            new_eips: false,
            lists: PrefixLists::Never,
        }
    }
}

/// The values of `--prefix-lists` in a history. They are no event: the shrunk history has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lists {
    Never,
    Always,
    WhenFull,
    /// Each process that starts has another value.
    Moving,
}

/// The values as the environment names them.
const NAMES: [(&str, Lists); 4] = [
    ("never", Lists::Never),
    ("always", Lists::Always),
    ("when-full", Lists::WhenFull),
    ("moving", Lists::Moving),
];

impl Lists {
    /// Returns the value that the environment names by `LISTS`.
    pub fn named() -> Option<Self> {
        let name = std::env::var("LISTS").ok()?;
        let named = NAMES.iter().find(|(known, _)| *known == name);
        Some(named.expect("a value of LISTS").1)
    }

    /// Returns the value of a seed's history with prefix lists.
    pub fn of(seed: u64) -> Self {
        let of = [Self::Always, Self::Moving, Self::WhenFull].into_iter();
        let mut of = of.cycle().skip(usize::try_from(seed % 3).unwrap_or(0));
        of.next().unwrap_or(Self::Always)
    }

    /// Returns the text that repeats the value, for a command.
    pub fn replay(self) -> String {
        let known = NAMES.iter().find(|(_, it)| *it == self);
        known
            .filter(|_| self != Self::Never)
            .map_or(String::new(), |(name, _)| format!("LISTS={name} "))
    }

    /// Returns the flag of all processes; without lists where the flag differs.
    fn flag(self) -> PrefixLists {
        match self {
            Self::Never | Self::Moving => PrefixLists::Never,
            Self::Always => PrefixLists::Always,
            Self::WhenFull => PrefixLists::WhenFull,
        }
    }
}

/// Returns each static IP that a zone may ever lose.
fn any_static_ip<'a>(zones: impl Iterator<Item = &'a Zone>) -> BTreeSet<(Zone, String)> {
    let of = |zone: &Zone| {
        let zone = zone.clone();
        (1..255).map(move |last| (zone.clone(), format!("198.51.100.{last}")))
    };
    zones.flat_map(of).collect()
}

impl Script {
    pub fn flags(&self, bug: Bug) -> Flags {
        let flags = self.events.iter().find_map(|(_, event)| match event {
            Event::Flags(flags) => Some(*flags),
            _ => None,
        });
        Flags {
            lists: match bug {
                Bug::None => self.lists.flag(),
                bug if bug.is_of_lists() => PrefixLists::Always,
                _ => PrefixLists::Never,
            },
            ..flags.unwrap_or_default()
        }
    }

    /// Whether each process that starts has another value of `--prefix-lists`.
    pub fn moves_lists(&self, bug: Bug) -> bool {
        match bug {
            Bug::None => self.lists == Lists::Moving,
            bug => bug == Bug::DirectRoutesLeaveEarly,
        }
    }
}

/// Draws flags that can cost a static IP, and times in which no entry requests a route.
pub fn draw(rng: &mut Rng, length: f64, events: &mut Vec<(Duration, Event)>) {
    let greedy = Event::Reverting(Reverting::Greedy);
    let is_greedy = events.iter().any(|(_, event)| *event == greedy);
    let flags = Flags {
        deletes: rng.bool(),
        grace: one(rng, &[60, 60, 0, 180]),
        // The controller checks the static IPs that a change set may replace. It cannot prevent that CloudFormation then replaces others.
        new_eips: rng.u8(0..4) == 0 && !is_greedy,
        ..Flags::default()
    };
    if flags.grace == 0 {
        // Without a grace period, an empty list must be true.
        events.retain(|(_, event)| !matches!(event, Event::Blank { .. }));
    }
    events.push((Duration::ZERO, Event::Flags(flags)));
    for at in moments(rng, 60.0, length) {
        let lasts = secs(rng.f64() * 40.0);
        let (now, soon) = (at + secs(rng.f64() * 5.0), at + secs(rng.f64() * 30.0));
        match rng.u8(0..4) {
            0 => {
                events.push((at, Event::Edit(Edit::Clear)));
                empty_for_long(rng, at, secs(f64::from(flags.grace)), events);
            }
            1 => {
                events.push((at, Event::Deaf { lasts }));
                events.push((now, Event::Edit(Edit::Clear)));
                events.push((soon, Event::Edit(Edit::Back)));
            }
            2 => {
                events.push((at, Event::Deaf { lasts }));
                events.push((now, Event::Edit(Edit::Restore)));
            }
            _ => events.push((at, Event::Deaf { lasts })),
        }
    }
}

/// Passes the time after which an empty request takes effect, perhaps without another edit. Towards its end an entry comes back that the
/// watches do not deliver.
fn empty_for_long(
    rng: &mut Rng,
    at: Duration,
    grace: Duration,
    events: &mut Vec<(Duration, Event)>,
) {
    if rng.bool() {
        let end = at + grace + secs(20.0);
        let meanwhile = |when: Duration| when > at && when < end;
        events.retain(|(when, event)| !(matches!(event, Event::Edit(_)) && meanwhile(*when)));
    }
    let before = secs(rng.f64() * one(rng, &[5.0, 15.0]));
    let deaf = at + grace.saturating_sub(before).max(secs(0.5));
    let lasts = secs(10.0 + rng.f64() * 30.0);
    events.push((deaf, Event::Deaf { lasts }));
    let back = match rng.u8(0..4) {
        0 => at + (grace + secs(40.0)).mul_f64(rng.f64()),
        1 => return,
        // Soon enough that no replica has noticed the silent watches.
        _ => deaf + secs(rng.f64() * 6.0),
    };
    events.push((back, Event::Edit(Edit::Back)));
}

impl World {
    /// Whether the stack may have prefix lists.
    pub fn may_have_lists(&self) -> bool {
        self.flags.lists != PrefixLists::Never || self.moves_lists
    }

    /// Gives a process that starts the flags of the history.
    pub fn starts_with_flags(&self, settings: &mut Settings) {
        settings.prefix_lists = self.flags.lists;
        if self.flags.deletes {
            settings.on_empty = OnEmpty::Delete;
        }
        if self.flags.new_eips {
            settings.new_eips = any_static_ip(settings.zones.keys());
        }
    }
}
