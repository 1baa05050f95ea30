//! Entries whose routes all exist, while a configured zone waits for its NAT gateway.

use std::collections::BTreeSet;

use crate::model::base::ids::TableId;
use crate::model::base::reason::Reason;
use crate::model::plan::types::Plan;
use crate::model::status::{Entry, State};

/// How many route tables a message names.
const NAMED: usize = 4;

/// Shows a routed entry as waiting if workers of a configured zone do not have its route: their traffic leaves from other IPs.
pub(super) fn show(entry: &mut Entry, plan: &Plan, routed_in: &BTreeSet<&TableId>) {
    let without = plan.tables_without_nat.iter();
    let without = without.filter(|(table, _)| !routed_in.contains(*table));
    let named: Vec<String> = without
        .clone()
        .take(NAMED)
        .map(|(table, zone)| format!("{table} of zone {zone}"))
        .collect();
    if named.is_empty() {
        return;
    }
    let more = match without.count().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    entry.state = State::Waiting;
    let text = format!(
        "route table {}{more} has no route for it, because there is no NAT gateway there yet: traffic from there does not leave from the \
         static IPs; see the problem of that zone",
        named.join(", ")
    );
    entry.explain(Reason::NoNatInZone, &text);
}
