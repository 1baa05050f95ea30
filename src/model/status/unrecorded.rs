//! Entries that are routed and not in the ledger yet. A new leader would not know them.

use crate::model::base::ids::EntryId;
use crate::model::base::reason::Reason;
use crate::model::plan::types::Plan;
use crate::model::status::{Entry, State};

/// Shows a routed entry as pending until the ledger has it, or as waiting while the ledger cannot be written.
pub(super) fn show(entry: &mut Entry, plan: &Plan, id: &EntryId) {
    if entry.state != State::Routed || !plan.unrecorded.contains(id) {
        return;
    }
    entry.state = State::Pending;
    let mut problems = plan.problems.iter();
    if let Some(why) = problems.find(|it| it.reason == Reason::LedgerUnavailable) {
        entry.state = State::Waiting;
        let text = format!("its route exists but is not recorded, because {}", why.what);
        entry.explain(why.reason, &text);
    }
}
