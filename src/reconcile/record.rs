//! Writes the ledger in a pass.

use std::time::Duration;

use super::{LeaderState, PassInput};
use crate::lease::term::Term;
use crate::model::plan::types::Plan;
use crate::model::plan::unanswered;
use crate::model::schedule::Schedule;

/// What [`LeaderState::note`] needs besides the plan.
pub(super) struct Note<'a> {
    /// The start of the term, as time since 1970.
    pub began: Duration,
    /// The schedule before the step that is about to be tried.
    pub before: &'a Schedule,
    /// Whether that step depends on the write.
    pub depends: bool,
}

impl LeaderState {
    /// Records in the ledger what the plan found and the step to be tried. Returns false if the plan must be made again.
    pub(super) async fn note(&mut self, term: &Term, plan: &mut Plan, note: Note<'_>) -> bool {
        let next = plan.ledger.take().map(|mut ledger| {
            ledger.tries = self.schedule.tries_made(note.began);
            ledger.refused = self.schedule.refusals.kept(note.began);
            // A repair is counted after the call. After a crash, one repair too many is better than giving up too early.
            ledger.repairs = note.before.watch.repairs_made();
            ledger.grace = self.grace.kept();
            ledger
        });
        self.ledger.write(term, next, note.depends).await
    }

    /// Records in the ledger what users request, in a pass in which AWS does not answer.
    pub(super) async fn note_unanswered(&mut self, term: &Term, input: &PassInput<'_>) {
        let Some(rules) = self.rules.as_ref().filter(|_| !input.dry_run) else {
            return;
        };
        let next = unanswered::record(input.snapshot, rules, self.ledger.recall());
        // No plan was made, so none has to be made again.
        _ = self.ledger.write(term, next, false).await;
    }
}
