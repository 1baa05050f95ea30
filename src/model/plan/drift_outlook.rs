//! The outlook of a drift, which its problem shows.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::model::base::ids::TableId;
use crate::model::base::settings::OnDrift;
use crate::model::drift::kind::DriftKind;
use crate::model::drift::{Cure, Drift, Place};
use crate::model::plan::lost_eips;

/// Returns the outlook of a drift: its repair, or the remedy. `full`: the tables without room for the routes that EC2 has lost.
pub(in crate::model) fn outlook<'a>(
    drift: &'a Drift,
    mode: OnDrift,
    spent: bool,
    full: &BTreeMap<&TableId, String>,
) -> Cow<'a, str> {
    if let (Place::Route(table, _) | Place::List(table, _), DriftKind::RouteMissing) =
        (&drift.place, drift.kind)
        && mode == OnDrift::Repair
        && !spent
        && let Some(why) = full.get(table)
    {
        return format!("it is repaired once there is room: {why}").into();
    }
    let text = match (&drift.cure, mode) {
        (Cure::Recover(_, ip), _) => {
            return lost_eips::outlook(drift, ip, mode == OnDrift::Repair).into();
        }
        (Cure::ByHand(remedy), _) => remedy,
        (Cure::Follows, _) => "it is repaired together with the resource that it depends on",
        (Cure::Passes, _) => "the controller checks it again soon",
        (_, OnDrift::Repair) if spent => "the controller repairs it no more",
        (_, OnDrift::Repair) => "it is repaired",
        (_, OnDrift::Report | OnDrift::Off) => "restore it, or set --drift-detection=repair",
    };
    Cow::Borrowed(text)
}
