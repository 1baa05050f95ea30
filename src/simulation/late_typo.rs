//! A typo in an entry that has been served for a while, as if a copy of a ConfigMap was edited, applied and corrected later.

use std::time::Duration;

use fastrand::Rng;
use ipnet::Ipv4Net;

use super::config_maps::{Edit, entries, typo};
use super::script::{Event, Script};
use super::world::World;

impl Script {
    /// Returns the value that a served entry gets after the history has settled.
    pub fn late_typo(&self) -> Option<&'static str> {
        self.events.iter().find_map(|(_, event)| match event {
            Event::LateTypo(value) => Some(*value),
            _ => None,
        })
    }
}

/// Puts a typo into an entry that no other entry covers, so that only the ledger keeps its route.
pub fn make(world: &World, value: &'static str) {
    let entries = entries(&world.maps().objects);
    let alone = |net: &Ipv4Net| {
        let mut others = entries.values().filter(|other| *other != net);
        let count = entries.values().filter(|other| *other == net).count();
        count == 1 && !others.any(|other| other.contains(net) || net.contains(other))
    };
    let Some((id, _)) = entries.iter().find(|(_, net)| alone(net)) else {
        return;
    };
    world.edit(&Edit::Set(id.object.clone(), id.key.clone(), value));
    world.note(&format!("{id} gets a typo: {value}"));
    world.edited.notify_waiters();
}

/// Draws a late typo, in one of four histories.
pub fn draw(rng: &mut Rng, events: &mut Vec<(Duration, Event)>) {
    if rng.u8(0..4) == 0 {
        events.push((Duration::ZERO, Event::LateTypo(typo(rng))));
    }
}
