//! A user who edits without a pause, faster than change sets are computed, while another user waits for a route.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::config_maps::{CHURN, CLUSTERS, Edit, VICTIM};
use super::draw::one;
use super::history::step;
use super::invariants::Invariant;
use super::script::{Event, Script};
use super::world::World;
use crate::lease::tests::secs;
use crate::model::base::ids::ObjectId;
use crate::provider::memory::quota_faults::ROUTES;

/// The edits of such a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// An entry has another value each time.
    Renews,
    /// An entry alternates between two values.
    Toggles,
    /// Two entries alternate between two values, one after the other.
    TogglesTwo,
    /// An entry is removed and comes back.
    Flickers,
}

impl Habit {
    fn edits(self, turn: usize) -> Vec<Edit> {
        let id = ObjectId {
            cluster: CLUSTERS[0].to_owned(),
            namespace: "churn".to_owned(),
            name: "churn".to_owned(),
        };
        let set = |key: &str, value: usize| Edit::Set(id.clone(), key.to_owned(), &CHURN[value]);
        match self {
            Self::Renews => vec![set("one", turn % CHURN.len())],
            Self::Toggles => vec![set("one", turn % 2)],
            Self::TogglesTwo => vec![set("one", turn % 2), set("two", 2 + (turn + 1) % 2)],
            Self::Flickers if turn % 2 == 1 => vec![Edit::Remove(id, "one".to_owned())],
            Self::Flickers => vec![set("one", 0)],
        }
    }
}

impl Script {
    /// Returns the edits after the history has settled, and the time between two of them.
    pub fn churn(&self) -> Option<(Habit, Duration)> {
        self.events.iter().find_map(|(_, event)| match event {
            Event::Churn { habit, gap } => Some((*habit, *gap)),
            _ => None,
        })
    }
}

/// Returns how long the other user may wait: one change in progress, one obsolete change, and the user's own; a failover, and a change that
/// fails.
fn bound(world: &World) -> Duration {
    secs(240.0) + 8 * world.pace
}

/// Edits every `gap`, until the other user's new entry has its route.
pub async fn play(world: &World, habit: Habit, gap: Duration) {
    let sight = world.sight();
    let most = sight.tables.values().map(|routes| routes.len()).max();
    let lost = world.lost();
    // A list that is left alone takes no new networks, and keeps its room.
    let is_short = world.may_have_lists() && !lost.routes.is_empty();
    // A table that AWS reported as full is tried again only when nothing else is left to do.
    let is_short = is_short || world.was_any_full();
    if most.is_none_or(|most| most + 6 > ROUTES) || !lost.zones.is_empty() || is_short {
        return;
    }
    world.note(&format!("a user edits every {gap:.1?}: {habit:?}"));
    let (begin, mut turn, mut asked) = (Instant::now(), 0, None::<Instant>);
    let wrong = || world.shared().wrong.is_some();
    let mut next = begin;
    while !wrong() {
        if next <= Instant::now() {
            for edit in habit.edits(turn) {
                world.edit(&edit);
            }
            world.edited.notify_waiters();
            (turn, next) = (turn + 1, next + gap);
        }
        let late = begin.elapsed() > gap.mul_f64(2.5) + world.pace;
        if asked.is_none() && late {
            world.note("another user requests a route");
            let id = ObjectId {
                cluster: CLUSTERS[1].to_owned(),
                namespace: "victim".to_owned(),
                name: "victim".to_owned(),
            };
            world.edit(&Edit::Set(id, "one".to_owned(), VICTIM));
            asked = Some(Instant::now());
        }
        step(world, next).await;
        let Some(asked) = asked else { continue };
        if world.serves(VICTIM) {
            return world.note(&format!(
                "the new entry is served after {:.1?}",
                asked.elapsed()
            ));
        }
        // A zone that is damaged permanently serves no entry, even if the damage came after the first edit.
        if !world.lost().zones.is_empty() {
            return world.note("a zone is lost: its waiting entries are not checked");
        }
        if asked.elapsed() > bound(world) {
            let text = format!(
                "the new entry was not served during {:?} of edits",
                bound(world)
            );
            return world.fail(Invariant::Progress, text);
        }
    }
}

/// Draws a user who edits without a pause, in one of four histories.
pub fn draw(rng: &mut Rng, pace: f64, events: &mut Vec<(Duration, Event)>) {
    let of = [
        Habit::Renews,
        Habit::Toggles,
        Habit::TogglesTwo,
        Habit::Flickers,
    ];
    let (habit, gap) = (one(rng, &of), one(rng, &[0.3, 0.5, 0.5, 0.7]));
    if rng.u8(0..4) == 0 {
        let gap = secs(gap * pace);
        events.push((Duration::ZERO, Event::Churn { habit, gap }));
    }
}
