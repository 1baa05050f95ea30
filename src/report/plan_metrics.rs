//! The labels and values of the metrics that show a plan.

use prometheus_client::encoding::EncodeLabelSet;

use crate::model::base::problem::{Problem, Severity, Subject};
use crate::model::plan::types::Plan;
use crate::model::status::{by_zone, exits};

/// The labels of a static IP.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Ip {
    zone: String,
    ip: String,
    allocation_id: String,
    in_use: &'static str,
}

/// The labels of a prefix list: `list`, its logical id in the stack.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct List {
    list: String,
}

/// Returns the numbers of entries that are accepted, refused, and valid but without room. The status uses the same states.
pub(super) fn by_state(plan: &Plan) -> [(&'static str, usize); 3] {
    let of_owner =
        |problem: &&Problem| matches!(problem.subject, Subject::Entry(_) | Subject::Object(_));
    let of_owners = plan.problems.iter().filter(of_owner);
    let (waiting, others): (Vec<&Problem>, Vec<&Problem>) = of_owners.partition(|it| it.waits());
    let refused = others.iter().filter(|it| it.severity == Severity::Refused);
    [
        ("accepted", plan.admitted.entries.len()),
        ("refused", refused.count()),
        ("waiting", waiting.len()),
    ]
}

/// Returns the labels of each static IP. The allocation id is empty until EC2 has been read.
pub(super) fn static_ips(plan: &Plan) -> Vec<Ip> {
    let of_stack = |(zone, ip): (&String, &String), in_use| Ip {
        zone: zone.clone(),
        ip: ip.clone(),
        allocation_id: plan.allocations.get(ip).cloned().unwrap_or_default(),
        in_use,
    };
    let used = exits(&plan.static_ips, &plan.secondary_ips).map(|it| of_stack(it, "true"));
    let announced = by_zone(&plan.announced_ips).map(|it| of_stack(it, "false"));
    let kept = plan.kept_ips.iter().map(|kept| Ip {
        zone: kept.zone.clone(),
        ip: kept.ip.clone(),
        allocation_id: kept.allocation_id.clone(),
        in_use: match kept.held_by {
            Some(_) => "true",
            None => "false",
        },
    });
    used.chain(announced).chain(kept).collect()
}

/// Returns the prefix lists of the live stack, with the numbers of their networks.
pub(super) fn prefix_lists(plan: &Plan) -> impl Iterator<Item = (List, i64)> {
    plan.lists.iter().map(|(name, live)| {
        let list = name.clone();
        (List { list }, count(live.list.entries.len()))
    })
}

pub(super) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
