//! Shrinks a failing history to the events that cause the failure.

use super::bugs::Bug;
use super::history::{History, run};
use super::invariants::Invariant;
use super::script::Script;

/// The maximum number of histories that are tried.
const TRIES: usize = 500;

/// A part of a script that breaks the same invariant.
pub struct Shrunk {
    /// The remaining events, by their positions in the whole script.
    pub kept: Vec<usize>,
    pub story: History,
}

/// Removes larger and then smaller runs of events, as long as `law` is broken without them.
pub fn shrink(whole: &Script, bug: Bug, law: Invariant) -> Option<Shrunk> {
    let attempt = |kept: Vec<usize>| {
        let story = run(&whole.only(&kept), bug);
        let same = story.wrong.as_ref().is_some_and(|wrong| wrong.law == law);
        same.then_some(Shrunk { kept, story })
    };
    let mut best = attempt((0..whole.events.len()).collect())?;
    let mut tries = 1;
    let mut width = whole.events.len().div_ceil(2);
    loop {
        let before = best.kept.len();
        // From the end, so that events after the failure go first, and consequences before causes.
        let mut end = best.kept.len();
        while end > 0 && tries < TRIES {
            let begin = end.saturating_sub(width);
            let mut kept = best.kept.clone();
            kept.drain(begin..end);
            tries += 1;
            if let Some(smaller) = attempt(kept) {
                best = smaller;
            }
            end = begin;
        }
        if tries >= TRIES || width == 1 && best.kept.len() == before {
            return Some(best);
        }
        width = (width / 2).max(1);
    }
}
